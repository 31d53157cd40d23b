"""Reference models as TensorRT 8.5's ONNX parser takes them: for the bare engines alone.

That parser has no ai.onnx.ml and no LayerNormalization. R1 becomes the same arithmetic in plain
operators; R9's norms are written out, and its number of events is fixed, as an export to an older
opset for a fixed length has it.
"""

from __future__ import annotations

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import reference


def _plain_logistic(model: onnx.ModelProto) -> onnx.ModelProto:
    """Scaler and LinearClassifier; the output is the probability of class 1."""
    values = {a.name: np.array(helper.get_attribute_value(a), np.float32)
              for node in model.graph.node for a in node.attribute
              if a.name in ("offset", "scale", "coefficients", "intercepts")}
    width = len(values["offset"])
    weights = {"offset": values["offset"], "scale": values["scale"],
               "weight": values["coefficients"][None, width:], "bias": values["intercepts"][1:]}
    nodes = [helper.make_node("Sub", ["x", "offset"], ["centred"]),
             helper.make_node("Mul", ["centred", "scale"], ["scaled"]),
             helper.make_node("Gemm", ["scaled", "weight", "bias"], ["logit"], transB=1),
             helper.make_node("Sigmoid", ["logit"], ["probabilities"])]
    graph = helper.make_graph(
        nodes, "R1", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def _layer_norm(node: onnx.NodeProto, weights: list[onnx.TensorProto]) -> list[onnx.NodeProto]:
    """As PyTorch's exporter wrote it before opset 17, over the last axis."""
    epsilon = next(a.f for a in node.attribute if a.name == "epsilon")
    x, scale, bias = node.input
    name = node.output[0]
    for suffix, value in (("two", 2.0), ("epsilon", epsilon)):
        weights.append(numpy_helper.from_array(np.array(value, np.float32), f"{name}.{suffix}"))

    def step(op: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(op, inputs, [output], f"{name}.{output}", **attributes)
    return [step("ReduceMean", [x], f"{name}.mean", axes=[-1], keepdims=1),
            step("Sub", [x, f"{name}.mean"], f"{name}.centred"),
            step("Pow", [f"{name}.centred", f"{name}.two"], f"{name}.squared"),
            step("ReduceMean", [f"{name}.squared"], f"{name}.variance", axes=[-1], keepdims=1),
            step("Add", [f"{name}.variance", f"{name}.epsilon"], f"{name}.shifted"),
            step("Sqrt", [f"{name}.shifted"], f"{name}.deviation"),
            step("Div", [f"{name}.centred", f"{name}.deviation"], f"{name}.normal"),
            step("Mul", [f"{name}.normal", scale], f"{name}.scaled"),
            step("Add", [f"{name}.scaled", bias], name)]


def _plain_transformer(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = model.graph
    weights = list(graph.initializer)
    length = weights[0].dims[0]
    shape = next(n for n in graph.node if n.op_type == "Shape")
    positions = next(n for n in graph.node if n.op_type == "Slice")
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type in ("Shape", "Slice"):
            continue  # all positions are there
        node.input[:] = [positions.input[0] if i == positions.output[0] else i for i in node.input]
        nodes += _layer_norm(node, weights) if node.op_type == "LayerNormalization" else [node]
    assert shape.output[0] == positions.input[2]
    for value in graph.input:
        value.type.tensor_type.shape.dim[1].dim_value = length
    plain = helper.make_graph(nodes, graph.name, graph.input, graph.output, weights)
    return helper.make_model(plain, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


REWRITES = {"R1": _plain_logistic, "R9": _plain_transformer}
NOTES = {"R1": "R1's scaler and classifier are written in plain ONNX operators for the parser",
         "R9": "R9's LayerNormalization is written out for the parser, its events fixed at "
               f"{reference.EVENTS}"}


def write(name: str, source: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """The file for the parser: the model itself where it is taken as it is."""
    if name not in REWRITES:
        return source
    target = folder / f"{name}.parser.onnx"
    model = REWRITES[name](onnx.load(source))
    onnx.checker.check_model(model)
    onnx.save(model, target)
    return target
