"""ONNX Runtime and OpenVINO on one thread: scores, and the least time of many short rounds."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import helper, numpy_helper

BATCHES = (1, 32)
ROUNDS, ROUND_S = 30, 0.03
# OpenVINO's scores against ONNX Runtime's: float32, bfloat16.
TOLERANCES = {"f32": 1e-5, "bf16": 5e-2}
TYPES = {"f32": openvino.Type.f32, "bf16": openvino.Type.bf16}


def least_us(run: Callable[[], object]) -> float:
    """Of the rounds' means."""
    run()
    start = time.perf_counter()
    run()
    turns = max(1, int(ROUND_S / max(time.perf_counter() - start, 1e-7)))
    best = np.inf
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(turns):
            run()
        best = min(best, (time.perf_counter() - start) / turns)
    return 1e6 * best


class OnnxRuntime:
    def __init__(self, path: pathlib.Path, output: str):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # not of a label's declared shape
        self._session = onnxruntime.InferenceSession(str(path), options,
                                                     providers=["CPUExecutionProvider"])
        self._output = output

    def scores(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """[n]: the last column of the output, in pieces that fit the memory."""
        n = len(next(iter(inputs.values())))
        parts = [self._session.run([self._output], {k: x[i:i + 512] for k, x in inputs.items()})
                 for i in range(0, n, 512)]
        return np.concatenate([part[0][:, -1] for part in parts])

    def times_us(self, inputs: dict[str, np.ndarray]) -> list[float]:
        """At each of BATCHES."""
        times = []
        for batch in BATCHES:
            binding = self._session.io_binding()
            for name, x in inputs.items():
                binding.bind_cpu_input(name, np.ascontiguousarray(x[:batch]))
            binding.bind_output(self._output)
            times.append(least_us(lambda: self._session.run_with_iobinding(binding)))
        return times


def _without_ml_operators(path: pathlib.Path, output: str) -> onnx.ModelProto:
    """For OpenVINO, which has none of ai.onnx.ml: the scaler as Sub and Mul, and no label."""
    model = onnx.load(path)
    nodes = []
    for node in model.graph.node:
        if node.op_type != "Scaler":
            nodes.append(node)
            continue
        attributes = {a.name: np.array(helper.get_attribute_value(a), np.float32)
                      for a in node.attribute}
        for name, value in attributes.items():
            model.graph.initializer.append(numpy_helper.from_array(value, f"{node.name}.{name}"))
        centred = f"{node.name}.centred"
        nodes += [helper.make_node("Sub", [node.input[0], f"{node.name}.offset"], [centred]),
                  helper.make_node("Mul", [centred, f"{node.name}.scale"], node.output)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return onnx.utils.Extractor(model).extract_model([i.name for i in model.graph.input], [output])


def openvino_times_us(path: pathlib.Path, output: str, precision: str,
                      inputs: dict[str, np.ndarray], expected: np.ndarray) -> list[float] | None:
    """At each of BATCHES; None where OpenVINO does not have the model or this processor not the
    precision ("f32", "bf16"). expected: the scores of inputs; ends the run if it has others."""
    core = openvino.Core()
    try:
        model = core.read_model(_without_ml_operators(path, output).SerializeToString())
    except RuntimeError:
        return None
    compiled = core.compile_model(model, "CPU", {
        "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY"})
    if compiled.get_property("INFERENCE_PRECISION_HINT") != TYPES[precision]:
        return None
    times = []
    for batch in BATCHES:
        request = compiled.create_infer_request()
        for name, x in inputs.items():
            request.set_tensor(name, openvino.Tensor(np.ascontiguousarray(x[:batch])))
        request.infer()
        got = request.get_output_tensor(0).data[:, -1]
        off = float(np.abs(got - expected[:batch]).max())
        if not off <= TOLERANCES[precision]:
            raise ValueError(f"{path.name}: OpenVINO in {precision} is off by {off:.1e}")
        times.append(least_us(request.infer))
    return times
