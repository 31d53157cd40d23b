"""The programs that are run: `verdict`, trt_bare, and what they print."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence

import numpy as np

from comparison.servers import Ports, free_ports

from . import reference
from .record import Clock
from .reference import Arrays

# How each precision is asked of `verdict build`; CALIB is the file of samples.
CALIB = "CALIB"
PRECISIONS: dict[str, list[str]] = {
    "fp32": ["--noTF32"],
    "tf32": [],
    "fp16": ["--fp16"],
    "int8": ["--int8", "--calib", CALIB, "--calibrator", "tensorrt"],
    "qdq": ["--int8", "--calib", CALIB],
}
BACKEND = ["--backend", "tensorrt"]
SERVE_BACKEND = ["--set", "device.backend=tensorrt"]
# Kernels are loaded when they are first used: the CUDA driver's own default for newer toolkits.
ENVIRONMENT = os.environ | {"CUDA_MODULE_LOADING": "LAZY"}
START_TIMEOUT_S = 90
NUMBER = r"([\d.e+-]+)"


class ProgramFailed(Exception):
    pass


def call(*command: object, timeout_s: float = 300) -> str:
    """Its standard output. Errors: ProgramFailed with the end of what it said."""
    words = [str(part) for part in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=max(1, timeout_s),
                              env=ENVIRONMENT)
    except subprocess.TimeoutExpired:
        raise ProgramFailed(f"{' '.join(words[:2])}: not ended in {timeout_s:.0f} s") from None
    if done.returncode != 0:
        raise ProgramFailed((done.stderr.strip() or done.stdout.strip())[-500:])
    return done.stdout


class Verdict:
    def __init__(self, binary: pathlib.Path, clock: Clock) -> None:
        self.binary = binary
        self._clock = clock

    def build(self, onnx: pathlib.Path, engine: pathlib.Path, shapes: Sequence[str],
              flags: Sequence[object] = (), backend: Sequence[str] = BACKEND) -> dict:
        """shapes: least, best, largest. The engine's file appears at once or not at all."""
        start = time.monotonic()
        text = call(self.binary, "build", "--onnx", onnx, "--saveEngine", engine,
                    "--minShapes", shapes[0], "--optShapes", shapes[1], "--maxShapes", shapes[2],
                    *backend, *flags, timeout_s=self._clock.left())
        return {"seconds": time.monotonic() - start, "bytes": engine.stat().st_size,
                "said": text[-300:]}

    def difference(self, engine: pathlib.Path, inputs: pathlib.Path, want: Arrays,
                   backend: Sequence[str] = BACKEND) -> float:
        with tempfile.TemporaryDirectory() as scratch:
            out = pathlib.Path(scratch, "out.npz")
            call(self.binary, "run", engine, "--inputs", inputs, "--outputs", out, *backend,
                 timeout_s=self._clock.left())
            with np.load(out) as got:
                return reference.difference(dict(got), want)

    def bench(self, engine: pathlib.Path, inputs: pathlib.Path, duration_s: float,
              backend: Sequence[str] = BACKEND, streams: int = 1) -> dict:
        text = call(self.binary, "bench", "--loadEngine", engine, "--loadInputs", inputs,
                    "--warmUp", 100, "--duration", duration_s, "--percentile", "99",
                    "--streams", streams, *backend, timeout_s=self._clock.left())
        ms = {name: float(re.search(rf"{name} = {NUMBER} ms", text)[1])
              for name in ("mean", "median")}
        p99 = float(re.search(rf"percentile\(99%\) = {NUMBER} ms", text)[1])
        return {"p50": 1e3 * ms["median"], "p99": 1e3 * p99, "mean": 1e3 * ms["mean"],
                "per_s": float(re.search(rf"Throughput: {NUMBER} qps", text)[1])}


def bare_build(program: pathlib.Path, onnx: pathlib.Path, plan: pathlib.Path,
               shapes: Sequence[str], flags: Sequence[str], timeout_s: float) -> dict:
    return json.loads(call(program, "build", "--onnx", onnx, "--plan", plan, "--min", shapes[0],
                           "--opt", shapes[1], "--max", shapes[2], *flags, timeout_s=timeout_s))


def bare_time(program: pathlib.Path, plan: pathlib.Path,
              cases: dict[int, tuple[Arrays, Arrays]], folder: pathlib.Path, duration_s: float,
              tolerance: float, streams: int, timeout_s: float) -> list[dict]:
    """cases: batch -> inputs and expected outputs."""
    words: list[object] = ["--plan", plan, "--duration", duration_s, "--tolerance", tolerance,
                           "--streams", streams]
    for batch, (inputs, outputs) in cases.items():
        words += ["--case", batch]
        for name, value in inputs.items():
            file = folder / f"{plan.stem}.{batch}.{name}.in"
            np.ascontiguousarray(value).tofile(file)
            words += ["--input", f"{name}:{'x'.join(map(str, value.shape))}:{file}"]
        for name, value in outputs.items():
            file = folder / f"{plan.stem}.{batch}.{name}.want"
            np.ascontiguousarray(value).tofile(file)
            words += ["--expect", f"{name}:{file}"]
    return json.loads(call(program, "time", *words, timeout_s=timeout_s))


class Server:
    """A server's process, ready when every model is; stopped at the end of the `with`."""

    def __init__(self, command: list[str], ports: Ports, models: list[str],
                 log: pathlib.Path) -> None:
        self.ports = ports
        self._models = models
        self._log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=ENVIRONMENT,
                                            start_new_session=True)

    def wait(self) -> None:
        """Errors: ProgramFailed with the end of its log."""
        end = time.monotonic() + START_TIMEOUT_S
        for model in self._models:
            while not self._ready(model):
                if self.process.poll() is not None or time.monotonic() > end:
                    why = "is not ready in time" if self.process.poll() is None else "has ended"
                    self.stop()
                    raise ProgramFailed(f"the server {why}: {self._log.read_text()[-400:]}")
                time.sleep(0.05)

    def _ready(self, model: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports.http, timeout=5)
        try:
            connection.request("GET", f"/v2/models/{model}/ready")
            response = connection.getresponse()
            response.read()
            return response.status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def metrics(self) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports.metrics, timeout=5)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Server:
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def lay_out(folder: pathlib.Path, engines: dict[str, pathlib.Path], batching: bool) -> None:
    """A repository: served name -> engine, by hard links."""
    for name, engine in engines.items():
        place = folder / name / "1" / "model.engine"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        os.link(engine, place)
        config = folder / name / "config.yaml"
        config.unlink(missing_ok=True)
        if batching:
            config.write_text(f"max_batch_size: {reference.MAX_BATCH}\ndynamic_batching: {{}}\n")


def serve(verdict: pathlib.Path, repository: pathlib.Path, log: pathlib.Path,
          backend: Sequence[str] = SERVE_BACKEND) -> Server:
    ports = free_ports()
    models = sorted(path.name for path in repository.iterdir() if path.is_dir())
    command = [str(verdict), "serve", "--repository", str(repository), "--host", "127.0.0.1",
               "--http-port", str(ports.http), "--grpc-port", str(ports.grpc),
               "--metrics-port", str(ports.metrics), "--set", "admin.port=0", *backend]
    return Server(command, ports, models, log)


def load(verdict: pathlib.Path, server: Server, model: str, inputs: pathlib.Path,
         folder: pathlib.Path, duration_s: float, *flags: object, protocol: str = "http-json",
         warmup_s: float = 0.3, timeout_s: float = 60) -> dict:
    """One run of `verdict load`: what its JSON document says, without the histograms' buckets."""
    result = folder / "load.json"
    result.unlink(missing_ok=True)
    port = server.ports.grpc if protocol == "grpc" else server.ports.http
    words: list[object] = [
        verdict, "load", "--model", model, "--url", f"127.0.0.1:{port}",
        "--protocol", "grpc" if protocol == "grpc" else "http", "--input-data", inputs,
        "--duration", duration_s, "--warmup", warmup_s, "--json-out", result, *flags]
    if protocol == "http-json":
        words.append("--json")
    call(*words, timeout_s=timeout_s)
    document = json.loads(result.read_text())
    latency = document["latency_us"]
    return {"per_s": document["throughput_per_s"], "mean": latency["mean"], "p50": latency["p50"],
            "p99": latency["p99"], "requests": document["requests"],
            "answers": document["answers"], "warnings": document["warnings"]}


def device_lines(server: Server) -> list[str]:
    """What the server's metrics say of its device, for the record."""
    return [line for line in server.metrics().splitlines()
            if re.match(r"(verdict_device|nv_gpu|verdict_gpu)", line)][:40]
