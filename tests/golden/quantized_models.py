"""Golden models that onnxruntime.quantization has quantized: QDQ, QOperator and dynamic."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
import tempfile
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from golden_case import Case

OPSET = 17
IR_VERSION = 8
FEATURES = 8
STEPS = 5
SAMPLES = 64
SCORE_ROWS = 12
# Dynamic quantization of an LSTM's state at each step, which `verdict` leaves in floats.
LSTM_TOLERANCE = 0.01


class Weights:
    """Seeded initializers, by name."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: list[onnx.TensorProto] = []

    def add(self, name: str, *shape: int, scale: float | None = None) -> str:
        scale = scale if scale is not None else 1 / np.sqrt(shape[0])
        values = (self.rng.standard_normal(shape) * scale).astype(np.float32)
        self.tensors.append(numpy_helper.from_array(values, name))
        return name


def model_of(nodes: list[onnx.NodeProto], weights: Weights, x: list, y: list,
             opset: int = OPSET) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "quantized", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)], weights.tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)],
                             ir_version=IR_VERSION)


def mlp(opset: int = OPSET) -> onnx.ModelProto:
    """A gated layer and two classes: MatMul, Gemm, Add, Mul, Concat, activations, Softmax."""
    w = Weights(1)
    node = helper.make_node
    return model_of([
        node("MatMul", ["x", w.add("w1", FEATURES, 16)], ["product"], "dense1"),
        node("Add", ["product", w.add("b1", 16, scale=0.1)], ["sum"], "bias1"),
        node("LeakyRelu", ["sum"], ["hidden"], "leaky", alpha=0.1),
        node("Gemm", ["x", w.add("wg", 16, FEATURES, scale=0.4), w.add("bg", 16, scale=0.1)],
             ["gate_in"], "gate", transB=1),
        node("Sigmoid", ["gate_in"], ["gate_out"], "sigmoid"),
        node("Mul", ["hidden", "gate_out"], ["gated"], "gated"),
        node("Concat", ["gated", "hidden"], ["joined"], "join", axis=1),
        node("Gemm", ["joined", w.add("w2", 32, 8), w.add("b2", 8, scale=0.1)], ["second"],
             "dense2"),
        node("Relu", ["second"], ["positive"], "relu"),
        node("Gemm", ["positive", w.add("w3", 8, 2), w.add("b3", 2, scale=0.1)], ["logits"],
             "dense3"),
        node("Softmax", ["logits"], ["y"], "softmax", axis=-1),
    ], w, ["N", FEATURES], ["N", 2], opset)


def convolution() -> onnx.ModelProto:
    """Two convolutions over time and a linear score."""
    w = Weights(2)
    node = helper.make_node
    return model_of([
        node("Conv", ["x", w.add("w1", 6, 3, 3, scale=0.4), w.add("b1", 6, scale=0.1)], ["c1"],
             "conv1", kernel_shape=[3], pads=[1, 1]),
        node("Relu", ["c1"], ["r1"], "relu1"),
        node("Conv", ["r1", w.add("w2", 4, 3, 3, scale=0.4), w.add("b2", 4, scale=0.1)], ["c2"],
             "conv2", kernel_shape=[3], strides=[2], group=2),
        node("Flatten", ["c2"], ["flat"], "flatten"),
        node("Gemm", ["flat", w.add("w3", 12, 1), w.add("b3", 1, scale=0.1)], ["y"], "score"),
    ], w, ["N", 3, FEATURES], ["N", 1])


def lstm() -> onnx.ModelProto:
    """Both directions over a few steps, and a linear score of every step."""
    w = Weights(3)
    hidden = 6
    node = helper.make_node
    return model_of([
        node("LSTM", ["x", w.add("w", 2, 4 * hidden, FEATURES, scale=0.3),
                      w.add("r", 2, 4 * hidden, hidden, scale=0.3),
                      w.add("b", 2, 8 * hidden, scale=0.1)], ["states"], "lstm",
             hidden_size=hidden, direction="bidirectional"),
        node("ReduceMean", ["states"], ["mean"], "mean", axes=[1], keepdims=0),
        node("MatMul", ["mean", w.add("w2", hidden, 1)], ["y"], "score"),
    ], w, [STEPS, "N", FEATURES], [STEPS, "N", 1])


class Samples(CalibrationDataReader):
    def __init__(self, x: np.ndarray) -> None:
        self.batches = iter([{"x": x}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


@dataclasses.dataclass
class Static:
    """How quantize_static is called."""

    form: QuantFormat
    activations: QuantType
    weights: QuantType = QuantType.QInt8
    per_channel: bool = False

    def __str__(self) -> str:
        words = [self.form.name, f"activations {self.activations.name}",
                 f"weights {self.weights.name}"] + ["per channel"] * self.per_channel
        return ", ".join(words)


def static(model: onnx.ModelProto, how: Static, x: np.ndarray) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder) / "m.onnx"
        # ONNX Runtime's QOperator form knows symmetric s8 activations alone.
        symmetric = how.activations == QuantType.QInt8
        quantize_static(model, target, Samples(x), quant_format=how.form,
                        activation_type=how.activations, weight_type=how.weights,
                        per_channel=how.per_channel,
                        extra_options={"ActivationSymmetric": symmetric})
        return onnx.load(target)


def dynamic(model: onnx.ModelProto, weights: QuantType, per_channel: bool) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(folder) / "m.onnx"
        quantize_dynamic(model, target, weight_type=weights, per_channel=per_channel)
        return onnx.load(target)


def output_step(model: onnx.ModelProto) -> float:
    """The scale of the output's quantization; 0 where it is not quantized."""
    scales = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    return max((float(scales[node.input[1]]) for node in model.graph.node
                if node.op_type == "DequantizeLinear" and node.output[0] == "y"), default=0)


def cases() -> Iterator[Case]:
    logging.disable(logging.WARNING)
    rng = np.random.default_rng(0)

    def rows(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    qdq, qoperator = QuantFormat.QDQ, QuantFormat.QOperator
    s8, u8 = QuantType.QInt8, QuantType.QUInt8
    flat, series = (SAMPLES, FEATURES), (SAMPLES, 3, FEATURES)
    for name, model, shape, how in [
        ("qdq_mlp_s8", mlp(), flat, Static(qdq, s8)),
        ("qdq_mlp_s8_per_channel", mlp(), flat, Static(qdq, s8, per_channel=True)),
        ("qdq_mlp_u8", mlp(), flat, Static(qdq, u8)),
        ("qdq_mlp_u8_op13", mlp(13), flat, Static(qdq, u8, u8)),
        ("qdq_mlp_s8_op21", mlp(21), flat, Static(qdq, s8)),
        ("qoperator_mlp_u8", mlp(), flat, Static(qoperator, u8, u8)),
        ("qoperator_mlp_u8_s8", mlp(), flat, Static(qoperator, u8)),
        ("qoperator_mlp_s8_per_channel", mlp(), flat, Static(qoperator, s8, per_channel=True)),
        ("qdq_conv_s8_per_channel", convolution(), series, Static(qdq, s8, per_channel=True)),
        ("qoperator_conv_u8", convolution(), series, Static(qoperator, u8, u8)),
        ("qoperator_conv_s8_per_channel", convolution(), series,
         Static(qoperator, s8, per_channel=True)),
    ]:
        quantized = static(model, how, rows(*shape))
        yield Case(f"ort_{name}", quantized, {"x": rows(SCORE_ROWS, *shape[1:])},
                   f"onnxruntime quantize_static: {how}",
                   tolerance=max(1e-5, 1.01 * output_step(quantized)))
    for name, weights, per_channel in [("s8", s8, False), ("u8", u8, False),
                                       ("s8_per_channel", s8, True)]:
        how = f"weights {weights.name}" + ", per channel" * per_channel
        yield Case(f"ort_dynamic_mlp_{name}", dynamic(mlp(), weights, per_channel),
                   {"x": rows(SCORE_ROWS, FEATURES)}, f"onnxruntime quantize_dynamic: {how}")
        yield Case(f"ort_dynamic_lstm_{name}", dynamic(lstm(), weights, per_channel),
                   {"x": rows(STEPS, SCORE_ROWS, FEATURES)},
                   f"onnxruntime quantize_dynamic: {how}", tolerance=LSTM_TOLERANCE)
