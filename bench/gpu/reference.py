"""The reference models' inputs, and what ONNX Runtime makes of them on the CPU."""

from __future__ import annotations

import pathlib

import numpy as np
import onnxruntime

BATCHES = (1, 8, 32, 128)
MAX_BATCH = 128
OPT_BATCH = 32
EVENTS = 128  # of R9
IDS = 100  # every embedding table of R5 and R11 has at least so many rows
# Largest difference allowed, relative plus absolute, of scores and states: float32 products are
# taken in TF32 by TensorRT and PyTorch alike, which keeps 10 bits of the mantissa.
TOLERANCES = {"fp32": 1e-4, "tf32": 2e-3, "fp16": 1e-2, "cpu": 1e-5}

Arrays = dict[str, np.ndarray]

TREES = ("R2a", "R3")
ALL = ("R1", "R2a", "R3", "R4a", "R4b", "R5", "R6", "R7", "R8", "R9", "R11")


def session(path: pathlib.Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def make_inputs(path: pathlib.Path, batch: int) -> Arrays:
    """Seeded: normal floats, ids of every table, and for R9 from 8 to 128 real events a row."""
    rng = np.random.default_rng(batch)
    inputs = {}
    for value in session(path).get_inputs():
        shape = [batch, *(d if isinstance(d, int) else EVENTS for d in value.shape[1:])]
        if value.type == "tensor(int64)":
            inputs[value.name] = rng.integers(0, IDS, shape)
        elif value.type == "tensor(bool)":
            real = rng.integers(8, shape[1] + 1, batch)
            inputs[value.name] = np.arange(shape[1]) >= real[:, None]
        else:
            inputs[value.name] = rng.standard_normal(shape, dtype=np.float32)
    return inputs


def expected(path: pathlib.Path, inputs: Arrays) -> Arrays:
    """Float outputs by name."""
    of = session(path)
    found = dict(zip((o.name for o in of.get_outputs()), of.run(None, inputs)))
    return {name: value for name, value in found.items() if value.dtype == np.float32}


def difference(got: Arrays, want: Arrays) -> float:
    """The largest, relative plus absolute, over the outputs that both have; inf if none or a shape
    differs. A single probability is compared with the last of several: that of fraud."""
    worst, compared = 0.0, 0
    for name, value in want.items():
        if name not in got:
            continue
        other = got[name]
        if value.ndim == 2 and other.shape == (len(value), 1) and value.shape[1] == 2:
            value = value[:, 1:]
        if other.size != value.size:
            return float("inf")
        off = np.abs(other.reshape(value.shape) - value) / (1 + np.abs(value))
        worst, compared = max(worst, float(off.max())), compared + 1
        if not np.isfinite(off).all():
            return float("inf")
    return worst if compared else float("inf")


def shapes(inputs: Arrays, batch: int) -> str:
    """"x:32x100,ids:32x26", as trtexec and `verdict` take them."""
    return ",".join(f"{name}:{'x'.join(map(str, (batch, *value.shape[1:])))}"
                    for name, value in inputs.items())
