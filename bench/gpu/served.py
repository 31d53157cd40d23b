"""What serving adds to a run: the phases of R4b one at a time, and R9's throughput."""

from __future__ import annotations

import argparse
import http.client
import json
import pathlib
import re
import shutil
import time

import numpy as np

from . import programs, reference
from .record import Record

REQUESTS = 2_000
PAUSE_S = 0.0005  # between the end of one and the next: light load
CONCURRENCY = 8
# As many as the bare engine is tried on.
STREAMS = "instance_group: [{kind: KIND_GPU, count: 4}]\n"
PROTOCOLS = ("http-binary", "grpc")
Engines = dict[str, tuple[pathlib.Path, dict[int, pathlib.Path]]]


def binary_request(inputs: reference.Arrays) -> tuple[bytes, dict[str, str]]:
    """The v2 protocol's body with binary tensors, answers wanted the same way, and its fields."""
    kinds = {np.dtype(np.float32): "FP32", np.dtype(np.int64): "INT64", np.dtype(bool): "BOOL"}
    header = json.dumps({
        "inputs": [{"name": name, "datatype": kinds[value.dtype], "shape": list(value.shape),
                    "parameters": {"binary_data_size": value.nbytes}}
                   for name, value in inputs.items()],
        "parameters": {"binary_data_output": True}}).encode()
    body = header + b"".join(np.ascontiguousarray(v).tobytes() for v in inputs.values())
    return body, {"Inference-Header-Content-Length": str(len(header)),
                  "Content-Type": "application/octet-stream"}


def binary_answer(response: http.client.HTTPResponse, output: str) -> np.ndarray:
    """A float output of it. Errors: ProgramFailed at another status or without the output."""
    data = response.read()
    if response.status != 200:
        raise programs.ProgramFailed(f"status {response.status}: {data[:300]!r}")
    length = int(response.getheader("Inference-Header-Content-Length", str(len(data))))
    offset = length
    for tensor in json.loads(data[:length])["outputs"]:
        size = tensor.get("parameters", {}).get("binary_data_size", 0)
        if tensor["name"] == output:
            return np.frombuffer(data[offset:offset + size], np.float32).reshape(tensor["shape"])
        offset += size
    raise programs.ProgramFailed(f"the answer has no output {output}")


def phases(server: programs.Server, model: str, inputs: reference.Arrays) -> dict:
    """Of single requests over one connection, as Server-Timing tells them; microseconds."""
    body, fields = binary_request(inputs)
    fields["Verdict-Timing"] = "1"
    connection = http.client.HTTPConnection("127.0.0.1", server.ports.http, timeout=10)
    found: dict[str, list[float]] = {}
    for _ in range(REQUESTS):
        start = time.perf_counter()
        connection.request("POST", f"/v2/models/{model}/infer", body, fields)
        response = connection.getresponse()
        timing = response.getheader("Server-Timing")
        response.read()
        if response.status != 200 or not timing:
            raise programs.ProgramFailed(f"status {response.status}, Server-Timing: {timing}")
        found.setdefault("client", []).append(1e3 * (time.perf_counter() - start))
        for name, milliseconds in re.findall(r"(\w+);dur=([\d.e+-]+)", timing):
            found.setdefault(name, []).append(float(milliseconds))
        time.sleep(PAUSE_S)
    connection.close()
    warm = REQUESTS // 10
    return {name: {"p50": float(1e3 * np.percentile(ms[warm:], 50)),
                   "p99": float(1e3 * np.percentile(ms[warm:], 99))} for name, ms in found.items()}


def _throughput(args: argparse.Namespace, server: programs.Server, file: pathlib.Path, batch: int,
                protocol: str, left_s: float) -> dict:
    flags = ["--batch", batch, "--concurrency", CONCURRENCY, "--threads", 4]
    if protocol == "grpc":
        flags += ["--connections", CONCURRENCY]
    found = programs.load(args.verdict, server, "R9", file, args.out, 2 * args.duration, *flags,
                          protocol=protocol, timeout_s=left_s)
    return found | {"rows_per_s": found["per_s"] * batch}


def measure(args: argparse.Namespace, verdict: programs.Verdict, record: Record,
            engines: Engines) -> None:
    clock = record.clock
    for name, (engine, files) in engines.items():
        repository = args.out / f"repository-served-{name}"
        shutil.rmtree(repository, ignore_errors=True)
        # R9's requests bring their batch with them: no others are added to it.
        config = programs.BATCHING if name == "R4b" else STREAMS
        programs.lay_out(repository, {name: engine}, config)

        def cells(name=name, files=files, repository=repository) -> dict[str, int]:
            with programs.serve(verdict, repository, args.out / f"served-{name}.log") as server:
                if name == "R4b":
                    with np.load(files[1]) as one:
                        row = dict(one)
                    record.attempt("served/R4b/phases", lambda: phases(server, name, row), 8)
                    return server.refuse_cpu()
                for protocol in PROTOCOLS:
                    for batch in reference.BATCHES:
                        record.attempt(
                            f"served/R9/{protocol}/{batch}",
                            lambda p=protocol, b=batch: _throughput(
                                args, server, files[128], b, p, clock.left()), 5)
                return server.refuse_cpu()
        found = ["served/R4b/phases"] if name == "R4b" else [
            f"served/R9/{p}/{b}" for p in PROTOCOLS for b in reference.BATCHES]
        record.guard(f"served/{name}", found, cells, 15)
