#!/usr/bin/env python3
"""Reference models on `verdict bench` and on ONNX Runtime, in turns, as a Markdown table.

One thread each. Results are compared on the same inputs before anything is timed. Each figure is
the median latency of the median of --rounds rounds; the two programs alternate, so that a machine
whose speed drifts slows both.

Usage: against_onnxruntime.py --models DIR [--only R1,R4a] [--batches 1,32,128]
                              [--rounds 3] [--duration 1]
  DIR is where bench/models/make_reference_models.py wrote them.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parents[1]
BINARY = pathlib.Path(os.environ.get("TESTED_BINARY", ROOT / "build" / "verdict"))
PEER = ROOT / "bench" / "peers" / "onnxruntime_bench.py"
TOLERANCE = 1e-5


def call(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def median_us(output: str) -> float:
    return 1e3 * float(re.search(r"median = (\S+) ms", output)[1])


def make_inputs(session: onnxruntime.InferenceSession, batch: int) -> dict[str, np.ndarray]:
    """Seeded; the first axis is the batch, every other free axis 128 (R9's events)."""
    rng = np.random.default_rng(0)
    inputs = {}
    for value in session.get_inputs():
        rest = [d if isinstance(d, int) else 128 for d in value.shape[1:]]
        shape = [batch, *rest]
        if value.type == "tensor(float)":
            inputs[value.name] = rng.standard_normal(shape, dtype=np.float32)
        else:
            kind = {"tensor(int64)": np.int64, "tensor(bool)": np.bool_}[value.type]
            inputs[value.name] = np.zeros(shape, kind)
    return inputs


def largest_difference(model: pathlib.Path, engine: pathlib.Path, npz: pathlib.Path,
                       session: onnxruntime.InferenceSession, folder: pathlib.Path) -> float:
    """Relative plus absolute, over all float outputs; ends the run if a label differs or it is over
    1e-5."""
    out = folder / "out.npz"
    call(BINARY, "run", engine, "--inputs", npz, "--outputs", out)
    expected = session.run(None, dict(np.load(npz)))
    worst = 0.0
    with np.load(out) as got:
        for value, want in zip(session.get_outputs(), expected):
            if np.issubdtype(want.dtype, np.floating):
                difference = np.abs(got[value.name] - want) / (1 + np.abs(want))
                worst = max(worst, float(difference.max()))
            elif not np.array_equal(got[value.name], want):
                sys.exit(f"{model}: output {value.name} differs")
    if not worst <= TOLERANCE:
        sys.exit(f"{model}: an output is off by {worst:.1e}")
    return worst


def processor() -> str:
    text = pathlib.Path("/proc/cpuinfo").read_text()
    found = re.search(r"model name\s*: (.*)", text)
    return f"{found[1] if found else platform.processor()}, {os.cpu_count()} cores"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=pathlib.Path, required=True)
    parser.add_argument("--only", default="R1,R4a,R4b,R6")
    parser.add_argument("--batches", default="1,32,128")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--duration", type=float, default=1, help="seconds a round")
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures there")
    args = parser.parse_args()

    rows = []
    print(f"{processor()}; ONNX Runtime {onnxruntime.__version__}; float32, one thread\n")
    print("| model | batch | verdict, us | ONNX Runtime, us | ratio | largest difference |")
    print("|---|---|---|---|---|---|")
    for name in args.only.split(","):
        model = args.models / f"{name}.onnx"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(model), options)
        for batch in map(int, args.batches.split(",")):
            with tempfile.TemporaryDirectory() as scratch:
                folder = pathlib.Path(scratch)
                inputs = make_inputs(session, batch)
                npz, engine = folder / "in.npz", folder / "model.engine"
                np.savez(npz, **inputs)
                shapes = ",".join(f"{k}:{'x'.join(map(str, v.shape))}" for k, v in inputs.items())
                call(BINARY, "build", "--onnx", model, "--saveEngine", engine, "--shapes", shapes)
                worst = largest_difference(model, engine, npz, session, folder)
                ours, theirs = [], []
                for _ in range(args.rounds):
                    ours.append(median_us(call(BINARY, "bench", "--loadEngine", engine,
                                               "--loadInputs", npz, "--duration", args.duration)))
                    theirs.append(median_us(call(sys.executable, PEER, model, "--inputs", npz,
                                                 "--duration", args.duration)))
            us, them = statistics.median(ours), statistics.median(theirs)
            rows.append({"model": name, "batch": batch, "verdict_us": us, "onnxruntime_us": them,
                         "largest_difference": worst})
            print(f"| {name} | {batch} | {us:.2f} | {them:.2f} | {them / us:.2f}x | {worst:.0e} |",
                  flush=True)
    if args.json:
        args.json.write_text(json.dumps({"machine": processor(), "rows": rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
