"""Builds a model in float32 and in other precisions with `verdict build`, and times its peers."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
from sklearn.metrics import roc_auc_score

from . import build_output, peers
from .case import Case, Row

MAX_BATCH = 128
TOLERANCE = 1e-5  # float32 against ONNX Runtime, on scores
REFUSED = 1  # exit status of `verdict build` that writes no engine; 2 is a flag it does not have


def run(*command: object, allowed: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    """Ends the program at another exit status than those that are allowed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode not in allowed:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
    return done


def _float32_scores(verdict: pathlib.Path, case: Case, engine: pathlib.Path,
                    inputs: dict[str, np.ndarray], expected: np.ndarray) -> np.ndarray:
    """Of all rows; ends the program if they are not ONNX Runtime's, which are `expected`."""
    parts = []
    with tempfile.TemporaryDirectory() as scratch:
        given, out = pathlib.Path(scratch, "in.npz"), pathlib.Path(scratch, "out.npz")
        for first in range(0, len(expected), MAX_BATCH):
            np.savez(given, **{k: x[first:first + MAX_BATCH] for k, x in inputs.items()})
            run(verdict, "run", engine, "--inputs", given, "--outputs", out)
            with np.load(out) as file:
                parts.append(file[case.output][:, -1])
    scores = np.concatenate(parts)
    off = float(np.abs(scores - expected).max())
    if not off <= TOLERANCE:
        sys.exit(f"{case.name}: float32 is off ONNX Runtime by {off:.1e}")
    return scores


def _bench_us(verdict: pathlib.Path, case: Case, engine: pathlib.Path, batch: int) -> float:
    done = run(verdict, "bench", "--loadEngine", engine, "--shapes", case.shapes(batch),
               "--duration", 1)
    return 1e3 * float(re.search(rf"median = {build_output.NUMBER} ms", done.stdout)[1])


def measure(case: Case, precisions: list[str], verdict: pathlib.Path) -> list[Row]:
    """A row for each of the precisions, which are flags of `verdict build` without the dashes."""
    inputs, labels = case.read_held_out()
    peer = peers.OnnxRuntime(case.onnx, case.output)
    expected = peer.scores(inputs)
    folder = case.folder
    floating = folder / f"{case.name}.float.engine"
    build = [verdict, "build", "--onnx", case.onnx, "--minShapes", case.shapes(1),
             "--optShapes", case.shapes(32), "--maxShapes", case.shapes(MAX_BATCH)]
    run(*build, "--saveEngine", floating)
    scores = _float32_scores(verdict, case, floating, inputs, expected)
    times = {"ONNX Runtime": peer.times_us(inputs)}
    for precision in ("f32", "bf16"):
        times[f"OpenVINO {precision}"] = peers.openvino_times_us(
            case.onnx, case.output, precision, inputs, expected)

    rows = []
    for precision in precisions:
        engine = folder / f"{case.name}.{precision}.engine"
        engine.unlink(missing_ok=True)
        done = run(*build, "--saveEngine", engine, f"--{precision}",
                   "--precisionConstraints", "none" if precision == "best" else "obey",
                   "--calib", folder / case.samples, "--evaluate", folder / case.held_out,
                   "--report", folder / f"{case.name}.{precision}.html", allowed=(0, REFUSED))
        note = build_output.reason(done.stderr, engine.exists())
        report = None
        if engine.exists():
            text = run(verdict, "inspect", "--json", engine).stdout
            metadata = json.loads(text)["metadata"]
            report = json.loads(metadata.get("precision_report", "null"))
        speeds = build_output.speeds(done.stdout, report["precision"] if report else note)
        if not speeds:
            speeds = [[_bench_us(verdict, case, floating, batch)] for batch in peers.BATCHES]
        size = engine.stat().st_size if engine.exists() else None
        rows.append(Row(case.name, case.what, precision, float(roc_auc_score(labels, scores)),
                        report, note, (floating.stat().st_size, size), speeds, times))
    return rows
