#!/usr/bin/env python3
"""Measures what a route does when its first model fails, hangs or is gone; writes docs/operations.md.

A real `verdict serve`, R4b before a logistic regression of the same inputs and a last resort; faults
are ordered over its admin port. Takes about two minutes.

Usage: operations.py [--verdict BINARY] [--out DIR] [--document FILE] [--requests N]
"""

from __future__ import annotations

import argparse
import collections
import datetime
import http.client
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time

import numpy as np
import onnx

from comparison.servers import free_ports
from models import neural_models

ROOT = pathlib.Path(__file__).resolve().parents[1]
FEATURES = 100
ROUTE = """\
fault_injection: true
routes:
  risk:
    rungs: [{model: deep}, {model: light}]
    last_resort: {score: {value: 0.5}}
    breaker: {failures_in_row: 1000000, failure_share: 1, min_requests: 1000000}
  guarded:
    rungs: [{model: deep}, {model: light}]
    last_resort: {score: {value: 0.5}}
"""  # "risk" is never shut off, so that each request meets the fault
DEADLINES_MS = (5, 10, 20, 50)
HANG_US = 1_000_000
CLIENTS = 4


class Server:
    def __init__(self, verdict: pathlib.Path, folder: pathlib.Path) -> None:
        self.ports, self.admin_port = free_ports(), free_ports().http
        settings = folder / "server.yaml"
        settings.write_text(ROUTE)
        self.log = (folder / "server.log").open("w")
        self.process = subprocess.Popen(
            [verdict, "serve", "--repository", folder / "models", "--config", settings,
             "--host", "127.0.0.1", "--http-port", str(self.ports.http),
             "--grpc-port", str(self.ports.grpc), "--metrics-port", str(self.ports.metrics),
             "--set", f"admin.port={self.admin_port}", "--drain-ms", "0"],
            stdout=subprocess.DEVNULL, stderr=self.log)
        end = time.monotonic() + 60
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit(f"the server did not become ready: {folder / 'server.log'}")
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            return self.ask("GET", "/v2/health/ready")[0] == 200
        except OSError:
            return False

    def ask(self, method: str, path: str, body: str = "", port: int = 0) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.ports.http, timeout=30)
        connection.request(method, path, body)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, text

    def order(self, kind: str, delay_us: int = 0) -> None:
        status, text = self.ask("POST", "/v2/models/deep/fault",
                                json.dumps({"kind": kind, "delay_us": delay_us}), self.admin_port)
        if status != 200:
            sys.exit(f"the fault was refused: {text}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


class Client:
    """One connection, one request after the other."""

    def __init__(self, server: Server, model: str, deadline_us: int = 0) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.ports.http, timeout=30)
        self.path = f"/v2/models/{model}/infer"
        row = np.random.default_rng(7).standard_normal(FEATURES).round(4).tolist()
        self.body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32",
                                            "shape": [1, FEATURES], "data": row}]})
        self.fields = {"Verdict-Deadline-Us": str(deadline_us)} if deadline_us else {}

    def ask(self) -> tuple[float, int, str, str]:
        """Milliseconds, status, who answered and why not the first."""
        begin = time.perf_counter()
        self.connection.request("POST", self.path, self.body, self.fields)
        response = self.connection.getresponse()
        response.read()
        took = 1e3 * (time.perf_counter() - begin)
        by = response.getheader("Verdict-Model") or response.getheader("Verdict-Served-By") or ""
        return took, response.status, by, response.getheader("Verdict-Reason") or ""


def measure(server: Server, model: str, requests: int, deadline_ms: int = 0,
            clients: int = 1) -> dict:
    """deadline_ms: of each request; then the first ones count too, which meet the fault."""
    found: list[tuple[float, int, str, str]] = []

    def ask(count: int) -> None:
        client = Client(server, model, 1000 * deadline_ms)
        for _ in range(0 if deadline_ms else 20):
            client.ask()
        for _ in range(count):
            found.append(client.ask())
            time.sleep(0.001)

    threads = [threading.Thread(target=ask, args=(requests // clients,)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = sorted(took for took, _, _, _ in found)
    return {"requests": len(found),
            "answered": sum(status == 200 for _, status, _, _ in found),
            "p50": statistics.median(times), "p99": times[int(0.99 * len(times))],
            "max": times[-1],
            "late": sum(took > deadline_ms for took in times) if deadline_ms else None,
            "by": dict(collections.Counter(by for _, _, by, _ in found)),
            "reasons": dict(collections.Counter(why or "-" for _, _, _, why in found))}


def build(verdict: pathlib.Path, folder: pathlib.Path) -> None:
    for name, widths in (("deep", (FEATURES, 512, 256, 128, 1)), ("light", (FEATURES, 1))):
        target = folder / "models" / name / "1"
        target.mkdir(parents=True)
        onnx.save(neural_models.mlp(widths), folder / f"{name}.onnx")
        subprocess.run([verdict, "build", "--onnx", folder / f"{name}.onnx", "--saveEngine",
                        target / "model.engine"], check=True, capture_output=True)
    # On a compute thread, as what is batched or large: only there can a run hang alone.
    (folder / "models" / "deep" / "config.yaml").write_text(
        "instance_group: [{kind: KIND_CPU, count: 2}]\n")


def run(args: argparse.Namespace) -> dict:
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    build(args.verdict, args.out)
    server = Server(args.verdict, args.out)
    n = args.requests
    try:
        cells = {"light alone": measure(server, "light", n), "deep alone": measure(server, "deep", n),
                 "healthy": measure(server, "risk", n)}
        for kind in ("error", "nan"):
            server.order(kind)
            cells[kind] = measure(server, "risk", n)
        server.order("error")
        cells["shut off"] = measure(server, "guarded", n)
        server.order("none")
        server.order("delay", HANG_US)
        for deadline in DEADLINES_MS:
            for route in ("risk", "guarded"):
                cells[f"hangs, {route}, {deadline} ms"] = measure(server, route, n, deadline,
                                                                  CLIENTS)
        server.order("none")
        begin = time.monotonic()
        client = Client(server, "guarded")
        while client.ask()[2] != "deep":
            time.sleep(0.01)
        cells["back after s"] = time.monotonic() - begin
    finally:
        server.stop()
    info = pathlib.Path("/proc/cpuinfo").read_text()
    processor = re.search(r"^model name\s*:\s*(.*)$", info, re.MULTILINE)
    return {"date": datetime.date.today().isoformat(),
            "processor": processor[1] if processor else os.uname().machine,
            "cpus": len(os.sched_getaffinity(0)), "cells": cells}


def row(label: str, cell: dict) -> str:
    by = ", ".join(f"{name} {count:,}" for name, count in sorted(cell["by"].items()) if name)
    late = "" if cell["late"] is None else f"{cell['late']:,}"
    return (f"| {label} | {cell['answered']:,} of {cell['requests']:,} | {by} | {cell['p50']:.2f} | "
            f"{cell['p99']:.2f} | {cell['max']:.2f} | {late} |")


def write(found: dict) -> str:
    cells = found["cells"]
    # What the detour costs: to the light model after a run that failed, over a run that succeeded.
    detour = cells["error"]["p50"] - cells["healthy"]["p50"]
    detour_p99 = cells["error"]["p99"] - cells["healthy"]["p99"]
    hangs = [cell for name, cell in cells.items() if name.startswith("hangs")]
    asked = sum(cell["requests"] for cell in hangs)
    answered = sum(cell["answered"] for cell in hangs)
    late = sum(cell["late"] for cell in hangs)
    outcome = {True: "met", False: "**MISSED**"}
    lines = [
        "# Operations: figures", "",
        "Written by `bench/operations.py`; its cells are in [operations.json](operations.json).", "",
        f"{found['date']}, {found['processor']}, {found['cpus']} CPUs that the server and its "
        "client share.", "",
        "## A route whose first model fails", "",
        "R4b's network (100-512-256-128-1, on compute threads), a logistic regression behind it, "
        "and a last resort. One row a request, JSON, one connection; where the first model hangs "
        f"({HANG_US / 1e6:.0f} s a run), {CLIENTS} connections and a deadline. Milliseconds, by "
        "the client's clock, which is Python's.", "",
        "| | answered | by | p50 | p99 | longest | after the deadline |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: |",
        row("the light model alone, past the route", cells["light alone"]),
        row("the first model alone, past the route", cells["deep alone"]),
        row("the route, all well", cells["healthy"]),
        row("each run of the first model fails", cells["error"]),
        row("each run gives NaN", cells["nan"]),
        row("fails, with a breaker", cells["shut off"]),
        *(row(f"hangs, {what} a breaker, deadline {deadline} ms",
              cells[f"hangs, {route}, {deadline} ms"])
          for deadline in DEADLINES_MS
          for route, what in (("risk", "without"), ("guarded", "with"))), "",
        f"After the hang the first model answers again {cells['back after s']:.1f} s later.", "",
        "## Targets", "",
        "| target | asked | measured | outcome |", "| --- | --- | --- | --- |",
        "| from a failed run to the next rung's answer, over a run that succeeded, p50 | at most "
        f"2 ms | {detour:.2f} ms | {outcome[detour <= 2]} |",
        "| the same, p99 | at most 2 ms | "
        f"{detour_p99:.2f} ms | {outcome[detour_p99 <= 2]} |",
        "| requests without an answer while the first model hangs | none of "
        f"{asked:,} | {asked - answered:,} | {outcome[asked == answered]} |",
        f"| answers after the deadline, by the client's clock | none of {asked:,} | {late:,} | "
        f"{outcome[late == 0]} |", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--verdict", type=pathlib.Path, default=ROOT / "build" / "verdict")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "operations")
    parser.add_argument("--document", type=pathlib.Path, default=ROOT / "docs" / "operations.md")
    parser.add_argument("--requests", type=int, default=2_000, help="a cell; default 2000")
    args = parser.parse_args()
    found = run(args)
    args.document.write_text(write(found))
    args.document.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    print(args.document)


if __name__ == "__main__":
    main()
