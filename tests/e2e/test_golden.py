"""Every golden model through the command line: as ONNX, and as an engine built from it.

TESTED_BINARY: the binary to test; default build/verdict.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
BINARY = pathlib.Path(os.environ.get("TESTED_BINARY", ROOT / "build" / "verdict")).resolve()
MODELS = json.loads((GOLDEN / "models.json").read_text())
TIMEOUT_S = 120


def verdict(*arguments: object) -> None:
    """Runs the command; a failure shows what it said."""
    command = [str(BINARY), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr.strip()}"


def load(path: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return dict(stored)


def compare(model: dict, actual_path: pathlib.Path, rows: slice = slice(None)) -> None:
    """Same names, shapes and kinds; floats within the tolerance, all else equal."""
    expected, actual = load(GOLDEN / model["outputs"]), load(actual_path)
    assert sorted(actual) == sorted(expected)
    for name, all_rows in expected.items():
        want, got = all_rows[rows], actual[name]
        assert got.shape == want.shape, f"{name}: shape {got.shape}, expected {want.shape}"
        assert got.dtype.kind == want.dtype.kind, f"{name}: {got.dtype}, expected {want.dtype}"
        if want.dtype.kind == "f":
            tolerance = model["tolerance"]
            np.testing.assert_allclose(got, want, tolerance, tolerance, err_msg=name)
        else:
            np.testing.assert_array_equal(got, want, err_msg=name)


def profile_flags(model: dict, inputs: dict[str, np.ndarray]) -> list[str]:
    """From 1 on every dynamic axis to the stored inputs' extents."""
    def text(shapes: dict[str, list[int]]) -> str:
        return ",".join(f"{name}:{'x'.join(map(str, dims))}" for name, dims in shapes.items())

    largest = text({name: list(value.shape) for name, value in inputs.items()})
    smallest = text({name: [1 if isinstance(d, str) else d for d in dims]
                     for name, dims in model["shapes"].items()})
    return ["--minShapes", smallest, "--optShapes", largest, "--maxShapes", largest]


@pytest.fixture(scope="session", autouse=True)
def binary() -> None:
    assert BINARY.is_file(), f"{BINARY} does not exist; build it or set TESTED_BINARY"


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m["name"])
def test_onnx_file_gives_the_expected_outputs(model: dict, tmp_path: pathlib.Path) -> None:
    outputs = tmp_path / "out.npz"
    verdict("run", GOLDEN / model["file"], "--inputs", GOLDEN / model["inputs"],
            "--outputs", outputs)
    compare(model, outputs)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m["name"])
def test_engine_gives_the_expected_outputs(model: dict, tmp_path: pathlib.Path) -> None:
    engine, outputs = tmp_path / "model.engine", tmp_path / "out.npz"
    inputs = load(GOLDEN / model["inputs"])
    verdict("build", "--onnx", GOLDEN / model["file"], "--saveEngine", engine,
            *profile_flags(model, inputs))
    verdict("run", engine, "--inputs", GOLDEN / model["inputs"], "--outputs", outputs)
    compare(model, outputs)

    if model["rows"]:  # The first row alone: other kernels, the same answer.
        first = tmp_path / "first.npz"
        np.savez(first, **{name: value[:1] for name, value in inputs.items()})
        verdict("run", engine, "--inputs", first, "--outputs", outputs)
        compare(model, outputs, slice(0, 1))
