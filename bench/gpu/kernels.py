"""Part "kernels": each reference model in TensorRT, in Verdict and in PyTorch.

First everything is built and checked, several programs at a time; then, with the card to itself,
one cell after the other is timed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

import numpy as np

from . import parser_onnx, programs, reference, served
from .record import Record

HALF = ("R4b", "R6", "R9")  # also in float16, also on streams
COMPILED_BATCHES = (1, 32)
TORCH_MODELS = ("R1", "R4a", "R4b", "R5", "R6", "R7", "R8", "R9", "R11")
# The slowest builds first, so that no core waits for one at the end.
BUILD_ORDER = ("R9", "R6", "R5", "R11", "R7", "R8", "R4b", "R4a", "R1", "R3", "R2a")
TORCH_START_S, TORCH_CELL_S, COMPILED_CELL_S = 10, 0.5, 8
BENCH = pathlib.Path(__file__).resolve().parents[1]


class Kernels:
    def __init__(self, args: argparse.Namespace, record: Record) -> None:
        self.args, self.record, self.clock = args, record, record.clock
        self.verdict = programs.Verdict(args.verdict, args.backend, self.clock, args.build_cap)
        self.on_cpu = programs.Verdict(args.verdict, programs.CPU, self.clock)
        self.names = [n for n in reference.ALL if n in args.only
                      and (self._model(n).exists() or n in make_by_script(args))]
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
                                   self._shapes(name), flags,
                                   min(self.args.build_cap, self.clock.left()))

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

    def _torch(self, names: list[str], modes: str, batches: tuple[int, ...], duration_s: float,
               cap_s: float = math.inf) -> str:
        """Its cells are recorded as they come, but those that only compile."""
        environment = programs.ENVIRONMENT | {
            "PYTHONPATH": str(BENCH), "PYTHONUNBUFFERED": "1",
            "TORCHINDUCTOR_CACHE_DIR": str(self.args.out / "inductor"),
            "TORCHINDUCTOR_COMPILE_THREADS": "4"}
        cap_s = min(cap_s, self.clock.left())
        worker = subprocess.Popen(
            [sys.executable, "-m", "gpu.torch_worker", "--models", self.args.models, "--inputs",
             self.inputs, "--only", ",".join(names), "--modes", modes, "--batches",
             ",".join(map(str, batches)), "--duration", str(duration_s),
             "--device", self.args.device],
            stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True)
        over = threading.Event()

        def stop() -> None:
            over.set()
            os.killpg(worker.pid, signal.SIGKILL)  # and its compilers
        watchdog = threading.Timer(cap_s, stop)
        watchdog.start()
        errors = []
        for line in worker.stdout:
            found = json.loads(line)
            if duration_s:
                self.record.put(found.pop("cell"), found)
            elif "error" in found:
                errors.append(f"{found['cell']}: {found['error']}")
        watchdog.cancel()
        status = worker.wait()
        if over.is_set():
            raise programs.ProgramFailed(f"PyTorch: not ended in {cap_s:.0f} s")
        if status != 0:
            raise programs.ProgramFailed(f"PyTorch's process ended with {status}")
        if errors:
            raise programs.ProgramFailed("; ".join(errors))
        return "done"

    def _cells(self, kind: str, name: str, precision: str) -> list[str]:
        """What the engine is timed for: on another machine it is built again for that alone."""
        if kind == "bare":
            return [f"bare/{name}/{precision}"]
        cells = [f"verdict/{name}/{precision}/{batch}" for batch in reference.BATCHES]
        if precision == "tf32" and "served" in self.args.what:
            cells += served.cells(name, self.args.spin_us)
        return cells

    def build(self) -> None:
        tasks = []
        order = [(n, p) for p in ("fp16", "tf32") for n in BUILD_ORDER
                 if n in self.names and p in self._precisions(n)]
        for name, precision in order:
            kinds = [("verdict", self._build_verdict, self.engine(name, precision), 1)]
            if name not in reference.TREES:
                kinds.append(("bare", self._build_bare, self._plan(name, precision), 0.4))
            tasks += [(f"build {kind}/{name}/{precision}",
                       lambda build=build, n=name, p=precision: build(n, p),
                       share * programs.build_s(name, precision), file)
                      for kind, build, file, share in kinds if kind in self.args.what
                      and self.record.missing([f"build {kind}/{name}/{precision}",
                                               *self._cells(kind, name, precision)])]
        if "torch" in self.args.what:  # torch.compile's cache is filled meanwhile
            tasks += [(f"compile torch/{name}",
                       lambda n=name: self._torch([n], "compiled", COMPILED_BATCHES, 0,
                                                  self.args.compile_cap), 40)
                      for name in sorted(TORCH_MODELS, key=lambda n: n not in HALF)
                      if name in self.names]
        self.record.stage("build", self.args.jobs)
        with concurrent.futures.ThreadPoolExecutor(self.args.jobs) as pool:
            concurrent.futures.wait([pool.submit(self.record.attempt, *task) for task in tasks])

    # Timing, one at a time.

    def time_bare(self) -> None:
        for name in self.names:
            for precision in self._precisions(name):
                if not self.record.has(f"build bare/{name}/{precision}"):
                    continue
                streams = served.BARE_STREAMS if name in HALF and precision == "tf32" else (1,)
                # Enqueued, as a graph, and on each number of streams, of several twice.
                each_s = 1.1 * self.args.duration * (2 + len(streams) * (2 if streams[1:] else 1))
                self.record.attempt(
                    f"bare/{name}/{precision}",
                    lambda n=name, p=precision, s=streams: self._time_bare(n, p, s),
                    4 + len(reference.BATCHES) * each_s)

    def _time_bare(self, name: str, precision: str, streams: Sequence[int]) -> object:
        cases = {batch: (self._arrays(name, batch, "in"), self._want(name, batch))
                 for batch in reference.BATCHES}
        return programs.bare_time(
            self.args.trt_bare, self._plan(name, precision), cases, self.inputs,
            self.args.duration, reference.TOLERANCES[precision], streams, self.clock.left())

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
                            self.engine(n, p), self._file(n, b, "in"), self.args.duration), 2)

    def time_torch(self) -> None:
        names = [n for n in TORCH_MODELS if n in self.names]
        compiled = [n for n in names if self.record.has(f"compile torch/{n}")]
        graph = ["graph"] if self.args.device == "cuda" else []
        self._time_torch(names, ["eager", *graph], reference.BATCHES, TORCH_CELL_S)
        self._time_torch(compiled, ["compiled"], COMPILED_BATCHES, COMPILED_CELL_S)

    def _time_torch(self, names: list[str], modes: list[str], batches: tuple[int, ...],
                    cell_s: float) -> None:
        """One process for all models of which a cell is missing: its start takes seconds."""
        def cells(name: str) -> list[str]:
            return [f"torch {mode}/{name}/{batch}" for mode in modes for batch in batches]
        left = [name for name in names if self.record.missing(cells(name))]
        if not left:
            return
        wanted = [cell for name in left for cell in cells(name)]
        self.record.guard(
            f"run torch {','.join(modes)}", wanted,
            lambda: self._torch(left, ",".join(modes), batches, self.args.duration),
            TORCH_START_S + len(wanted) * (1.2 * self.args.duration + cell_s))

    def run(self) -> None:
        if not self.record.planning:
            self.make_inputs()
        self.record.put("notes", {n: t for n, t in parser_onnx.NOTES.items() if n in self.names})
        what = self.args.what
        if {"bare", "verdict", "torch"} & what:
            self.build()
        if self.args.build_only:
            return
        self.record.stage("time")
        if "bare" in what:
            self.time_bare()
        if "verdict" in what:
            self.time_verdict()
        if "served" in what:
            served.measure(self.args, self.verdict, self.record, {
                name: (self.engine(name, "tf32"),
                       {b: self._file(name, b, "in") for b in reference.BATCHES})
                for name in HALF if self.record.has(f"build verdict/{name}/tf32")})
        if "torch" in what:
            self.time_torch()


def make_by_script(args: argparse.Namespace) -> list[str]:
    """The networks that are missing; they need nothing but numpy and onnx."""
    return [n for n in TORCH_MODELS if n != "R1" and n in args.only
            and not (args.models / f"{n}.onnx").exists()]


def make_models(args: argparse.Namespace) -> None:
    missing = make_by_script(args)
    if missing:
        subprocess.run([sys.executable, BENCH / "models" / "make_reference_models.py", "--out",
                        args.models, "--only", ",".join(missing)], check=True, env=os.environ)


def run(args: argparse.Namespace, record: Record) -> None:
    if not record.planning:
        make_models(args)
    record.put("duration_s", args.duration)
    Kernels(args, record).run()
