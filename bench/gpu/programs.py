"""The programs that are run: `verdict`, trt_bare, and what they print."""

from __future__ import annotations

import http.client
import json
import math
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
from .record import Clock, ProgramFailed
from .reference import Arrays

# How each precision is asked of `verdict build`; CALIB is the file of samples.
CALIB = "CALIB"
PRECISIONS: dict[str, list[str]] = {
    "fp32": ["--noTF32"],
    "tf32": [],
    "fp16": ["--fp16"],
    "int8": ["--int8", "--calib", CALIB],
    "qdq": ["--int8", "--calib", CALIB, "--explicit"],
}
# As trt_bare has it: no model has a convolution that is worth cuDNN.
TACTICS = {"tensorrt": ["--tacticSources=-CUDNN"]}
# Kernels are loaded when they are first used: the CUDA driver's own default for newer toolkits.
ENVIRONMENT = os.environ | {"CUDA_MODULE_LOADING": "LAZY"}
START_TIMEOUT_S = 90
CPU = "cpu"  # as the backend: to try the scripts where there is no card
ON_CPU = 0.01  # share of the answers that may come from the CPU's plan
NUMBER = r"([\d.e+-]+)"


# What a build has taken on an H100 with five others beside it, in seconds; the others less.
BUILD_S = {"R5": 130, "R6": 60, "R7": 55, "R9": 75, "R11": 55}
OTHER_BUILD_S, HALF_FACTOR = 25, 2.5  # float16 beside float32: more tactics are timed


def build_s(model: str, precision: str) -> float:
    """About how long; model: "R6", "R6-like"."""
    factor = HALF_FACTOR if precision in ("fp16", "int8", "qdq") else 1
    return factor * BUILD_S.get(model.removesuffix("-like"), OTHER_BUILD_S)


def _run(*command: object, timeout_s: float) -> subprocess.CompletedProcess[str]:
    words = [str(part) for part in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=max(1, timeout_s),
                              env=ENVIRONMENT)
    except subprocess.TimeoutExpired:
        raise ProgramFailed(f"{' '.join(words[:2])}: not ended in {timeout_s:.0f} s") from None
    if done.returncode != 0:
        raise ProgramFailed((done.stderr.strip() or done.stdout.strip())[-500:])
    return done


def call(*command: object, timeout_s: float = 300) -> str:
    """Its standard output. Errors: ProgramFailed with the end of what it said."""
    return _run(*command, timeout_s=timeout_s).stdout


def _refuse_cpu(said: str) -> None:
    """A figure of the device must not be the CPU's."""
    if found := re.search(r"the CPU plan has answered.*", said):
        raise ProgramFailed(found[0])


def timing_cache(engine: pathlib.Path) -> pathlib.Path:
    """Of one engine, as builds go on side by side: it makes the next build quick, also on another
    machine with the same card, where the folder has been carried to it."""
    folder = engine.parent.parent / "timing"
    folder.mkdir(exist_ok=True)
    return folder / f"{engine.name}.cache"


class Verdict:
    """backend: "tensorrt"; "cpu" builds and runs without a device."""

    def __init__(self, binary: pathlib.Path, backend: str, clock: Clock,
                 build_cap_s: float = math.inf) -> None:
        self.binary, self.backend = binary, backend
        self._clock, self._build_cap_s = clock, build_cap_s
        self._flags = [] if backend == CPU else ["--backend", backend]

    def build(self, onnx: pathlib.Path, engine: pathlib.Path, shapes: Sequence[str],
              precision: str, samples: pathlib.Path | None = None) -> dict:
        """shapes: least, best, largest. precision: of PRECISIONS."""
        flags = [] if self.backend == CPU else [
            samples if flag == CALIB else flag
            for flag in [*PRECISIONS[precision], *TACTICS.get(self.backend, []),
                         "--timingCacheFile", timing_cache(engine)]]
        start = time.monotonic()
        text = call(self.binary, "build", "--onnx", onnx, "--saveEngine", engine,
                    "--minShapes", shapes[0], "--optShapes", shapes[1], "--maxShapes", shapes[2],
                    *self._flags, *flags, timeout_s=min(self._build_cap_s, self._clock.left()))
        taken = re.search(r"^(.*) is taken on the device$", text, re.MULTILINE)
        return {"seconds": time.monotonic() - start, "bytes": engine.stat().st_size,
                "taken": taken[1] if taken else ""}

    def difference(self, engine: pathlib.Path, inputs: pathlib.Path, want: Arrays) -> float:
        with tempfile.TemporaryDirectory() as scratch:
            out = pathlib.Path(scratch, "out.npz")
            done = _run(self.binary, "run", engine, "--inputs", inputs, "--outputs", out,
                        *self._flags, timeout_s=self._clock.left())
            _refuse_cpu(done.stderr)
            with np.load(out) as got:
                return reference.difference(dict(got), want)

    def bench(self, engine: pathlib.Path, inputs: pathlib.Path, duration_s: float,
              streams: int = 1) -> dict:
        text = call(self.binary, "bench", "--loadEngine", engine, "--loadInputs", inputs,
                    "--warmUp", 100, "--duration", duration_s, "--percentile", "99",
                    "--streams", streams, *self._flags, timeout_s=self._clock.left())
        _refuse_cpu(text)
        ms = {name: float(re.search(rf"{name} = {NUMBER} ms", text)[1])
              for name in ("mean", "median")}
        p99 = float(re.search(rf"percentile\(99%\) = {NUMBER} ms", text)[1])
        return {"p50": 1e3 * ms["median"], "p99": 1e3 * p99, "mean": 1e3 * ms["mean"],
                "per_s": float(re.search(rf"Throughput: {NUMBER} qps", text)[1])}


def bare_build(program: pathlib.Path, onnx: pathlib.Path, plan: pathlib.Path,
               shapes: Sequence[str], flags: Sequence[str], timeout_s: float) -> dict:
    return json.loads(call(program, "build", "--onnx", onnx, "--plan", plan, "--min", shapes[0],
                           "--opt", shapes[1], "--max", shapes[2], "--timing-cache",
                           timing_cache(plan), *flags, timeout_s=timeout_s))


def bare_time(program: pathlib.Path, plan: pathlib.Path,
              cases: dict[int, tuple[Arrays, Arrays]], folder: pathlib.Path, duration_s: float,
              tolerance: float, streams: Sequence[int], timeout_s: float) -> list[dict]:
    """cases: batch -> inputs and expected outputs."""
    words: list[object] = ["--plan", plan, "--duration", duration_s, "--tolerance", tolerance,
                           "--streams", ",".join(map(str, streams))]
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


def get(port: int, path: str) -> str:
    """The body that a server on this machine answers with."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path)
    text = connection.getresponse().read().decode()
    connection.close()
    return text


class Server:
    """A server's process, ready when every model is; stopped at the end of the `with`."""

    def __init__(self, command: list[str], ports: Ports, models: list[str],
                 log: pathlib.Path, on_device: bool = False) -> None:
        self.ports = ports
        self._on_device = on_device
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
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def metrics(self) -> str:
        return get(self.ports.metrics, "/metrics")

    def refuse_cpu(self) -> dict[str, int]:
        """served_by(). Errors: ProgramFailed where the CPU has answered more than a few."""
        found = self.served_by()
        if self._on_device and not found.get(CPU, 0) <= ON_CPU * sum(found.values()):
            raise ProgramFailed(f"the CPU's plan has answered: {found}")
        return found

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def wait_on_device(self) -> None:
        """Until every model is on the device. Errors: ProgramFailed."""
        end = time.monotonic() + START_TIMEOUT_S
        attached = 0
        while attached < len(self._models):
            if time.monotonic() > end or self.process.poll() is not None:
                self.stop()
                raise ProgramFailed(f"{attached} of {len(self._models)} models are on the device: "
                                    f"{self._log.read_text()[-400:]}")
            time.sleep(0.05)
            states = re.findall(r'^verdict_device_model_state\{[^}]*state="(\w+)"[^}]*\} 1$',
                                self.metrics(), re.MULTILINE)
            attached = states.count("attached")
            if "refused" in states:
                end = 0

    def served_by(self) -> dict[str, int]:
        """Who has answered how many requests so far."""
        found: dict[str, int] = {}
        for name, count in re.findall(
                r'^verdict_requests_served_total\{[^}]*served_by="(\w+)"[^}]*\} (\d+)',
                self.metrics(), re.MULTILINE):
            found[name] = found.get(name, 0) + int(count)
        return found

    def __enter__(self) -> Server:
        self.wait()
        if self._on_device:
            self.wait_on_device()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


BATCHING = f"max_batch_size: {reference.MAX_BATCH}\ndynamic_batching: {{}}\n"


def lay_out(folder: pathlib.Path, engines: dict[str, pathlib.Path], config: str = "") -> None:
    """A repository: served name -> engine, by hard links. config: of every model."""
    for name, engine in engines.items():
        place = folder / name / "1" / "model.engine"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        os.link(engine, place)
        (folder / name / "config.yaml").write_text(config or "{}\n")


def serve(verdict: Verdict, repository: pathlib.Path, log: pathlib.Path,
          settings: Sequence[str] = ()) -> Server:
    """settings: KEY=VALUE of the server's configuration."""
    ports = free_ports()
    models = sorted(path.name for path in repository.iterdir() if path.is_dir())
    on_device = verdict.backend != CPU
    backend = ["--set", f"device.backend={verdict.backend}"] if on_device else []
    command = [str(verdict.binary), "serve", "--repository", str(repository), "--host",
               "127.0.0.1", "--http-port", str(ports.http), "--grpc-port", str(ports.grpc),
               "--metrics-port", str(ports.metrics), "--drain-ms", "0", *backend,
               *(word for setting in ("admin.port=0", *settings) for word in ("--set", setting))]
    return Server(command, ports, models, log, on_device)


def load(verdict: pathlib.Path, server: Server, model: str, inputs: pathlib.Path,
         folder: pathlib.Path, duration_s: float, *flags: object, protocol: str = "http-json",
         warmup_s: float = 0.3, timeout_s: float = 60) -> dict:
    """A run of `verdict load`: what its JSON document says, without the histograms' buckets."""
    return _load(verdict, server, model, folder, timeout_s, "--input-data", inputs,
                 "--duration", duration_s, "--warmup", warmup_s, *flags, protocol=protocol)


def replay(verdict: pathlib.Path, server: Server, model: str, bodies: Sequence[str],
           folder: pathlib.Path, connections: int, threads: int, timeout_s: float) -> dict:
    """The same of JSON bodies that are all due at once, so that each connection sends its next as
    soon as it is answered."""
    recording = folder / "load.jsonl"
    recording.write_text("".join(json.dumps({"at_us": 0, "body": body}) + "\n" for body in bodies))
    return _load(verdict, server, model, folder, timeout_s, "--replay", recording,
                 "--connections", connections, "--threads", threads, protocol="http-replay")


def _load(verdict: pathlib.Path, server: Server, model: str, folder: pathlib.Path,
          timeout_s: float, *flags: object, protocol: str) -> dict:
    result = folder / "load.json"
    result.unlink(missing_ok=True)
    port = server.ports.grpc if protocol == "grpc" else server.ports.http
    words: list[object] = [
        verdict, "load", "--model", model, "--url", f"127.0.0.1:{port}",
        "--protocol", "grpc" if protocol == "grpc" else "http", "--json-out", result, *flags]
    if protocol == "http-json":
        words.append("--json")
    call(*words, timeout_s=timeout_s)
    document = json.loads(result.read_text())
    latency = document["latency_us"]
    return {"per_s": document["throughput_per_s"], "mean": latency["mean"], "p50": latency["p50"],
            "p99": latency["p99"], "requests": document["requests"],
            "answers": document["answers"], "warnings": document["warnings"]}
