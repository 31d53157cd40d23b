#!/usr/bin/env python3
"""Writes the reference models the benchmarks run on, as ONNX, with an index of their inputs.

Shapes of published real-time fraud systems. Weights of the networks are random and seeded; the
tree ensembles and the logistic regression are trained on seeded synthetic data.

Usage: make_reference_models.py --out DIR [--only R1,R4a] [--large]
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Callable

import numpy as np
import onnx

import neural_models
import trained_models

MODELS: dict[str, tuple[str, Callable[[], onnx.ModelProto]]] = {
    "R1": ("scaler + logistic regression, 30", trained_models.logistic_regression),
    "R2a": ("XGBoost, 500 trees of depth 3, 400 with NaN",
            lambda: trained_models.xgboost_model(trees=500, depth=3, rows=20_000)),
    "R2b": ("XGBoost, 5,000 trees of depth 12, 400 with NaN",
            lambda: trained_models.xgboost_model(trees=5_000, depth=12, rows=100_000)),
    "R3": ("LightGBM, 1,000 trees of 64 leaves, 200", trained_models.lightgbm_model),
    "R4a": ("MLP 286-128-64-1", lambda: neural_models.mlp((286, 128, 64, 1))),
    "R4b": ("MLP 100-512-256-128-1", lambda: neural_models.mlp((100, 512, 256, 128, 1))),
    "R5": ("ResNeXt-like tabular, 1,024 + 32 embeddings", neural_models.resnext),
    "R6": ("LSTM 7 x 220, two layers of 200", lambda: neural_models.recurrent("LSTM")),
    "R7": ("GRU 7 x 220, two layers of 200", lambda: neural_models.recurrent("GRU")),
    "R8": ("GRU step with its state, 128 + 256", neural_models.gru_step),
    "R9": ("transformer, 128 x 32, d 128, 4 layers", neural_models.transformer),
    "R11": ("DCN-v2, 26 categorical + 13 numeric", neural_models.dcn_v2),
}
LARGE = ("R2b",)  # Minutes of training and a file over 100 MB: only on request.


def inputs_of(model: onnx.ModelProto) -> dict[str, list[int | str]]:
    """Input name -> dimensions, the dynamic ones by their symbol."""
    return {value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            for value in model.graph.input}


def weights_of(model: onnx.ModelProto) -> int:
    """Values in the initializers; for trees, in the node attributes."""
    count = sum(int(np.prod(t.dims)) for t in model.graph.initializer)
    for node in model.graph.node:
        count += sum(len(a.floats) for a in node.attribute)
    return count


def run_once(path: pathlib.Path) -> str:
    """Runs batches of 1 and 5 and compares their common row, where ONNX Runtime is installed."""
    try:
        import onnxruntime
    except ImportError:
        return "not run: onnxruntime is not installed"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feed = {}
    for value in session.get_inputs():
        shape = [{"batch": 5, "length": 9}.get(d, d) for d in value.shape]
        feed[value.name] = {
            "tensor(float)": lambda: rng.standard_normal(shape).astype(np.float32),
            "tensor(int64)": lambda: rng.integers(0, 10, shape),
            "tensor(bool)": lambda: np.broadcast_to(np.arange(shape[-1]) >= 7, shape).copy(),
        }[value.type]()
    batch = session.run(None, feed)
    single = session.run(None, {name: value[:1] for name, value in feed.items()})
    for many, one in zip(batch, single):
        np.testing.assert_allclose(many[:1], one, 1e-4, 1e-5, err_msg=path.name)
    scores = np.ravel(batch[-1] if path.stem in ("R1", "R2a", "R2b", "R3") else batch[0])
    if not np.isfinite(scores).all() or np.ptp(scores) < 1e-4:
        raise ValueError(f"{path.name}: scores {scores} are not finite or do not vary")
    return f"scores {scores.min():.4f} to {scores.max():.4f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--only", default="",
                        help="comma-separated ids; default: all but the large")
    parser.add_argument("--large", action="store_true", help=f"also {', '.join(LARGE)}")
    args = parser.parse_args()
    chosen = [m for m in args.only.split(",") if m] or [
        m for m in MODELS if args.large or m not in LARGE]
    if unknown := sorted(set(chosen) - set(MODELS)):
        parser.error(f"--only: no model {', '.join(unknown)}; there are {', '.join(MODELS)}")

    args.out.mkdir(parents=True, exist_ok=True)
    index_path = args.out / "index.json"
    index = json.loads(index_path.read_text()) if index_path.exists() else {}
    for name in chosen:
        start = time.monotonic()
        what, build = MODELS[name]
        model = build()
        onnx.checker.check_model(model, full_check=True)
        path = args.out / f"{name}.onnx"
        onnx.save(model, path)
        index[name] = {"file": path.name, "what": what, "inputs": inputs_of(model),
                       "weights": weights_of(model)}
        print(f"{name}: {what}; {path.stat().st_size / 1e6:.1f} MB; {run_once(path)}; "
              f"{time.monotonic() - start:.1f} s", flush=True)
        index_path.write_text(json.dumps(index, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
