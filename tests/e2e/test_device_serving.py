"""A server whose models run on a device: the plugin of backend "fake", which computes with the
reference kernels and fails as it is told to. It is `libverdict_fake.so` beside the binary."""

from __future__ import annotations

import collections
import contextlib
import functools
import json
import os
import pathlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from open_loop import Tally, poisson
from serving import BINARY, GOLDEN, Client, Response, Server, get, golden, post, wait_for
from tritonclient.grpc import service_pb2, service_pb2_grpc

PLUGIN = BINARY.parent / "libverdict_fake.so"
MODEL = "skl_mlp_binary"  # x f32[N,10] -> label i64[N], probabilities f32[N,2]
INPUTS, WANTED = golden(MODEL)
ROWS = len(INPUTS["x"])
SHAPES = ("--minShapes", "x:1x10", "--optShapes", "x:8x10", "--maxShapes", "x:64x10")
REQUEST = post("/v2/models/fraud/infer", {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 10],
                "data": INPUTS["x"][0].tolist()}],
    "outputs": [{"name": "probabilities"}]})
BATCHED = "max_batch_size: 16\ndynamic_batching: {}\n"
QUEUED = "max_batch_size: 16\ndynamic_batching: {max_queue_delay_microseconds: 100}\n"

pytestmark = pytest.mark.skipif(not PLUGIN.is_file(), reason=f"no {PLUGIN.name} beside the binary")


def environment(**fake: object) -> dict[str, str]:
    """fake: the variables VERDICT_FAKE_… of the plugin."""
    return os.environ | {f"VERDICT_FAKE_{key.upper()}": str(value) for key, value in fake.items()}


@functools.cache
def engine(onnx: str = MODEL, *, device: bool = True, fingerprint: str = "fake 1.0") -> bytes:
    """An engine with a plan for the fake device, or without; built with a device of that
    fingerprint."""
    path = pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / f"device_serving.{os.getpid()}.engine"
    backend = ("--backend", "fake") if device else ()
    done = subprocess.run(
        [str(part) for part in (BINARY, "build", "--onnx", GOLDEN / f"{onnx}.onnx", "--saveEngine",
                                path, *SHAPES, *backend)],
        capture_output=True, text=True, timeout=120, check=False,
        env=environment(fingerprint=fingerprint))
    assert done.returncode == 0, done.stdout + done.stderr
    contents = path.read_bytes()
    path.unlink()
    return contents


class Models:
    """A repository, and the server on it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.root = folder / "models"
        self.root.mkdir()
        self._folder = folder
        self.servers: list[Server] = []

    def put(self, model: str, contents: bytes, version: int = 1, config: str = "") -> None:
        folder = self.root / model / str(version)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.engine.part").write_bytes(contents)
        (folder / "model.engine.part").rename(folder / "model.engine")
        if config:
            (self.root / model / "config.yaml").write_text(config)

    def serve(self, *settings: str, backend: str = "fake", **fake: object) -> Server:
        """settings: KEY=VALUE of the server's configuration."""
        flags = [part for setting in (f"device.backend={backend}", *settings)
                 for part in ("--set", setting)]
        log = self._folder / f"log{len(self.servers)}"
        server = Server(self.root, log, "--drain-ms", 0, *flags,
                        environment=environment(**fake))
        self.servers.append(server)
        return server


@pytest.fixture
def models(tmp_path: pathlib.Path) -> Iterator[Models]:
    made = Models(tmp_path)
    yield made
    for server in made.servers:
        assert server.stop() == 0, server.log()


def admin(server: Server, request: bytes) -> Response:
    client = Client(int(server.admin_address.rsplit(":", 1)[1]))
    try:
        return client.ask(request)
    finally:
        client.close()


def device(server: Server) -> dict:
    answer = admin(server, get("/v2/devices"))
    assert answer.code == 200, answer.body
    (found,) = answer.json()["devices"]
    return found


def standing(server: Server, model: str, version: int = 1) -> dict:
    return next(m for m in device(server)["models"]
                if (m["name"], m["version"]) == (model, str(version)))


def inject(server: Server, kind: str) -> Response:
    return admin(server, post("/v2/devices/fault", {"kind": kind}))


def served_by(server: Server, request: bytes = REQUEST) -> str:
    """Who answers; rightly."""
    answer = server.ask(request)
    assert answer.code == 200, answer.body
    check(np.float32(answer.json()["outputs"][0]["data"]).reshape(1, 2), 0)
    return answer.fields["verdict-served-by"]


def check(probabilities: np.ndarray, row: int) -> None:
    wanted = WANTED["probabilities"][row:row + len(probabilities)]
    np.testing.assert_allclose(probabilities, wanted, rtol=1e-5, atol=1e-5)


def reason(server: Server, model: str, version: int = 1) -> str:
    index = server.ask(post("/v2/repository/index", "")).json()
    return next(e["reason"] for e in index if (e["name"], e["version"]) == (model, str(version)))


def tensor(kind, rows: int):
    made = kind.InferInput("x", [rows, 10], "FP32")
    made.set_data_from_numpy(INPUTS["x"][:rows])
    return made


def test_who_answers_is_told_over_every_transport(models: Models) -> None:
    models.put("fraud", engine())
    models.put("plain", engine(device=False))
    server = models.serve()
    assert served_by(server) == "fake"
    assert reason(server, "fraud") == ""
    plain = server.ask(REQUEST.replace(b"/fraud/", b"/plain/"))
    assert plain.code == 200 and "verdict-served-by" not in plain.fields, "nothing to tell apart"
    with triton_http.InferenceServerClient(server.address) as client:
        check(client.infer("fraud", [tensor(triton_http, ROWS)]).as_numpy("probabilities"), 0)
    request = message(0)
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        _, call = stub.ModelInfer.with_call(request)
        assert dict(call.trailing_metadata())["verdict-served-by"] == "fake"
        (streamed,) = stub.ModelStreamInfer(iter([request]))
        assert streamed.infer_response.parameters["served_by"].string_param == "fake"
    with triton_grpc.InferenceServerClient(server.grpc_address) as client:
        check(client.infer("fraud", [tensor(triton_grpc, ROWS)]).as_numpy("probabilities"), 0)
    counted = 'verdict_requests_served_total{model="fraud",version="1",served_by="%s"}'
    assert server.metric(counted % "fake") == 5
    assert server.metric(counted % "cpu") == 0


def test_the_devices_endpoint_tells_what_there_is(models: Models) -> None:
    models.put("fraud", engine(), config="instance_group: [{kind: KIND_GPU, count: 3}]\n")
    models.put("kept", engine(), config="instance_group: [{kind: KIND_CPU}]\n")
    models.put("plain", engine(device=False))
    server = models.serve("device.memory_limit_bytes=500000000", shared_bytes=3_000_000)
    found = device(server)
    assert found["backend"] == "fake" and found["state"] == "healthy" and found["reason"] == ""
    assert found["name"] == "Fake device" and found["fingerprint"] == "fake 1.0"
    assert found["memory_limit_bytes"] == 500_000_000
    assert found["memory_shared_bytes"] == 3_000_000
    assert {m["name"] for m in found["models"]} == {"fraud", "kept"}
    fraud = standing(server, "fraud")
    assert fraud["state"] == "attached" and fraud["reason"] == ""
    assert fraud["memory_bytes"] == found["memory_used_bytes"] > 0
    kept = standing(server, "kept")
    assert kept["state"] == "none" and "KIND_CPU" in kept["reason"] and kept["memory_bytes"] == 0
    assert served_by(server, REQUEST.replace(b"/fraud/", b"/kept/")) == "cpu"
    kinds = {name: server.ask(get(f"/v2/models/{name}/config")).json()["instance_group"]
             for name in ("fraud", "kept", "plain")}
    assert kinds == {"fraud": [{"kind": "KIND_GPU", "count": 3}],
                     "kept": [{"kind": "KIND_CPU", "count": 0}],
                     "plain": [{"kind": "KIND_CPU", "count": 0}]}
    assert server.metric('verdict_device_state{state="healthy"}') == 1
    assert server.metric("verdict_device_memory_limit_bytes") == 500_000_000
    assert server.metric("verdict_device_memory_shared_bytes") == 3_000_000
    memory = server.metric('verdict_device_memory_bytes{model="fraud",version="1"}')
    assert memory == fraud["memory_bytes"]
    assert server.metric(
        'verdict_device_model_state{model="kept",version="1",state="none"}') == 1


def test_faults_are_for_drills_alone(models: Models) -> None:
    models.put("fraud", engine())
    server = models.serve()
    refused = inject(server, "trap")
    assert refused.code == 503 and "device.fault_injection" in refused.error()
    assert served_by(server) == "fake"
    drilled = models.serve("device.fault_injection=true")
    for body in ({"kind": "flood"}, {}, {"kind": 1}, {"sort": "trap"}):
        assert admin(drilled, post("/v2/devices/fault", body)).code == 400, body
    assert served_by(drilled) == "fake"


def message(row: int, model: str = "fraud") -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name="x", datatype="FP32", shape=[1, 10])
    request.outputs.add(name="probabilities")
    request.raw_input_contents.append(INPUTS["x"][row:row + 1].tobytes())
    return request


def over_http(server: Server, rows: Iterator[int], seen: list[str]) -> Callable[[], str]:
    """Asks for a row, checks the answer, and notes in `seen` who gave it; returns the code."""
    def ask() -> str:
        row = next(rows) % ROWS
        answer = server.ask(post("/v2/models/fraud/infer", {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 10],
                        "data": INPUTS["x"][row].tolist()}],
            "outputs": [{"name": "probabilities"}]}))
        if answer.code == 200:
            check(np.float32(answer.json()["outputs"][0]["data"]).reshape(1, 2), row)
            seen.append(answer.fields["verdict-served-by"])
        return str(answer.code)

    return ask


def over_grpc(stub: service_pb2_grpc.GRPCInferenceServiceStub, rows: Iterator[int],
              seen: list[str]) -> Callable[[], str]:
    def ask() -> str:
        row = next(rows) % ROWS
        try:
            answer, call = stub.ModelInfer.with_call(message(row), timeout=30)
        except grpc.RpcError as error:
            return error.code().name
        check(np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(1, 2), row)
        seen.append(dict(call.trailing_metadata())["verdict-served-by"])
        return "OK"

    return ask


@pytest.mark.parametrize("kind", ["trap", "hang"])
@pytest.mark.parametrize("config", ["", BATCHED], ids=["alone", "batched"])
@pytest.mark.scenario(25, required={"200", "OK"})
def test_an_injected_device_fault_costs_no_answer(
        models: Models, kind: str, config: str) -> None:
    """All are answered, rightly, while the device is lost under load: by the device, then by the
    CPU, then by the device again; the server stays ready and says what happened."""
    models.put("fraud", engine(), config=config)
    # A worker that is there again within some milliseconds leaves nothing for the CPU to answer.
    server = models.serve("device.fault_injection=true", "device.run_timeout_ms=200", open_ms=100)
    tally = Tally()
    rows = iter(range(1_000_000))
    seen: list[str] = []
    channel = grpc.insecure_channel(server.grpc_address)
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    stop = threading.Event()
    threads = []

    def load(seed: int, kind: str, ask: Callable[[], str]) -> None:
        for _ in poisson(100, seed, 60, stop):
            tally.ask(kind, ask)

    for seed in range(4):
        ask = ("http", over_http(server, rows, seen)) if seed % 2 == 0 else (
            "grpc", over_grpc(stub, rows, seen))
        threads.append(threading.Thread(target=load, args=(seed, *ask)))
        threads[-1].start()
    try:
        wait_for(lambda: seen.count("fake") > 50, "the device answers")
        assert inject(server, kind).code == 200
        wait_for(lambda: "cpu" in seen, "the CPU takes over")
        assert server.ask(get("/v2/health/ready")).code == 200
        wait_for(lambda: device(server)["recoveries"] == 1, "the device is back", 60)
        wait_for(lambda: standing(server, "fraud")["state"] == "attached", "and the model on it")
        before = len(seen)
        wait_for(lambda: "fake" in seen[before:], "which it answers")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        channel.close()
    tally.check({"http": {"200"}, "grpc": {"OK"}})
    assert seen[-1] == "fake"
    found = device(server)
    assert found["state"] == "healthy" and found["faults"] == 1 and found["reason"]
    assert server.metric("verdict_device_faults_total") == 1
    assert server.metric("verdict_device_recoveries_total") == 1
    counted = 'verdict_requests_served_total{model="fraud",version="1",served_by="%s"}'
    assert server.metric(counted % "cpu") == seen.count("cpu")
    assert server.metric(counted % "fake") == seen.count("fake")
    log = server.log()
    assert log.count("the device is lost") == 1 and log.count("the device is back") == 1, log


@pytest.mark.parametrize("isolation", ["process", "none"])
@pytest.mark.parametrize("config", ["", BATCHED], ids=["alone", "batched"])
def test_a_device_that_hangs_holds_up_nobody_else(
        models: Models, config: str, isolation: str) -> None:
    """Two models' streams are more than all the threads that read requests, or compute. While all
    of their runs hang, probes and the requests of models without a device are answered as ever, of
    whichever thread; then the CPU answers what hangs."""
    timeout_s = 1.5
    for model in ("fraud", "other"):
        models.put(model, engine(), config=config)
    models.put("plain", engine(device=False))
    models.put("queued", engine(device=False), config=QUEUED)
    server = models.serve("device.fault_injection=true", f"device.isolation={isolation}",
                          f"device.run_timeout_ms={timeout_s * 1000:.0f}", "http.io_threads=2",
                          "grpc.threads=2", "compute.threads=2")
    stop = threading.Event()
    slowest: collections.Counter[str] = collections.Counter()
    seen: list[str] = []
    tally = Tally()

    def keep_asking(name: str, pause_s: float, ask: Callable[[], object]) -> None:
        def asked() -> str:
            begin = time.monotonic()
            ask()
            slowest[name] = max(slowest[name], time.monotonic() - begin)
            return "answered"

        while not stop.wait(pause_s):
            tally.ask(name, asked)

    def over_new_connection(request: bytes) -> Callable[[], None]:
        def ask() -> None:
            answer = server.ask(request)
            assert answer.code == 200, answer.body
        return ask

    def hanging_over_http(model: str) -> Callable[[], None]:
        client = server.client()  # a thread's own, for good
        request = REQUEST.replace(b"/fraud/", b"/%s/" % model.encode())

        def ask() -> None:
            answer = client.ask(request)
            assert answer.code == 200, answer.body
            check(np.float32(answer.json()["outputs"][0]["data"]).reshape(1, 2), 0)
            seen.append(answer.fields["verdict-served-by"])
        return ask

    with contextlib.ExitStack() as channels:
        def stub() -> service_pb2_grpc.GRPCInferenceServiceStub:
            channel = grpc.insecure_channel(server.grpc_address,
                                            [("grpc.use_local_subchannel_pool", 1)])
            return service_pb2_grpc.GRPCInferenceServiceStub(channels.enter_context(channel))

        def hanging_over_grpc(model: str) -> Callable[[], None]:
            own = stub()

            def ask() -> None:
                answer, call = own.ModelInfer.with_call(message(0, model), timeout=30)
                check(np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(1, 2), 0)
                seen.append(dict(call.trailing_metadata())["verdict-served-by"])
            return ask

        probes = {
            "live": [over_new_connection(get("/v2/health/live"))] * 2,
            "ready": [over_new_connection(get("/v2/health/ready"))] * 2,
            "metrics": [server.metrics],
            "plain": [over_new_connection(REQUEST.replace(b"/fraud/", b"/plain/"))],
            "queued": [over_new_connection(REQUEST.replace(b"/fraud/", b"/queued/"))],
            "grpc live": [functools.partial(stub().ServerLive, service_pb2.ServerLiveRequest())
                          for _ in range(2)],
            "grpc ready": [functools.partial(stub().ServerReady, service_pb2.ServerReadyRequest())
                           for _ in range(2)],
            "grpc plain": [functools.partial(stub().ModelInfer, message(0, "plain"))],
        }
        hanging = [make(model) for model in ("fraud", "other")
                   for make in (hanging_over_http, hanging_over_http, hanging_over_grpc)]
        # Batches may take all of those with them: more, of which no more than one a stream can.
        later = [hanging_over_http(model) for model in ("fraud", "other") for _ in range(3)]
        threads = [threading.Thread(target=keep_asking, args=(name, 0.02, ask))
                   for name, asks in probes.items() for ask in asks]
        threads += [threading.Thread(target=keep_asking, args=("hanging", 0.01, ask))
                    for ask in hanging]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: seen.count("fake") > 100, "the device answers")
            slowest.clear()
            assert inject(server, "hang").code == 200
            for ask in later:
                time.sleep(0.05)
                threads.append(threading.Thread(target=keep_asking, args=("hanging", 0.01, ask)))
                threads[-1].start()
            wait_for(lambda: device(server)["faults"] == 1, "the device is given up")
            wait_for(lambda: slowest["hanging"] > timeout_s - 0.1, "what hung is answered")
            late = [server.metric(f'verdict_device_late_runs_total{{model="{m}",version="1"}}')
                    for m in ("fraud", "other")]
            assert sum(late) >= 1, late
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    tally.check({name: {"answered"} for name in [*probes, "hanging"]})
    assert {name: slowest[name] for name in probes if slowest[name] > 0.25} == {}
    # A few requests had a stream each, and found out; all others went on on the CPU.
    assert seen.count("cpu") > 20


def test_while_the_device_is_lost_everything_says_so(models: Models) -> None:
    models.put("fraud", engine())
    server = models.serve("device.fault_injection=true", "device.isolation=none",
                          failing_recoveries=1_000_000)
    assert served_by(server) == "fake"
    assert inject(server, "trap").code == 200
    wait_for(lambda: served_by(server) == "cpu", "the CPU takes over")
    wait_for(lambda: standing(server, "fraud")["state"] == "lost", "it is lost")
    assert device(server)["state"] in ("lost", "recovering")
    assert reason(server, "fraud").startswith("served by cpu: the device is lost")
    assert server.metric('verdict_device_state{state="healthy"}') == 0
    assert server.metric(
        'verdict_device_model_state{model="fraud",version="1",state="lost"}') == 1
    assert server.ask(get("/v2/health/ready")).code == 200
    assert server.ask(get("/v2/models/fraud/ready")).code == 200


def test_a_plan_for_another_device_is_built_again_behind_the_requests(models: Models) -> None:
    models.put("fraud", engine(fingerprint="fake 0.9"))
    server = models.serve()
    assert served_by(server) in ("cpu", "fake")
    wait_for(lambda: served_by(server) == "fake", "the plan is built again")
    assert server.metric("verdict_device_rebuilds_total") == 1
    assert reason(server, "fraud") == ""
    assert "'fake 0.9'" in server.log()


def test_a_plan_for_another_device_may_be_left_aside(models: Models) -> None:
    models.put("fraud", engine(fingerprint="fake 0.9"))
    server = models.serve("device.rebuild=never")
    assert served_by(server) == "cpu"
    assert standing(server, "fraud")["state"] == "refused"
    told = reason(server, "fraud")
    assert told.startswith("served by cpu: ") and "fake 0.9" in told and "fake 1.0" in told


def test_a_stop_does_not_wait_for_a_plan_that_is_being_built(models: Models) -> None:
    models.put("fraud", engine(fingerprint="fake 0.9"))
    server = models.serve(build_ms=60_000)
    wait_for(lambda: "is built again" in server.log(), "the plan is being built")
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 2


def test_plans_of_files_may_be_refused(models: Models) -> None:
    models.put("fraud", engine())
    server = models.serve("device.plans=rebuild")
    wait_for(lambda: served_by(server) == "fake", "the plan is built here")
    assert server.metric("verdict_device_rebuilds_total") == 1


def test_a_missing_plugin_is_told_and_the_cpu_serves(models: Models, tmp_path: pathlib.Path) -> None:
    models.put("fraud", engine())
    server = models.serve(f"device.plugin_dir={tmp_path}")
    assert served_by(server) == "cpu"
    found = device(server)
    assert found["state"] == "unavailable" and "libverdict_fake.so" in found["reason"]
    assert "libverdict_fake.so" in reason(server, "fraud")
    assert "no device, all models are served by their CPU plans" in server.log()
    assert server.metric('verdict_device_state{state="unavailable"}') == 1
    checked = subprocess.run(
        [str(part) for part in (BINARY, "serve", "--repository", models.root, "--check", "--set",
                                "device.backend=fake", "--set", f"device.plugin_dir={tmp_path}")],
        capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 1 and "key 'device.backend'" in checked.stderr, checked.stderr


def test_without_a_device_nothing_is_told_of_one(models: Models) -> None:
    models.put("fraud", engine())
    server = models.serve(backend="none")
    assert served_by(server) == "cpu"
    assert admin(server, get("/v2/devices")).json() == {"devices": []}
    assert "verdict_device_" not in server.metrics()
    assert reason(server, "fraud") == ""


def test_a_model_without_room_is_served_by_the_cpu_and_the_others_are_not(models: Models) -> None:
    models.put("fraud", engine())
    server = models.serve()
    one = standing(server, "fraud")["memory_bytes"]
    models.put("second", engine())
    crowded = models.serve(f"device.memory_limit_bytes={one * 3 // 2}")
    states = sorted(m["state"] for m in device(crowded)["models"])
    assert states == ["attached", "refused"]
    by = {name: served_by(crowded, REQUEST.replace(b"/fraud/", b"/%s/" % name.encode()))
          for name in ("fraud", "second")}
    for model in device(crowded)["models"]:
        assert (by[model["name"]] == "fake") == (model["state"] == "attached")
        if model["state"] == "refused":
            assert "no room on the device" in reason(crowded, model["name"])


def test_an_idle_model_makes_room_and_comes_back_when_it_is_asked(models: Models) -> None:
    models.put("fraud", engine())
    one = standing(models.serve(), "fraud")["memory_bytes"]
    models.put("second", engine())
    server = models.serve(f"device.memory_limit_bytes={one * 3 // 2}", "device.idle_s=0")
    second = REQUEST.replace(b"/fraud/", b"/second/")
    for request, model, other in ((second, "second", "fraud"), (REQUEST, "fraud", "second")) * 2:
        wait_for(lambda request=request: served_by(server, request) == "fake", f"{model} is there")
        assert standing(server, other)["state"] != "attached"
    assert standing(server, "second")["state"] == "evicted"
    assert "it was idle" in reason(server, "second")
    assert server.metric("verdict_device_evictions_total") >= 2


def test_no_memory_at_a_load_refuses_that_model_alone(models: Models) -> None:
    models.put("fraud", engine())
    server = models.serve("device.fault_injection=true", "repository.mode=explicit",
                          "repository.load=fraud")
    assert served_by(server) == "fake"
    assert inject(server, "oom").code == 200
    models.put("second", engine())
    assert admin(server, post("/v2/repository/models/second/load", {})).code == 200
    refused = standing(server, "second")
    assert refused["state"] == "refused" and "memory" in refused["reason"]
    second = REQUEST.replace(b"/fraud/", b"/second/")
    assert served_by(server, second) == "cpu"
    assert served_by(server) == "fake" and device(server)["faults"] == 0
    assert admin(server, post("/v2/repository/models/fraud/unload", {})).code == 200
    wait_for(lambda: served_by(server, second) == "fake", "it is tried again when there may be room")


def test_a_damaged_plan_leaves_the_old_version_serving(models: Models) -> None:
    models.put("fraud", engine(), config="version_policy: {latest: {num_versions: 1}}\n")
    server = models.serve("repository.mode=explicit", "repository.load=fraud")
    assert served_by(server) == "fake"
    whole = engine()
    at = whole.rindex(b"fake")  # of the plan, which is among the last sections
    models.put("fraud", whole[:at] + b"f\xffke" + whole[at + 4:], version=2)
    refused = admin(server, post("/v2/repository/models/fraud/load", {}))
    assert refused.code == 503, refused.body
    assert served_by(server) == "fake"
    assert server.ask(get("/v2/models/fraud/versions/1/ready")).code == 200


def test_reloads_leave_nothing_behind(models: Models) -> None:
    models.put("fraud", engine())
    server = models.serve("repository.mode=explicit", "repository.load=fraud")
    used = device(server)["memory_used_bytes"]
    assert used > 0
    resident = []
    for _ in range(50):
        for call in ("unload", "load"):
            assert admin(server, post(f"/v2/repository/models/fraud/{call}", {})).code == 200
        assert served_by(server) == "fake"
        resident.append(server.resident_bytes())
    wait_for(lambda: device(server)["memory_used_bytes"] == used, "the old ones are gone")
    assert max(resident[25:]) - max(resident[:25]) < 8 << 20, resident


def test_costs_follow_the_switch(models: Models) -> None:
    """A slow device makes a deadline unreachable that the CPU meets: when it is lost, the requests
    are answered, at once."""
    models.put("fraud", engine())
    server = models.serve("device.fault_injection=true", latency_us=30_000,
                          failing_recoveries=1_000_000)
    hurried = REQUEST.replace(b"Host: h\r\n", b"Host: h\r\nVerdict-Deadline-Us: 10000\r\n")
    assert server.ask(hurried).code in (503, 504)
    assert served_by(server) == "fake"
    assert inject(server, "trap").code == 200
    wait_for(lambda: served_by(server) == "cpu", "the CPU takes over")
    answers = [server.ask(hurried).code for _ in range(20)]
    assert answers.count(200) >= 18, answers


def test_kind_gpu_without_a_device_is_served_with_a_warning(models: Models) -> None:
    models.put("fraud", engine(device=False), config="instance_group: [{kind: KIND_GPU}]\n")
    server = models.serve(backend="none")
    assert server.ask(REQUEST).code == 200
    assert "device.backend" in reason(server, "fraud")
    assert "model fraud version 1 is served by its CPU plan" in server.log()
    assert json.loads(server.ask(get("/v2/models/fraud/config")).body)["instance_group"] == [
        {"kind": "KIND_GPU", "count": 0}]
