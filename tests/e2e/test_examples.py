"""The examples that the guides quote work, against the golden logistic regression."""

import ast
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from serving import BINARY, GOLDEN, ROOT, Server

TOLERANCE = 1e-5
ROWS = 3


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def engine(repository: pathlib.Path) -> pathlib.Path:
    return repository / "fraud" / "1" / "model.engine"


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return np.load(GOLDEN / "skl_lr_binary.inputs.npz")["x"][:ROWS]


@pytest.fixture(scope="module")
def probabilities() -> np.ndarray:
    return np.load(GOLDEN / "skl_lr_binary.outputs.npz")["probabilities"][:ROWS]


def test_embedded_engine_scores_a_row(
    engine: pathlib.Path, rows: np.ndarray, probabilities: np.ndarray
) -> None:
    for row, expected in zip(rows, probabilities, strict=True):
        done = run(BINARY.parent / "score_example", engine, *row.tolist())
        assert done.returncode == 0, done.stderr
        name, *values = done.stdout.split()
        assert name == "probabilities:"
        np.testing.assert_allclose([float(v) for v in values], expected, TOLERANCE, TOLERANCE)


def test_embedded_engine_says_what_is_wrong(engine: pathlib.Path, tmp_path: pathlib.Path) -> None:
    example = BINARY.parent / "score_example"
    missing = run(example, tmp_path / "missing.engine", 1)
    assert missing.returncode == 1 and "missing.engine" in missing.stderr
    narrow = run(example, engine, 1, 2)
    assert narrow.returncode == 1 and "'x'" in narrow.stderr


def test_client_scores_through_a_running_server(
    small_repository: pathlib.Path, rows: np.ndarray, probabilities: np.ndarray,
    tmp_path: pathlib.Path,
) -> None:  # fmt: skip
    np.save(tmp_path / "rows.npy", rows)
    server = Server(small_repository, tmp_path / "server.log", "--drain-ms", 0)
    client = ROOT / "examples/client/score.py"
    done = run(sys.executable, client, server.address, "fraud", tmp_path / "rows.npy")
    assert server.stop() == 0, server.log()
    assert done.returncode == 0, done.stderr
    answers = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert set(answers) == {"label", "probabilities"}
    actual = np.array(ast.literal_eval(answers["probabilities"]))
    np.testing.assert_allclose(actual, probabilities, TOLERANCE, TOLERANCE)
