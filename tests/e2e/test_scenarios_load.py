"""Scenarios 10 to 20: queues, deadlines, priorities, cancellations and hostile clients, under open
loops (Poisson arrivals) over both transports. Each test lists the codes that are required and those
that are allowed besides, and checks that no answer was wrong and none was lost.

One compute thread, so that a slow run holds up everything that is queued behind it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import pathlib
import signal
import socket
import statistics
import struct
import time
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest
from open_loop import INFER, Tally, call, poisson, steady
from serving import Client, Server, build, post, wait_for
from slow_model import WIDTH, build_slow, slow_request
from test_batching import (
    ROWS,
    check_grpc_row,
    check_row,
    grpc_request,
    held_up,
    pending,
    row_request,
)
from test_server_hostile import BAD_BINARY, BAD_JSON
from test_server_hostile import INFER as FRAUD
from tritonclient.grpc import service_pb2

QUEUE = 16
SHORT = f"""
max_batch_size: 8
dynamic_batching:
  default_queue_policy: {{max_queue_size: {QUEUE}}}
"""
OWN_TIMEOUT = """
max_batch_size: 8
dynamic_batching:
  default_queue_policy: {default_timeout_microseconds: 60000000, allow_timeout_override: true}
"""
# One request a run: two have more rows than a batch may.
RANKED = """
max_batch_size: 128
dynamic_batching: {priority_levels: 3, default_priority_level: 3}
"""
RANKED_ROWS = 100
# Of the slow model, for two runs that take longer than the requests come and expire.
LONG = 16_000
MLP = "torch_mlp_ln_gelu_op13"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("repository")
    for model, config in {"short": SHORT, "timed": OWN_TIMEOUT}.items():
        build(MLP, root / model / "1" / "model.engine")
        (root / model / "config.yaml").write_text(config)
    for model in ("slow", "ranked"):
        build_slow(root / model / "1" / "model.engine")
    (root / "ranked" / "config.yaml").write_text(RANKED)
    running = Server(root, tmp_path_factory.mktemp("log") / "log", "--drain-ms", 0,
                     "--set", "compute.threads=1", "--set", "deadline.default_us=60000000")
    yield running
    assert running.stop() == 0, running.log()


class Shots:
    """Requests of one test, each on its own thread and, over HTTP, on a connection of its own."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.tally = Tally()
        self._pool = concurrent.futures.ThreadPoolExecutor(256)
        self._channel = grpc.insecure_channel(server.grpc_address)

    def __enter__(self) -> Shots:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        self._channel.close()

    def http(self, kind: str, request: bytes,
             check: Callable[[object], None]) -> concurrent.futures.Future:
        """check: of an answer with code 200. The future: (code, sent, answered), in seconds."""
        def ask() -> int:
            answer = self.server.ask(request)
            if answer.code == 200:
                check(answer)
            return answer.code

        return self._pool.submit(self._timed, kind, ask)

    def grpc(self, kind: str, request: bytes, check: Callable[[bytes], None],
             timeout: float = 60) -> concurrent.futures.Future:
        def checked(answer: bytes) -> str:
            check(answer)
            return "OK"

        return self._pool.submit(
            self._timed, kind, lambda: call(self._channel, request, checked, timeout))

    def _timed(self, kind: str, ask: Callable[[], object]) -> tuple[object, float, float]:
        sent = time.monotonic()
        return self.tally.ask(kind, ask), sent, time.monotonic()


def failures(server: Server, model: str, reason: str) -> int:
    return int(server.metric(
        f'nv_inference_request_failure{{model="{model}",version="1",reason="{reason}"}}'))


def count(server: Server, model: str) -> int:
    """Rows that have been run."""
    return int(server.metric(f'nv_inference_count{{model="{model}",version="1"}}'))


def checks(row: int) -> tuple[Callable[[object], None], Callable[[bytes], None]]:
    return (lambda answer: check_row(answer, row)), (lambda answer: check_grpc_row(answer, row))


@pytest.mark.scenario(10)
def test_a_full_queue_refuses_the_excess_at_once(loaded: Server) -> None:
    """As many as the queue holds get 200 or OK; all others 503 or RESOURCE_EXHAUSTED while the
    engine is still busy, and are counted."""
    rejected, executed = failures(loaded, "short", "REJECTED"), count(loaded, "short")
    with held_up(loaded, LONG) as still_held, Shots(loaded) as shots:
        asked = []
        for number in poisson(200, 10, 0.5):
            row = number % len(ROWS)
            http, rpc = checks(row)
            asked.append(shots.http("http", row_request("short", row), http) if number % 2 else
                         shots.grpc("grpc", grpc_request("short", row), rpc))
        excess = len(asked) - QUEUE
        assert excess > QUEUE
        wait_for(lambda: sum(one.done() for one in asked) == excess, "the excess is refused")
        assert still_held(), "refused at once"
        assert pending(loaded, "short") == QUEUE
        assert failures(loaded, "short", "REJECTED") - rejected == excess
    shots.tally.check({"http": {200, 503}, "grpc": {"OK", "RESOURCE_EXHAUSTED"}})
    codes = shots.tally.codes
    assert codes["http"][200] + codes["grpc"]["OK"] == QUEUE
    assert count(loaded, "short") - executed == QUEUE


@pytest.mark.scenario(11)
def test_what_expires_in_the_queue_is_refused_on_time(loaded: Server) -> None:
    """504 and DEADLINE_EXCEEDED while the engine stalls, half of them within 5 ms of their deadlines
    as the client sees it (the other half may have waited for a processor), none before, none run."""
    for attempt in range(3):
        late = refused_late_s(loaded)
        if statistics.median(late) <= 0.005:
            break
        # Others have kept the processors busy; the server has a better chance now.
        assert attempt < 2, sorted(late)


def refused_late_s(server: Server) -> list[float]:
    rejected, executed = failures(server, "timed", "REJECTED"), count(server, "timed")
    timeouts_s = np.random.default_rng(11).uniform(0.1, 0.4, 1000)
    with held_up(server, LONG) as still_held, Shots(server) as shots:
        asked = []
        for number in poisson(100, 11, 0.5):
            http, rpc = checks(0)
            timeout_us = int(timeouts_s[number] * 1e6)
            asked.append(
                shots.http("http", row_request("timed", 0, timeout=timeout_us), http) if number % 2
                else shots.grpc("grpc", grpc_request("timed", 0, timeout_us), rpc))
        ended = [one.result() for one in asked]
        assert still_held(), "refused when it was over, not when the thread was free"
        assert failures(server, "timed", "REJECTED") - rejected == len(ended)
    shots.tally.check({"http": {504}, "grpc": {"DEADLINE_EXCEEDED"}})
    assert count(server, "timed") == executed
    late = [answered - sent - timeout
            for (_, sent, answered), timeout in zip(ended, timeouts_s)]
    assert min(late) > -0.001, "refused while there was time"
    return late


@pytest.mark.scenario(12)
def test_a_requests_own_shorter_deadline_is_honoured(loaded: Server) -> None:
    """The server's deadline and the queue's timeout are a minute each. Who names none gets 200 or
    OK; a shorter timeout ends in 504 and DEADLINE_EXCEEDED when it is over; a deadline that the
    stall alone would use up ends at once, in 503 and UNAVAILABLE, or 504 and DEADLINE_EXCEEDED."""
    executed = count(loaded, "timed")
    own_s = 0.3
    with held_up(loaded, LONG) as still_held, Shots(loaded) as shots:
        patient, hasty = [], []
        for number in poisson(150, 12, 0.5):
            row = number % len(ROWS)
            http, rpc = checks(row)
            body = row_request("timed", row).split(b"\r\n\r\n", 1)[1]
            own_us = int(own_s * 1e6)
            ask = (
                lambda: shots.http("patient http", row_request("timed", row), http),
                lambda: shots.grpc("patient grpc", grpc_request("timed", row), rpc),
                lambda: shots.http("timeout http", row_request("timed", row, timeout=own_us), http),
                lambda: shots.grpc("timeout grpc", grpc_request("timed", row, own_us), rpc),
                lambda: shots.http("deadline http", post(
                    "/v2/models/timed/infer", body, Verdict_Deadline_Us=own_us), http),
                lambda: shots.grpc("deadline grpc", grpc_request("timed", row), rpc, own_s),
            )[number % 6]
            (patient if number % 6 < 2 else hasty).append(ask())
        for one in hasty:
            one.result()
        assert still_held()
        assert not any(one.done() for one in patient)
    shots.tally.check(
        {"patient http": {200}, "patient grpc": {"OK"}, "timeout http": {504},
         "timeout grpc": {"DEADLINE_EXCEEDED"}, "deadline http": {503},
         "deadline grpc": {"UNAVAILABLE"}},
        {"deadline http": {504}, "deadline grpc": {"DEADLINE_EXCEEDED"}})
    assert count(loaded, "timed") - executed == len(patient)


def ranked_request(priority: int) -> tuple[bytes, bytes]:
    """Over HTTP and gRPC; of ones, whose answer is a one a row."""
    tensor = np.ones((RANKED_ROWS, WIDTH), np.float32).tobytes()
    text = (f'{{"parameters":{{"priority":{priority}}},"inputs":[{{"name":"x","datatype":"FP32",'
            f'"shape":[{RANKED_ROWS},{WIDTH}],'
            f'"parameters":{{"binary_data_size":{len(tensor)}}}}}]}}').encode()
    request = service_pb2.ModelInferRequest(model_name="ranked")
    request.parameters["priority"].int64_param = priority
    request.inputs.add(name="x", datatype="FP32", shape=[RANKED_ROWS, WIDTH])
    request.raw_input_contents.append(tensor)
    return (post("/v2/models/ranked/infer", text + tensor,
                 Inference_Header_Content_Length=len(text)), request.SerializeToString())


def ones_http(answer: object) -> None:
    assert answer.json()["outputs"][0]["data"] == [1] * RANKED_ROWS


def ones_grpc(answer: bytes) -> None:
    raw = service_pb2.ModelInferResponse.FromString(answer).raw_output_contents[0]
    assert np.array_equal(np.frombuffer(raw, np.float32), np.ones(RANKED_ROWS))


@pytest.mark.scenario(13)
def test_high_priority_overtakes_low(loaded: Server) -> None:
    """200 and OK for all; those that come while the engine stalls are answered by priority, whatever
    the order of their coming."""
    with held_up(loaded, LONG) as still_held, Shots(loaded) as shots:
        asked = []
        for number in poisson(60, 13, 0.5):
            priority = 3 - number % 3  # the least urgent come first
            http, rpc = ranked_request(priority)
            asked.append((priority, shots.http("http", http, ones_http) if number % 2 else
                          shots.grpc("grpc", rpc, ones_grpc)))
        wait_for(lambda: pending(loaded, "ranked") == len(asked), "all wait")
        assert still_held()
    shots.tally.check({"http": {200}, "grpc": {"OK"}})
    order = [priority for _, priority in sorted(
        (one.result()[2], priority) for priority, one in asked)]
    # A client's thread may see its answer a run later than its neighbour does.
    misplaced = sum(got != want for got, want in zip(order, sorted(order)))
    assert len(order) > 12 and misplaced <= 4, order
    assert order[:3] == [1] * 3 and order[-3:] == [3] * 3, order


@pytest.mark.scenario(14)
def test_what_clients_cancel_is_never_run_and_leaves_nothing(loaded: Server) -> None:
    """Half of the clients leave; the others get 200 and OK. Nothing is kept of what left: no place
    in the queue, no connection, no memory."""
    padding = b" " * 1_500_000  # so much is the system's again at once
    memory = []
    for _ in range(2):  # the first round finds the memory that the other uses again
        executed, cancelled = count(loaded, "timed"), failures(loaded, "timed", "CANCELED")
        with held_up(loaded), Shots(loaded) as shots, \
                grpc.insecure_channel(loaded.grpc_address) as channel:
            leaving: list[Client | grpc.Future] = []
            staying = []
            for number in poisson(200, 14, 0.5):
                row = number % len(ROWS)
                http, rpc = checks(row)
                if number % 4 == 0:
                    body = row_request("timed", row).split(b"\r\n\r\n", 1)[1]
                    leaving.append(loaded.client())
                    leaving[-1].send(post("/v2/models/timed/infer", body + padding))
                elif number % 4 == 1:
                    leaving.append(channel.unary_unary(INFER).future(
                        grpc_request("timed", row), timeout=60))
                elif number % 4 == 2:
                    staying.append(shots.http("http", row_request("timed", row), http))
                else:
                    staying.append(shots.grpc("grpc", grpc_request("timed", row), rpc))
            wait_for(lambda: pending(loaded, "timed") == len(leaving) + len(staying), "all wait")
            for one in leaving:
                one.close() if isinstance(one, Client) else one.cancel()
            wait_for(lambda: pending(loaded, "timed") == len(staying), "half have been taken out")
            assert failures(loaded, "timed", "CANCELED") - cancelled == len(leaving)
            assert count(loaded, "timed") == executed
        shots.tally.check({"http": {200}, "grpc": {"OK"}})
        assert count(loaded, "timed") - executed == len(staying)
        assert pending(loaded, "timed") == 0
        wait_for(lambda: loaded.metric("verdict_http_connections") == 0, "connections go")
        memory.append(loaded.resident_bytes())
    # What leaves brings 37 MB a round.
    assert memory[1] - memory[0] < 16 << 20, memory


@contextlib.contextmanager
def stopped(server: Server) -> Iterator[None]:
    """As if the machine were gone for a while."""
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


@pytest.mark.scenario(15)
def test_a_deadline_that_passes_before_dispatch(loaded: Server) -> None:
    """504 and DEADLINE_EXCEEDED, none run: their deadlines suffice for what waits before them, and
    then the machine stands still for longer."""
    stall_s, rows = 0.0, 1500
    while stall_s < 1.2:  # two runs; the requests below take a quarter of that to come in
        rows *= 2
        begin = time.monotonic()
        with held_up(loaded, rows):
            pass
        stall_s = time.monotonic() - begin
    executed = count(loaded, "timed")
    deadline_s = 2 * stall_s + 0.5
    with held_up(loaded, rows) as still_held, Shots(loaded) as shots:
        asked = []
        for number in poisson(100, 15, 0.3):
            http, rpc = checks(0)
            body = row_request("timed", 0).split(b"\r\n\r\n", 1)[1]
            asked.append(
                shots.http("http", post("/v2/models/timed/infer", body,
                                        Verdict_Deadline_Us=int(deadline_s * 1e6)), http)
                if number % 2 else
                shots.grpc("grpc", grpc_request("timed", 0), rpc, deadline_s))
        wait_for(lambda: pending(loaded, "timed") == len(asked), "all wait")
        assert still_held()
        with stopped(loaded):
            time.sleep(deadline_s + 0.1)
    shots.tally.check({"http": {504}, "grpc": {"DEADLINE_EXCEEDED"}})
    assert count(loaded, "timed") == executed


def die(client: socket.socket, reset: bool) -> None:
    if reset:  # instead of an orderly end
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def half_grpc_call() -> bytes:
    """HTTP/2 up to the middle of a message: a call whose 1,000 bytes of request never come whole."""
    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(
            ">I", stream) + payload

    headers = b"".join(  # literals without indexing
        b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
        for name, value in ((b":method", b"POST"), (b":scheme", b"http"), (b":path", INFER.encode()),
                            (b":authority", b"h"), (b"te", b"trailers"),
                            (b"content-type", b"application/grpc")))
    return (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, headers)
            + frame(0, 0, 1, b"\0" + struct.pack(">I", 1000) + b"\x0a" * 100))


@pytest.mark.scenario(16)
def test_clients_that_die_mid_body_leave_others_alone(server: Server) -> None:
    """200 and OK for the others, over both transports, and nothing is kept of the dead."""
    port = int(server.grpc_address.rsplit(":", 1)[1])
    call_bytes = half_grpc_call()
    body = post(FRAUD, {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 10],
                                    "data": [0.5] * 10}]})
    with steady(server) as tally:
        for number in poisson(100, 16, 2):
            if number % 2:
                client = socket.create_connection(("127.0.0.1", port))
                client.sendall(call_bytes[: 24 + number % (len(call_bytes) - 24)])
            else:
                client = socket.create_connection(("127.0.0.1", server.port))
                client.sendall(body[: 20 + number % (len(body) - 20)])
            die(client, reset=number % 4 < 2)
        assert not tally.wrong
    wait_for(lambda: server.metric("verdict_http_connections") == 0, "dead connections go")


def bad_grpc() -> dict[str, tuple[bytes, str]]:
    """Case -> message, what the refusal names; all INVALID_ARGUMENT."""
    def request(**changes: object) -> service_pb2.ModelInferRequest:
        made = service_pb2.ModelInferRequest(model_name="fraud", model_version="1")
        fields = {"name": "x", "datatype": "FP32", "shape": [1, 10], **changes}
        made.inputs.add(**fields)
        made.raw_input_contents.append(np.full(10, 0.5, np.float32).tobytes())
        return made

    twice, outputs = request(), request()
    twice.inputs.append(twice.inputs[0])
    twice.raw_input_contents.append(twice.raw_input_contents[0])
    for _ in range(2):
        outputs.outputs.add(name="label")
    short = request()
    short.raw_input_contents[0] = b"\0" * 39
    cases = {
        "product overflows": (request(shape=[2**62, 10]), "input 'x': shape"),
        "bytes overflow": (request(shape=[2**60, 10]), "input 'x': shape"),
        "negative dimension": (request(shape=[-1, 10]), "input 'x': shape: the extent -1"),
        "wrong datatype": (request(datatype="FP64"), "input 'x': datatype is 'FP64'"),
        "wrong rank": (request(shape=[10]), "input 'x': shape: [10] does not fit"),
        "huge claim": (request(shape=[10**9, 10]), "input 'x'"),
        "duplicate input": (twice, "input 'x' is given twice"),
        "duplicate output": (outputs, "output 'label' is asked for twice"),
        "too few bytes": (short, "input 'x'"),
    }
    return {name: (made.SerializeToString(), message) for name, (made, message) in cases.items()}


@pytest.mark.scenario(17)
@pytest.mark.scenario(18)
@pytest.mark.scenario(19)
def test_bad_requests_under_load_are_named_and_harm_nobody(server: Server) -> None:
    """400 and INVALID_ARGUMENT, naming the field, for every bad request; 200 and OK for the others
    meanwhile."""
    cases: list[tuple[str, object, str]] = [
        ("http", post(FRAUD, body), message) for body, message in BAD_JSON.values()]
    cases += [("http", data, message) for data, message in BAD_BINARY.values()]
    cases += [("grpc", data, message) for data, message in bad_grpc().values()]
    bad = Tally()
    with steady(server), grpc.insecure_channel(server.grpc_address) as channel, \
            concurrent.futures.ThreadPoolExecutor(32) as pool:
        def http(data: bytes, message: str) -> int:
            answer = server.ask(data)
            assert message in answer.error(), f"{answer.error()!r} does not say {message!r}"
            return answer.code

        def rpc(data: bytes, message: str) -> str:
            try:
                channel.unary_unary(INFER)(data, timeout=30)
            except grpc.RpcError as error:
                assert message in error.details(), f"{error.details()!r}: not {message!r}"
                return error.code().name
            return "OK"

        for number in poisson(100, 17, 3):
            kind, data, message = cases[number % len(cases)]
            pool.submit(bad.ask, kind, lambda ask={"http": http, "grpc": rpc}[kind], data=data,
                        message=message: ask(data, message))
        pool.shutdown()
        assert bad.sent.total() > len(cases), "each at least once"
    bad.check({"http": {400}, "grpc": {"INVALID_ARGUMENT"}})
