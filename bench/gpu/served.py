"""What serving adds to a run: the phases of requests one at a time, and R9's throughput."""

from __future__ import annotations

import argparse
import http.client
import json
import pathlib
import re
import shutil
import time
from collections.abc import Sequence

import numpy as np

from . import programs, reference, targets
from .record import Record

REQUESTS = 2_000
PAUSE_S = 0.0005  # between the end of one and the next: light load
STREAMS = (6, 8, 16)  # of R9
BARE_STREAMS = (1, 2, 4, *STREAMS)
IN_FLIGHT = 2  # requests a stream
KINDS = {np.dtype(np.float32): "FP32", np.dtype(np.int64): "INT64", np.dtype(bool): "BOOL"}
Engines = dict[str, tuple[pathlib.Path, dict[int, pathlib.Path]]]


def binary_request(inputs: reference.Arrays) -> tuple[bytes, dict[str, str]]:
    """The v2 protocol's body with binary tensors, answers wanted the same way, and its fields."""
    header = json.dumps({
        "inputs": [{"name": name, "datatype": KINDS[value.dtype], "shape": list(value.shape),
                    "parameters": {"binary_data_size": value.nbytes}}
                   for name, value in inputs.items()],
        "parameters": {"binary_data_output": True}}).encode()
    body = header + b"".join(np.ascontiguousarray(v).tobytes() for v in inputs.values())
    return body, {"Inference-Header-Content-Length": str(len(header)),
                  "Content-Type": "application/octet-stream"}


def binary_answer(response: http.client.HTTPResponse) -> reference.Arrays:
    """Its float outputs. Errors: ProgramFailed at another status."""
    data = response.read()
    if response.status != 200:
        raise programs.ProgramFailed(f"status {response.status}: {data[:300]!r}")
    length = int(response.getheader("Inference-Header-Content-Length", str(len(data))))
    offset = length
    found = {}
    for tensor in json.loads(data[:length])["outputs"]:
        size = tensor.get("parameters", {}).get("binary_data_size", 0)
        if tensor["datatype"] == "FP32":
            found[tensor["name"]] = np.frombuffer(data[offset:offset + size],
                                                  np.float32).reshape(tensor["shape"])
        offset += size
    return found


def ask(server: programs.Server, name: str, inputs: reference.Arrays,
        rows_at_once: int = reference.MAX_BATCH) -> reference.Arrays:
    """The float outputs of all rows, over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.ports.http, timeout=30)
    parts, rows = [], len(next(iter(inputs.values())))
    for first in range(0, rows, rows_at_once):
        body, fields = binary_request(
            {k: x[first:first + rows_at_once] for k, x in inputs.items()})
        connection.request("POST", f"/v2/models/{name}/infer", body, fields)
        parts.append(binary_answer(connection.getresponse()))
    connection.close()
    return {output: np.concatenate([part[output] for part in parts]) for output in parts[0]}


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
                protocol: str, in_flight: int, left_s: float) -> dict:
    flags = ["--batch", batch, "--concurrency", in_flight, "--threads", 4]
    if protocol == "grpc":
        flags += ["--connections", in_flight]
    return programs.load(args.verdict, server, "R9", file, args.out, 2 * args.duration, *flags,
                         protocol=protocol, timeout_s=left_s)


class _Region:
    """All rows of a file in one shared memory object, known to the server as "rows"."""

    def __init__(self, server: programs.Server, file: pathlib.Path) -> None:
        with np.load(file) as rows:
            self._arrays = {k: np.ascontiguousarray(v) for k, v in rows.items()}
        self._port = server.ports.http
        self._path = pathlib.Path("/dev/shm", f"verdict-bench-{self._port}")
        self._offsets, size = {}, 0
        try:
            with self._path.open("wb") as target:
                for name, value in self._arrays.items():
                    self._offsets[name] = size
                    size += target.write(value.tobytes())
            self._post("register", json.dumps(
                {"key": f"/{self._path.name}", "offset": 0, "byte_size": size}))
        except BaseException:
            self._path.unlink(missing_ok=True)
            raise

    def _post(self, what: str, body: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        connection.request("POST", f"/v2/systemsharedmemory/region/rows/{what}", body)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        if response.status != 200:
            raise programs.ProgramFailed(f"status {response.status}: {text[:300]!r}")

    def bodies(self, batch: int) -> list[str]:
        """A request for each full batch of the rows."""
        return [json.dumps({"inputs": [
            {"name": name, "datatype": KINDS[value.dtype], "shape": [batch, *value.shape[1:]],
             "parameters": {"shared_memory_region": "rows",
                            "shared_memory_byte_size": batch * value[0].nbytes,
                            "shared_memory_offset": self._offsets[name] + first * value[0].nbytes}}
            for name, value in self._arrays.items()]})
            for first in range(0, reference.MAX_BATCH - batch + 1, batch)]

    def remove(self) -> None:
        self._path.unlink()
        self._post("unregister", "")


def _shared_memory(args: argparse.Namespace, server: programs.Server, file: pathlib.Path,
                   batch: int, in_flight: int, left_s: float) -> dict:
    """As long as _throughput, by what a first short run tells."""
    region = _Region(server, file)
    try:
        bodies = region.bodies(batch)

        def run(requests: int) -> dict:
            wanted = [bodies[i % len(bodies)] for i in range(requests)]
            return programs.replay(args.verdict, server, "R9", wanted, args.out, in_flight, 4,
                                   left_s)
        first = run(50 * in_flight)
        found = run(round(2 * args.duration * first["per_s"]) + in_flight)
    finally:
        region.remove()
    # When each was due says nothing: no latencies.
    return {name: found[name] for name in ("per_s", "requests", "answers")}


def _phases_cells(model: str, spins: Sequence[str]) -> dict[str, str]:
    """Cell -> device.spin_us, "" for the default; others are tried with R4b, the shortest run."""
    tried = ("", *spins) if model == "R4b" else ("",)
    return {f"served/{model}/phases{f' spin_us {us}' if us else ''}": us for us in tried}


def cells(model: str, spins: Sequence[str]) -> list[str]:
    if model not in targets.STORY:
        return []
    batches = [name for streams in STREAMS for name in _batch_cells(streams)]
    return [*_phases_cells(model, spins), *(batches if model == "R9" else [])]


def _batch_cells(streams: int) -> list[str]:
    return [f"served/R9/{protocol}/{batch}/{streams}" for protocol in targets.PROTOCOLS
            for batch in reference.BATCHES]


def _serve_phases(args: argparse.Namespace, verdict: programs.Verdict, record: Record,
                  repository: pathlib.Path, model: str, row: pathlib.Path, cell: str,
                  settings: list[str]) -> dict[str, int]:
    with programs.serve(verdict, repository, args.out / f"served-{model}.log", settings) as server:
        with np.load(row) as one:
            inputs = dict(one)
        record.attempt(cell, lambda: phases(server, model, inputs), 4)
        return server.refuse_cpu()


def _serve_batches(args: argparse.Namespace, verdict: programs.Verdict, record: Record,
                   repository: pathlib.Path, file: pathlib.Path, streams: int) -> dict[str, int]:
    in_flight = IN_FLIGHT * streams
    with programs.serve(verdict, repository, args.out / f"served-R9-{streams}.log",
                        ["shared_memory.allow=true", *args.set]) as server:
        for protocol in targets.NETWORK:
            for batch in reference.BATCHES:
                record.attempt(f"served/R9/{protocol}/{batch}/{streams}",
                               lambda p=protocol, b=batch: _throughput(
                                   args, server, file, b, p, in_flight, record.clock.left()), 3)
        for batch in reference.BATCHES:
            record.attempt(f"served/R9/{targets.SHARED_MEMORY}/{batch}/{streams}", lambda b=batch:
                           _shared_memory(args, server, file, b, in_flight, record.clock.left()), 4)
        return server.refuse_cpu()


def measure(args: argparse.Namespace, verdict: programs.Verdict, record: Record,
            engines: Engines) -> None:
    def repository(label: str, name: str, config: str) -> pathlib.Path:
        folder = args.out / f"repository-served-{label}"
        if not record.planning:
            shutil.rmtree(folder, ignore_errors=True)
            programs.lay_out(folder, {name: engines[name][0]}, config)
        return folder

    for name in (n for n in targets.STORY if n in engines):
        folder, row = repository(name, name, programs.BATCHING), engines[name][1][1]
        for cell, spin_us in _phases_cells(name, args.spin_us).items():
            settings = [f"device.spin_us={spin_us}"] if spin_us else []
            record.guard(cell.replace("/phases", ""), [cell],
                         lambda f=folder, n=name, r=row, c=cell, s=settings: _serve_phases(
                             args, verdict, record, f, n, r, c, s), 10)
    if "R9" in engines:
        record.put("served/setup", {"in_flight": f"{IN_FLIGHT} a stream", "streams": STREAMS,
                                    "settings": args.set})
        for streams in STREAMS:
            # The requests bring their batch with them: no others are added to it.
            folder = repository(f"R9-{streams}", "R9",
                                f"instance_group: [{{kind: KIND_GPU, count: {streams}}}]\n")
            record.guard(f"served/R9 on {streams}", _batch_cells(streams),
                         lambda f=folder, s=streams: _serve_batches(
                             args, verdict, record, f, engines["R9"][1][reference.MAX_BATCH], s),
                         30)
