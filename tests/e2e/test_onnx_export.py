"""`verdict export`: what it writes, ONNX Runtime (and OpenVINO, where it is installed) runs.

TESTED_BINARY: the binary to test; default build/verdict.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import subprocess

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
BINARY = pathlib.Path(os.environ.get("TESTED_BINARY", ROOT / "build" / "verdict")).resolve()
MODELS = {model["name"]: model for model in json.loads((GOLDEN / "models.json").read_text())}
TIMEOUT_S = 120
FAILURE = 1
# What ai.onnx 17 cannot say, or ONNX Runtime cannot run of it.
REFUSED: dict[str, str] = {}
ENGINES = ["skl_mlp_binary", "lgb_binary_nan", "torch_mlp_ln_gelu_dyn18", "torch_lstm1_op17",
           "ort_qdq_mlp_s8_per_channel", "ort_dynamic_mlp_s8"]
OPENVINO = ["skl_mlp_binary", "torch_mlp_ln_gelu_dyn18", "ort_qdq_mlp_s8_per_channel"]


def verdict(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BINARY), *map(str, arguments)], capture_output=True, text=True,
                          timeout=TIMEOUT_S, check=False)


def succeed(*arguments: object) -> str:
    done = verdict(*arguments)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr}"
    return done.stdout


def fail(*arguments: object) -> str:
    done = verdict(*arguments)
    assert done.returncode == FAILURE, f"exit {done.returncode}: {done.stdout}{done.stderr}"
    assert done.stderr.startswith("verdict export: error: ")
    return done.stderr


@pytest.fixture(scope="session", autouse=True)
def binary() -> None:
    assert BINARY.is_file(), f"{BINARY} does not exist; build it or set TESTED_BINARY"


def stored(file: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / file) as arrays:
        return dict(arrays)


def run_onnxruntime(path: pathlib.Path, inputs: dict[str, np.ndarray],
                    optimized: bool = False) -> dict[str, np.ndarray]:
    level = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = (level.ORT_ENABLE_ALL if optimized
                                        else level.ORT_DISABLE_ALL)
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    feed = {k: v.astype(object) if v.dtype.kind == "U" else v for k, v in inputs.items()}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed)))


def compare(model: dict, actual: dict[str, np.ndarray]) -> None:
    expected = stored(model["outputs"])
    assert sorted(actual) == sorted(expected)
    for name, want in expected.items():
        got = actual[name]
        assert got.shape == want.shape, name
        if want.dtype.kind == "f":
            tolerance = model["tolerance"]
            np.testing.assert_allclose(got, want, tolerance, tolerance, err_msg=name)
        else:
            np.testing.assert_array_equal(got.astype(want.dtype), want, err_msg=name)


@pytest.mark.parametrize("name", MODELS)
def test_onnxruntime_runs_what_is_written(name: str, tmp_path: pathlib.Path) -> None:
    model, target = MODELS[name], tmp_path / "out.onnx"
    command = ("export", "--onnx", GOLDEN / model["file"], "--qdq", target)
    if name in REFUSED:
        assert REFUSED[name] in fail(*command)
        assert not target.exists()
        return
    succeed(*command)
    onnx.checker.check_model(onnx.load(target), full_check=True)
    inputs = stored(model["inputs"])
    compare(model, run_onnxruntime(target, inputs))
    if name.startswith("ort_qdq"):  # As users run it: in integers.
        compare(model, run_onnxruntime(target, inputs, optimized=True))


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_gives_its_model_back(name: str, tmp_path: pathlib.Path) -> None:
    model, engine, target = MODELS[name], tmp_path / "m.engine", tmp_path / "out.onnx"
    inputs = stored(model["inputs"])
    shapes = ",".join(f"{k}:{'x'.join(map(str, v.shape))}" for k, v in inputs.items())
    succeed("build", "--onnx", GOLDEN / model["file"], "--saveEngine", engine, "--shapes", shapes)
    text = succeed("export", "--engine", engine, "--qdq", target)
    assert text.startswith(f"{target}: {target.stat().st_size} bytes, ai.onnx 17, ")
    compare(model, run_onnxruntime(target, inputs))


@pytest.mark.parametrize("name", OPENVINO)
@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")
def test_openvino_runs_what_is_written(name: str, tmp_path: pathlib.Path) -> None:
    import openvino

    model, target = MODELS[name], tmp_path / "out.onnx"
    succeed("export", "--onnx", GOLDEN / model["file"], "--qdq", target)
    compiled = openvino.Core().compile_model(str(target), "CPU")
    answers = compiled(stored(model["inputs"]))
    compare(model, {port.any_name: value for port, value in answers.items()})


def test_quantization_is_written_as_it_was(tmp_path: pathlib.Path) -> None:
    source, target = GOLDEN / "ort_qdq_mlp_s8_per_channel.onnx", tmp_path / "out.onnx"
    text = succeed("export", "--onnx", source, "--qdq", target)

    def count(path: pathlib.Path, op: str) -> int:
        return sum(node.op_type == op for node in onnx.load(path).graph.node)

    for op in ("QuantizeLinear", "DequantizeLinear"):
        assert count(target, op) == count(source, op) > 0
    assert text.endswith(f", {count(source, 'QuantizeLinear')} of which quantize\n")
    written = onnx.load(target)
    assert written.producer_name == "verdict"
    assert [dim.dim_param for dim in written.graph.input[0].type.tensor_type.shape.dim] == ["N", ""]


def test_a_target_that_cannot_be_written_leaves_things_as_they_were(tmp_path: pathlib.Path) -> None:
    source = GOLDEN / "skl_mlp_binary.onnx"
    assert "there is no folder" in fail("export", "--onnx", source, "--qdq",
                                        tmp_path / "absent" / "out.onnx")
    assert "is a folder" in fail("export", "--onnx", source, "--qdq", tmp_path)
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(source.read_bytes())
    assert "would overwrite the model" in fail("export", "--onnx", copy, "--qdq", copy)
    assert copy.read_bytes() == source.read_bytes()
    assert "absent.onnx" in fail("export", "--onnx", tmp_path / "absent.onnx", "--qdq",
                                 tmp_path / "out.onnx")
    assert sorted(tmp_path.iterdir()) == [copy]


def test_what_onnx_cannot_say_is_named_and_an_old_file_stays(tmp_path: pathlib.Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("AveragePool", ["x"], ["y"], "pool", kernel_shape=[2], dilations=[2])],
        "pool", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 6])])
    source, target = tmp_path / "pool.onnx", tmp_path / "out.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9),
              source)
    target.write_text("old")
    text = fail("export", "--onnx", source, "--qdq", target)
    assert "pool.onnx: node 'pool' (AveragePool)" in text
    assert "dilations" in text
    assert target.read_text() == "old"
