#!/usr/bin/env python3
"""Times ONNX Runtime on one model, with `verdict bench`'s conventions and summary lines.

One process, sequential execution, inputs and outputs bound once, so that a run costs the peer
nothing that ours does not pay. Float inputs are seeded normal, integer and boolean ones zero.

Usage: onnxruntime_bench.py MODEL.onnx --shapes x:1x30[,ids:1x4] [--threads 1]
"""

from __future__ import annotations

import argparse
import gc
import json
import pathlib
import sys
import time

import numpy as np
import onnxruntime

DTYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64,
          "tensor(int32)": np.int32, "tensor(bool)": np.bool_}
MIN_ITERATIONS = 10


def parse_shapes(text: str) -> dict[str, list[int]]:
    """"x:1x30,y:2" -> {"x": [1, 30], "y": [2]}; a name may itself hold a colon."""
    shapes = {}
    for part in filter(None, text.split(",")):
        name, _, dims = part.rpartition(":")
        if not name:
            raise ValueError(f"--shapes: '{part}' is not NAME:DIMxDIM")
        shapes[name] = [int(d) for d in dims.split("x")]
    return shapes


def make_inputs(session: onnxruntime.InferenceSession, shapes: dict[str, list[int]],
                inputs: pathlib.Path | None) -> dict[str, np.ndarray]:
    """From the file where given; else of the asked shape, the model's own where it is fixed."""
    stored = dict(np.load(inputs)) if inputs else {}
    rng = np.random.default_rng(0)
    feed = {}
    for value in session.get_inputs():
        if value.name in stored:
            feed[value.name] = np.ascontiguousarray(stored[value.name])
            continue
        shape = shapes.pop(value.name, value.shape)
        if not all(isinstance(d, int) for d in shape):
            raise ValueError(
                f"input {value.name} has the dynamic shape {shape}: give it in --shapes")
        if value.type not in DTYPES:
            raise ValueError(f"input {value.name} is a {value.type}: give it in --inputs")
        dtype = DTYPES[value.type]
        feed[value.name] = (rng.standard_normal(shape).astype(dtype)
                            if np.issubdtype(dtype, np.floating) else np.zeros(shape, dtype))
    if shapes:
        raise ValueError(f"--shapes: the model has no input {', '.join(shapes)}")
    return feed


def measure(session: onnxruntime.InferenceSession, feed: dict[str, np.ndarray], warm_up_ms: float,
            duration_s: float, iterations: int) -> np.ndarray:
    """Latencies in nanoseconds, one an iteration, for at least the duration and the iterations."""
    binding = session.io_binding()
    for name, value in feed.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(value))
    for description, value in zip(session.get_outputs(), session.run(None, feed)):
        if isinstance(value, np.ndarray) and value.dtype != object:
            output = onnxruntime.OrtValue.ortvalue_from_numpy(np.empty_like(value))
            binding.bind_ortvalue_output(description.name, output)
        else:
            binding.bind_output(description.name)
    # The public wrapper adds Python calls that a C++ caller would not pay.
    run, bound, clock = session._sess.run_with_iobinding, binding._iobinding, time.perf_counter_ns

    end = clock() + int(warm_up_ms * 1e6)
    while clock() < end:
        run(bound, None)
    samples: list[int] = []
    gc.disable()
    end = clock() + int(duration_s * 1e9)
    before = clock()
    while before < end or len(samples) < iterations:
        run(bound, None)
        after = clock()
        samples.append(after - before)
        before = clock()
    gc.enable()
    return np.array(samples)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--shapes", type=parse_shapes, default={}, help="x:1x30,ids:1x4")
    parser.add_argument("--inputs", type=pathlib.Path, help="an .npz of named inputs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warmUp", type=float, default=200, help="milliseconds")
    parser.add_argument("--duration", type=float, default=3, help="seconds")
    parser.add_argument("--iterations", type=int, default=MIN_ITERATIONS, help="at least so many")
    args = parser.parse_args()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(args.model), options,
                                               providers=["CPUExecutionProvider"])
        feed = make_inputs(session, dict(args.shapes), args.inputs)
        samples = measure(session, feed, args.warmUp, args.duration, args.iterations)
    except Exception as error:  # ONNX Runtime raises a type of its own per failure.
        print(f"onnxruntime_bench: {args.model}: {error}", file=sys.stderr)
        return 1

    ms = samples / 1e6
    p90, p95, p99 = np.percentile(ms, [90, 95, 99])
    throughput = 1e3 * len(ms) / ms.sum()
    print(f"Throughput: {throughput:.6g} qps")
    print(f"Latency: min = {ms.min():.6g} ms, max = {ms.max():.6g} ms, mean = {ms.mean():.6g} ms, "
          f"median = {np.median(ms):.6g} ms, percentile(90%) = {p90:.6g} ms, "
          f"percentile(95%) = {p95:.6g} ms, percentile(99%) = {p99:.6g} ms")
    print(json.dumps({
        "peer": "onnxruntime", "version": onnxruntime.__version__, "model": args.model.name,
        "shapes": {name: list(value.shape) for name, value in feed.items()},
        "threads": args.threads, "iterations": len(ms), "throughput_qps": round(throughput, 3),
        "latency_us": {"min": ms.min() * 1e3, "max": ms.max() * 1e3, "mean": ms.mean() * 1e3,
                       "median": np.median(ms) * 1e3, "p90": p90 * 1e3, "p95": p95 * 1e3,
                       "p99": p99 * 1e3}}, default=float))
    return 0


if __name__ == "__main__":
    sys.exit(main())
