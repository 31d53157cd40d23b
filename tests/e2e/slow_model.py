"""A model whose runs take as long as a test needs: the time grows with the rows."""

from __future__ import annotations

import pathlib
import subprocess

import numpy as np
import onnx
from onnx import TensorProto, helper
from serving import BINARY, post

WIDTH = 256
LAYERS = 200
# So many that a request of them would be larger than what the server warms up with.
MAX_ROWS = 70_000


def build_slow(engine: pathlib.Path, layers: int = LAYERS) -> None:
    """y[N,1] of x[N,256], through a multiplication a layer."""
    nodes = []
    name = "x"
    for layer in range(layers):
        nodes.append(helper.make_node("MatMul", [name, "w"], [f"product{layer}"]))
        nodes.append(helper.make_node("Relu", [f"product{layer}"], [f"layer{layer}"]))
        name = f"layer{layer}"
    nodes.append(helper.make_node("ReduceMean", [name], ["y"], axes=[1], keepdims=1))
    # Every layer keeps a row's mean, so that no value becomes subnormal or infinite.
    weights = np.full((WIDTH, WIDTH), 1 / WIDTH, np.float32)
    graph = helper.make_graph(
        nodes, "slow",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [onnx.numpy_helper.from_array(weights, "w")])
    engine.parent.mkdir(parents=True, exist_ok=True)
    model = engine.with_suffix(".onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)],
                                ir_version=8), model)
    done = subprocess.run(
        [BINARY, "build", "--onnx", model, "--saveEngine", engine, f"--minShapes=x:1x{WIDTH}",
         f"--optShapes=x:1x{WIDTH}", f"--maxShapes=x:{MAX_ROWS}x{WIDTH}"],
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    model.unlink()


def slow_request(model: str, rows: int, **fields: object) -> bytes:
    """Of ones, whose answer is a one a row."""
    tensor = np.ones((rows, WIDTH), np.float32).tobytes()
    text = (f'{{"inputs":[{{"name":"x","datatype":"FP32","shape":[{rows},{WIDTH}],'
            f'"parameters":{{"binary_data_size":{len(tensor)}}}}}]}}').encode()
    return post(f"/v2/models/{model}/infer", text + tensor,
                Inference_Header_Content_Length=len(text), **fields)
