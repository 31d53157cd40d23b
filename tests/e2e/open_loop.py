"""Requests that leave at their own times (Poisson arrivals), whatever the server does, and a tally of
what became of each: its code, and whether the answer was right."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import select
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import numpy as np
from serving import Client, Response, Server, golden, post, wait_for
from tritonclient.grpc import service_pb2

INFER = "/inference.GRPCInferenceService/ModelInfer"
TOLERANCE = 1e-5


def poisson(rate_per_s: float, seed: int, seconds: float,
            stop: threading.Event | None = None) -> Iterator[int]:
    """Numbers arrivals, each at its time. One that is overdue comes at once: none is left out."""
    stop = stop or threading.Event()
    random = np.random.default_rng(seed)
    due = time.monotonic()
    end = due + seconds
    number = 0
    while (due := due + random.exponential(1 / rate_per_s)) < end:
        if stop.wait(max(0.0, due - time.monotonic())):
            return
        yield number
        number += 1


class Tally:
    """Codes by kind of request, and what was wrong. Threads: any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.sent: collections.Counter[str] = collections.Counter()
        self.codes: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
        self.wrong: list[str] = []

    def ask(self, kind: str, request: Callable[[], object]) -> object:
        """request: sends, waits, checks; returns the code. What it raises is a lost answer, or, an
        AssertionError, a wrong one."""
        with self._lock:
            self.sent[kind] += 1
        try:
            code, problem = request(), None
        except AssertionError as error:
            code, problem = "wrong", f"{kind}: {error}"
        except Exception as error:
            code, problem = "lost", f"{kind}: lost: {' '.join(repr(error).split())}"
        with self._lock:
            self.codes[kind][code] += 1
            if problem is not None:
                self.wrong.append(problem)
        return code

    def check(self, required: dict[str, set], allowed: dict[str, set] | None = None) -> None:
        """Every kind was sent and answered, with every required code and no other than those and
        the allowed ones; no answer was wrong or lost."""
        assert not self.wrong, self.wrong[:5]
        assert set(self.sent) == set(required), self.sent
        for kind, codes in required.items():
            assert sum(self.codes[kind].values()) == self.sent[kind], f"{kind}: {self.codes[kind]}"
            seen = set(self.codes[kind])
            may = codes | (allowed or {}).get(kind, set())
            assert codes <= seen <= may, f"{kind}: {self.codes[kind]}, required {codes}, allowed {may}"


class Connections:
    """HTTP connections, kept between requests: an idle one, or else a new one."""

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect
        self._idle: list[Client] = []

    def ask(self, request: bytes) -> Response:
        client = self._take()
        try:
            answer = client.ask(request)
        except BaseException:
            client.close()
            raise
        if answer.fields.get("connection") == "close":
            client.close()
        else:
            self._idle.append(client)
        return answer

    def _take(self) -> Client:
        while self._idle:
            client = self._idle.pop()
            readable = select.poll()
            readable.register(client.socket, select.POLLIN)
            if not readable.poll(0):
                return client
            client.close()  # the server has closed it
        return self._connect()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


class Fraud:
    """Requests to a model of skl_lr_binary, a row each, with the answers that they must get."""

    ROWS = golden("skl_lr_binary")[0]["x"]
    WANTED = golden("skl_lr_binary")[1]["probabilities"]

    def __init__(self, model: str, version: str = "") -> None:
        self.model = model
        self.version = version
        self.target = f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"

    def over_http(self, number: int, **fields: object) -> bytes:
        row = self.ROWS[number % len(self.ROWS)]
        return post(self.target, {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 10], "data": row.tolist()}],
            "outputs": [{"name": "probabilities"}]}, **fields)

    def over_grpc(self, number: int) -> bytes:
        request = service_pb2.ModelInferRequest(model_name=self.model, model_version=self.version)
        request.inputs.add(name="x", datatype="FP32", shape=[1, 10])
        request.outputs.add(name="probabilities")
        request.raw_input_contents.append(self.ROWS[number % len(self.ROWS)].tobytes())
        return request.SerializeToString()

    def check(self, number: int, got: object) -> None:
        want = self.WANTED[number % len(self.ROWS)]
        np.testing.assert_allclose(got, want, TOLERANCE, TOLERANCE)

    def check_http(self, number: int, answer: Response) -> int:
        if answer.code == 200:
            self.check(number, answer.json()["outputs"][0]["data"])
        return answer.code

    def check_grpc(self, number: int, answer: bytes) -> str:
        response = service_pb2.ModelInferResponse.FromString(answer)
        self.check(number, np.frombuffer(response.raw_output_contents[0], np.float32))
        return "OK"


def call(channel: grpc.Channel, request: bytes, check: Callable[[bytes], str],
         timeout: float = 30, metadata: tuple = ()) -> str:
    """The name of the code of a unary inference; an OK is checked."""
    try:
        answer = channel.unary_unary(INFER)(request, timeout=timeout, metadata=metadata)
    except grpc.RpcError as error:
        return error.code().name
    return check(answer)


@contextlib.contextmanager
def steady(server: Server, model: str = "fraud", version: str = "1", rate_per_s: float = 200,
           seed: int = 1) -> Iterator[Tally]:
    """Meanwhile good requests over both transports: 200 and OK for each, with the right score."""
    fraud = Fraud(model, version)
    tally = Tally()
    connections = Connections(server.client)
    stop = threading.Event()

    def http(number: int) -> int:
        return fraud.check_http(number, connections.ask(fraud.over_http(number)))

    with grpc.insecure_channel(server.grpc_address) as channel, \
            concurrent.futures.ThreadPoolExecutor(64) as pool:
        def rpc(number: int) -> str:
            return call(channel, fraud.over_grpc(number),
                        lambda answer: fraud.check_grpc(number, answer))

        def work() -> None:
            for number in poisson(rate_per_s, seed, 600, stop):
                kind, ask = (("steady http", http), ("steady grpc", rpc))[number % 2]
                pool.submit(tally.ask, kind, lambda ask=ask, number=number: ask(number))

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield tally
            wait_for(lambda: len(tally.sent) == 2, "a request over each transport")
        finally:
            stop.set()
            thread.join()
            pool.shutdown()
            connections.close()
    tally.check({"steady http": {200}, "steady grpc": {"OK"}})
