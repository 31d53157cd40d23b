"""One error, one answer: HTTP's code and gRPC's go together, and so do their hints to try again."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Iterator

import grpc
import pytest
from serving import Client, Response, Server, build, post, wait_for
from slow_model import WIDTH, build_slow, slow_request
from test_grpc import INFER
from test_security import TOKENS, auth_settings, bearer, clients_file  # noqa: F401  a fixture
from tritonclient.grpc import service_pb2

BATCHED = """
max_batch_size: 8
dynamic_batching:
  default_queue_policy: {max_queue_size: 2}
"""
SLOW_ROWS = 4000


@pytest.fixture(scope="module")
def models(repository: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A good one, a broken one, one that is queued, and one whose runs are long."""
    root = tmp_path_factory.mktemp("models")
    shutil.copytree(repository / "fraud" / "1", root / "fraud" / "1")
    shutil.copytree(repository / "broken", root / "broken")
    build("torch_mlp_ln_gelu_op13", root / "queued" / "1" / "model.engine")
    (root / "queued" / "config.yaml").write_text(BATCHED)
    build_slow(root / "slow" / "1" / "model.engine")
    return root


@pytest.fixture(scope="module")
def serving(models: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(models, tmp_path_factory.mktemp("log") / "log", "--drain-ms", 0,
                     "--set", "compute.threads=1")
    yield running
    assert running.stop() == 0, running.log()


def request(model: str = "fraud", version: str = "", width: int = 10, values: int | None = None,
            **parameters: object) -> tuple[bytes, service_pb2.ModelInferRequest]:
    """The same for HTTP and gRPC."""
    data = [0.5] * (width if values is None else values)
    path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"
    over_http = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, width], "data": data,
                             "parameters": parameters}]}
    over_grpc = service_pb2.ModelInferRequest(model_name=model, model_version=version)
    tensor = over_grpc.inputs.add(name="x", datatype="FP32", shape=[1, width])
    tensor.contents.fp32_contents.extend(data)
    for key, value in parameters.items():
        tensor.parameters[key].int64_param = value
    return (path, over_http), over_grpc


def ask_both(server: Server, asked: tuple,
             headers: dict[str, str] | None = None) -> tuple[Response, grpc.RpcError]:
    (path, body), message = asked
    answer = server.ask(post(path, body, **(headers or {})))
    metadata = [(name.lower(), value) for name, value in (headers or {}).items()]
    with grpc.insecure_channel(server.grpc_address, [("grpc.enable_retries", 0)]) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(INFER)(message.SerializeToString(), metadata=metadata, timeout=20)
    return answer, raised.value


CASES = {
    "a shape that does not fit": (request(width=9), 400, "INVALID_ARGUMENT"),
    "too few values": (request(values=9), 400, "INVALID_ARGUMENT"),
    "a version that is no number": (request(version="two"), 400, "INVALID_ARGUMENT"),
    "no such model": (request("none"), 404, "NOT_FOUND"),
    "no such version": (request(version="9"), 404, "NOT_FOUND"),
    "a model that could not be loaded": (request("broken"), 503, "UNAVAILABLE"),
    "an extension that is not offered": (request(classification=3), 501, "UNIMPLEMENTED"),
}


@pytest.mark.parametrize("what", CASES)
def test_an_error_is_the_same_over_both(serving: Server, what: str) -> None:
    asked, code, name = CASES[what]
    answer, error = ask_both(serving, asked)
    assert (answer.code, error.code().name) == (code, name), (answer.body, error.details())
    # The values have a name of their own in either form.
    assert answer.error() == error.details().replace("contents: ", "data: ")
    assert "retry-after" not in answer.fields
    assert "grpc-retry-pushback-ms" not in dict(error.trailing_metadata())


@pytest.mark.parametrize("token,code,name", [
    (None, 401, "UNAUTHENTICATED"), ("vdt_wrong", 401, "UNAUTHENTICATED"),
    (TOKENS["metrics"], 403, "PERMISSION_DENIED")])
def test_a_caller_who_may_not(models, clients_file, tmp_path, token, code, name) -> None:  # noqa: F811
    running = Server(models, tmp_path / "log", "--drain-ms", 0, *auth_settings(clients_file))
    try:
        answer, error = ask_both(running, request(), bearer(token) if token else None)
        assert (answer.code, error.code().name) == (code, name)
        assert answer.error() == error.details()
    finally:
        assert running.stop() == 0


def hints(answer: Response, error: grpc.RpcError) -> tuple[int, int]:
    return (int(answer.fields["retry-after"]),
            int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"]))


def test_a_client_over_its_rate(models, tmp_path) -> None:
    """HTTP tells it (429) from a server that is short (503); gRPC has one code for both."""
    running = Server(models, tmp_path / "log", "--drain-ms", 0,
                     "--set", "limits.client.requests_per_s=0.01", "--set", "limits.client.burst=1")
    try:
        (path, body), _ = request()
        assert running.ask(post(path, body)).code == 200
        answer, error = ask_both(running, request())
        assert (answer.code, error.code().name) == (429, "RESOURCE_EXHAUSTED")
        assert answer.error() == error.details()
        seconds, milliseconds = hints(answer, error)
        assert 80 <= seconds <= 100 and 80_000 <= milliseconds <= 100_000
    finally:
        assert running.stop() == 0


def busy(server: Server, runs: int) -> list[Client]:
    """One long run under way, the others behind it."""
    clients = [server.client() for _ in range(runs)]
    for client in clients:
        client.send(slow_request("slow", SLOW_ROWS))
    waiting = 'nv_inference_pending_request_count{model="slow",version="1"}'
    wait_for(lambda: server.metric(waiting) == runs - 1, "a run has begun")
    return clients


def test_load_that_is_shed(models, tmp_path) -> None:
    running = Server(models, tmp_path / "log", "--drain-ms", 0, "--set", "compute.threads=1",
                     "--set", "limits.total.max_in_flight=4",
                     "--set", "limits.shed.in_flight_watermark=0.01")
    try:
        clients = busy(running, 3)
        answer, error = ask_both(running, request())
        assert (answer.code, error.code().name) == (503, "RESOURCE_EXHAUSTED"), answer.body
        assert "more urgent requests" in answer.error() == error.details()
        assert hints(answer, error) == (1, 1000)
        assert [client.read().code for client in clients] == [200] * 3
    finally:
        assert running.stop() == 0


def test_a_full_queue(serving: Server) -> None:
    clients = busy(serving, 2)
    (path, body), _ = request("queued", width=12)
    waiting = [serving.client() for _ in range(2)]
    for client in waiting:
        client.send(post(path, body))
    wait_for(lambda: serving.metric(
        'nv_inference_pending_request_count{model="queued",version="1"}') == 2, "the queue is full")
    answer, error = ask_both(serving, request("queued", width=12))
    assert (answer.code, error.code().name) == (503, "RESOURCE_EXHAUSTED"), answer.body
    assert answer.error() == error.details()
    assert hints(answer, error) == (1, 1000)
    assert [client.read().code for client in (*clients, *waiting)] == [200] * 4


def test_a_deadline_that_cannot_be_kept(serving: Server) -> None:
    """A run of seconds, asked for within 20 ms: both are told at once, and nothing is run."""
    answer = serving.ask(slow_request("slow", SLOW_ROWS, Verdict_Deadline_Us=20_000))
    message = service_pb2.ModelInferRequest(model_name="slow")
    message.inputs.add(name="x", datatype="FP32", shape=[SLOW_ROWS, WIDTH])
    message.raw_input_contents.append(bytes(4 * SLOW_ROWS * WIDTH))
    with grpc.insecure_channel(serving.grpc_address) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(INFER)(message.SerializeToString(), timeout=0.02)
    assert (answer.code, raised.value.code().name) == (504, "DEADLINE_EXCEEDED"), answer.body
    assert "retry-after" not in answer.fields
