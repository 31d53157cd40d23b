"""Part "kernels": each reference model in TensorRT, in Verdict and in PyTorch.

First everything is built and checked, several programs at a time; then, with the card to itself,
one cell after the other is timed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import threading

import numpy as np

from . import parser_onnx, programs, reference, served
from .record import Record

HALF = ("R4b", "R6", "R9")  # also in float16, also compiled by torch.compile, also on streams
COMPILED_BATCHES = (1, 32)
TORCH_MODELS = ("R1", "R4a", "R4b", "R5", "R6", "R7", "R8", "R9", "R11")
STREAMS = 4
BENCH = pathlib.Path(__file__).resolve().parents[1]


class Kernels:
    def __init__(self, args: argparse.Namespace, record: Record) -> None:
        self.args, self.record, self.clock = args, record, record.clock
        self.verdict = programs.Verdict(args.verdict, args.backend, self.clock)
        self.on_cpu = programs.Verdict(args.verdict, programs.CPU, self.clock)
        self.names = [n for n in reference.ALL if n in args.only and self._model(n).exists()]
        self.inputs = args.out / "inputs"
        self.engines = args.out / "engines"
        for folder in (self.inputs, self.engines):
            folder.mkdir(parents=True, exist_ok=True)

    def _model(self, name: str) -> pathlib.Path:
        return self.args.models / f"{name}.onnx"

    def _file(self, name: str, batch: int, kind: str) -> pathlib.Path:
        return self.inputs / f"{name}.{batch}.{kind}.npz"

    def _arrays(self, name: str, batch: int, kind: str) -> reference.Arrays:
        with np.load(self._file(name, batch, kind)) as file:
            return dict(file)

    def _shapes(self, name: str) -> list[str]:
        inputs = self._arrays(name, 1, "in")
        return [reference.shapes(inputs, batch)
                for batch in (1, reference.OPT_BATCH, reference.MAX_BATCH)]

    def _precisions(self, name: str) -> tuple[str, ...]:
        if name in reference.TREES:
            return ("tf32",)
        return ("tf32", "fp16") if name in HALF else ("tf32",)

    def engine(self, name: str, precision: str) -> pathlib.Path:
        return self.engines / f"{name}.{precision}.engine"

    def _plan(self, name: str, precision: str) -> pathlib.Path:
        return self.engines / f"{name}.{precision}.plan"

    def make_inputs(self) -> None:
        for name in self.names:
            for batch in reference.BATCHES:
                if self._file(name, batch, "want").exists():
                    continue
                inputs = reference.make_inputs(self._model(name), batch)
                np.savez(self._file(name, batch, "in"), **inputs)
                np.savez(self._file(name, batch, "want"),
                         **reference.expected(self._model(name), inputs))

    def _program(self, name: str) -> programs.Verdict:
        """Trees are the CPU's, whose plan every engine has."""
        return self.on_cpu if name in reference.TREES else self.verdict

    # Building, several at a time.

    def _build_bare(self, name: str, precision: str) -> dict:
        onnx = parser_onnx.write(name, self._model(name), self.engines)
        flags = ["--fp16"] if precision == "fp16" else []
        return programs.bare_build(self.args.trt_bare, onnx, self._plan(name, precision),
                                   self._shapes(name), flags, self.clock.left())

    def _build_verdict(self, name: str, precision: str) -> dict:
        engine = self.engine(name, precision)
        program = self._program(name)
        built = program.build(self._model(name), engine, self._shapes(name), precision)
        for batch in reference.BATCHES:
            off = program.difference(engine, self._file(name, batch, "in"),
                                          self._arrays(name, batch, "want"))
            if not off <= reference.TOLERANCES[precision]:
                raise programs.ProgramFailed(f"batch {batch} is off ONNX Runtime by {off:.1e}")
            built[f"difference {batch}"] = off
        return built

    def _torch(self, names: list[str], modes: str, batches: tuple[int, ...],
               duration_s: float) -> str:
        """Its cells are recorded as they come, but those that only compile."""
        environment = programs.ENVIRONMENT | {
            "PYTHONPATH": str(BENCH), "PYTHONUNBUFFERED": "1",
            "TORCHINDUCTOR_CACHE_DIR": str(self.args.out / "inductor"),
            "TORCHINDUCTOR_COMPILE_THREADS": "4"}
        worker = subprocess.Popen(
            [sys.executable, "-m", "gpu.torch_worker", "--models", self.args.models, "--inputs",
             self.inputs, "--only", ",".join(names), "--modes", modes, "--batches",
             ",".join(map(str, batches)), "--duration", str(duration_s),
             "--device", self.args.device],
            stdout=subprocess.PIPE, text=True, env=environment)
        watchdog = threading.Timer(self.clock.left(), worker.kill)
        watchdog.start()
        for line in worker.stdout:
            found = json.loads(line)
            if duration_s:
                self.record.put(found.pop("cell"), found)
        watchdog.cancel()
        if worker.wait() != 0:
            raise programs.ProgramFailed(f"PyTorch's process ended with {worker.returncode}")
        return "done"

    def build(self) -> None:
        tasks = []
        # The slowest first, so that no core waits for one at the end.
        for name in sorted(self.names, key=lambda n: -self._model(n).stat().st_size):
            for precision in self._precisions(name):
                kinds = [("verdict", self._build_verdict, self.engine(name, precision))]
                if name not in reference.TREES:
                    kinds.append(("bare", self._build_bare, self._plan(name, precision)))
                tasks += [(f"build {kind}/{name}/{precision}",
                           lambda build=build, n=name, p=precision: build(n, p), 20, file)
                          for kind, build, file in kinds if kind in self.args.what]
        with concurrent.futures.ThreadPoolExecutor(self.args.jobs) as pool:
            futures = [pool.submit(self.record.attempt, *task) for task in tasks]
            # torch.compile's cache is filled meanwhile.
            compiled = [n for n in HALF if n in self.names]
            if compiled and "torch" in self.args.what:
                futures += [pool.submit(self.record.attempt, f"compile torch/{name}", lambda n=name:
                                        self._torch([n], "compiled", COMPILED_BATCHES, 0), 40)
                            for name in compiled]
            concurrent.futures.wait(futures)

    # Timing, one at a time.

    def time_bare(self) -> None:
        for name in self.names:
            for precision in self._precisions(name):
                plan = self._plan(name, precision)
                if name in reference.TREES or not plan.exists():
                    continue
                arrays = {batch: (self._arrays(name, batch, "in"), self._want(name, batch))
                          for batch in reference.BATCHES}

                def measure(name=name, precision=precision, plan=plan, arrays=arrays) -> object:
                    streams = STREAMS if name in HALF and precision == "tf32" else 1
                    return programs.bare_time(
                        self.args.trt_bare, plan, arrays, self.inputs, self.args.duration,
                        reference.TOLERANCES[precision], streams, self.clock.left())
                self.record.attempt(f"bare/{name}/{precision}", measure, 10)

    def _want(self, name: str, batch: int) -> reference.Arrays:
        """Of the parser's model, which for R1 has the probability of one class."""
        want = self._arrays(name, batch, "want")
        return {"probabilities": want["probabilities"][:, 1:]} if name == "R1" else want

    def time_verdict(self) -> None:
        for name in self.names:
            for precision in self._precisions(name):
                if not self.record.has(f"build verdict/{name}/{precision}"):
                    continue
                for batch in reference.BATCHES:
                    self.record.attempt(
                        f"verdict/{name}/{precision}/{batch}",
                        lambda n=name, p=precision, b=batch: self._program(n).bench(
                            self.engine(n, p), self._file(n, b, "in"), self.args.duration), 5)

    def time_torch(self) -> None:
        names = [n for n in TORCH_MODELS if n in self.names]
        compiled = [n for n in HALF if n in self.names]
        graph = ",graph" if self.args.device == "cuda" else ""
        for chosen, modes, batches in ((names, f"eager{graph}", reference.BATCHES),
                                       (compiled, "compiled", COMPILED_BATCHES)):
            if not chosen:
                continue
            self.record.attempt(
                f"run torch {modes}",
                lambda c=chosen, m=modes, b=batches: self._torch(c, m, b, self.args.duration), 30)

    def run(self) -> None:
        self.make_inputs()
        print(f"inputs: {self.clock.spent():.0f} s", flush=True)
        self.record.put("notes", {n: t for n, t in parser_onnx.NOTES.items() if n in self.names})
        what = self.args.what
        if {"bare", "verdict"} & what:
            self.build()
            print(f"built: {self.clock.spent():.0f} s", flush=True)
        if "bare" in what:
            self.time_bare()
        if "verdict" in what:
            self.time_verdict()
        if "served" in what:
            served.measure(self.args, self.verdict, self.record, {
                name: (self.engine(name, "tf32"),
                       {b: self._file(name, b, "in") for b in reference.BATCHES})
                for name in ("R4b", "R9") if self.record.has(f"build verdict/{name}/tf32")})
        if "torch" in what:
            self.time_torch()


def make_models(args: argparse.Namespace) -> None:
    """The networks that are missing; they need nothing but numpy and onnx."""
    missing = [n for n in TORCH_MODELS if n != "R1" and n in args.only
               and not (args.models / f"{n}.onnx").exists()]
    if missing:
        subprocess.run([sys.executable, BENCH / "models" / "make_reference_models.py", "--out",
                        args.models, "--only", ",".join(missing)], check=True, env=os.environ)


def run(args: argparse.Namespace, record: Record) -> None:
    make_models(args)
    record.put("duration_s", args.duration)
    record.put("jobs", args.jobs)
    Kernels(args, record).run()
