"""Models that come and go while requests run: nobody is refused, no answer is of another version
than the two there are, and memory comes back. Every test lists the codes it requires.

VERDICT_SOAK=1 runs the long ones at their full length."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import onnx
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
from onnx import TensorProto, helper, numpy_helper
from serving import BINARY, Client, Server, get, golden, post, wait_for
from tritonclient.utils import InferenceServerException

SOAK = os.environ.get("VERDICT_SOAK") == "1"
RELOADS = 1000 if SOAK else 60
FAILED_LOADS = 200
MB = 1 << 20
# What may differ between two measures of a process that does the same.
RESIDENT_NOISE = 6 * MB

INFER = "/v2/models/fraud/infer"
ROWS, _ = golden("skl_lr_binary")
REQUEST = post(INFER, {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 10],
                                   "data": ROWS["x"][0].tolist()}],
                       "outputs": [{"name": "probabilities"}]})
LATEST = "version_policy: {latest: {num_versions: 1}}\n"


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

    def probabilities(self, kind: int) -> list[float]:
        """What the engine of that version of fraud says to REQUEST, on a server that is left alone
        (which test_server.py holds against ONNX Runtime)."""
        target = f"/v2/models/fraud/versions/{kind}/infer".encode()
        answer = self.reference.ask(REQUEST.replace(INFER.encode(), target))
        assert answer.code == 200
        return answer.json()["outputs"][0]["data"]

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

    def start(self, *flags: object) -> Server:
        self.running = Server(self.root, self.log, "--drain-ms", 0, *flags)
        return self.running

    def poll(self) -> Server:
        """A server that looks at the repository when rescan() says so."""
        return self.start("--set", "repository.mode=poll",
                          "--set", "repository.poll_interval_s=3600")

    def explicit(self, load: list[str], *flags: object) -> Server:
        return self.start("--set", "repository.mode=explicit",
                          "--set", f"repository.load={','.join(load)}", *flags)

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


@pytest.fixture
def rig(repository: pathlib.Path, server: Server, tmp_path: pathlib.Path) -> Iterator[Rig]:
    made = Rig(repository, server, tmp_path)
    yield made
    if made.running is not None:
        assert made.running.stop() == 0, made.running.log()


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


class Traffic:
    """Clients with a connection each that ask again and again. Poisson arrivals each, so that
    requests meet the swap at any moment."""

    def __init__(self, server: Server, check: Callable[[dict], str | None], clients: int = 4) -> None:
        self._stop = threading.Event()
        self.problems: list[str] = []
        self.answered = 0
        self.versions: set[str] = set()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, args=(server.client(), check, seed))
            for seed in range(clients)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, client: Client, check: Callable[[dict], str | None], seed: int) -> None:
        gaps = np.random.default_rng(seed)
        while not self._stop.is_set():
            try:
                answer = client.ask(REQUEST)
            except OSError as error:
                self.problems.append(f"lost: {error}")
                return
            problem = check(answer.json()) if answer.code == 200 else f"{answer.code}: {answer.body!r}"
            with self._lock:
                self.answered += 1
                if problem is not None:
                    self.problems.append(problem)
                else:
                    self.versions.add(answer.json()["model_version"])
            time.sleep(gaps.exponential(0.002))
        client.close()

    def wait_for_version(self, version: int) -> None:
        wait_for(lambda: str(version) in self.versions, f"version {version} answers")


def right_of(expected: dict[str, list[float]]) -> Callable[[dict], str | None]:
    """A check that an answer is what the version that it names says."""
    def check(body: dict) -> str | None:
        want = expected.get(body["model_version"])
        got = body["outputs"][0]["data"]
        if want is None or not np.allclose(got, want, 1e-5, 1e-5):
            return f"version {body['model_version']} answered {got}"
        return None
    return check


def test_scenario_1_reload_under_load(rig: Rig) -> None:
    """200 for every request, from v1 until v2 is ready."""
    rig.put("fraud", 1, rig.engine(1))
    (rig.root / "fraud" / "config.yaml").write_text(LATEST)
    server = rig.poll()
    expected = {"1": rig.probabilities(1), "2": rig.probabilities(2), "3": rig.probabilities(10)}
    with Traffic(server, right_of(expected)) as traffic:
        traffic.wait_for_version(1)
        for version, kind in ((2, 2), (3, 10)):
            rig.put("fraud", version, rig.engine(kind))
            rig.rescan()
            traffic.wait_for_version(version)
            wait_for(lambda gone=version - 1: rig.state("fraud", gone) == "", "the old one is gone")
    assert not traffic.problems, traffic.problems[:5]
    assert rig.state("fraud", 3) == "READY"
    assert server.ask(get("/v2/models/fraud/versions/1/ready")).code == 404
    assert 'version="1"' not in server.metrics()


def test_same_version_is_replaced_under_load(rig: Rig) -> None:
    """200 for every request; each answer is the old file's or the new one's."""
    rig.put("fraud", 1, rig.engine(1))
    server = rig.poll()
    either = [rig.probabilities(1), rig.probabilities(2)]

    def check(body: dict) -> str | None:
        got = body["outputs"][0]["data"]
        return None if any(np.allclose(got, want, 1e-5, 1e-5) for want in either) else str(got)

    with Traffic(server, check) as traffic:
        for kind in (2, 1, 2):
            loads = server.metric('verdict_model_loads_total{model="fraud",result="success"}')
            rig.put("fraud", 1, rig.engine(kind))
            rig.rescan()
            wait_for(lambda before=loads: server.metric(
                'verdict_model_loads_total{model="fraud",result="success"}') > before, "loaded")
            got = server.ask(REQUEST).json()["outputs"][0]["data"]
            np.testing.assert_allclose(got, rig.probabilities(kind), 1e-5, 1e-5)
    assert not traffic.problems, traffic.problems[:5]
    assert traffic.answered > 10


def test_scenarios_2_and_21_a_version_that_fails_leaves_the_old_one(rig: Rig) -> None:
    """200 from v1; 503 from v2, with the cause, in the index and the log too."""
    whole = rig.engine(2)
    flipped = whole[:4096] + bytes([whole[4096] ^ 1]) + whole[4097:]
    rig.put("fraud", 1, rig.engine(1))
    (rig.root / "fraud" / "config.yaml").write_text(LATEST)
    server = rig.poll()
    with Traffic(server, right_of({"1": rig.probabilities(1), "2": rig.probabilities(2)})) as traffic:
        rig.put("fraud", 2, flipped)
        rig.rescan()
        wait_for(lambda: rig.state("fraud", 2) == "UNAVAILABLE", "v2 is refused")
        for _ in range(3):
            rig.rescan()
        assert rig.state("fraud", 1) == "READY"
        refused = server.ask(get("/v2/models/fraud/versions/2/ready"))
        assert refused.code == 503 and "corrupt" in refused.error()
        assert "corrupt" in rig.index()["fraud", "2"]["reason"]
        assert traffic.versions == {"1"}
        rig.put("fraud", 2, whole)
        rig.rescan()
        traffic.wait_for_version(2)
    assert not traffic.problems, traffic.problems[:5]
    assert "model fraud version 2 is not served" in server.log()
    assert server.metric('verdict_model_loads_total{model="fraud",result="failure"}') == 1
    assert server.ask(get("/v2/health/ready")).code == 200


def test_scenario_3_another_model_is_loaded_under_load(rig: Rig) -> None:
    """200 for every request to A while B comes and goes."""
    rig.put("fraud", 1, rig.engine(1))
    rig.put("other", 1, rig.engine(10))
    server = rig.explicit(["fraud"])
    with Traffic(server, right_of({"1": rig.probabilities(1)})) as traffic:
        for _ in range(10):
            assert load(server, "other") == (200, "")
            assert server.ask(get("/v2/models/other/ready")).code == 200
            assert unload(server, "other") == (200, "")
            assert server.ask(get("/v2/models/other/ready")).code == 503
    assert not traffic.problems, traffic.problems[:5]
    assert traffic.answered > 20


def test_scenario_4_many_reloads_leave_no_trace(rig: Rig) -> None:
    """200 for every load and every request; resident memory and the scrape stay as they are."""
    (rig.root / "fraud").mkdir()
    (rig.root / "fraud" / "config.yaml").write_text(LATEST)
    server = rig.explicit([])
    resident, scrape = [], []
    kinds = [1, 2, 10]
    for version in range(1, RELOADS + 1):
        rig.put("fraud", version, rig.engine(kinds[version % 3]))
        assert load(server, "fraud") == (200, "")
        for _ in range(5):
            answer = server.ask(REQUEST)
            assert answer.code == 200 and answer.json()["model_version"] == str(version)
        if version > 1:
            shutil.rmtree(rig.root / "fraud" / str(version - 1))
        if version % (RELOADS // 5) == 0:
            resident.append(server.resident_bytes())
            scrape.append(server.metrics().count("\n"))
    assert max(resident[1:]) - resident[1] < RESIDENT_NOISE, resident
    # The last few versions may not be freed yet; then they are gone without a trace.
    assert max(scrape) < 10 * scrape[0], scrape
    wait_for(lambda: server.metrics().count("\n") <= scrape[0], "old versions' lines are gone")
    if SOAK:
        print(f"resident {resident}, lines of the scrape {scrape}")


def test_scenario_5_failed_loads_leave_no_trace(rig: Rig) -> None:
    """503 with the cause for every load; 200 for the version that serves."""
    whole = rig.engine(10)
    bad = [whole[: len(whole) // 2], whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:], b"x"]
    rig.put("fraud", 1, rig.engine(1))
    server = rig.explicit(["fraud"])
    resident = []
    for i in range(FAILED_LOADS):
        rig.put("fraud", 2, bad[i % len(bad)])
        code, error = load(server, "fraud")
        assert code == 503 and "version 2: " in error
        assert server.ask(REQUEST).code == 200
        if i % (FAILED_LOADS // 5) == FAILED_LOADS // 5 - 1:
            resident.append(server.resident_bytes())
    assert max(resident[1:]) - resident[1] < RESIDENT_NOISE, resident
    assert server.metric('verdict_model_loads_total{model="fraud",result="failure"}') == FAILED_LOADS


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_scenario_8_shutdown_during_a_load_or_an_unload(rig: Rig, verb: str) -> None:
    """Exit status 0; who waited was told: 200 or 503."""
    models = [f"m{i}" for i in range(8)]
    for model in models:
        rig.put(model, 1, rig.engine(10))
    server = rig.explicit(models if verb == "unload" else [])
    clients = [operator(server) for _ in models]
    for client, model in zip(clients, models, strict=True):
        client.send(post(f"/v2/repository/models/{model}/{verb}", ""))
    server.process.terminate()
    for client in clients:
        try:
            answer = client.read()
        except ConnectionError:
            continue  # its request came after the end
        assert answer.code in (200, 503), answer.body
    assert server.process.wait(20) == 0
    assert "stopped" in server.log()


def test_scenario_24_a_half_written_version_is_ignored(rig: Rig) -> None:
    """200 from v1 while v2 is copied, under another name or piece by piece; then from v2."""
    rig.put("fraud", 1, rig.engine(1))
    (rig.root / "fraud" / "config.yaml").write_text(LATEST)
    server = rig.poll()
    whole = rig.engine(2)
    folder = rig.root / "fraud" / "2"
    with Traffic(server, right_of({"1": rig.probabilities(1), "2": rig.probabilities(2)})) as traffic:
        folder.mkdir()
        for name in ("model.engine.part", ".model.engine.x"):
            (folder / name).write_bytes(whole[:1000])
        rig.rescan()
        wait_for(lambda: "fraud/2: no model.engine" in server.log(), "it is ignored aloud")
        assert rig.state("fraud", 2) == ""
        with (folder / "model.engine").open("wb") as slow:
            for at in range(0, len(whole), len(whole) // 4 + 1):
                slow.write(whole[at:at + len(whole) // 4 + 1])
                slow.flush()
                if slow.tell() < len(whole):
                    rig.rescan()
                    wait_for(lambda: rig.state("fraud", 2) == "UNAVAILABLE", "it is incomplete")
        assert traffic.versions == {"1"}
        rig.rescan()
        traffic.wait_for_version(2)
    assert not traffic.problems, traffic.problems[:5]


def test_a_served_file_that_is_destroyed_changes_nothing(rig: Rig) -> None:
    """200 and the same scores while the file is overwritten, truncated and removed."""
    rig.put("fraud", 1, rig.engine(1))
    server = rig.poll()
    file = rig.root / "fraud" / "1" / "model.engine"
    size = file.stat().st_size
    with Traffic(server, right_of({"1": rig.probabilities(1)})) as traffic:
        for destroy in (lambda: file.write_bytes(b"\xff" * size), lambda: os.truncate(file, 100),
                        lambda: os.truncate(file, 0)):
            destroy()
            rig.rescan()
            before = traffic.answered
            wait_for(lambda seen=before: traffic.answered > seen + 40, "requests are answered")
        wait_for(lambda: rig.index()["fraud", "1"]["reason"] != "", "the index says why")
        assert rig.state("fraud", 1) == "READY"
    assert not traffic.problems, traffic.problems[:5]
    assert server.process.poll() is None


def test_removal_unloads_and_readiness_follows(rig: Rig) -> None:
    rig.put("fraud", 1, rig.engine(1))
    server = rig.poll()
    assert server.ask(get("/v2/health/ready")).code == 200
    shutil.rmtree(rig.root / "fraud")
    rig.rescan()
    wait_for(lambda: server.ask(get("/v2/models/fraud/ready")).code == 404, "unloaded")
    assert server.ask(get("/v2/health/ready")).code == 503
    assert server.ask(get("/v2/health/live")).code == 200
    rig.put("fraud", 1, rig.engine(1))
    rig.rescan()
    wait_for(lambda: server.ask(get("/v2/health/ready")).code == 200, "loaded again")
    with triton.InferenceServerClient(server.admin_address) as client:
        with pytest.raises(InferenceServerException, match="not allowed if polling is enabled"):
            client.load_model("fraud")


def test_triton_client_loads_and_unloads(rig: Rig) -> None:
    """As tritonclient does it; errors 400, 404 and 503."""
    rig.put("fraud", 1, rig.engine(1))
    rig.put("fraud", 2, rig.engine(2))
    server = rig.explicit([])
    assert server.ask(get("/v2/health/ready")).code == 503
    with triton.InferenceServerClient(server.admin_address) as client:
        assert not client.is_model_ready("fraud")
        assert {e["state"] for e in client.get_model_repository_index()} == {"UNAVAILABLE"}
        client.load_model("fraud")
        assert client.is_server_ready() and client.is_model_ready("fraud", "2")
        assert client.get_model_metadata("fraud")["versions"] == ["1", "2"]
        client.load_model("fraud", config=json.dumps(
            {"version_policy": {"specific": {"versions": [1]}}}))
        assert client.get_model_metadata("fraud")["versions"] == ["1"]
        assert client.get_model_config("fraud")["version_policy"] == {"specific": {"versions": [1]}}
        for code, call in (
            ("404", lambda: client.load_model("none")),
            ("404", lambda: client.unload_model("none")),
            ("400", lambda: client.load_model("fraud", config="{\"max_batch_size\": -1}")),
            ("400", lambda: client.load_model("fraud", config="{}", files={"file:1/m": b"x"})),
        ):
            with pytest.raises(InferenceServerException) as refused:
                call()
            assert refused.value.status() == code, refused.value
        assert client.is_model_ready("fraud", "1")
        client.unload_model("fraud", unload_dependents=True)
        assert not client.is_model_ready("fraud") and not client.is_server_ready()
    ready = server.ask(post("/v2/repository/index", {"ready": True}))
    assert ready.code == 200 and ready.json() == []
    assert change(server, "all/models/fraud/load") == (200, "")
    ready = server.ask(post("/v2/repository/all/index", {"ready": True}))
    assert ready.code == 200 and len(ready.json()) == 2


BATCHING = """max_batch_size: 8
dynamic_batching:
  preferred_batch_size: [2, 4]
  max_queue_delay_microseconds: 100
  priority_levels: 2
  default_priority_level: 1
  priority_queue_policy: {2: {max_queue_size: 7}}
"""


@pytest.mark.parametrize("transport", ["http", "grpc"])
@pytest.mark.parametrize("file", ["", BATCHING, "instance_group: [{count: 2}]"])
def test_a_configuration_can_be_sent_back(rig: Rig, transport: str, file: str) -> None:
    """As the server gives it, it changes nothing; what the engine says otherwise is 400."""
    rig.put("fraud", 1, rig.engine(1))
    (rig.root / "fraud" / "config.yaml").write_text(file)
    server = rig.explicit(["fraud"], "--set", "auth.admin_on_inference_port=true")
    module, address = {"http": (triton, server.address), "grpc": (triton_grpc, server.grpc_address)}[transport]
    with module.InferenceServerClient(address) as client:
        def config() -> dict:
            if transport == "http":
                return client.get_model_config("fraud")
            return client.get_model_config("fraud", as_json=True)["config"]

        before = config()
        assert before["input"][0]["name"] == "x"
        client.load_model("fraud", config=json.dumps(before))
        assert config() == before
        assert server.ask(REQUEST).code == 200
        for key, wrong in (("dims", [3]), ("data_type", "TYPE_FP64"), ("name", "y")):
            changed = json.loads(json.dumps(before))
            changed["input"][0][key] = wrong
            with pytest.raises(InferenceServerException) as refused:
                client.load_model("fraud", config=json.dumps(changed))
            assert refused.value.status() in ("400", "StatusCode.FAILED_PRECONDITION")
            message = refused.value.message()
            assert "version 1: parameter 'config':1:" in message and "key 'input[0]'" in message
            assert "the engine" in message and "leave it out" in message
        assert rig.state("fraud", 1) == "READY"  # what was loaded before
        assert server.ask(REQUEST).code == 200
        for changed in ({"name": "other"}, {"platform": "onnxruntime_onnx"}, {"backend": "python"}):
            with pytest.raises(InferenceServerException, match="must be 'verdict|must be 'fraud'"):
                client.load_model("fraud", config=json.dumps(before | changed))
        with pytest.raises(InferenceServerException, match="cannot be sent with the call"):
            client.load_model("fraud", config="{}", files={"file:1/model.engine": b"x"})


def large_engine(folder: pathlib.Path, width: int) -> bytes:
    """An engine of 4 width^2 bytes of weights."""
    import subprocess

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
                           folder / "large.engine", "--minShapes", f"x:1x{width}", "--maxShapes", f"x:8x{width}"],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return (folder / "large.engine").read_bytes()


def test_unloading_gives_the_memory_back(rig: Rig, tmp_path: pathlib.Path) -> None:
    """Also where an idle I/O thread was the last to use the model."""
    width = 1536
    engine = large_engine(tmp_path, width)
    rig.put("fraud", 1, rig.engine(1))
    rig.put("large", 1, engine)
    server = rig.explicit(["fraud"], "--io-threads", 3)
    clients = [server.client() for _ in range(6)]  # two an I/O thread
    request = post("/v2/models/large/infer", {"inputs": [
        {"name": "x", "datatype": "FP32", "shape": [1, width], "data": [0.5] * width}]})
    for client in clients:
        assert client.ask(REQUEST).code == 200
    before = server.resident_bytes()
    for _ in range(3):
        assert load(server, "large") == (200, "")
        for client in clients:
            assert client.ask(request).code == 200
        assert server.resident_bytes() > before + 4 * width * width
        assert unload(server, "large") == (200, "")
        wait_for(lambda: server.resident_bytes() < before + RESIDENT_NOISE, "memory comes back")
    wait_for(lambda: rig.state("large", 1) == "UNAVAILABLE", "nothing of it is left")
