"""Times PyTorch on the reference models, in a process of its own. Prints a line of JSON a cell.

Usage: python -m gpu.torch_worker --models DIR --inputs DIR --only R1,R4b --modes eager,graph
                                  [--batches 1,8,32,128] [--duration 0.4] [--device cuda]
  --inputs holds MODEL.BATCH.in.npz and MODEL.BATCH.want.npz. "warm" as the duration only compiles.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from . import reference, torch_models


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _pinned(array: np.ndarray, device: str) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory() if device == "cuda" else tensor


class Cell:
    """A model with one batch; inputs and outputs in pinned memory, as the other programs have."""

    def __init__(self, module: torch.nn.Module, inputs: reference.Arrays,
                 want: reference.Arrays, device: str) -> None:
        self.module, self.device, self.want = module, device, want
        self.given = [_pinned(value, device) for value in inputs.values()]
        with torch.no_grad():
            outputs = self._outputs([value.to(device) for value in self.given])
        self.got = [_pinned(np.zeros(o.shape, np.float32), device) for o in outputs]

    def _outputs(self, inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        found = self.module(*inputs)
        return found if isinstance(found, tuple) else (found,)

    def _submit(self, inputs: list[torch.Tensor]) -> None:
        for host, value in zip(self.got, self._outputs(inputs)):
            host.copy_(value, non_blocking=True)

    def eager(self) -> None:
        self._submit([value.to(self.device, non_blocking=True) for value in self.given])
        _wait(self.device)

    def graph(self) -> Callable[[], None]:
        """All of it, copies included, as one CUDA graph."""
        static = [value.to(self.device) for value in self.given]

        def submit() -> None:
            for device, host in zip(static, self.given):
                device.copy_(host, non_blocking=True)
            self._submit(static)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                submit()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            submit()

        def run() -> None:
            graph.replay()
            torch.cuda.synchronize()
        return run

    def difference(self) -> float:
        return reference.difference(
            {name: value.numpy() for name, value in zip(self.want, self.got)}, self.want)


def sample_us(run: Callable[[], None], duration_s: float) -> dict[str, float]:
    for _ in range(5):
        run()
    samples = []
    end = time.perf_counter() + duration_s
    before = time.perf_counter()
    while before < end or len(samples) < 10:
        run()
        after = time.perf_counter()
        samples.append(after - before)
        before = after
    us = 1e6 * np.array(samples)
    p50, p99 = np.percentile(us, [50, 99])
    return {"p50": p50, "p99": p99, "mean": float(us.mean()), "runs": len(us)}


def measure(cell: Cell, mode: str, duration_s: float) -> dict[str, float]:
    """Errors: ValueError where the outputs are not ONNX Runtime's."""
    run = cell.graph() if mode == "graph" else cell.eager
    for value in cell.got:
        value.zero_()
    run()
    off = cell.difference()
    allowed = reference.TOLERANCES["tf32" if cell.device == "cuda" else "cpu"]
    if not off <= allowed:
        raise ValueError(f"off ONNX Runtime by {off:.1e}")
    return sample_us(run, duration_s) | {"difference": off} if duration_s else {"difference": off}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=pathlib.Path, required=True)
    parser.add_argument("--inputs", type=pathlib.Path, required=True)
    parser.add_argument("--only", required=True)
    parser.add_argument("--modes", default="eager,graph")
    parser.add_argument("--batches", default="1,8,32,128")
    parser.add_argument("--duration", type=float, default=0.4, help="0: only checks, and compiles")
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    # Both sides of the comparison may take products in TF32.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.set_num_threads(1)
    for name in args.only.split(","):
        module = torch_models.load(name, str(args.models / f"{name}.onnx")).to(args.device)
        for mode in args.modes.split(","):
            used = module
            if mode == "compiled":
                used = torch.compile(module, mode="reduce-overhead", dynamic=False)
            for batch in map(int, args.batches.split(",")):
                found: dict[str, object] = {"cell": f"torch {mode}/{name}/{batch}"}
                try:
                    arrays = [dict(np.load(args.inputs / f"{name}.{batch}.{kind}.npz"))
                              for kind in ("in", "want")]
                    with torch.no_grad():
                        found |= measure(Cell(used, *arrays, args.device), mode, args.duration)
                except Exception as error:  # the other cells go on
                    found["error"] = f"{type(error).__name__}: {error}"[-400:]
                print(json.dumps(found), flush=True)


if __name__ == "__main__":
    sys.exit(main())
