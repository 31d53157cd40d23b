"""The examples that the guides quote work, against the golden logistic regression."""

import ast
import http.server
import json
import pathlib
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from serving import BINARY, GOLDEN, ROOT, Server
from slow_model import WIDTH, build_slow

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


@pytest.fixture(scope="module")
def served(
    repository: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(repository / "fraud" / "1", folder / "models" / "fraud" / "1")
    running = Server(folder / "models", folder / "server.log", "--drain-ms", 0)
    yield running
    assert running.stop() == 0, running.log()


@pytest.fixture
def rows_file(rows: np.ndarray, tmp_path: pathlib.Path) -> pathlib.Path:
    np.save(tmp_path / "rows.npy", rows)
    return tmp_path / "rows.npy"


def example(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, ROOT / "examples" / "client" / name, *arguments)


@pytest.mark.parametrize("name", ["score.py", "score_grpc.py", "score_with_retry.py"])
def test_clients_score_through_a_running_server(
    name: str, served: Server, rows_file: pathlib.Path, probabilities: np.ndarray
) -> None:
    address = served.grpc_address if "grpc" in name else served.address
    deadline = () if name == "score.py" else (20_000,)
    done = example(name, address, "fraud", rows_file, *deadline)
    assert done.returncode == 0, done.stderr
    answers = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert set(answers) == {"label", "probabilities"}
    actual = np.array(ast.literal_eval(answers["probabilities"]))
    np.testing.assert_allclose(actual, probabilities, TOLERANCE, TOLERANCE)


def test_stream_client_scores_every_row(
    served: Server, rows_file: pathlib.Path, probabilities: np.ndarray
) -> None:
    done = example("score_stream.py", served.grpc_address, "fraud", rows_file)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    answers = {}
    for line in done.stdout.splitlines():
        number, output, values = line.split(" ", 2)
        answers[int(number), output] = ast.literal_eval(values)
    for number, expected in enumerate(probabilities):
        np.testing.assert_allclose(
            answers[number, "probabilities"], [expected], TOLERANCE, TOLERANCE)


def test_stream_client_says_what_is_wrong(served: Server, tmp_path: pathlib.Path) -> None:
    np.save(tmp_path / "narrow.npy", np.zeros((2, 3), np.float32))
    done = example("score_stream.py", served.grpc_address, "fraud", tmp_path / "narrow.npy")
    assert done.stderr.count("error: ") == 2 and "[1,3] does not fit" in done.stderr


def test_a_deadline_over_grpc_ends_without_a_score(tmp_path: pathlib.Path) -> None:
    build_slow(tmp_path / "models" / "slow" / "1" / "model.engine")
    np.save(tmp_path / "rows.npy", np.ones((400, WIDTH), np.float32))  # 100 ms or more
    server = Server(tmp_path / "models", tmp_path / "server.log", "--drain-ms", 0)
    try:
        done = example("score_grpc.py", server.grpc_address, "slow", tmp_path / "rows.npy", 5)
    finally:
        assert server.stop() == 0, server.log()
    assert done.returncode == 3 and "no score within 5 ms" in done.stderr


class Stub(http.server.BaseHTTPRequestHandler):
    """Answers with the statuses of its server, one after another, the last again and again."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.deadlines.append(int(self.headers["Verdict-Deadline-Us"]))
        statuses = self.server.statuses
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        body = json.dumps({"error": f"status {status}"} if status != 200 else {
            "model_name": "m", "outputs": [
                {"name": "y", "datatype": "FP32", "shape": [1], "data": [0.5]}]}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("statuses, asked, code", [
    ([503, 429, 200], 3, 0),
    ([504, 200], 1, 3),
    ([400, 200], 1, 1),
])
def test_retries_what_may_succeed_and_nothing_else(
    statuses: list[int], asked: int, code: int, rows_file: pathlib.Path
) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Stub) as stub:
        stub.statuses, stub.deadlines = list(statuses), []
        threading.Thread(target=stub.serve_forever, daemon=True).start()
        done = example("score_with_retry.py", f"127.0.0.1:{stub.server_port}", "m", rows_file, 20_000)
        stub.shutdown()
    assert done.returncode == code, done.stderr
    assert len(stub.deadlines) == asked
    assert stub.deadlines == sorted(set(stub.deadlines), reverse=True)  # what is left, each time
    assert done.stdout == ("y [0.5]\n" if code == 0 else "")


def test_retries_end_with_the_deadline(rows_file: pathlib.Path) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Stub) as stub:
        stub.statuses, stub.deadlines = [503], []
        threading.Thread(target=stub.serve_forever, daemon=True).start()
        done = example("score_with_retry.py", f"127.0.0.1:{stub.server_port}", "m", rows_file, 300)
        stub.shutdown()
    assert done.returncode == 3 and "no score within 300 ms: 503: status 503" in done.stderr
    assert len(stub.deadlines) > 1
