"""Engines on a device, from the command line: with the plugin of backend "fake", which computes
with the reference kernels and fails as it is told to.

TESTED_BINARY: the binary to test; default build/verdict. The plugin lies beside it.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
BINARY = pathlib.Path(os.environ.get("TESTED_BINARY", ROOT / "build" / "verdict")).resolve()
PLUGIN = BINARY.parent / "libverdict_fake.so"
MLP = GOLDEN / "skl_mlp_binary.onnx"  # x f32[N,10] -> label i64[N], probabilities f32[N,2]
QUICK = ("--warmUp", 1, "--duration", 0.02)
TIMEOUT_S = 120

pytestmark = pytest.mark.skipif(not PLUGIN.is_file(), reason=f"no {PLUGIN.name} beside the binary")


def verdict(*arguments: object, **fake: object) -> subprocess.CompletedProcess[str]:
    """fake: the variables VERDICT_FAKE_… of the plugin."""
    environment = os.environ | {f"VERDICT_FAKE_{key.upper()}": str(value)
                                for key, value in fake.items()}
    return subprocess.run([str(BINARY), *map(str, arguments)], capture_output=True, text=True,
                          timeout=TIMEOUT_S, check=False, env=environment)


def succeed(*arguments: object, **fake: object) -> subprocess.CompletedProcess[str]:
    done = verdict(*arguments, **fake)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stdout}{done.stderr}"
    return done


def fail(*arguments: object, **fake: object) -> str:
    done = verdict(*arguments, **fake)
    assert done.returncode == 1, f"exit {done.returncode}: {done.stdout}{done.stderr}"
    return done.stderr


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("device") / "mlp.engine"
    succeed("build", "--onnx", MLP, "--saveEngine", path, "--backend", "fake", "--minShapes",
            "x:1x10", "--optShapes", "x:8x10", "--maxShapes", "x:32x10")
    return path


@pytest.fixture(scope="module")
def inputs() -> pathlib.Path:
    return GOLDEN / "skl_mlp_binary.inputs.npz"


def run(engine: pathlib.Path, inputs: pathlib.Path, path: pathlib.Path, *flags: object,
        **fake: object) -> tuple[dict[str, np.ndarray], str]:
    done = succeed("run", engine, "--inputs", inputs, "--outputs", path, *flags, **fake)
    with np.load(path) as arrays:
        return dict(arrays), done.stderr


def test_run_takes_the_device_that_the_engine_has_a_plan_for(
        engine: pathlib.Path, inputs: pathlib.Path, tmp_path: pathlib.Path) -> None:
    on_device, note = run(engine, inputs, tmp_path / "a.npz")
    assert "note: ran on fake, Fake device" in note
    on_cpu, note = run(engine, inputs, tmp_path / "b.npz", "--backend", "cpu")
    assert note == ""
    assert on_device.keys() == on_cpu.keys()
    for name, want in on_cpu.items():
        np.testing.assert_allclose(on_device[name], want, rtol=1e-5, atol=1e-5)


def test_run_goes_on_without_the_device_and_says_so(
        engine: pathlib.Path, inputs: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _, note = run(engine, inputs, tmp_path / "a.npz", missing="no driver; install one")
    assert "note: ran on cpu; backend 'fake': no driver; install one" in note
    message = fail("run", engine, "--inputs", inputs, "--outputs", tmp_path / "a.npz", "--backend",
                   "fake", missing="no driver; install one")
    assert "no driver; install one" in message


def test_a_plan_of_another_device_is_built_again_where_that_was_asked_for(
        engine: pathlib.Path, inputs: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _, note = run(engine, inputs, tmp_path / "a.npz", fingerprint="fake 2.0")
    assert "note: ran on cpu" in note and "'fake 1.0'" in note and "'fake 2.0'" in note
    _, note = run(engine, inputs, tmp_path / "a.npz", "--backend", "fake", fingerprint="fake 2.0")
    assert "built again" in note and "note: ran on fake" in note


def test_a_device_that_computes_wrongly_is_not_used(
        engine: pathlib.Path, inputs: pathlib.Path, tmp_path: pathlib.Path) -> None:
    _, note = run(engine, inputs, tmp_path / "a.npz", float32_error=0.05)
    assert "note: ran on cpu" in note and "golden vector" in note


def test_run_says_what_is_missing(engine: pathlib.Path, inputs: pathlib.Path,
                                  tmp_path: pathlib.Path) -> None:
    flags = ("run", engine, "--inputs", inputs, "--outputs", tmp_path / "a.npz")
    assert "libverdict_fake.so" in fail(*flags, "--backend", "fake", "--pluginDir", tmp_path)
    assert "there is no device 3" in fail(*flags, "--backend", "fake", "--device", 3)
    plain = tmp_path / "plain.engine"
    succeed("build", "--onnx", MLP, "--saveEngine", plain)
    message = fail("run", plain, *flags[2:], "--backend", "fake")
    assert "holds no plan for backend 'fake'" in message and "--backend fake" in message


def test_bench_says_which_backend_ran(engine: pathlib.Path, tmp_path: pathlib.Path) -> None:
    lines = succeed("bench", "--loadEngine", engine, "--streams", 2, *QUICK).stdout.splitlines()
    assert any(line.startswith("Backend: fake, Fake device") for line in lines)
    lines = succeed("bench", "--loadEngine", engine, "--backend", "cpu", *QUICK).stdout.splitlines()
    assert "Backend: cpu" in lines
    for flag in ("--useCudaGraph", "--noCudaGraph"):
        assert "Backend: fake" in succeed("bench", "--loadEngine", engine, flag, *QUICK).stdout


def test_bench_profiles_the_layers_of_a_device(engine: pathlib.Path,
                                               tmp_path: pathlib.Path) -> None:
    path = tmp_path / "profile.json"
    text = succeed("bench", "--loadEngine", engine, *QUICK, "--dumpProfile", "--exportProfile",
                   path).stdout
    assert "=== Profile (100 iterations) ===" in text and "Total" in text
    profile = json.loads(path.read_text())
    assert profile[0] == {"count": 100}
    assert sum(layer["percentage"] for layer in profile[1:]) == pytest.approx(100)
    assert '"Layers"' in succeed("bench", "--loadEngine", engine, *QUICK, "--dumpLayerInfo").stdout
    for flag in ("--dumpProfile", "--dumpLayerInfo"):
        message = fail("bench", "--loadEngine", engine, *QUICK, "--backend", "cpu", flag)
        assert "of devices alone" in message


def save_layers_and_trees(path: pathlib.Path) -> None:
    """x -> two wide layers -> trees on what they make -> two layers on both."""
    random = np.random.default_rng(0)
    width = 512

    def weights(name: str, rows: int, columns: int) -> object:
        values = random.normal(0, rows**-0.5, (rows, columns)).astype(np.float32)
        return numpy_helper.from_array(values, name)

    trees = helper.make_node(
        "TreeEnsembleRegressor", ["h"], ["t"], domain="ai.onnx.ml", n_targets=1,
        nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[1, 0, 0],
        nodes_values=[0.05, 0.0, 0.0], nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0], nodes_hitrates=[1.0] * 3,
        nodes_missing_value_tracks_true=[0] * 3, target_treeids=[0, 0], target_nodeids=[1, 2],
        target_ids=[0, 0], target_weights=[1.0, 2.0])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w1"], ["a"]), helper.make_node("Relu", ["a"], ["b"]),
         helper.make_node("MatMul", ["b", "w2"], ["h"]), trees,
         helper.make_node("Concat", ["h", "t"], ["c"], axis=1),
         helper.make_node("MatMul", ["c", "w3"], ["d"]), helper.make_node("Relu", ["d"], ["e"]),
         helper.make_node("MatMul", ["e", "w4"], ["f"]), helper.make_node("Sigmoid", ["f"], ["y"])],
        "hybrid", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 10])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1]),
         helper.make_tensor_value_info("t", TensorProto.FLOAT, ["N", 1])],
        [weights("w1", 10, width), weights("w2", width, width), weights("w3", width + 1, width),
         weights("w4", width, 1)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17),
                                                      helper.make_opsetid("ai.onnx.ml", 3)],
                                ir_version=8), path)


def test_trees_run_on_the_host_between_layers_on_the_device(tmp_path: pathlib.Path) -> None:
    model, engine, inputs = (tmp_path / name for name in ("m.onnx", "m.engine", "in.npz"))
    save_layers_and_trees(model)
    succeed("build", "--onnx", model, "--saveEngine", engine, "--backend", "fake")
    np.savez(inputs, x=np.random.default_rng(1).normal(size=(50, 10)).astype(np.float32))
    on_device, note = run(engine, inputs, tmp_path / "a.npz")
    assert "note: ran on fake" in note
    on_cpu, _ = run(engine, inputs, tmp_path / "b.npz", "--backend", "cpu")
    assert len(np.unique(on_cpu["t"])) == 2
    np.testing.assert_array_equal(on_device["t"], on_cpu["t"])
    np.testing.assert_allclose(on_device["y"], on_cpu["y"], rtol=1e-5, atol=1e-5)
    profile = tmp_path / "profile.json"
    succeed("bench", "--loadEngine", engine, *QUICK, "--exportProfile", profile)
    layers = [layer["name"] for layer in json.loads(profile.read_text())[1:]]
    assert any(layer.endswith("(host)") for layer in layers)
