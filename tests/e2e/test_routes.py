"""Routes: rungs, breakers, the last resort, over HTTP and gRPC, with faults that are ordered."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import time
from collections.abc import Iterator

import grpc
import numpy as np
import onnx
import pytest
import tritonclient.grpc.service_pb2 as pb
from onnx import TensorProto, helper, numpy_helper
from serving import BINARY, Response, Server, get, post, wait_for
from test_metrics import families, of_routes, pinned
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

DEEP = np.array([[1.0], [2.0], [-1.0], [0.5]], np.float32)
EXTRA = np.array([[3.0], [-3.0]], np.float32)
LIGHT = np.array([[0.5], [0.5], [0.5], [0.5]], np.float32)
ROWS = np.array([[1, 0, 2, 3], [0, 1, 1, 1], [2, 2, 0, 1]], np.float32)
MORE = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
BREAKER = "{failures_in_row: 3, open_ms: 200, probes: 2}"
CONFIG = f"""
fault_injection: true
routes:
  card-risk:
    rungs: [{{model: deep}}, {{model: light}}]
    last_resort: {{score: {{value: 0.25}}}}
    patience_ms: 300
    breaker: {BREAKER}
  no-last-resort:
    rungs: [{{model: deep}}, {{model: light}}]
    breaker: {BREAKER}
"""


def save(folder: pathlib.Path, name: str, extra: bool, config: str = "") -> None:
    """score = sigmoid(x w [+ more v]), built into the repository as version 1."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])]
    weights = [numpy_helper.from_array(DEEP if extra else LIGHT, "w")]
    if extra:
        inputs.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["N", 2]))
        weights.append(numpy_helper.from_array(EXTRA, "v"))
        nodes += [helper.make_node("MatMul", ["more", "v"], ["b"]),
                  helper.make_node("Add", ["a", "b"], ["c"])]
    nodes.append(helper.make_node("Sigmoid", ["c" if extra else "a"], ["score"]))
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1])
    graph = helper.make_graph(nodes, name, inputs, [score], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / f"{name}.onnx")
    (folder / name / "1").mkdir(parents=True)
    done = subprocess.run([BINARY, "build", "--onnx", folder / f"{name}.onnx", "--saveEngine",
                           folder / name / "1" / "model.engine"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr
    (folder / f"{name}.onnx").unlink()
    if config:
        (folder / name / "config.yaml").write_text(config)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


DEEP_SCORES = sigmoid(ROWS @ DEEP + MORE @ EXTRA)
LIGHT_SCORES = sigmoid(ROWS @ LIGHT)


# On the thread that reads the request, or on a compute thread.
@pytest.fixture(scope="module", params=["own thread", "queued"])
def server(request: pytest.FixtureRequest,
           tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("routes")
    config = "instance_group: [{kind: KIND_CPU, count: 1}]\n" if request.param == "queued" else ""
    save(root, "deep", True, config)
    save(root, "light", False, config)
    settings = tmp_path_factory.mktemp("settings") / "server.yaml"
    settings.write_text(CONFIG)
    running = Server(root, settings.with_name("server.log"), "--config", settings,
                     "--set", "repository.mode=explicit", "--set", "repository.load=deep,light",
                     "--set", "auth.admin_on_inference_port=true", "--drain-ms", 0)
    wait_for(lambda: running.ask(get("/v2/health/ready")).code == 200, "ready")
    yield running
    assert running.stop() == 0, running.log()


@pytest.fixture(autouse=True)
def sound(server: Server) -> None:
    """Both models are there, without faults, and their breakers are closed."""
    for model in ("deep", "light"):
        assert server.ask(post(f"/v2/repository/models/{model}/load", {})).code == 200
    order(server, "deep", kind="error")
    assert infer(server, "deep").code == 500  # a compute thread has slept its fault out
    for model in ("deep", "light"):
        order(server, model, kind="none")
    for route in ("card-risk", "no-last-resort"):
        wait_for(lambda route=route: infer(server, route).fields.get("verdict-rung") == "0",
                 f"{route}: the first rung answers")
        wait_for(lambda route=route: infer(server, route) and state(server, route) == 0,
                 f"{route}: its breaker closes")


def order(server: Server, model: str, **fault: object) -> None:
    answer = server.ask(post(f"/v2/models/{model}/fault", dict(fault)))
    assert answer.code == 200, answer.body


def body(binary: bool = False) -> tuple[bytes, dict[str, object]]:
    tensors = {"x": ROWS, "more": MORE}
    if not binary:
        return json.dumps({"id": "7", "inputs": [
            {"name": n, "datatype": "FP32", "shape": list(t.shape), "data": t.ravel().tolist()}
            for n, t in tensors.items()]}).encode(), {}
    head = json.dumps({"id": "7", "inputs": [
        {"name": n, "datatype": "FP32", "shape": list(t.shape),
         "parameters": {"binary_data_size": t.nbytes}} for n, t in tensors.items()]}).encode()
    return (head + b"".join(t.tobytes() for t in tensors.values()),
            {"Inference_Header_Content_Length": len(head)})


def infer(server: Server, route: str = "card-risk", deadline_us: int = 0,
          binary: bool = False) -> Response:
    data, fields = body(binary)
    if deadline_us:
        fields["Verdict_Deadline_Us"] = deadline_us
    return server.ask(post(f"/v2/models/{route}/infer", data, **fields))


def scores(answer: Response) -> np.ndarray:
    assert answer.code == 200, answer.body
    output = answer.json()["outputs"][0]
    assert output["name"] == "score" and answer.json()["id"] == "7"
    return np.array(output["data"]).reshape(output["shape"])


def state(server: Server, route: str = "card-risk", rung: int = 0, model: str = "deep") -> float:
    return server.metric(f'verdict_breaker_state{{route="{route}",rung="{rung}",model="{model}"}}')


def steps(server: Server, rung: int, model: str, outcome: str) -> float:
    return server.metric(f'verdict_route_steps_total{{route="card-risk",rung="{rung}",'
                         f'model="{model}",outcome="{outcome}"}}')


def test_the_first_rung_answers(server: Server) -> None:
    before = steps(server, 0, "deep", "answered")
    for binary in (False, True):
        answer = infer(server, binary=binary)
        np.testing.assert_allclose(scores(answer), DEEP_SCORES, rtol=1e-5)
        assert answer.fields["verdict-route"] == "card-risk"
        assert answer.fields["verdict-rung"] == "0"
        assert answer.fields["verdict-model"] == "deep"
        assert answer.fields["verdict-model-version"] == "1"
        assert answer.fields["verdict-served-by"] == "cpu"
        assert "verdict-reason" not in answer.fields
    assert steps(server, 0, "deep", "answered") == before + 2


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(("kind", "outcome"), [("error", "error"), ("nan", "not_a_number")])
def test_what_fails_is_answered_by_the_next_and_shut_off(
        server: Server, kind: str, outcome: str, binary: bool) -> None:
    before = steps(server, 0, "deep", outcome)
    order(server, "deep", kind=kind)
    for _ in range(3):
        answer = infer(server, binary=binary)
        np.testing.assert_allclose(scores(answer), LIGHT_SCORES, rtol=1e-5)
        assert answer.fields["verdict-model"] == "light"
        assert answer.fields["verdict-rung"] == "1"
        assert answer.fields["verdict-reason"] == outcome
    assert steps(server, 0, "deep", outcome) == before + 3
    assert state(server) == 2
    answer = infer(server, binary=binary)
    assert answer.fields["verdict-reason"] == "breaker_open"
    np.testing.assert_allclose(scores(answer), LIGHT_SCORES, rtol=1e-5)
    # Probes fail, then succeed, and it is the first one's again.
    wait_for(lambda: infer(server) and steps(server, 0, "deep", outcome) > before + 3, "a probe")
    order(server, "deep", kind="none")
    wait_for(lambda: infer(server).fields["verdict-rung"] == "0", "a probe that succeeds")
    wait_for(lambda: infer(server) and state(server) == 0, "the breaker closes")


def test_what_hangs_is_given_up_before_the_deadline(server: Server) -> None:
    order(server, "deep", kind="delay", delay_us=3_000_000)
    begin = time.monotonic()
    answers = [infer(server, deadline_us=500_000) for _ in range(3)]
    # Not timed to the deadline, as the machine may be busy; but nobody waited for the delay.
    assert time.monotonic() - begin < 3
    assert answers[0].fields["verdict-reason"] == "timeout"
    for answer in answers:
        assert answer.code == 200 and answer.fields["verdict-rung"] != "0"
        assert answer.fields["verdict-reason"] in ("timeout", "no_time", "busy", "breaker_open")
    # Where the machine was busy, the last resort may have had to answer.
    light = [a for a in answers if a.fields["verdict-rung"] == "1"]
    assert light
    np.testing.assert_allclose(scores(light[0]), LIGHT_SCORES, rtol=1e-5)


def test_without_a_deadline_patience_ends(server: Server) -> None:
    order(server, "deep", kind="delay", delay_us=2_000_000)
    answer = infer(server)
    np.testing.assert_allclose(scores(answer), LIGHT_SCORES, rtol=1e-5)
    assert answer.fields["verdict-reason"] == "timeout"


def test_the_last_resort_answers_when_no_model_does(server: Server) -> None:
    for model in ("deep", "light"):
        assert server.ask(post(f"/v2/repository/models/{model}/unload", {})).code == 200
    answer = infer(server)
    np.testing.assert_array_equal(scores(answer), np.full((3, 1), 0.25))
    assert answer.fields["verdict-served-by"] == "last_resort"
    assert answer.fields["verdict-rung"] == "2" and "verdict-model" not in answer.fields
    assert answer.fields["verdict-reason"] == "not_loaded"
    assert server.metric('verdict_route_rungs_left{route="card-risk"}') == 1
    # The other route has nothing left.
    answer = infer(server, "no-last-resort")
    assert answer.code == 503 and "route 'no-last-resort'" in answer.error()
    assert server.metric('verdict_route_rungs_left{route="no-last-resort"}') == 0


def test_it_is_dead_when_a_route_has_nothing_left(server: Server) -> None:
    assert server.ask(get("/v2/health/live")).code == 200
    for model in ("deep", "light"):
        order(server, model, kind="error")
    for _ in range(3):
        assert infer(server, "no-last-resort").code == 500
    answer = server.ask(get("/v2/health/live"))
    assert answer.code == 503 and "no-last-resort" in answer.error()
    assert server.ask(get("/v2/models/no-last-resort/ready")).code == 503
    assert server.ask(get("/v2/models/card-risk/ready")).code == 200
    assert scores(infer(server))[0, 0] == 0.25
    for model in ("deep", "light"):
        order(server, model, kind="none")
    wait_for(lambda: infer(server, "no-last-resort").code == 200, "an answer")
    wait_for(lambda: server.ask(get("/v2/health/live")).code == 200, "alive")


def test_a_route_has_metadata_like_a_model(server: Server) -> None:
    answer = server.ask(get("/v2/models/card-risk")).json()
    assert answer["name"] == "card-risk"
    assert [i["name"] for i in answer["inputs"]] == ["x", "more"]
    assert server.ask(post("/v2/repository/models/deep/unload", {})).code == 200
    assert [i["name"] for i in server.ask(get("/v2/models/card-risk")).json()["inputs"]] == ["x"]


def test_a_wrong_request_is_the_clients_fault(server: Server) -> None:
    before = steps(server, 0, "deep", "error")
    for _ in range(4):
        answer = server.ask(post("/v2/models/card-risk/infer", {"inputs": [
            {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}))
        assert answer.code == 400 and "'x'" in answer.error()
    assert steps(server, 0, "deep", "error") == before and state(server) == 0


def test_inputs_that_are_no_numbers_shut_no_model_off(server: Server) -> None:
    head = json.dumps({"id": "7", "inputs": [
        {"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}},
        {"name": "more", "datatype": "FP32", "shape": [1, 2],
         "parameters": {"binary_data_size": 8}}]}).encode()
    data = head + np.float32([np.nan, 0, 0, 0]).tobytes() + np.float32([0, 0]).tobytes()
    for _ in range(6):
        answer = server.ask(post("/v2/models/card-risk/infer", data,
                                 Inference_Header_Content_Length=len(head)))
        assert answer.fields["verdict-reason"] == "bad_input"
        np.testing.assert_array_equal(scores(answer), [[0.25]])
    assert state(server) == 0 and infer(server).fields["verdict-rung"] == "0"


def test_its_metrics_are_as_pinned(server: Server) -> None:
    text = server.metrics()
    found = {name: families(text)[name] for name in families(text) if of_routes(name)}
    wanted = {name: kind for name, kind in pinned().items() if of_routes(name)}
    assert {name: family["type"] for name, family in found.items()} == {
        name: kind for name, (kind, _) in wanted.items()}
    for name, (_, labels) in wanted.items():
        for _, sample in found[name]["samples"]:
            assert sorted(re.findall(r'(\w+)="', sample)) == labels, sample


def grpc_infer(server: Server, route: str = "card-risk",
               timeout: float = 10) -> tuple[np.ndarray, str, dict[str, str]]:
    request = pb.ModelInferRequest(model_name=route, id="7")
    for name, tensor in (("x", ROWS), ("more", MORE)):
        request.inputs.add(name=name, datatype="FP32", shape=tensor.shape)
        request.raw_input_contents.append(tensor.tobytes())
    with grpc.insecure_channel(server.grpc_address) as channel:
        answer, call = GRPCInferenceServiceStub(channel).ModelInfer.with_call(request,
                                                                             timeout=timeout)
    found = np.frombuffer(answer.raw_output_contents[0], np.float32)
    return (found.reshape(answer.outputs[0].shape), answer.model_name,
            {k: v for k, v in call.trailing_metadata()})


def test_grpc_goes_down_the_route_too(server: Server) -> None:
    found, model, fields = grpc_infer(server)
    np.testing.assert_allclose(found, DEEP_SCORES, rtol=1e-5)
    assert model == "deep" and fields["verdict-rung"] == "0" and fields["verdict-served-by"] == "cpu"
    for kind, outcome in (("error", "error"), ("nan", "not_a_number"), ("delay", "timeout")):
        order(server, "deep", kind=kind, delay_us=2_000_000)
        found, model, fields = grpc_infer(server)
        np.testing.assert_allclose(found, LIGHT_SCORES, rtol=1e-5)
        assert model == fields["verdict-model"] == "light" and fields["verdict-rung"] == "1"
        assert fields["verdict-reason"] == outcome
        order(server, "deep", kind="none")
    for model in ("deep", "light"):
        assert server.ask(post(f"/v2/repository/models/{model}/unload", {})).code == 200
    found, model, fields = grpc_infer(server)
    np.testing.assert_array_equal(found, np.full((3, 1), 0.25, np.float32))
    assert model == "card-risk" and fields["verdict-served-by"] == "last_resort"
    with pytest.raises(grpc.RpcError) as refused:
        grpc_infer(server, "no-last-resort")
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def test_faults_are_refused_where_they_are_not_allowed(
        small_repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    server = Server(small_repository, tmp_path / "log", "--set",
                    "auth.admin_on_inference_port=true")
    wait_for(lambda: server.ask(get("/v2/health/ready")).code == 200, "ready")
    answer = server.ask(post("/v2/models/fraud/fault", {"kind": "error"}))
    assert answer.code == 503 and "fault_injection: true" in answer.error()
    assert server.ask(post("/v2/models/fraud/fault", {"kind": "fire"})).code == 400
    assert server.stop() == 0


@pytest.mark.parametrize(("routes", "message"), [
    ("{r: {rungs: []}}", "routes.r.rungs"),
    ("{r: {last_resort: {s: {value: 1}}}}", "routes.r.rungs"),
    ("{r: {rungs: [{model: ''}]}}", "routes.r.rungs"),
    ("{r: {rungs: [{model: q}]}, q: {rungs: [{model: m}]}}", "'q' is a route"),
    ("{r: {rungs: [{model: m}], breaker: {open_ms: 9, max_open_ms: 8}}}", "max_open_ms"),
    ("{r: {rungs: [{model: m}], last_resort: {s: {value: high}}}}", "last_resort.s.value"),
])
def test_wrong_routes_are_refused(small_repository: pathlib.Path, tmp_path: pathlib.Path,
                                  routes: str, message: str) -> None:
    (tmp_path / "server.yaml").write_text(f"routes: {routes}\n")
    done = subprocess.run([BINARY, "serve", "--repository", small_repository, "--config",
                           tmp_path / "server.yaml", "--check"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode != 0 and message in done.stderr, done.stderr


def test_a_last_resort_of_an_output_that_is_not_there_is_said_aloud(
        small_repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "server.yaml").write_text(
        "routes: {r: {rungs: [{model: fraud}], last_resort: {risk: {value: 1}}}}\n")
    server = Server(small_repository, tmp_path / "log", "--config", tmp_path / "server.yaml",
                    "--drain-ms", 0)
    wait_for(lambda: "route r has no last resort" in server.log(), "the warning")
    assert server.metric('verdict_route_rungs_left{route="r"}') == 1, "the model's"
    assert server.stop() == 0
