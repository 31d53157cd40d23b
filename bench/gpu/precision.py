"""Part "precision": what each precision of TensorRT loses in ROC-AUC and wins in time."""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import onnx

from accuracy import case

from . import programs, reference, served
from .record import Record

SEQUENCES = ("R6-like", "R9-like")
BATCHES = (1, 32)
FALSE_POSITIVE_RATE = 0.01
EXACT = "exact"  # float32 on the CPU: what the others are compared with
BENCH = pathlib.Path(__file__).resolve().parents[1]


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The share of pairs of a fraud and a genuine one in the right order; ties count half."""
    values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    frauds = int(labels.sum())
    above = ranks[labels == 1].sum() - frauds * (frauds + 1) / 2
    return float(above / (frauds * (len(labels) - frauds)))


def compare(labels: np.ndarray, exact: np.ndarray,
            scores: np.ndarray) -> dict[str, float | None]:
    """Both of the same rows: float32's scores on the CPU, and those of an engine on the card. The
    largest difference is None where a score is no number."""
    largest = float(np.abs(exact - scores).max())
    threshold = np.quantile(exact[labels == 0], 1 - FALSE_POSITIVE_RATE)
    before, after = roc_auc(labels, exact), roc_auc(labels, scores)
    return {"auc_exact": before, "auc": after, "drop": before - after,
            "flipped": int(((exact > threshold) != (scores > threshold)).sum()),
            "rows": len(labels), "frauds": int(labels.sum()),
            "largest_difference": largest if np.isfinite(largest) else None}


def only_scores(model: case.Case, folder: pathlib.Path) -> pathlib.Path:
    """The same model without its label, which no engine need compute."""
    loaded = onnx.load(model.onnx)
    if len(loaded.graph.output) == 1:
        return model.onnx
    inputs = [value.name for value in loaded.graph.input]
    target = folder / f"{model.name}.score.onnx"
    onnx.save(onnx.utils.Extractor(loaded).extract_model(inputs, [model.output]), target)
    return target


def take(source: pathlib.Path, target: pathlib.Path) -> None:
    """Adds the models of one folder, and their rows, to those of another."""
    for model in case.recall(source):
        for file in (model.onnx.name, model.samples, model.held_out):
            shutil.copy(source / file, target)
        case.remember(dataclasses.replace(model, folder=target))


class Precision:
    def __init__(self, args: argparse.Namespace, record: Record) -> None:
        self.args, self.record, self.clock = args, record, record.clock
        self.verdict = programs.Verdict(args.verdict, args.backend, self.clock, args.build_cap)
        self.on_cpu = programs.Verdict(args.verdict, programs.CPU, self.clock)
        self.trained = args.out / "trained"
        self.trained.mkdir(parents=True, exist_ok=True)
        self.engines = args.out / "engines"
        self.engines.mkdir(parents=True, exist_ok=True)

    def _train(self) -> str:
        """On the card where JAX finds it, else on the processor: the result is the same model."""
        missing = [n for n in SEQUENCES if not (self.trained / f"{n}.onnx").exists()]
        if not missing:
            return "all were there"
        command = [sys.executable, "-m", "gpu.train", "--out", self.trained, "--only",
                   ",".join(missing)]
        for platform in ("cuda", "cpu"):
            environment = os.environ | {
                "PYTHONPATH": str(BENCH), "JAX_PLATFORMS": platform,
                "JAX_DEFAULT_MATMUL_PRECISION": "highest",  # as exact as ONNX Runtime's float32
                "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
            done = subprocess.run(command, env=environment, timeout=max(1, self.clock.left()))
            if done.returncode == 0:
                return platform
        raise programs.ProgramFailed("the training failed: see above")

    def _engine(self, model: case.Case, precision: str) -> pathlib.Path:
        return self.engines / f"{model.name}.{precision}.engine"

    def _build(self, model: case.Case, source: pathlib.Path, precision: str) -> dict:
        program = self.on_cpu if precision == EXACT else self.verdict
        return program.build(source, self._engine(model, precision),
                             [model.shapes(batch) for batch in (1, 32, 128)], precision,
                             self.trained / model.samples)

    def _onnxruntime(self, model: case.Case, inputs: reference.Arrays) -> np.ndarray:
        session, rows = reference.session(model.onnx), len(next(iter(inputs.values())))
        parts = [session.run([model.output], {k: x[i:i + 512] for k, x in inputs.items()})[0]
                 for i in range(0, rows, 512)]
        return np.concatenate(parts)[:, -1]

    def _exact(self, model: case.Case, inputs: reference.Arrays) -> np.ndarray:
        """Errors: ProgramFailed where they are not ONNX Runtime's."""
        scores = self._scores(self.on_cpu, model, EXACT, inputs)
        off = float(np.abs(scores - self._onnxruntime(model, inputs)).max())
        if not off <= reference.TOLERANCES["cpu"]:
            raise programs.ProgramFailed(f"float32 on the CPU is off ONNX Runtime by {off:.1e}")
        return scores

    def _scores(self, program: programs.Verdict, model: case.Case, precision: str,
                inputs: reference.Arrays) -> np.ndarray:
        name = f"{model.name}-{precision}"
        repository = self.args.out / f"repository-{name}"
        shutil.rmtree(repository, ignore_errors=True)
        programs.lay_out(repository, {name: self._engine(model, precision)})
        with programs.serve(program, repository, self.args.out / f"serve-{name}.log") as server:
            found = served.ask(server, name, inputs)
            server.refuse_cpu()
        if model.output not in found:
            raise programs.ProgramFailed(f"the answer has no output {model.output}")
        return found[model.output][:, -1]

    def _built(self, model: case.Case) -> list[str]:
        return [p for p in programs.PRECISIONS if self.record.has(f"build/{model.name}/{p}")]

    def _measure(self, model: case.Case) -> str:
        inputs, labels = model.read_held_out()
        exact = self._exact(model, inputs)
        built = self._built(model)
        for p in built:
            self.record.attempt(f"score/{model.name}/{p}", lambda p=p: compare(
                labels, exact, self._scores(self.verdict, model, p, inputs)), 10)
        for p in built:
            for batch in BATCHES:
                self.record.attempt(f"time/{model.name}/{p}/{batch}",
                                    lambda p=p, b=batch: self._time(model, p, inputs, b), 5)
        return "done"

    def _time(self, model: case.Case, precision: str, inputs: reference.Arrays,
              batch: int) -> dict:
        file = self.args.out / f"{model.name}.{batch}.npz"
        np.savez(file, **{k: x[:batch] for k, x in inputs.items()})
        return self.verdict.bench(self._engine(model, precision), file, self.args.duration)

    def _cells(self, model: case.Case, precisions: Sequence[str]) -> list[str]:
        return [*(f"score/{model.name}/{p}" for p in precisions),
                *(f"time/{model.name}/{p}/{b}" for p in precisions for b in BATCHES)]

    def _builds(self, model: case.Case) -> list[tuple[str, object, float, pathlib.Path]]:
        """Of what is still to be measured."""
        source = model.onnx if self.record.planning else only_scores(model, self.engines)
        return [(f"build/{model.name}/{p}", lambda p=p: self._build(model, source, p),
                 10 if p == EXACT else programs.build_s(model.name, p), self._engine(model, p))
                for p in (EXACT, *programs.PRECISIONS)
                if self.record.missing([f"build/{model.name}/{p}", *self._cells(
                    model, programs.PRECISIONS if p == EXACT else [p])])]

    def run(self) -> None:
        attempt = self.record.attempt
        self.record.stage("train")
        folder = self.trained
        if self.args.trained and self.record.planning:
            folder = self.args.trained
        elif self.args.trained:
            take(self.args.trained, self.trained)
        if not (folder / f"{SEQUENCES[-1]}.onnx").exists():
            attempt("train", self._train, 120, self.trained / f"{SEQUENCES[-1]}.onnx")
        cases = [c for c in case.recall(folder) if c.onnx.exists()]
        self.record.put("cases", {c.name: {"what": c.what, "source": c.source} for c in cases})
        self.record.stage("build", self.args.jobs)
        with concurrent.futures.ThreadPoolExecutor(self.args.jobs) as pool:
            # The slowest first, so that no core waits for one at the end.
            builds = sorted((b for model in cases for b in self._builds(model)),
                            key=lambda b: -b[2])
            concurrent.futures.wait([pool.submit(attempt, *b) for b in builds])
        if self.args.build_only:
            return
        self.record.stage("score and time")
        for model in cases:
            built = self._built(model)
            self.record.guard(f"measure/{model.name}", self._cells(model, built),
                              lambda m=model: self._measure(m), 10 + 10 * len(built))


def run(args: argparse.Namespace, record: Record) -> None:
    Precision(args, record).run()
