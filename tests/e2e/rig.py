"""A repository that changes under a server, and what those who change it ask of the server."""

from __future__ import annotations

import functools
import pathlib
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from serving import BINARY, Client, Server, golden, post
from traffic import Rows

ROWS = golden("skl_lr_binary")[0]["x"][:16]
LATEST = "version_policy: {latest: {num_versions: 1}}\n"
INFER = "/v2/models/fraud/infer"
REQUEST = post(INFER, {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 10],
                                   "data": ROWS[0].tolist()}],
                       "outputs": [{"name": "probabilities"}]})


class Rig:
    """A repository to be changed, and servers on it."""

    def __init__(self, engines: pathlib.Path, reference: Server, folder: pathlib.Path) -> None:
        self.engines = engines
        self.reference = reference
        self.root = folder / "repository"
        self.staging = folder / "staging"
        self.log = folder / "log"
        self.running: Server | None = None
        self.root.mkdir()

    def engine(self, kind: int) -> bytes:
        return (self.engines / "fraud" / str(kind) / "model.engine").read_bytes()

    @functools.cache
    def probabilities(self, kind: int) -> np.ndarray:
        """[rows, 2]: what the engine of that version of fraud says to ROWS, on a server that is
        left alone (which test_server.py holds against ONNX Runtime)."""
        answer = self.reference.ask(post(f"/v2/models/fraud/versions/{kind}/infer", {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": list(ROWS.shape),
                        "data": ROWS.ravel().tolist()}],
            "outputs": [{"name": "probabilities"}]}))
        assert answer.code == 200
        return np.float32(answer.json()["outputs"][0]["data"]).reshape(len(ROWS), -1)

    def rows(self, kinds: Mapping[str, Sequence[int]], model: str = "fraud") -> Rows:
        """Requests to fraud, or a route to it. kinds: by version those of its engine, several if it
        is replaced."""
        return Rows(model, "x", ROWS, "probabilities", lambda version: [
            self.probabilities(kind) for kind in kinds.get(version, [])])

    def put(self, model: str, version: int, contents: bytes) -> None:
        """As deployments do: the folder, or the file in it, appears whole."""
        shutil.rmtree(self.staging, ignore_errors=True)
        self.staging.mkdir()
        (self.staging / "model.engine").write_bytes(contents)
        (self.root / model).mkdir(exist_ok=True)
        target = self.root / model / str(version)
        if target.is_dir():
            (self.staging / "model.engine").rename(target / "model.engine")
        else:
            self.staging.rename(target)

    def start(self, *flags: object, drain_ms: int = 0,
              environment: dict[str, str] | None = None) -> Server:
        self.running = Server(self.root, self.log, "--drain-ms", drain_ms, *flags,
                              environment=environment)
        return self.running

    def poll(self) -> Server:
        """A server that looks at the repository when rescan() says so."""
        return self.start("--set", "repository.mode=poll",
                          "--set", "repository.poll_interval_s=3600")

    def explicit(self, load: list[str], *flags: object, drain_ms: int = 0) -> Server:
        return self.start("--set", "repository.mode=explicit",
                          "--set", f"repository.load={','.join(load)}", *flags, drain_ms=drain_ms)

    def rescan(self) -> None:
        assert self.running is not None
        self.running.process.send_signal(signal.SIGHUP)

    def index(self) -> dict[tuple[str, str], dict]:
        assert self.running is not None
        answer = self.running.ask(post("/v2/repository/index", ""))
        assert answer.code == 200
        return {(e["name"], e["version"]): e for e in answer.json()}

    def state(self, model: str, version: int) -> str:
        return self.index().get((model, str(version)), {}).get("state", "")


def operator(server: Server) -> Client:
    """A connection to the port on which models are loaded and unloaded."""
    return Client(int(server.admin_address.rsplit(":", 1)[1]))


def change(server: Server, target: str, body: str | dict = "") -> tuple[int, str]:
    client = operator(server)
    try:
        answer = client.ask(post(f"/v2/repository/{target}", body))
        return answer.code, answer.error() if answer.body else ""
    finally:
        client.close()


def load(server: Server, model: str) -> tuple[int, str]:
    return change(server, f"models/{model}/load")


def unload(server: Server, model: str) -> tuple[int, str]:
    return change(server, f"models/{model}/unload")


def large_engine(folder: pathlib.Path, width: int) -> bytes:
    """An engine of 4 width^2 bytes of weights."""
    weights = np.random.default_rng(0).normal(size=(width, width)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", width])],
        [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, folder / "large.onnx")
    done = subprocess.run([BINARY, "build", "--onnx", folder / "large.onnx", "--saveEngine",
                           folder / "large.engine", "--minShapes", f"x:1x{width}", "--maxShapes",
                           f"x:8x{width}"],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return (folder / "large.engine").read_bytes()
