"""Below float32 by `verdict build`: bfloat16 and float16, recurrent layers, embeddings, and the fastest of all."""

from __future__ import annotations

import json
import pathlib
import re

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_cli import fail, succeed, verdict
from test_int8 import FEATURES as FEATURES_OF_MLP
from test_int8 import OBEY, build, folder, inputs, network, scores  # noqa: F401 (a fixture)

STEPS, FEATURES, HIDDEN, CARDS, WIDTH = 6, 12, 48, 5_000, 16


def nodes_of(engine: pathlib.Path) -> list[str]:
    return [node["op"] for node in json.loads(succeed("inspect", "--json", engine))["nodes"]]


def report_of(engine: pathlib.Path) -> dict:
    metadata = json.loads(succeed("inspect", "--json", engine))["metadata"]
    return json.loads(metadata["precision_report"])


@pytest.mark.parametrize(("flag", "name"), [("--bf16", "bfloat16"), ("--fp16", "float16")])
def test_halves_are_half_as_large_and_pass_the_gate(folder: pathlib.Path,  # noqa: F811
                                                    tmp_path: pathlib.Path, flag: str,
                                                    name: str) -> None:
    engine, in_float = tmp_path / "m.engine", tmp_path / "float.engine"
    text = succeed("build", "--onnx", folder / "m.onnx", "--saveEngine", engine, flag, "--evaluate",
                   folder / "samples.npz", *OBEY)
    assert "PASSED" in text and re.search(rf"{name} [\d.e+-]+ us: [\d.]+ times as fast", text)
    assert nodes_of(engine) == ["HalfGemm"] * 3
    report = report_of(engine)
    assert report["precision"] == name and abs(report["auc_drop"]) <= 0.001
    x = inputs(128)
    want, got = scores(folder / "m.onnx", x, tmp_path), scores(engine, x, tmp_path)
    assert not np.array_equal(got, want)
    np.testing.assert_allclose(got, want, atol=0.01)
    succeed("build", "--onnx", folder / "m.onnx", "--saveEngine", in_float)
    assert engine.stat().st_size < 0.6 * in_float.stat().st_size


def test_what_overflows_float16_keeps_float32(tmp_path: pathlib.Path) -> None:
    """The first layer's outputs reach 10^5 and more, which bfloat16 holds."""
    model = onnx.load(network(tmp_path / "m.onnx"))
    for tensor, factor in zip(model.graph.initializer, [1e5, 1e5, 1e-5, 1, 1, 1]):
        tensor.CopyFrom(numpy_helper.from_array(
            numpy_helper.to_array(tensor) * np.float32(factor), tensor.name))
    onnx.save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "s.npz", x=inputs())
    arguments = ("build", "--onnx", tmp_path / "m.onnx", "--saveEngine", tmp_path / "m.engine",
                 "--calib", tmp_path / "s.npz", *OBEY)
    done = verdict(*arguments, "--fp16")
    assert done.returncode == 0, done.stderr
    assert re.search(r"dense1 keeps float32: 'a0' reaches \d+, more than the 65504 that f16 holds",
                     done.stderr)
    assert nodes_of(tmp_path / "m.engine") == ["HalfGemm", "FusedGemm", "HalfGemm"]
    x = inputs(64)
    np.testing.assert_allclose(scores(tmp_path / "m.engine", x, tmp_path),
                               scores(tmp_path / "m.onnx", x, tmp_path), atol=0.01)
    succeed(*arguments, "--bf16")
    assert nodes_of(tmp_path / "m.engine") == ["HalfGemm"] * 3


def test_scores_that_overflow_fail_the_gate(tmp_path: pathlib.Path) -> None:
    """Without samples for the ranges, what overflows shows in the scores."""
    model = onnx.load(network(tmp_path / "m.onnx"))
    for tensor, factor in zip(model.graph.initializer, [1e6, 1e6, 1e-6, 1, 1, 1]):
        tensor.CopyFrom(numpy_helper.from_array(
            numpy_helper.to_array(tensor) * np.float32(factor), tensor.name))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(
        np.clip(numpy_helper.to_array(model.graph.initializer[0]), -6e4, 6e4), "w0"))
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(
        np.clip(numpy_helper.to_array(model.graph.initializer[1]), -6e4, 6e4), "b0"))
    onnx.save(model, tmp_path / "m.onnx")
    x = inputs()
    score = scores(tmp_path / "m.onnx", x, tmp_path)
    np.savez(tmp_path / "s.npz", x=x, label=(score > np.quantile(score, 0.9)).astype(np.int64))
    text = succeed("build", "--onnx", tmp_path / "m.onnx", "--saveEngine", tmp_path / "m.engine",
                   "--fp16", "--evaluate", tmp_path / "s.npz", *OBEY)
    assert "dense1: float32" in text and "PASSED" in text
    assert nodes_of(tmp_path / "m.engine") == ["HalfGemm", "FusedGemm", "HalfGemm"]


def test_best_takes_the_fastest_that_passes(folder: pathlib.Path,  # noqa: F811
                                            tmp_path: pathlib.Path) -> None:
    text = succeed("build", "--onnx", folder / "m.onnx", "--saveEngine", tmp_path / "m.engine",
                   "--best", "--max-auc-drop", 1, "--calib", folder / "samples.npz", *OBEY)
    means = {}
    for name in ("int8", "bfloat16", "float16"):
        ratios = re.findall(rf"float32 ([\d.e+-]+) us, {name} ([\d.e+-]+) us", text)
        assert ratios
        means[name] = np.mean([float(after) / float(before) for before, after in ratios])
    assert report_of(tmp_path / "m.engine")["precision"] == min(means, key=means.get)
    assert len(re.findall("would lose", text)) == 2


def test_what_int8_cannot_hold_goes_to_bfloat16(folder: pathlib.Path,  # noqa: F811
                                                tmp_path: pathlib.Path) -> None:
    model = network(tmp_path / "spoiled.onnx", spoil=0, widths=(FEATURES_OF_MLP, 64, 64, 64, 1))
    x = inputs()
    score = scores(model, x, tmp_path)
    np.savez(tmp_path / "s.npz", x=x, label=(score > np.quantile(score, 0.9)).astype(np.int64))
    text = succeed("build", "--onnx", model, "--saveEngine", tmp_path / "m.engine", "--int8",
                   "--bf16", "--max-auc-drop", 0.0015, "--calib", tmp_path / "s.npz", *OBEY)
    mixed = re.findall(r"int8\+bfloat16 [\d.e+-]+ us: [\d.]+ times as fast", text)
    assert mixed, text
    if report_of(tmp_path / "m.engine")["precision"] == "int8+bfloat16":  # if it was the fastest
        ops = nodes_of(tmp_path / "m.engine")
        assert "HalfGemm" in ops and "QuantizedGemm" in ops and "FusedGemm" not in ops
    np.testing.assert_allclose(scores(tmp_path / "m.engine", x[:64], tmp_path), score[:64],
                               atol=0.05)


def sequence_model(path: pathlib.Path, op: str) -> pathlib.Path:
    """Events [N, 6, 12] through a recurrent layer, and a card's number through a table of 5,000."""
    random = np.random.default_rng(2)
    gates = {"LSTM": 4, "GRU": 3}[op]

    def tensor(name: str, *shape: int, scale: float) -> onnx.TensorProto:
        return numpy_helper.from_array(random.normal(0, scale, shape).astype(np.float32), name)
    weights = [tensor("w", 1, gates * HIDDEN, FEATURES, scale=FEATURES ** -0.5),
               tensor("r", 1, gates * HIDDEN, HIDDEN, scale=HIDDEN ** -0.5),
               tensor("b", 1, 2 * gates * HIDDEN, scale=0.1),
               tensor("table", CARDS, WIDTH, scale=0.5),
               tensor("w1", HIDDEN + WIDTH, 1, scale=0.5), tensor("b1", 1, scale=0.1),
               numpy_helper.from_array(np.array([0], np.int64), "axes")]
    options = {"linear_before_reset": 1} if op == "GRU" else {}
    nodes = [helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
             helper.make_node(op, ["steps", "w", "r", "b"], ["", "h"], "recurrent",
                              hidden_size=HIDDEN, **options),
             helper.make_node("Squeeze", ["h", "axes"], ["last"]),
             helper.make_node("Gather", ["table", "card"], ["embedded"], "embedding"),
             helper.make_node("Concat", ["last", "embedded"], ["both"], axis=1),
             helper.make_node("Gemm", ["both", "w1", "b1"], ["logit"], "dense"),
             helper.make_node("Sigmoid", ["logit"], ["score"])]
    graph = helper.make_graph(
        nodes, "sequence",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", STEPS, FEATURES]),
         helper.make_tensor_value_info("card", TensorProto.INT64, ["N"])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
@pytest.mark.parametrize(("flag", "dequantize", "size"), [
    ("--int8", "DequantizeLinear", 0.32), ("--bf16", "Cast", 0.56), ("--fp16", "Cast", 0.56)])
def test_recurrent_layers_and_embeddings(tmp_path: pathlib.Path, op: str, flag: str,
                                         dequantize: str, size: float) -> None:
    model = sequence_model(tmp_path / "m.onnx", op)
    random = np.random.default_rng(4)
    x = {"x": random.normal(0, 1, (600, STEPS, FEATURES)).astype(np.float32),
         "card": random.integers(0, CARDS, 600)}
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    want = session.run(None, x)[0].ravel()
    np.savez(tmp_path / "x.npz", **{name: values[:128] for name, values in x.items()})
    np.savez(tmp_path / "s.npz", **x, label=(want > np.quantile(want, 0.8)).astype(np.int64))
    engine, in_float = tmp_path / "m.engine", tmp_path / "float.engine"
    text = succeed("build", "--onnx", model, "--saveEngine", engine, flag, "--calib",
                   tmp_path / "s.npz", "--max-auc-drop", 0.01, *OBEY)
    assert "PASSED" in text
    ops = nodes_of(engine)
    assert f"Quantized{op}" in ops and ops[ops.index("Gather") + 1] == dequantize
    layers = {layer["name"]: layer["op"] for layer in report_of(engine)["layers"]}
    assert layers == {"recurrent": op, "embedding": "Gather", "dense": "FusedGemm"}
    succeed("run", engine, "--inputs", tmp_path / "x.npz", "--outputs", tmp_path / "out.npz")
    got = np.load(tmp_path / "out.npz")["score"].ravel()
    assert not np.array_equal(got, want[:128])
    np.testing.assert_allclose(got, want[:128], atol=0.03)
    succeed("build", "--onnx", model, "--saveEngine", in_float)
    assert engine.stat().st_size < size * in_float.stat().st_size
    # What is exported has the same weights; the state is not rounded there.
    succeed("export", "--engine", engine, "--qdq", tmp_path / "q.onnx")
    exported = onnxruntime.InferenceSession(tmp_path / "q.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(exported.run(None, x)[0].ravel()[:128], got, atol=0.03)


def test_flags_that_mean_nothing_alone(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:  # noqa: F811
    arguments = ("build", "--onnx", folder / "m.onnx", "--saveEngine", tmp_path / "m.engine")
    for flag in ("--calib", "--evaluate", "--labels"):
        assert f"{flag} is for --int8, --bf16, --fp16" in fail(1, *arguments, flag,
                                                               folder / "samples.npz")
    assert "--saveCalib needs --calib" in fail(1, *arguments, "--bf16", "--saveCalib",
                                               tmp_path / "c")
    assert not (tmp_path / "m.engine").exists()
