"""The `verdict` command: what it prints, what it refuses and with which exit status.

TESTED_BINARY: the binary to test; default build/verdict.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import resource
import struct
import subprocess
import zipfile

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
BINARY = pathlib.Path(os.environ.get("TESTED_BINARY", ROOT / "build" / "verdict")).resolve()
MLP = GOLDEN / "skl_mlp_binary.onnx"  # x f32[N,10] -> label i64[N], probabilities f32[N,2]
TIMEOUT_S = 120
USAGE, FAILURE = 2, 1
SUBCOMMANDS = ("build", "refit", "run", "inspect", "export", "bench", "serve", "health", "load",
               "token", "repository")


def verdict(*arguments: object, stdout=subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BINARY), *map(str, arguments)], stdout=stdout,
                          stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=False)


def succeed(*arguments: object) -> str:
    """What a command that must succeed prints."""
    done = verdict(*arguments)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr}"
    return done.stdout


def fail(status: int, *arguments: object) -> str:
    """What a command that must fail says on stderr."""
    done = verdict(*arguments)
    assert done.returncode == status, f"exit {done.returncode}: {done.stdout}{done.stderr}"
    assert done.stderr.startswith("verdict"), done.stderr
    assert "error: " in done.stderr
    return done.stderr


@pytest.fixture(scope="session", autouse=True)
def binary() -> None:
    assert BINARY.is_file(), f"{BINARY} does not exist; build it or set TESTED_BINARY"


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("engine") / "mlp.engine"
    succeed("build", "--onnx", MLP, "--saveEngine", path, "--minShapes", "x:1x10", "--optShapes",
            "x:8x10", "--maxShapes", "x:32x10")
    return path


@pytest.fixture(scope="session")
def inputs() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "skl_mlp_binary.inputs.npz") as stored:
        return dict(stored)


def save(path: pathlib.Path, **arrays: np.ndarray) -> pathlib.Path:
    np.savez(path, **arrays)
    return path


# Help and usage.

@pytest.mark.parametrize("subcommand", SUBCOMMANDS)
def test_help_fits_a_screen_and_has_an_example(subcommand: str) -> None:
    text = succeed(subcommand, "--help")
    lines = text.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert f"\n  verdict {subcommand} " in text


def test_help_lists_the_subcommands() -> None:
    text = succeed("--help")
    for subcommand in SUBCOMMANDS:
        assert f"\n  {subcommand} " in text
    assert max(map(len, text.splitlines())) <= 80


def test_version() -> None:
    assert re.fullmatch(r"verdict \d+\.\d+\.\d+\n", succeed("--version"))


@pytest.mark.parametrize("arguments, message", [
    ([], "subcommand is required"),
    (["frobnicate"], "frobnicate"),
    (["--bogus"], "there is no flag '--bogus'"),
    (["build"], "--onnx is required"),
    (["build", "--onx", "m.onnx", "--saveEngine", "e"], "there is no flag '--onx'"),
    (["run", "m.onnx", "--input", "i", "--outputs", "o"], "there is no flag '--input'"),
    (["serve", "models"], "unexpected argument 'models'"),
    (["build", "--onnx", "m.onnx"], "--saveEngine is required"),
    (["build", "--onnx", "m", "--saveEngine", "e", "--fast"], "there is no flag '--fast'"),
    (["build", "--onnx", "m", "--saveEngine", "e", "--minShapes", "x:1x"],
     "--minShapes: shape 'x:1x'"),
    (["build", "--onnx", "m", "--saveEngine", "e", "--shapes", "x"], "--shapes: shape 'x'"),
    (["build", "--onnx", "m", "--saveEngine", "e", "--disable-pass", "fuse"], "fold_constants"),
    (["build", "--onnx", "m", "--saveEngine", "e", "--backend", "tpu"], "reference"),
    (["build", "--onnx", "m", "--saveEngine", "e", "--memPoolSize", "workspace:lots"],
     "'workspace:lots' is not a pool and its size"),
    (["build", "--onnx", "m", "--saveEngine", "e", "--builderOptimizationLevel", "6"],
     "--builderOptimizationLevel"),
    (["refit"], "--loadEngine is required"),
    (["run"], "model is required"),
    (["run", "m.onnx", "--inputs", "in.npz"], "--outputs is required"),
    (["inspect"], "file is required"),
    (["export", "--onnx", "m.onnx"], "--qdq is required"),
    (["export", "--qdq", "q.onnx"], "--engine or --onnx"),
    (["export", "--engine", "e", "--onnx", "m", "--qdq", "q"], "--engine or --onnx"),
    (["bench"], "--loadEngine or --onnx"),
    (["bench", "--loadEngine", "e", "--onnx", "m"], "--loadEngine or --onnx"),
    (["bench", "--onnx", "m", "--shapes", "x:1", "--loadInputs", "i"], "--shapes or --loadInputs"),
    (["bench", "--onnx", "m", "--percentile", "90,101"], "--percentile"),
    (["bench", "--onnx", "m", "--iterations", "0"], "--iterations"),
    (["bench", "--onnx", "m", "--duration", "soon"], "--duration"),
    (["bench", "--onnx", "m", "--duration", "nan"], "--duration"),
    (["bench", "--onnx", "m", "--warmUp", "nan"], "--warmUp"),
    (["bench", "--onnx", "m", "--percentile", "90,nan"], "--percentile"),
    (["load", "--model", "m", "--protocol", "htp"], "--protocol: htp not in {http,grpc,grpc-stream}"),
    (["build", "--onnx", "m", "--saveEngine", ""], "--saveEngine: the path is empty"),
    (["build", "--onnx", "", "--saveEngine", "e"], "--onnx: the path is empty"),
    (["build", "--onnx", "m", "--saveEngine", "e", "--timingCacheFile", ""],
     "--timingCacheFile: the path is empty"),
    (["run", "", "--inputs", "i", "--outputs", "o"], "model: the path is empty"),
    (["run", "m", "--inputs", "", "--outputs", "o"], "--inputs: the path is empty"),
    (["run", "m", "--inputs", "i", "--outputs", ""], "--outputs: the path is empty"),
    (["inspect", ""], "file: the path is empty"),
    (["bench", "--loadEngine", ""], "--loadEngine: the path is empty"),
    (["bench", "--onnx", "m", "--loadInputs", ""], "--loadInputs: the path is empty"),
    (["bench", "--onnx", "m", "--exportTimes", ""], "--exportTimes: the path is empty"),
    (["serve", "--repository", ""], "--repository: the path is empty"),
])
def test_usage_errors_exit_with_2(arguments: list[str], message: str) -> None:
    text = fail(USAGE, *arguments)
    assert message in text
    assert "--help`" in text


def test_output_that_cannot_be_written_is_an_error() -> None:
    with open("/dev/full", "w") as full:
        done = verdict("inspect", MLP, stdout=full)
    assert done.returncode == FAILURE
    assert "cannot write to standard output" in done.stderr


# build

def test_build_summarizes_the_engine(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "m.engine"
    text = succeed("build", "--onnx", MLP, "--saveEngine", path, "--shapes", "x:4x10")
    assert f"{path}: {path.stat().st_size} bytes, built in " in text
    assert re.search(r"input   x f32\[\w+,10\]  min \[4,10\]  opt \[4,10\]  max \[4,10\]", text)
    assert re.search(r"output  probabilities f32\[\w+,2\]", text)
    assert [file.name for file in tmp_path.iterdir()] == ["m.engine"]


def test_build_gives_the_same_bytes_again(tmp_path: pathlib.Path) -> None:
    """From the same measurements: tactics that take about the same time may change places."""
    first, again = tmp_path / "first.engine", tmp_path / "again.engine"
    for path, flags in ((first, ()), (again, ("--errorOnTimingCacheMiss",))):
        succeed("build", "--onnx", MLP, "--saveEngine", path, "--maxShapes", "x:32x10",
                "--timingCacheFile", tmp_path / "timing.cache", *flags)
    assert first.read_bytes() == again.read_bytes()


def test_a_limit_on_file_sizes_is_an_error_like_a_full_disk(tmp_path: pathlib.Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    done = subprocess.run(
        [BINARY, "build", "--onnx", MLP, "--saveEngine", tmp_path / "m.engine"],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False, preexec_fn=limit)
    assert done.returncode == FAILURE and "File too large" in done.stderr
    assert not list(tmp_path.iterdir())


def test_build_shows_passes_and_tactics(tmp_path: pathlib.Path) -> None:
    command = ("build", "--onnx", MLP, "--saveEngine", tmp_path / "m.engine", "--verbose")
    text = succeed(*command)
    assert re.search(r"fuse_gemm_activation +\d+ us +\d+ -> \d+ nodes", text)
    assert "(FusedGemm): " in text
    without = succeed(*command, "--disable-pass", "fuse_gemm_activation", "--disable-pass",
                      "fold_constants")
    assert "fuse_gemm_activation" not in without
    assert "fold_constants" not in without
    assert "reference" in succeed(*command, "--backend", "reference")


def test_build_says_which_tactic_declines_and_why(tmp_path: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.random((1, 12, n), np.float32), name)
               for name, n in (("w", 2), ("r", 3))]
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=3, clip=1.0)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 1, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 1, 1, 3])
    graph = helper.make_graph([node], "clipped", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    text = succeed("build", "--onnx", tmp_path / "m.onnx", "--saveEngine", tmp_path / "m.engine",
                   "--verbose")
    assert re.search(r"node 'y' \(LSTM\): cpu/lstm declines: .*clip", text)
    assert "node 'y' (LSTM): reference\n" in text


def test_build_keeps_the_old_engine_when_it_fails(tmp_path: pathlib.Path) -> None:
    broken, old = tmp_path / "broken.onnx", tmp_path / "m.engine"
    broken.write_bytes(MLP.read_bytes()[:-100])
    old.write_bytes(b"the old engine")
    assert "broken.onnx: " in fail(FAILURE, "build", "--onnx", broken, "--saveEngine", old)
    assert old.read_bytes() == b"the old engine"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["broken.onnx", "m.engine"]


@pytest.mark.parametrize("flags, message", [
    (["--shapes", "y:1x10"], "no input 'y'; its inputs are x"),
    (["--shapes", "x:1x11"], "input 'x': [1,11]"),
    (["--shapes", "x:10"], "input 'x': [10]"),
    (["--minShapes", "x:8x10", "--maxShapes", "x:4x10"], "not in order"),
])
def test_build_names_the_input_whose_shape_is_wrong(
        flags: list[str], message: str, tmp_path: pathlib.Path) -> None:
    text = fail(FAILURE, "build", "--onnx", MLP, "--saveEngine", tmp_path / "m.engine", *flags)
    assert message in text
    assert MLP.name in text
    assert not list(tmp_path.iterdir())


def test_build_names_the_path_that_is_wrong(tmp_path: pathlib.Path) -> None:
    assert "absent.onnx: cannot open" in fail(
        FAILURE, "build", "--onnx", "absent.onnx", "--saveEngine", tmp_path / "m.engine")
    assert "there is no folder" in fail(
        FAILURE, "build", "--onnx", MLP, "--saveEngine", tmp_path / "absent" / "m.engine")
    assert "is a folder" in fail(FAILURE, "build", "--onnx", MLP, "--saveEngine", tmp_path)
    model = tmp_path / "m.onnx"
    model.write_bytes(MLP.read_bytes())
    assert "would overwrite the model" in fail(
        FAILURE, "build", "--onnx", model, "--saveEngine", model)
    assert model.read_bytes() == MLP.read_bytes()


# run

def run(model: pathlib.Path, path: pathlib.Path, tmp_path: pathlib.Path) -> dict[str, np.ndarray]:
    succeed("run", model, "--inputs", path, "--outputs", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as stored:
        return dict(stored)


def test_run_takes_what_numpy_writes(engine: pathlib.Path, inputs: dict[str, np.ndarray],
                                     tmp_path: pathlib.Path) -> None:
    x = inputs["x"]
    expected = run(engine, save(tmp_path / "plain.npz", x=x), tmp_path)
    assert expected["label"].dtype == np.int64
    assert expected["probabilities"].shape == (len(x), 2)
    compressed = tmp_path / "compressed.npz"
    np.savez_compressed(compressed, x=x)
    fortran = save(tmp_path / "fortran.npz", x=np.asfortranarray(x))
    for path in (compressed, fortran):
        actual = run(engine, path, tmp_path)
        for name, value in expected.items():
            np.testing.assert_array_equal(actual[name], value)
    onnx = run(MLP, compressed, tmp_path)
    np.testing.assert_allclose(onnx["probabilities"], expected["probabilities"], 1e-5, 1e-5)


def test_run_takes_and_gives_strings(tmp_path: pathlib.Path) -> None:
    model = GOLDEN / "skl_onehot_lr.onnx"
    with np.load(GOLDEN / "skl_onehot_lr.inputs.npz") as stored:
        arrays = dict(stored)
    expected = run(model, save(tmp_path / "in.npz", **arrays), tmp_path)
    arrays["country"] = arrays["country"].astype("U9")
    arrays["channel"] = arrays["channel"].astype("S")
    actual = run(model, save(tmp_path / "in.npz", **arrays), tmp_path)
    np.testing.assert_array_equal(actual["label"], expected["label"])
    labels = run(GOLDEN / "skl_lr_string_labels.onnx", GOLDEN / "skl_lr_string_labels.inputs.npz",
                 tmp_path)["label"]
    assert labels.dtype.kind == "U"


@pytest.mark.parametrize("change, message", [
    (lambda x: {"X": x}, "there is no tensor 'x' (float32 ["),
    (lambda x: {"x": x, "y": x}, "the model has no input 'y'; its inputs are x (float32 ["),
    (lambda x: {"x": x.astype("f8")}, "save x.astype('float32')"),
    (lambda x: {"x": x.astype(">f4")}, "save x.astype('<f4')"),
    (lambda x: {"x": x.astype("c8")}, "tensor 'x': its element type '<c8' is not supported"),
    (lambda x: {"x": x[0]}, "tensor 'x' is float32 [10], the model takes float32 ["),
    (lambda x: {"x": x[:, :9]}, "tensor 'x' is float32 [24,9], the model takes float32 ["),
])
def test_run_says_what_is_wrong_with_a_tensor(
        change, message: str, engine: pathlib.Path, inputs: dict[str, np.ndarray],
        tmp_path: pathlib.Path) -> None:
    path = save(tmp_path / "in.npz", **change(inputs["x"]))
    for model in (MLP, engine):
        text = fail(FAILURE, "run", model, "--inputs", path, "--outputs", tmp_path / "out.npz")
        assert message in text
        assert "in.npz: " in text
        assert not (tmp_path / "out.npz").exists()


def test_run_refuses_a_shape_outside_the_profile(engine: pathlib.Path,
                                                 tmp_path: pathlib.Path) -> None:
    path = save(tmp_path / "in.npz", x=np.zeros((33, 10), "f4"))
    text = fail(FAILURE, "run", engine, "--inputs", path, "--outputs", tmp_path / "out.npz")
    assert "input 'x' has shape [33,10]; the engine takes [1,10] to [32,10]" in text


def test_run_refuses_other_files_as_inputs(engine: pathlib.Path, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "in.npz"
    outputs = tmp_path / "out.npz"
    assert "in.npz: cannot open" in fail(
        FAILURE, "run", engine, "--inputs", path, "--outputs", outputs)
    path.write_bytes(b"")
    assert "empty" in fail(FAILURE, "run", engine, "--inputs", path, "--outputs", outputs)
    path.write_bytes(b"PK but not really")
    assert "not an .npz file" in fail(
        FAILURE, "run", engine, "--inputs", path, "--outputs", outputs)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00\x10\x00not a dictionary")
    assert "tensor 'x': its .npy header is malformed" in fail(
        FAILURE, "run", engine, "--inputs", path, "--outputs", outputs)
    np.savez(path, x=np.array(["a", None], dtype=object))
    assert "Python objects" in fail(FAILURE, "run", engine, "--inputs", path, "--outputs", outputs)


def test_names_from_files_do_not_reach_the_terminal(engine: pathlib.Path,
                                                    tmp_path: pathlib.Path) -> None:
    header = b"{'descr': '\x1b[2J\x00', 'fortran_order': False, 'shape': (1,), }"
    path = tmp_path / "in.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    text = fail(FAILURE, "run", engine, "--inputs", path, "--outputs", tmp_path / "out.npz")
    assert r"'\x1b[2J\x00' is not supported" in text
    assert "\x1b" not in text


def test_run_names_a_model_it_cannot_read(tmp_path: pathlib.Path) -> None:
    path = save(tmp_path / "in.npz", x=np.zeros((1, 10), "f4"))
    text = fail(FAILURE, "run", GOLDEN / "models.json", "--inputs", path, "--outputs", "out.npz")
    assert "models.json: is not an ONNX model" in text


def test_outputs_do_not_overwrite_what_was_read(tmp_path: pathlib.Path) -> None:
    model, link = tmp_path / "m.onnx", tmp_path / "link"
    model.write_bytes(MLP.read_bytes())
    link.symlink_to("m.onnx")
    path = save(tmp_path / "in.npz", x=np.zeros((1, 10), "f4"))
    before = path.read_bytes()
    for target, what in ((model, "model"), (link, "model"), (path, "inputs")):
        message = f"{target}: would overwrite the {what}"
        assert f"--outputs {message}" in fail(
            FAILURE, "run", model, "--inputs", path, "--outputs", target)
        assert f"--exportTimes {message}" in fail(
            FAILURE, "bench", "--onnx", model, "--loadInputs", path, *QUICK,
            "--exportTimes", target)
    assert model.read_bytes() == MLP.read_bytes()
    assert path.read_bytes() == before
    assert "there is no folder" in fail(
        FAILURE, "run", model, "--inputs", path, "--outputs", tmp_path / "absent" / "out.npz")


def test_outputs_are_written_through_symlinks(tmp_path: pathlib.Path) -> None:
    path = save(tmp_path / "in.npz", x=np.zeros((1, 10), "f4"))
    (tmp_path / "deep").mkdir()
    for name in ("out.npz", "m.engine", "times.json"):
        (tmp_path / name).symlink_to(f"deep/{name}")
    for _ in range(2):  # first the links dangle
        succeed("build", "--onnx", MLP, "--saveEngine", tmp_path / "m.engine")
        run(tmp_path / "m.engine", path, tmp_path)
        succeed("bench", "--loadEngine", tmp_path / "m.engine", *QUICK,
                "--exportTimes", tmp_path / "times.json")
        assert all((tmp_path / name).is_symlink() for name in ("out.npz", "m.engine", "times.json"))
    assert len(list((tmp_path / "deep").iterdir())) == 3


def test_a_small_file_of_strings_takes_little_memory(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "in.npz"
    np.savez_compressed(path, x=np.zeros(20_000_000, "S1"))
    command = [str(BINARY), "run", str(MLP), "--inputs", str(path), "--outputs", "out.npz"]
    most = 500 << 20  # 18 bytes a string, and the command itself
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, text=True, timeout=TIMEOUT_S,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (most, most)))
    assert "tensor 'x' is str [20000000]" in done.stderr
    assert done.returncode == FAILURE


# inspect

def test_inspect_shows_an_engine(engine: pathlib.Path) -> None:
    text = succeed("inspect", engine)
    for part in ("engine format 1.", "planned for ", "profile 0:", "min [1,10]", "FusedGemm",
                 "arena of profile 0", "source_sha256", "skl_mlp_binary.onnx", "golden"):
        assert part in text
    value = json.loads(succeed("inspect", engine, "--json"))
    assert value["inputs"][0]["name"] == "x"
    assert value["inputs"][0]["shape"][1] == 10
    assert value["profiles"][0]["inputs"][0]["max"] == [32, 10]
    assert all(node["tactic"] for node in value["nodes"])
    assert value["file_bytes"] == engine.stat().st_size
    assert {section["name"] for section in value["sections"]} >= {"ir", "plan", "constants"}


def test_inspect_shows_a_model() -> None:
    assert "x  f32[" in succeed("inspect", MLP)
    value = json.loads(succeed("inspect", MLP, "--json"))
    assert value["outputs"][1]["name"] == "probabilities"
    assert value["profiles"] == []


def patched(engine: pathlib.Path, path: pathlib.Path, offset: int, value: bytes) -> pathlib.Path:
    data = bytearray(engine.read_bytes())
    data[offset:offset + len(value)] = value
    path.write_bytes(data)
    return path


def test_inspect_says_what_is_wrong_with_an_engine(engine: pathlib.Path,
                                                   tmp_path: pathlib.Path) -> None:
    path = tmp_path / "bad.engine"
    size = engine.stat().st_size
    path.write_bytes(engine.read_bytes()[:1234])
    assert f"bad.engine: the file is truncated: 1,234 of {size:,} bytes; copy it again" in fail(
        FAILURE, "inspect", path)
    text = fail(FAILURE, "inspect", patched(engine, path, size - 1, b"\xA5"))
    assert "section 'packed'" in text and "checksum" in text
    text = fail(FAILURE, "inspect", patched(engine, path, 8, struct.pack("<HH", 3, 1)))
    assert "written in format 3.1, this build reads 1.x; upgrade verdict" in text
    path.write_bytes(b"an engine in name only")
    assert "not an engine file" in fail(FAILURE, "inspect", path)


# bench

NUMBER = r"\d+(\.\d+)? "
LATENCY = re.compile(
    rf"^Latency: min = {NUMBER}ms, max = {NUMBER}ms, mean = {NUMBER}ms, median = {NUMBER}ms, "
    rf"percentile\(90%\) = {NUMBER}ms, percentile\(95%\) = {NUMBER}ms, "
    r"percentile\(99%\) = \d+(\.\d+)? ms$", re.MULTILINE)
QUICK = ("--warmUp", 1, "--duration", 0.02)


def test_bench_prints_the_summary_of_trtexec(engine: pathlib.Path) -> None:
    text = succeed("bench", "--loadEngine", engine, "--shapes", "x:1x10", *QUICK)
    lines = text.splitlines()
    assert lines[0].startswith("&&&& RUNNING verdict.bench")
    assert "Input x: f32[1,10]" in lines
    assert re.search(rf"^Throughput: {NUMBER}qps$", text, re.MULTILINE)
    assert LATENCY.search(text)
    assert lines[-1].startswith("&&&& PASSED verdict.bench")


def test_bench_exports_the_times(engine: pathlib.Path, tmp_path: pathlib.Path) -> None:
    times = tmp_path / "times.json"
    text = succeed("bench", "--loadEngine", engine, "--streams", 2, "--iterations", 7,
                   "--warmUp", 0, "--duration", 0, "--percentile", "50,99.9",
                   "--exportTimes", times)
    assert "percentile(50%) = " in text and "percentile(99.9%) = " in text
    runs = json.loads(times.read_text())
    assert len(runs) == 14
    for entry in runs:
        assert entry["endComputeMs"] >= entry["startComputeMs"]
        assert entry["latencyMs"] == pytest.approx(entry["endComputeMs"] - entry["startComputeMs"])


def test_bench_takes_models_and_inputs(engine: pathlib.Path) -> None:
    assert "f32[3,10]" in succeed("bench", "--onnx", MLP, "--shapes", "x:3x10", *QUICK)
    stored = GOLDEN / "skl_mlp_binary.inputs.npz"
    for model in (("--onnx", MLP), ("--loadEngine", engine)):
        assert "f32[24,10]" in succeed("bench", *model, "--loadInputs", stored, *QUICK)


@pytest.mark.parametrize("shapes, message", [
    ("x:33x10", "input 'x' has shape [33,10]; the engine takes [1,10] to [32,10]"),
    ("y:1x10", "there is no input 'y'"),
])
def test_bench_says_failed(shapes: str, message: str, engine: pathlib.Path) -> None:
    done = verdict("bench", "--loadEngine", engine, "--shapes", shapes, *QUICK)
    assert done.returncode == FAILURE
    assert "--shapes: " in done.stderr and message in done.stderr
    assert done.stdout.splitlines()[-1].startswith("&&&& FAILED")


@pytest.mark.parametrize("flags, stack, message", [
    # Threads of 1 GiB each in 2 GiB: most cannot be had.
    (("--streams", 8), 1 << 30, "threads could be had"),
    # Room for the times of 2^26 runs, 1 GiB a thread.
    (("--streams", 4, "--duration", 1e6), 8 << 20, "out of memory"),
])
def test_bench_says_to_lower_the_streams(
        flags: tuple[object, ...], stack: int, message: str, engine: pathlib.Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_STACK, (stack, stack))
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    command = [BINARY, "bench", "--loadEngine", engine, "--warmUp", 1, *flags]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          timeout=20, check=False, preexec_fn=limit)
    assert done.returncode == FAILURE, done.stderr
    assert message in done.stderr and "lower --streams" in done.stderr


# examples/embed

def test_embedded_example_refuses_what_is_no_number(engine: pathlib.Path) -> None:
    for text in ("abc", "1x", ""):
        done = subprocess.run(
            [str(BINARY.parent / "score_example"), str(engine), "1", text], capture_output=True,
            text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == USAGE
        assert f"feature 2: '{text}' is not a number" in done.stderr
