"""Queues, batches and sequences, over both transports (under load: test_scenarios_load.py). One compute
thread, so that a slow run holds up everything that is queued. Every test lists the codes it
requires."""

from __future__ import annotations

import concurrent.futures
import contextlib
import pathlib
import resource
import shutil
import time
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from serving import Client, Response, Server, build, golden, post, wait_for
from slow_model import build_slow, slow_request
from traffic import Codes, Rows, Traffic
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

BATCHED = """
max_batch_size: 8
dynamic_batching:
  preferred_batch_size: [4, 8]
  max_queue_delay_microseconds: 50000
  priority_levels: 3
  default_priority_level: 2
  default_queue_policy: {allow_timeout_override: true}
"""
SHORT_QUEUE = """
max_batch_size: 8
dynamic_batching:
  default_queue_policy: {max_queue_size: 4, allow_timeout_override: true}
"""
STEP = """
max_batch_size: 8
sequence_batching:
  max_sequence_idle_microseconds: 600000000
  state: [{input_name: state, output_name: new_state}]
"""
# Model -> golden model, config.yaml.
MODELS = {
    "alone": ("torch_mlp_ln_gelu_op13", None),
    "batched": ("torch_mlp_ln_gelu_op13", BATCHED),
    "short": ("torch_mlp_ln_gelu_op13", SHORT_QUEUE),
    "step": ("torch_gru_step_op17", STEP),
    "step-by-hand": ("torch_gru_step_op17", None),
}
ROWS = golden("torch_mlp_ln_gelu_op13")[0]["x"]
WANTED = golden("torch_mlp_ln_gelu_op13")[1]["y"]
INFER = "/inference.GRPCInferenceService/ModelInfer"
# Rows of the slow model: half a second to a few.
SLOW_ROWS = 4000


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    root = tmp_path_factory.mktemp("repository")
    for model, (name, config) in MODELS.items():
        build(name, root / model / "1" / "model.engine")
        if config is not None:
            (root / model / "config.yaml").write_text(config)
    build_slow(root / "slow" / "1" / "model.engine")
    return root


@pytest.fixture(scope="module")
def queued(models: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = start(models, tmp_path_factory.mktemp("log") / "log")
    yield running
    assert running.stop() == 0, running.log()


def start(models: pathlib.Path, log: pathlib.Path, *flags: object, drain_ms: int = 0) -> Server:
    return Server(models, log, "--drain-ms", drain_ms, "--set", "compute.threads=1", *flags)


def row_request(model: str, row: int, **parameters: object) -> bytes:
    return post(f"/v2/models/{model}/infer", {
        "parameters": parameters,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 12],
                    "data": ROWS[row].tolist()}]})


def grpc_request(model: str, row: int, timeout_us: int = 0) -> bytes:
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name="x", datatype="FP32", shape=[1, 12])
    request.raw_input_contents.append(ROWS[row].tobytes())
    if timeout_us:
        request.parameters["timeout"].int64_param = timeout_us
    return request.SerializeToString()


def sent(server: Server, request: bytes) -> Client:
    client = server.client()
    client.send(request)
    return client


def check_row(answer: Response, row: int) -> None:
    assert answer.code == 200, answer.body
    got = np.float32(answer.json()["outputs"][0]["data"])
    np.testing.assert_allclose(got, WANTED[row], rtol=1e-5, atol=1e-5)


def check_grpc_row(answer: bytes, row: int) -> None:
    response = service_pb2.ModelInferResponse.FromString(answer)
    got = np.frombuffer(response.raw_output_contents[0], np.float32)
    np.testing.assert_allclose(got, WANTED[row], rtol=1e-5, atol=1e-5)


def pending(server: Server, model: str) -> int:
    return int(server.metric(
        f'nv_inference_pending_request_count{{model="{model}",version="1"}}'))


def executions(server: Server, model: str) -> int:
    return int(server.metric(f'nv_inference_exec_count{{model="{model}",version="1"}}'))


@contextlib.contextmanager
def held_up(server: Server, rows: int = SLOW_ROWS) -> Iterator[Callable[[], bool]]:
    """The compute thread is in a slow run, and has another to make; both are answered. Gives
    whether both are still to be answered."""
    slow = [sent(server, slow_request("slow", rows)) for _ in range(2)]
    wait_for(lambda: pending(server, "slow") == 1, "one slow run has begun, one waits")
    yield lambda: pending(server, "slow") == 1
    for client in slow:
        answer = client.read()
        assert answer.code == 200 and set(answer.json()["outputs"][0]["data"]) == {1}


def test_batches_answer_as_requests_alone(queued: Server) -> None:
    """40 requests at once over HTTP, 40 over gRPC."""
    alone = [queued.ask(row_request("alone", row)) for row in range(len(ROWS))]
    for row, answer in enumerate(alone):
        check_row(answer, row)
    before = executions(queued, "batched")
    rows = [i % len(ROWS) for i in range(40)]
    clients = [sent(queued, row_request("batched", row, priority=1 + i % 3))
               for i, row in enumerate(rows)]
    with grpc.insecure_channel(queued.grpc_address) as channel:
        calls = [channel.unary_unary(INFER).future(grpc_request("batched", row), timeout=20)
                 for row in rows]
        for row, client in zip(rows, clients):
            answer = client.read()
            check_row(answer, row)
            # Rows of a batch and alone agree to rounding.
            np.testing.assert_allclose(answer.json()["outputs"][0]["data"],
                                       alone[row].json()["outputs"][0]["data"], 1e-6, 1e-6)
        for row, call in zip(rows, calls):
            check_grpc_row(call.result(), row)
    runs = executions(queued, "batched") - before
    assert 80 / 8 <= runs < 80, f"{runs} runs of up to 8 for 80 requests"


def test_a_batch_waits_for_more_and_no_longer(queued: Server) -> None:
    """200; the wait is in the statistics."""
    with triton_http.InferenceServerClient(queued.address) as client:
        def queue_ns() -> int:
            stats = client.get_inference_statistics("batched")["model_stats"][0]
            return stats["inference_stats"]["queue"]["ns"]

        before = queue_ns()
        check_row(queued.ask(row_request("batched", 0)), 0)
        assert 45_000_000 <= queue_ns() - before < 5_000_000_000


def step_by_hand(server: Server, x: np.ndarray, state: np.ndarray) -> tuple[float, np.ndarray]:
    with triton_http.InferenceServerClient(server.address) as client:
        inputs = []
        for name, value in (("x", x), ("state", state)):
            inputs.append(triton_http.InferInput(name, value.shape, "FP32"))
            inputs[-1].set_data_from_numpy(value)
        answer = client.infer("step-by-hand", inputs)
        return answer.as_numpy("score"), answer.as_numpy("new_state")


def step(kind, client, x: np.ndarray, sequence: int | str, **flags: bool) -> np.ndarray:
    tensor = kind.InferInput("x", x.shape, "FP32")
    tensor.set_data_from_numpy(x)
    answer = client.infer("step", [tensor], sequence_id=sequence, **flags)
    return answer.as_numpy("score")


@pytest.mark.parametrize("keys", [(7, 9), ("card-a", "card-b")])
@pytest.mark.parametrize("kind", [triton_http, triton_grpc])
def test_sequences_keep_a_state_each(queued: Server, kind, keys: tuple) -> None:
    """Two, interleaved, are what the model gives when the state is passed by hand; an end forgets,
    and so does a start."""
    random = np.random.default_rng(1)
    address = queued.address if kind is triton_http else queued.grpc_address
    zero = np.zeros((1, 8), np.float32)
    states = {key: zero for key in keys}
    with kind.InferenceServerClient(address) as client:
        for round_ in range(6):
            for key in keys:
                x = random.normal(size=(1, 6)).astype(np.float32)
                # The first key starts anew in the middle, and both end.
                begins = round_ == 0 or (round_ == 3 and key == keys[0])
                wanted, states[key] = step_by_hand(queued, x, zero if begins else states[key])
                got = step(kind, client, x, key, sequence_start=begins, sequence_end=round_ == 5)
                np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
        # After the end nothing is left of it.
        with pytest.raises(InferenceServerException, match="must specify the START flag") as info:
            step(kind, client, zero[:, :6], keys[1], sequence_end=True)
        assert info.value.status() == ("400" if kind is triton_http else
                                       "StatusCode.INVALID_ARGUMENT")


def test_a_sequence_goes_on_over_the_other_transport(queued: Server) -> None:
    x = np.full((1, 6), 0.5, np.float32)
    _, state = step_by_hand(queued, x, np.zeros((1, 8), np.float32))
    wanted, _ = step_by_hand(queued, x, state)
    with triton_http.InferenceServerClient(queued.address) as client:
        step(triton_http, client, x, 42, sequence_start=True)
    with triton_grpc.InferenceServerClient(queued.grpc_address) as client:
        got = step(triton_grpc, client, x, 42, sequence_end=True)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_nothing_goes_on_from_before_a_start_that_is_refused(queued: Server) -> None:
    """504, then 400: what follows would be scored from a state that the client has given up."""
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 6], "data": [0.5] * 6}]}
    start = body | {"parameters": {"sequence_id": "lost", "sequence_start": True}}
    follow = body | {"parameters": {"sequence_id": "lost"}}
    path = "/v2/models/step/infer"
    assert queued.ask(post(path, start)).code == 200
    assert queued.ask(post(path, follow)).code == 200
    assert queued.ask(post(path, start, Verdict_Deadline_Us=1)).code == 504
    answer = queued.ask(post(path, follow))
    assert answer.code == 400 and "must specify the START flag" in answer.error()


def test_a_model_of_sequences_needs_one(queued: Server) -> None:
    """400 and INVALID_ARGUMENT without a sequence_id."""
    answer = queued.ask(post("/v2/models/step/infer", {"inputs": [
        {"name": "x", "datatype": "FP32", "shape": [1, 6], "data": [0] * 6}]}))
    assert answer.code == 400 and "name the sequence" in answer.error()
    with triton_grpc.InferenceServerClient(queued.grpc_address) as client:
        with pytest.raises(InferenceServerException, match="name the sequence"):
            step(triton_grpc, client, np.zeros((1, 6), np.float32), 0)


def test_a_deadline_that_cannot_be_met_is_refused_at_once(queued: Server) -> None:
    """503 and UNAVAILABLE: another server may make it. The engine alone would be in time."""
    before = executions(queued, "short")
    with held_up(queued, 3 * SLOW_ROWS) as still_held:
        answer = queued.ask(post(
            "/v2/models/short/infer", row_request("short", 0).split(b"\r\n\r\n", 1)[1],
            Verdict_Deadline_Us=500_000))
        assert answer.code == 503 and "after what waits takes" in answer.error(), answer.body
        with grpc.insecure_channel(queued.grpc_address) as channel:
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(INFER)(grpc_request("short", 0), timeout=0.5)
            assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert still_held()
    assert executions(queued, "short") == before


@pytest.mark.scenario(6, required={"200", "OK", "refused", "UNAVAILABLE"},
                      allowed={"closed", "CANCELLED"})
def test_sigterm_answers_what_is_queued(
    models: pathlib.Path, tmp_path: pathlib.Path, codes: Codes
) -> None:
    """200 and OK for all that waits and for what comes until the drain delay is over; then
    connections are refused. Exit status 0."""
    drain_s = 0.5
    root = tmp_path / "repository"
    for model in ("slow", "batched"):
        shutil.copytree(models / model, root / model)
    running = start(root, tmp_path / "log", drain_ms=int(drain_s * 1000))
    rows = Rows("batched", "x", ROWS, "y", {"1": [WANTED]}.__getitem__)
    with held_up(running, 8000), Traffic(running, rows) as traffic:
        wait_for(lambda: pending(running, "batched") >= 50, "many wait")
        refusing_s = time.monotonic() + drain_s
        running.process.terminate()
        for code in ("refused", "UNAVAILABLE"):
            traffic.wait_for_code(code)
        assert pending(running, "batched") >= 50, "they still wait"
    assert running.process.wait(15) == 0, running.log()
    traffic.check_shutdown(*codes, refusing_s)


def test_a_client_within_its_limit_is_never_refused(
    models: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """One request at a time, as many as it is allowed: 200 and OK for each, whether its run is on
    the transport's own thread or queued."""
    root = tmp_path / "repository"
    for model in ("alone", "short"):
        shutil.copytree(models / model, root / model)
    running = start(root, tmp_path / "log", "--set", "limits.client.max_in_flight=1",
                    "--set", "limits.total.max_in_flight=1")
    with grpc.insecure_channel(running.grpc_address) as channel:
        for model in ("alone", "short"):
            kept = running.client()
            for i in range(300):
                row = i % len(ROWS)
                check_row(kept.ask(row_request(model, row)), row)
                check_grpc_row(channel.unary_unary(INFER)(grpc_request(model, row), timeout=20),
                               row)
            kept.close()
    assert running.stop() == 0


def test_an_answer_without_memory_for_it_fails_alone(tmp_path: pathlib.Path) -> None:
    """503 for the request whose answer finds no room, and 200 for the one behind it."""
    root = tmp_path / "repository"
    build("skl_lr_binary", root / "large" / "1" / "model.engine", "--minShapes=x:1x10",
          "--optShapes=x:1x10", "--maxShapes=x:3000000x10")
    (root / "large" / "config.yaml").write_text("instance_group: [{count: 1}]\n")
    build_slow(root / "slow" / "1" / "model.engine")
    running = start(root, tmp_path / "log", "--max-body-bytes", 1 << 28)

    def request(rows: int) -> bytes:
        tensor = np.zeros((rows, 10), np.float32).tobytes()
        text = (f'{{"inputs":[{{"name":"x","datatype":"FP32","shape":[{rows},10],'
                f'"parameters":{{"binary_data_size":{len(tensor)}}}}}]}}').encode()
        return post("/v2/models/large/infer", text + tensor,
                    Inference_Header_Content_Length=len(text))

    assert running.ask(request(1)).code == 200
    with held_up(running, 3 * SLOW_ROWS):
        clients = [sent(running, request(rows)) for rows in (3_000_000, 1)]
        wait_for(lambda: pending(running, "large") == 2, "both wait")
        status = pathlib.Path(f"/proc/{running.process.pid}/status").read_text()
        size = next(int(line.split()[1]) for line in status.splitlines() if "VmSize" in line)
        _, hard = resource.prlimit(running.process.pid, resource.RLIMIT_AS)
        limit = (size + 256) * 1024
        resource.prlimit(running.process.pid, resource.RLIMIT_AS, (limit, hard))
        answers = [client.read() for client in clients]
        resource.prlimit(running.process.pid, resource.RLIMIT_AS, (hard, hard))
    assert answers[0].code == 503 and "no memory" in answers[0].error()
    assert answers[1].code == 200
    assert running.stop() == 0


def test_many_clients_at_once_get_their_own_rows(queued: Server) -> None:
    """Kept connections, both transports, requests without pause: 200 and OK, each its own row."""
    def work(index: int) -> None:
        client = queued.client()
        with grpc.insecure_channel(
                queued.grpc_address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            for i in range(30):
                row = (index + i) % len(ROWS)
                check_row(client.ask(row_request("short", row)), row)
                check_grpc_row(channel.unary_unary(INFER)(grpc_request("short", row), timeout=20),
                               row)
        client.close()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, i) for i in range(4)]:
            done.result()
