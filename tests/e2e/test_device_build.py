"""Engines with plans for a device: `verdict build --backend`, `refit` and `inspect`, on the plugin `fake`, which is
built with the tests beside the program and computes with the reference kernels."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from test_cli import BINARY, FAILURE, GOLDEN, TIMEOUT_S, USAGE, fail, succeed, verdict
from test_int8 import folder, inputs, network, scores  # noqa: F401 (a fixture)

TREES = GOLDEN / "skl_gb_binary.onnx"
pytestmark = pytest.mark.skipif(not (BINARY.parent / "libverdict_fake.so").exists(),
                                reason="the plugin for tests is not beside the program")


def run_with(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BINARY), *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=False,
                          env={**os.environ, **environment})


def build_arguments(folder: pathlib.Path, engine: pathlib.Path,  # noqa: F811
                    *flags: object) -> tuple[object, ...]:
    return ("build", "--onnx", folder / "m.onnx", "--saveEngine", engine, "--backend", "fake", *flags)


def plans(engine: pathlib.Path) -> list[dict]:
    return json.loads(succeed("inspect", "--json", engine))["device_plans"]


def test_the_plan_is_in_the_engine_and_the_cpu_runs_it_too(folder: pathlib.Path,  # noqa: F811
                                                           tmp_path: pathlib.Path) -> None:
    engine = tmp_path / "m.engine"
    text = succeed(*build_arguments(folder, engine))
    assert "device 0: Fake device, fake 1.0" in text
    assert "float32 with TF32 is taken on the device" in text
    assert "planned for fake 1.0: 1 parts, 1 of them on the device" in text
    x = inputs(16)
    np.testing.assert_allclose(scores(engine, x, tmp_path), scores(folder / "m.onnx", x, tmp_path),
                               atol=1e-5)
    shown = succeed("inspect", engine)
    assert "device plan 0 for fake:" in shown and "rows         independent" in shown
    assert re.search(r"part 0  device  3 nodes: 3 FusedGemm; program \d+ bytes", shown)
    assert re.search(r"copy +to device +x f32\[N,40\] +1280 bytes", shown)
    assert "1280 bytes to the device, 32 bytes back" in shown


def test_what_the_device_lacks_stays_on_the_host(folder: pathlib.Path,  # noqa: F811
                                                 tmp_path: pathlib.Path) -> None:
    done = run_with({"VERDICT_FAKE_UNSUPPORTED": "Scaler"}, "build", "--onnx",
                    network(tmp_path / "s.onnx", scales=np.ones(40, np.float32)), "--saveEngine",
                    tmp_path / "m.engine", "--backend", "fake", "--fp16", "--verbose")
    assert done.returncode == 0, done.stderr
    assert "(Scaler) stays on the host: the fake device has no Scaler" in done.stdout
    parts = plans(tmp_path / "m.engine")[0]["parts"]
    assert [part["place"] for part in parts] == ["host", "device"]
    assert parts[0]["operators"] == {"Scaler": 1}
    assert [copy["bytes"] for copy in parts[1]["to_device"]] == [8 * 40 * 4]


def test_a_model_of_trees_is_not_worth_a_device(tmp_path: pathlib.Path) -> None:
    text = fail(FAILURE, "build", "--onnx", TREES, "--saveEngine", tmp_path / "m.engine",
                "--backend", "fake")
    assert "nothing in the model is worth Fake device" in text
    assert not (tmp_path / "m.engine").exists()


def test_options_are_kept(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:  # noqa: F811
    engine = tmp_path / "m.engine"
    succeed(*build_arguments(folder, engine, "--noTF32", "--bf16", "--memPoolSize=workspace:64M",
                             "--tacticSources=-FAKE", "--refit", "--builderOptimizationLevel", 3,
                             "--profilingVerbosity", "layer_names_only"))
    assert plans(engine)[0]["options"] == {
        "bf16": "1", "detailed_layers": "0", "memory_pool:workspace": str(64 << 20),
        "optimization_level": "3", "refittable": "1", "tactic_sources": "-FAKE", "tf32": "0"}


def test_the_device_calibrates_on_our_samples_and_its_cache_comes_back(
        folder: pathlib.Path, tmp_path: pathlib.Path) -> None:  # noqa: F811
    engine, cache = tmp_path / "m.engine", tmp_path / "m.cache"
    text = succeed(*build_arguments(folder, engine, "--int8", "--calib", folder / "samples.npz",
                                    "--saveCalib", cache))
    assert "int8 is taken on the device" in text and "PASSED" in text
    lines = cache.read_text().splitlines()
    assert lines[0].startswith("TRT-") and re.fullmatch("x: [0-9a-f]{8}", lines[1])
    assert plans(engine)[0]["options"]["calibration_cache"] == cache.read_text()
    again = tmp_path / "again.engine"
    succeed(*build_arguments(folder, again, "--int8", "--calib", cache))
    assert plans(again)[0]["options"]["calibration_cache"] == cache.read_text()


def test_what_fails_the_gate_is_built_in_the_next_wider_precision(
        folder: pathlib.Path, tmp_path: pathlib.Path) -> None:  # noqa: F811
    engine = tmp_path / "m.engine"
    arguments = build_arguments(folder, engine, "--int8", "--calib", folder / "samples.npz")
    done = run_with({"VERDICT_FAKE_INT8_ERROR": "0.07"}, *arguments, "--report", tmp_path / "r.html")
    assert done.returncode == 0, done.stderr
    assert re.search(r"note: int8 on Fake device loses [\d.]+ of the ROC-AUC, where 0.001 is allowed: "
                     "float16 is built instead", done.stderr)
    assert "float16 is taken on the device" in done.stdout and "PASSED" in done.stdout
    assert plans(engine)[0]["options"] == {"fp16": "1"}
    assert "float16" in (tmp_path / "r.html").read_text()
    metadata = json.loads(succeed("inspect", "--json", engine))["metadata"]
    assert json.loads(metadata["device_precision_report"])["verdict"] == "passed"
    # What is far off is seen by the golden vectors, also without labels.
    done = run_with({"VERDICT_FAKE_HALF_ERROR": "3"}, *build_arguments(folder, engine, "--fp16"))
    assert done.returncode == 0, done.stderr
    assert re.search(r"golden vector \d: output 'score' is off by .*: float32 with TF32 is built "
                     "instead", done.stderr)
    assert "the accuracy on the device was not checked: there are no labels" in done.stderr


def test_nothing_is_written_where_no_precision_is_good_enough(
        folder: pathlib.Path, tmp_path: pathlib.Path) -> None:  # noqa: F811
    done = run_with({"VERDICT_FAKE_FLOAT32_ERROR": "9"},
                    *build_arguments(folder, tmp_path / "m.engine"))
    assert done.returncode == FAILURE and "is off by" in done.stderr
    assert not (tmp_path / "m.engine").exists()


def test_our_own_calibration_is_in_the_graph(folder: pathlib.Path,  # noqa: F811
                                             tmp_path: pathlib.Path) -> None:
    engine = tmp_path / "m.engine"
    text = succeed(*build_arguments(folder, engine, "--explicit", "--int8", "--calib",
                                    folder / "samples.npz", "--max-auc-drop", 0.01))
    assert "int8 is taken on the device" in text
    plan = plans(engine)[0]
    assert "calibration_cache" not in plan["options"]
    operators = plan["parts"][0]["operators"]
    assert operators["QuantizeLinear"] >= 3 and operators["DequantizeLinear"] >= 6


def test_the_timing_cache_of_the_device_is_beside_ours(folder: pathlib.Path,  # noqa: F811
                                                       tmp_path: pathlib.Path) -> None:
    cache = tmp_path / "times"
    for built in (1, 2):
        succeed(*build_arguments(folder, tmp_path / "m.engine", "--timingCacheFile", cache))
        assert (tmp_path / "times.fake").read_bytes() == b"t" * built
    assert cache.exists()


def test_layers_are_shown(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:  # noqa: F811
    engine, exported = tmp_path / "m.engine", tmp_path / "layers.json"
    text = succeed(*build_arguments(folder, engine, "--dumpLayerInfo", "--exportLayerInfo", exported))
    layers = {"Layers": ["FusedGemm"] * 3}
    assert json.loads(exported.read_text()) == layers and exported.read_text() in text
    shown = succeed("inspect", "--loadEngine", engine, "--dumpLayerInfo", "--backend", "fake")
    assert json.loads(shown) == layers
    assert "the layers are those of a device" in fail(FAILURE, "inspect", engine, "--dumpLayerInfo")
    assert "has no plan for 'tensorrt'" in fail(FAILURE, "inspect", engine, "--dumpLayerInfo",
                                                "--backend", "tensorrt")
    done = run_with({"VERDICT_FAKE_FINGERPRINT": "fake 2.0"}, "inspect", engine, "--dumpLayerInfo",
                    "--backend", "fake")
    assert done.returncode == FAILURE and "fake 2.0" in done.stderr


def retrained(folder: pathlib.Path, path: pathlib.Path) -> pathlib.Path:  # noqa: F811
    model = onnx.load(folder / "m.onnx")
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(0.9),
                                                tensor.name))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(("flags", "said"), [
    (("--refit",), "fake: part 0 was refitted"),
    ((), "fake: part 0 is built again: the program was not built to be refitted")])
def test_refit_gives_an_engine_other_weights(folder: pathlib.Path, tmp_path: pathlib.Path,  # noqa: F811
                                             flags: tuple[str, ...], said: str) -> None:
    old, new = tmp_path / "old.engine", tmp_path / "new.engine"
    succeed(*build_arguments(folder, old, "--shapes", "x:4x40", *flags))
    model = retrained(folder, tmp_path / "new.onnx")
    assert said in succeed("refit", "--loadEngine", old, "--onnx", model, "--saveEngine", new)
    x = inputs(4)
    np.testing.assert_allclose(scores(new, x, tmp_path), scores(model, x, tmp_path), atol=1e-5)
    assert not np.allclose(scores(new, x, tmp_path), scores(old, x, tmp_path), atol=1e-3)
    assert "min [4,40]" in succeed("inspect", new)
    assert plans(new)[0]["options"] == plans(old)[0]["options"]
    # The device takes the program with the new weights.
    succeed("inspect", new, "--dumpLayerInfo", "--backend", "fake")


def test_refit_refuses_another_model(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:  # noqa: F811
    old = tmp_path / "old.engine"
    succeed(*build_arguments(folder, old))
    other = network(tmp_path / "other.onnx", (40, 64, 1))
    text = fail(FAILURE, "refit", "--loadEngine", old, "--onnx", other, "--saveEngine",
                tmp_path / "new.engine")
    assert "is not the model of" in text and "it has 2 nodes instead of 3" in text
    other = network(tmp_path / "other.onnx", (40, 64, 128, 1))
    assert "f32[40,64]" in fail(FAILURE, "refit", "--loadEngine", old, "--onnx", other,
                                "--saveEngine", tmp_path / "new.engine")
    assert not (tmp_path / "new.engine").exists()


def test_refit_works_without_a_device(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:  # noqa: F811
    old, new = tmp_path / "old.engine", tmp_path / "new.engine"
    succeed("build", "--onnx", folder / "m.onnx", "--saveEngine", old)
    model = retrained(folder, tmp_path / "new.onnx")
    succeed("refit", "--loadEngine", old, "--onnx", model, "--saveEngine", new)
    x = inputs(4)
    np.testing.assert_allclose(scores(new, x, tmp_path), scores(model, x, tmp_path), atol=1e-5)


def test_refit_refuses_what_the_old_weights_calibrated(folder: pathlib.Path,  # noqa: F811
                                                       tmp_path: pathlib.Path) -> None:
    old = tmp_path / "old.engine"
    succeed(*build_arguments(folder, old, "--int8", "--calib", folder / "samples.npz", "--refit"))
    assert "calibrated with its old weights" in fail(
        FAILURE, "refit", "--loadEngine", old, "--onnx", retrained(folder, tmp_path / "n.onnx"),
        "--saveEngine", tmp_path / "new.engine")


def test_a_missing_plugin_or_library_says_how_to_get_it(folder: pathlib.Path,  # noqa: F811
                                                        tmp_path: pathlib.Path) -> None:
    text = fail(FAILURE, "build", "--onnx", folder / "m.onnx", "--saveEngine", tmp_path / "e",
                "--backend", "tensorrt", "--pluginDir", tmp_path)
    assert f"no libverdict_tensorrt.so in {tmp_path}" in text and "-DTENSORRT_ROOT=" in text
    done = run_with({"VERDICT_FAKE_MISSING": "libfake.so.1 is missing: install it"},
                    *build_arguments(folder, tmp_path / "e"))
    assert done.returncode == FAILURE
    assert "backend 'fake': libfake.so.1 is missing: install it" in done.stderr
    text = fail(FAILURE, *build_arguments(folder, tmp_path / "e", "--device", 3))
    assert "there is no device 3" in text


def test_flags_that_mean_nothing_are_refused(folder: pathlib.Path,  # noqa: F811
                                             tmp_path: pathlib.Path) -> None:
    on_cpu = ("build", "--onnx", folder / "m.onnx", "--saveEngine", tmp_path / "e")
    assert "--noTF32 is for a device" in fail(FAILURE, *on_cpu, "--noTF32")
    assert "--refit is for a device" in fail(FAILURE, *on_cpu, "--refit", "--backend", "cpu")
    assert "--explicit is for --int8" in fail(
        FAILURE, *build_arguments(folder, tmp_path / "e", "--explicit"))
    assert "--tacticSources: 'CUDNN' does not begin" in fail(
        FAILURE, *build_arguments(folder, tmp_path / "e", "--tacticSources=CUDNN"))
    assert "no tactic source '-CUDNN'" in fail(
        FAILURE, *build_arguments(folder, tmp_path / "e", "--tacticSources=-CUDNN"))
    assert "no memory pool 'dlaSRAM'" in fail(
        FAILURE, *build_arguments(folder, tmp_path / "e", "--memPoolSize=dlaSRAM:1"))
    assert "--int8 and --best need --calib" in fail(
        FAILURE, *build_arguments(folder, tmp_path / "e", "--int8"))
    assert verdict(*build_arguments(folder, tmp_path / "e", "--device", "x")).returncode == USAGE


def test_a_damaged_plan_is_refused_and_a_foreign_one_does_not_matter(
        folder: pathlib.Path, tmp_path: pathlib.Path) -> None:  # noqa: F811
    engine, bad = tmp_path / "m.engine", tmp_path / "bad.engine"
    succeed(*build_arguments(folder, engine))
    whole = bytearray(engine.read_bytes())
    whole[-1] ^= 1
    bad.write_bytes(whole)
    assert "section 'programs'" in fail(FAILURE, "inspect", bad)
    done = run_with({"VERDICT_FAKE_FINGERPRINT": "fake 2.0"}, *build_arguments(folder, engine))
    assert done.returncode == 0, done.stderr
    x = inputs(4)  # on the CPU
    np.testing.assert_allclose(scores(engine, x, tmp_path), scores(folder / "m.onnx", x, tmp_path),
                               atol=1e-5)
