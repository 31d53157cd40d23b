"""INT8 by `verdict build`: calibrated on samples, held to an accuracy, served like any other engine."""

from __future__ import annotations

import json
import pathlib
import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_cli import fail, succeed, verdict

FEATURES = 40
ROWS = 2_000
OBEY = ("--precisionConstraints", "obey")  # whatever is faster on this machine


def network(path: pathlib.Path, widths: tuple[int, ...] = (FEATURES, 256, 128, 1), *,
            spoil: int | None = None, scales: np.ndarray | None = None) -> pathlib.Path:
    """A network with a sigmoid at its end. spoil: a layer whose first two inputs have weights so
    large, and so cancel each other out, that int8 has nothing left for the others. scales: of the
    inputs, which a scaler divides by."""
    random = np.random.default_rng(3)
    nodes, weights, tensor = [], [], "x"
    if scales is not None:
        nodes.append(helper.make_node("Scaler", ["x"], ["scaled"], domain="ai.onnx.ml",
                                      offset=[0.0] * FEATURES, scale=(1 / scales).tolist()))
        tensor = "scaled"
    for i, (fan_in, fan_out) in enumerate(zip(widths, widths[1:])):
        w = random.normal(0, 1 / np.sqrt(fan_in), (fan_in, fan_out)).astype(np.float32)
        if i == spoil:
            w[0] = 400
            w[1] = -400
        b = random.normal(0, 0.1, fan_out).astype(np.float32)
        weights += [numpy_helper.from_array(w, f"w{i}"), numpy_helper.from_array(b, f"b{i}")]
        last = i == len(widths) - 2
        nodes += [helper.make_node("Gemm", [tensor, f"w{i}", f"b{i}"], [f"h{i}"], f"dense{i}"),
                  helper.make_node("Sigmoid" if last else "Relu", [f"h{i}"],
                                   ["score" if last else f"a{i}"])]
        tensor = f"a{i}"
    graph = helper.make_graph(
        nodes, "mlp", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", widths[0]])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", widths[-1]])], weights)
    model = helper.make_model(graph, opset_imports=[
        helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def inputs(rows: int = ROWS) -> np.ndarray:
    x = np.random.default_rng(5).normal(0, 1, (rows, FEATURES)).astype(np.float32)
    x[:, 1] = x[:, 0]  # what a spoiled layer cancels out
    return x


def scores(model: pathlib.Path, x: np.ndarray, tmp_path: pathlib.Path) -> np.ndarray:
    """By the engine or, for an ONNX file, by ONNX Runtime."""
    if model.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        return session.run(None, {"x": x})[0].ravel()
    np.savez(tmp_path / "in.npz", x=x)
    succeed("run", model, "--inputs", tmp_path / "in.npz", "--outputs", tmp_path / "out.npz")
    return np.load(tmp_path / "out.npz")["score"].ravel()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """m.onnx, samples.npz with labels that follow the model's scores with some noise."""
    folder = tmp_path_factory.mktemp("int8")
    model = network(folder / "m.onnx")
    x = inputs()
    score = scores(model, x, folder)
    random = np.random.default_rng(7)
    noisy = score + random.normal(0, score.std(), ROWS)
    np.savez(folder / "samples.npz", x=x, label=(noisy > np.quantile(noisy, 0.9)).astype(np.int64))
    return folder


def build(folder: pathlib.Path, engine: pathlib.Path, *flags: object,
          model: str = "m.onnx") -> str:
    return succeed("build", "--onnx", folder / model, "--saveEngine", engine, "--int8", "--calib",
                   folder / "samples.npz", *OBEY, *flags)


def test_scores_are_close_and_the_engine_is_small(folder: pathlib.Path,
                                                  tmp_path: pathlib.Path) -> None:
    engine, in_float = tmp_path / "int8.engine", tmp_path / "float.engine"
    text = build(folder, engine, "--max-auc-drop", 0.01)
    assert "PASSED" in text and "times as fast" in text
    x = inputs(128)
    want = scores(folder / "m.onnx", x, tmp_path)
    got = scores(engine, x, tmp_path)
    assert not np.array_equal(got, want)
    np.testing.assert_allclose(got, want, atol=0.03)
    succeed("build", "--onnx", folder / "m.onnx", "--saveEngine", in_float)
    assert engine.stat().st_size < 0.35 * in_float.stat().st_size
    ops = [node["op"] for node in json.loads(succeed("inspect", "--json", engine))["nodes"]]
    assert ops == ["QuantizedGemm"] * 3


def test_the_report_is_in_the_engine_and_in_a_page(folder: pathlib.Path,
                                                   tmp_path: pathlib.Path) -> None:
    build(folder, tmp_path / "m.engine", "--report", tmp_path / "r.html")
    metadata = json.loads(succeed("inspect", "--json", tmp_path / "m.engine"))["metadata"]
    report = json.loads(metadata["precision_report"])
    assert report["verdict"] == "passed"
    page = (tmp_path / "r.html").read_text()
    assert "<svg" in page and "dense0" in page


def test_a_scaler_stays_before_the_first_layer(folder: pathlib.Path,
                                               tmp_path: pathlib.Path) -> None:
    """Inputs of very different sizes have one scale in int8."""
    scales = np.where(np.arange(FEATURES) % 7 == 0, 1e5, 1.0).astype(np.float32)
    network(folder / "scaled.onnx", scales=scales)
    x = inputs() * scales
    score = scores(folder / "scaled.onnx", x, tmp_path)
    np.savez(tmp_path / "s.npz", x=x, label=(score > np.quantile(score, 0.9)).astype(np.int64))
    succeed("build", "--onnx", folder / "scaled.onnx", "--saveEngine", tmp_path / "m.engine",
            "--int8", "--max-auc-drop", 0.01, "--calib", tmp_path / "s.npz", *OBEY)
    nodes = json.loads(succeed("inspect", "--json", tmp_path / "m.engine"))["nodes"]
    assert [node["op"] for node in nodes] == ["Scaler"] + ["QuantizedGemm"] * 3
    np.testing.assert_allclose(scores(tmp_path / "m.engine", x[:128], tmp_path), score[:128],
                               atol=0.03)


def test_other_rows_than_those_of_the_calibration_decide(folder: pathlib.Path,
                                                         tmp_path: pathlib.Path) -> None:
    samples = np.load(folder / "samples.npz")
    np.savez(tmp_path / "x.npz", x=samples["x"][:300])
    np.savez(tmp_path / "held-out.npz", x=samples["x"][300:], label=samples["label"][300:])
    arguments = ("build", "--onnx", folder / "m.onnx", "--saveEngine", tmp_path / "m.engine",
                 "--int8", "--max-auc-drop", 0.01, *OBEY)
    text = succeed(*arguments, "--calib", tmp_path / "x.npz", "--evaluate",
                   tmp_path / "held-out.npz", "--saveCalib", tmp_path / "m.cache")
    assert "1700, of which" in text and "PASSED" in text
    # Without samples, but with what decides.
    assert "1700, of which" in succeed(*arguments, "--calib", tmp_path / "m.cache", "--evaluate",
                                       tmp_path / "held-out.npz")
    assert "has no labels" in fail(1, *arguments, "--calib", tmp_path / "x.npz", "--evaluate",
                                   tmp_path / "x.npz")


def test_a_layer_that_int8_cannot_hold_keeps_float32(folder: pathlib.Path,
                                                     tmp_path: pathlib.Path) -> None:
    network(folder / "spoiled.onnx", spoil=0, widths=(FEATURES, 64, 64, 64, 1))
    x = inputs()
    score = scores(folder / "spoiled.onnx", x, tmp_path)
    np.savez(tmp_path / "s.npz", x=x, label=(score > np.quantile(score, 0.9)).astype(np.int64))
    text = succeed("build", "--onnx", folder / "spoiled.onnx", "--saveEngine",
                   tmp_path / "m.engine", "--int8", "--calib", tmp_path / "s.npz", *OBEY)
    ops = [node["op"] for node in json.loads(succeed("inspect", "--json",
                                                     tmp_path / "m.engine"))["nodes"]]
    assert "FusedGemm" in ops and "QuantizedGemm" in ops
    assert re.search(r"float32", text)


def test_labels_of_the_calibration_are_not_asked_for_where_others_decide(
        folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    x = inputs(64)
    np.savez(tmp_path / "c.npz", x=x, label=np.zeros(64, np.int64))
    names = ",".join([f"f{i}" for i in range(FEATURES)] + ["label"])
    np.savetxt(tmp_path / "c.csv", np.hstack([x, np.zeros((64, 1))]), delimiter=",", header=names,
               comments="")
    (tmp_path / "c.jsonl").write_text("".join(
        json.dumps({"x": row.tolist(), "label": None}) + "\n" for row in x))
    for kind in ("npz", "csv", "jsonl"):
        text = succeed("build", "--onnx", folder / "m.onnx", "--saveEngine", tmp_path / "m.engine",
                       "--int8", "--calib", tmp_path / f"c.{kind}", "--evaluate",
                       folder / "samples.npz", "--max-auc-drop", 0.01, *OBEY)
        assert "calibration saw them" not in text
        text = fail(1, "build", "--onnx", folder / "m.onnx", "--saveEngine", tmp_path / "m.engine",
                    "--int8", "--calib", tmp_path / f"c.{kind}")
        assert "label" in text


def test_the_rows_of_the_calibration_are_named(folder: pathlib.Path,
                                               tmp_path: pathlib.Path) -> None:
    for flags in ((), ("--evaluate", folder / "samples.npz")):
        done = verdict("build", "--onnx", folder / "m.onnx", "--saveEngine", tmp_path / "m.engine",
                       "--int8", "--calib", folder / "samples.npz", "--max-auc-drop", 0.01, *flags)
        assert "of which 200 are fraud; calibration saw them too" in done.stdout
        assert "--evaluate FILE takes others" in done.stderr


def test_a_gate_that_nothing_passes_writes_no_engine(folder: pathlib.Path,
                                                     tmp_path: pathlib.Path) -> None:
    x = inputs()
    score = scores(folder / "m.onnx", x, tmp_path)
    # Float32 orders all of these rows rightly: any change of the order costs.
    np.savez(tmp_path / "s.npz", x=x, label=(score > np.median(score)).astype(np.int64))
    engine = tmp_path / "m.engine"
    engine.write_bytes(b"as it was")
    arguments = ("build", "--onnx", folder / "m.onnx", "--saveEngine", engine, "--calib",
                 tmp_path / "s.npz", "--max-auc-drop", "0")
    done = verdict(*arguments, "--int8", "--report", tmp_path / "r.html")
    assert done.returncode == 1
    assert "ROC-AUC" in done.stderr and "--best" in done.stderr
    assert "FAILED: the ROC-AUC falls by" in done.stdout
    assert "FAILED" in (tmp_path / "r.html").read_text()
    assert engine.read_bytes() == b"as it was"
    done = verdict(*arguments, "--best", "--int8")
    assert done.returncode == 0, done.stderr
    assert "float32 is kept" in done.stderr


def test_the_cache_makes_the_same_engine_without_samples(folder: pathlib.Path,
                                                         tmp_path: pathlib.Path) -> None:
    cache = tmp_path / "m.cache"
    build(folder, tmp_path / "a.engine", "--saveCalib", cache, "--max-auc-drop", 1)
    lines = cache.read_text().splitlines()
    assert lines[0] == "TRT-8503-EntropyCalibration2"
    assert len(lines) == 4 and all(re.fullmatch(r".+: [0-9a-f]{8}", line) for line in lines[1:])
    done = verdict("build", "--onnx", folder / "m.onnx", "--saveEngine", tmp_path / "b.engine",
                   "--int8", "--calib", cache, *OBEY)
    assert done.returncode == 0, done.stderr
    assert "the accuracy was not checked" in done.stderr
    x = inputs(64)
    np.testing.assert_allclose(scores(tmp_path / "b.engine", x, tmp_path),
                               scores(tmp_path / "a.engine", x, tmp_path), atol=0.02)
    network(tmp_path / "other.onnx", widths=(FEATURES, 32, 1))
    text = fail(1, "build", "--onnx", tmp_path / "other.onnx", "--saveEngine",
                tmp_path / "c.engine", "--int8", "--calib", cache)
    assert "was made for another model" in text
    assert not (tmp_path / "c.engine").exists()


@pytest.mark.parametrize(("change", "message"), [
    (lambda x, y: {"x": np.where(np.arange(x.size).reshape(x.shape) == 77, np.nan, x), "label": y},
     "nan"),
    (lambda x, y: {"x": np.where(np.arange(x.size).reshape(x.shape) == 77, np.inf, x), "label": y},
     "inf"),
    (lambda x, y: {"x": np.ones_like(x), "label": y}, "in every sample"),
    (lambda x, y: {"x": x[:5], "label": y[:5] * 0 + [0, 1, 0, 1, 0]}, "5 samples"),
    (lambda x, y: {"z": x, "label": y}, "'x'"),
    (lambda x, y: {"x": x[:, :-1], "label": y}, "39"),
    (lambda x, y: {"x": x, "label": y * 0}, "all 2000 labels are 0"),
    (lambda x, y: {"x": x, "label": y[:-1]}, "label"),
])
def test_bad_samples_are_named_and_nothing_is_written(folder: pathlib.Path, tmp_path: pathlib.Path,
                                                      change, message: str) -> None:
    samples = np.load(folder / "samples.npz")
    np.savez(tmp_path / "bad.npz", **change(samples["x"], samples["label"]))
    engine = tmp_path / "m.engine"
    engine.write_bytes(b"as it was")
    text = fail(1, "build", "--onnx", folder / "m.onnx", "--saveEngine", engine, "--int8",
                "--calib", tmp_path / "bad.npz")
    assert message in text.lower()
    assert engine.read_bytes() == b"as it was"


def test_onnx_runtime_computes_the_same_from_the_exported_engine(folder: pathlib.Path,
                                                                 tmp_path: pathlib.Path) -> None:
    build(folder, tmp_path / "m.engine", "--max-auc-drop", 1)
    succeed("export", "--engine", tmp_path / "m.engine", "--qdq", tmp_path / "qdq.onnx")
    x = inputs(128)
    np.testing.assert_allclose(scores(tmp_path / "qdq.onnx", x, tmp_path),
                               scores(tmp_path / "m.engine", x, tmp_path), atol=0.01)
    assert (tmp_path / "qdq.onnx").stat().st_size < 0.3 * (folder / "m.onnx").stat().st_size
    # And back: quantized as it was.
    succeed("build", "--onnx", tmp_path / "qdq.onnx", "--saveEngine", tmp_path / "again.engine")
    np.testing.assert_allclose(scores(tmp_path / "again.engine", x, tmp_path),
                               scores(tmp_path / "m.engine", x, tmp_path), atol=1e-5)


def test_what_is_slower_is_not_kept(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """One tiny layer: quantizing its input takes longer than the product."""
    network(tmp_path / "tiny.onnx", widths=(FEATURES, 1))
    arguments = ("build", "--onnx", tmp_path / "tiny.onnx", "--saveEngine", tmp_path / "m.engine",
                 "--int8", "--max-auc-drop", 1, "--calib", folder / "samples.npz")
    done = verdict(*arguments)
    assert done.returncode == 0, done.stderr
    assert re.search(r"float32 is kept: int8 takes [\d.]+ times as long", done.stderr)
    engine = json.loads(succeed("inspect", "--json", tmp_path / "m.engine"))
    assert [node["op"] for node in engine["nodes"]] == ["FusedGemm"]
    assert "precision_report" not in engine["metadata"]
    done = verdict(*arguments, *OBEY)
    assert done.returncode == 0, done.stderr
    nodes = json.loads(succeed("inspect", "--json", tmp_path / "m.engine"))["nodes"]
    assert [node["op"] for node in nodes] == ["QuantizedGemm"]


def small_model(path: pathlib.Path, columns: int | str, extra: bool) -> pathlib.Path:
    """x[N,columns] times a matrix; with `extra` a last output that is the same for any batch."""
    w = np.random.default_rng(1).normal(size=(FEATURES, 1)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["score"])]
    outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1])]
    weights = [numpy_helper.from_array(w, "w")]
    if extra:
        weights.append(numpy_helper.from_array(np.arange(64, dtype=np.float32), "c"))
        nodes.append(helper.make_node("Identity", ["c"], ["table"]))
        outputs.append(helper.make_tensor_value_info("table", TensorProto.FLOAT, [64]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", columns])
    graph = helper.make_graph(nodes, "small", [x], outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
              path)
    return path


def test_an_input_whose_last_extent_has_no_number(folder: pathlib.Path,
                                                  tmp_path: pathlib.Path) -> None:
    model = small_model(tmp_path / "open.onnx", "C", extra=False)
    done = verdict("build", "--onnx", model, "--saveEngine", tmp_path / "m.engine", "--int8",
                   "--shapes", f"x:64x{FEATURES}", "--max-auc-drop", 1, "--calib",
                   folder / "samples.npz", *OBEY)
    assert done.returncode == 0, done.stderr


def test_an_output_that_is_no_row_a_sample_is_no_score(folder: pathlib.Path,
                                                       tmp_path: pathlib.Path) -> None:
    model = small_model(tmp_path / "table.onnx", FEATURES, extra=True)
    arguments = ("build", "--onnx", model, "--saveEngine", tmp_path / "m.engine", "--int8",
                 "--max-auc-drop", 1, "--calib", folder / "samples.npz", *OBEY)
    assert "name the score's output with --score" in fail(1, *arguments)
    assert "PASSED" in succeed(*arguments, "--score", "score")


def test_flags_that_belong_together(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    arguments = ("build", "--onnx", folder / "m.onnx", "--saveEngine", tmp_path / "m.engine")
    assert "--calib FILE" in fail(1, *arguments, "--int8")
    assert "--int8" in fail(1, *arguments, "--calib", folder / "samples.npz")
    samples = folder / "samples.npz"
    before = samples.read_bytes()
    assert "would overwrite the samples" in fail(
        1, "build", "--onnx", folder / "m.onnx", "--saveEngine", samples, "--int8", "--calib", samples)
    assert samples.read_bytes() == before
    for flag in ("--report", "--saveCalib"):
        assert "would overwrite the engine" in fail(
            1, *arguments, "--int8", "--calib", samples, flag, tmp_path / "m.engine")
    fail(2, *arguments, "--int8", "--calib", samples, "--max-auc-drop", "nan")
    assert "entropy" in fail(1, *arguments, "--int8", "--calib", folder / "samples.npz",
                             "--observer", "kl")
