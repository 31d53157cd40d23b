"""Part "models": sixteen different models on the card in one server, and what each takes there.

What the server reports is held against nvidia-smi: the memory of all models together, and each of
NVML's figures.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import pathlib
import re
import shutil
import threading
import time
from collections.abc import Callable

import numpy as np
import onnx

from comparison.servers import free_ports
from models import neural_models

from . import kernels, machine, programs, reference, served
from .record import Record

WANTED = 16
# Where the reference models and their halves are too few: the same kinds in other sizes.
VARIANTS: dict[str, Callable[[], onnx.ModelProto]] = {
    "R4-small": lambda: neural_models.mlp((64, 128, 64, 1)),
    "R4-wide": lambda: neural_models.mlp((286, 256, 128, 1)),
    "R6-one-layer": lambda: neural_models.recurrent("LSTM", layers=1),
    "R7-one-layer": lambda: neural_models.recurrent("GRU", layers=1),
    "R8-small": lambda: neural_models.gru_step(64, 128),
    "R8-wide": lambda: neural_models.gru_step(128, 512),
    "R11-small": lambda: neural_models.dcn_v2(13, 8, 1_000),
}
ROWS = 8
LOAD_S = 4
# A metric of the server, nvidia-smi's field, and what its unit is in the metric's.
FIGURES = (
    ("nv_gpu_utilization", "utilization.gpu", 0.01),
    ("nv_gpu_memory_total_bytes", "memory.total", 2**20),
    ("nv_gpu_memory_used_bytes", "memory.used", 2**20),
    ("nv_gpu_power_usage", "power.draw", 1),
    ("nv_gpu_power_limit", "enforced.power.limit", 1),
    ("verdict_gpu_temperature_celsius", "temperature.gpu", 1),
    ('verdict_gpu_clock_hertz{clock="sm"}', "clocks.sm", 1e6),
    ('verdict_gpu_clock_hertz{clock="memory"}', "clocks.mem", 1e6),
    ('verdict_gpu_ecc_errors_total{kind="corrected"}', "ecc.errors.corrected.volatile.total", 1),
    ('verdict_gpu_ecc_errors_total{kind="uncorrected"}', "ecc.errors.uncorrected.volatile.total",
     1),
)


def metric(text: str, name: str) -> float | None:
    """Of the first card: of an exposition's text. name: with one label of its own, or none."""
    family, _, label = name.partition("{")
    for line in text.splitlines():
        found = re.match(rf"{re.escape(family)}\{{([^}}]*)\}} (\S+)", line)
        if found and label.rstrip("}") in found[1]:
            return float(found[2])
    return None


class Models:
    def __init__(self, args: argparse.Namespace, record: Record) -> None:
        self.args, self.record = args, record
        self.verdict = programs.Verdict(args.verdict, args.backend, record.clock, args.build_cap)
        self.engines = args.out / "engines"
        self.engines.mkdir(parents=True, exist_ok=True)
        self.variants = args.out / "variants"
        self.variants.mkdir(parents=True, exist_ok=True)

    def _onnx(self, name: str) -> pathlib.Path:
        return (self.variants if name in VARIANTS else self.args.models) / f"{name}.onnx"

    def _engine(self, name: str, precision: str) -> pathlib.Path:
        return self.engines / f"{name}.{precision}.engine"

    def _build(self, name: str) -> dict:
        if name in VARIANTS:
            onnx.save(VARIANTS[name](), self._onnx(name))
        inputs = reference.make_inputs(self._onnx(name), 1)
        shapes = [reference.shapes(inputs, batch)
                  for batch in (1, reference.OPT_BATCH, reference.MAX_BATCH)]
        return self.verdict.build(self._onnx(name), self._engine(name, "tf32"), shapes, "tf32")

    def _chosen(self) -> dict[str, tuple[str, str]]:
        """Served name -> model, precision. Halves are those that part kernels has left here."""
        wanted = [(n, "tf32") for n in kernels.TORCH_MODELS
                  if self._onnx(n).exists() or n in kernels.make_by_script(self.args)]
        wanted += [(n, "fp16") for n in kernels.HALF
                   if self.record.exists(self._engine(n, "fp16"))]
        wanted += [(n, "tf32") for n in VARIANTS]
        return {f"{n}-{p}": (n, p) for n, p in wanted[:WANTED]}

    def build(self) -> None:
        """Engines that part kernels has left here are taken as they are."""
        self.record.stage("build", self.args.jobs)
        names = [n for n, p in self._chosen().values()
                 if not self.record.exists(self._engine(n, p))]
        with concurrent.futures.ThreadPoolExecutor(self.args.jobs) as pool:
            concurrent.futures.wait([
                pool.submit(self.record.attempt, f"models build/{n}", lambda n=n: self._build(n),
                            programs.build_s(n, "tf32"), self._engine(n, "tf32"))
                for n in names])

    def _answers(self, server: programs.Server, chosen: dict[str, tuple[str, str]]) -> dict:
        """Every model's difference from ONNX Runtime. Errors: ProgramFailed: one is too far off."""
        found = {}
        for name, (model, precision) in chosen.items():
            inputs = reference.make_inputs(self._onnx(model), ROWS)
            want = reference.expected(self._onnx(model), inputs)
            off = reference.difference(served.ask(server, name, inputs), want)
            if not off <= reference.TOLERANCES[precision]:
                raise programs.ProgramFailed(f"{name} is off ONNX Runtime by {off:.1e}")
            found[name] = off
        return found

    def _figures(self, server: programs.Server) -> dict:
        """While one model is asked as fast as it answers: an idle card's figures say little."""
        name, inputs = "R9-tf32", self.args.out / "models-load.npz"
        np.savez(inputs, **reference.make_inputs(self._onnx("R9"), ROWS))
        load = threading.Thread(target=programs.load, args=(
            self.args.verdict, server, name, inputs, self.args.out, LOAD_S, "--concurrency", 8),
            kwargs={"protocol": "http-binary"})
        load.start()
        time.sleep(LOAD_S * 0.6)
        said = machine.ask(",".join(field for _, field, _ in FIGURES))
        text = server.metrics()
        load.join()
        found = {}
        for (name, field, unit), value in zip(FIGURES, said):
            number = float(value) * unit if re.fullmatch(r"[\d.]+", value) else None
            found[name] = {"metric": metric(text, name), "field": field, "nvidia_smi": number}
        return found

    def _measure(self) -> str:
        chosen = self._chosen()
        built = {name: of for name, of in chosen.items() if self._engine(*of).exists()}
        if len(built) < WANTED:
            raise programs.ProgramFailed(f"of {WANTED} models only {len(built)} are built")
        repository = self.args.out / "repository-models"
        shutil.rmtree(repository, ignore_errors=True)
        programs.lay_out(repository, {name: self._engine(*of) for name, of in chosen.items()},
                         programs.BATCHING)
        admin = free_ports().http
        idle = machine.memory_used_mib() if self.verdict.backend != programs.CPU else 0.0
        start = time.monotonic()
        with programs.serve(self.verdict, repository, self.args.out / "serve-models.log",
                            [f"admin.port={admin}"]) as server:
            self.record.put("models/ready_s", time.monotonic() - start)
            self.record.attempt("models/answers", lambda: self._answers(server, chosen), 5)
            (device,) = json.loads(programs.get(admin, "/v2/devices"))["devices"]
            self.record.put("models/devices", device)
            if self.verdict.backend != programs.CPU:
                self.record.put("models/memory_mib", machine.memory_used_mib() - idle)
            self.record.attempt("models/figures", lambda: self._figures(server), 8)
            server.refuse_cpu()
        return "done"

    def run(self) -> None:
        cells = ["models/answers", "models/devices", "models/memory_mib", "models/figures"]
        if self.record.missing(["models", *cells]):
            self.build()
        if self.args.build_only:
            return
        self.record.stage("serve")
        self.record.guard("models", cells, self._measure, 40)


def run(args: argparse.Namespace, record: Record) -> None:
    if not record.planning:
        kernels.make_models(args)
    Models(args, record).run()
