#!/usr/bin/env python3
"""PyTriton: Triton with the models as Python functions, each running ONNX Runtime on one thread.

Usage: pytriton_server.py --models DIR --http-port PORT --grpc-port PORT --metrics-port PORT
  DIR holds <model>.onnx.
"""

from __future__ import annotations

import argparse
import pathlib

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
MAX_BATCH = 64


def tensors(values: list) -> list[Tensor]:
    # Triton knows no tensor that is one value a row: it becomes a row of one.
    return [Tensor(name=value.name, dtype=DTYPES[value.type],
                   shape=tuple(d if isinstance(d, int) else -1 for d in value.shape[1:]) or (1,))
            for value in values]


def bind(triton: Triton, path: pathlib.Path) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    @batch
    def infer(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        values = session.run(None, inputs)
        return {name: value.reshape(len(value), -1) if value.ndim == 1 else value
                for name, value in zip(names, values)}

    triton.bind(model_name=path.stem, infer_func=infer, inputs=tensors(session.get_inputs()),
                outputs=tensors(session.get_outputs()),
                config=ModelConfig(max_batch_size=MAX_BATCH, batcher=DynamicBatcher()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=pathlib.Path, required=True)
    for name in ("http", "grpc", "metrics"):
        parser.add_argument(f"--{name}-port", type=int, required=True)
    args = parser.parse_args()
    config = TritonConfig(http_address="127.0.0.1", http_port=args.http_port,
                          grpc_address="127.0.0.1", grpc_port=args.grpc_port,
                          metrics_port=args.metrics_port, allow_gpu_metrics=False)
    with Triton(config=config) as triton:
        for path in sorted(args.models.glob("*.onnx")):
            bind(triton, path)
        triton.serve()


if __name__ == "__main__":
    main()
