"""What keeps a server busy: actors, each of which does one thing at its own times."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import queue
import threading
import time
from collections.abc import Callable

import grpc
from open_loop import Connections, Tally, poisson
from serving import Client
from tritonclient.grpc import service_pb2

STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
ANSWER_S = 120  # sanitized, beside others, on few processors
BACKLOG = 4000


@dataclasses.dataclass
class Actor:
    """act(number): does it, checks what comes of it, returns a code. Every actor acts at least once.

    alone: never two at a time; such an actor is slower than its rate where it must be."""

    name: str
    rate_per_s: float
    act: Callable[[int], object]
    required: set
    allowed: set = dataclasses.field(default_factory=set)
    alone: bool = False


class Load:
    """Runs actors until told to stop. `tally` knows what became of each request."""

    def __init__(self, actors: list[Actor], seed: int, scale: float) -> None:
        self.actors = actors
        self.tally = Tally()
        self.backlog = 0
        self._stop = threading.Event()
        self._under_way = threading.Semaphore(BACKLOG)
        self._pool = concurrent.futures.ThreadPoolExecutor(96)
        self._threads = [threading.Thread(target=self._run, args=(actor, seed + i, scale))
                         for i, actor in enumerate(actors)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Returns when all that was sent has been answered."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._pool.shutdown()

    def problems(self) -> list[str]:
        found = list(self.tally.wrong)
        for actor in self.actors:
            seen = self.tally.codes[actor.name]
            if missing := actor.required - set(seen):
                found.append(f"{actor.name}: never {missing}: {dict(seen)}")
            if other := set(seen) - actor.required - actor.allowed - {"wrong", "lost"}:
                found.append(f"{actor.name}: {other} is not allowed: {dict(seen)}")
            if sum(seen.values()) != self.tally.sent[actor.name]:
                found.append(f"{actor.name}: sent {self.tally.sent[actor.name]}: {dict(seen)}")
        if self.backlog:
            found.append(f"{self.backlog} requests were not sent: {BACKLOG} were under way")
        return found

    def _run(self, actor: Actor, seed: int, scale: float) -> None:
        def act(number: int) -> None:
            self.tally.ask(actor.name, lambda: actor.act(number))

        act(0)
        for number in poisson(actor.rate_per_s * scale, seed, 1e9, self._stop):
            if actor.alone:
                act(number + 1)
            elif self._under_way.acquire(blocking=False):
                done = self._pool.submit(act, number + 1)
                done.add_done_callback(lambda _: self._under_way.release())
            else:
                self.backlog += 1


class Streams:
    """A few ModelStreamInfer streams, renewed now and then."""

    def __init__(self, channel: grpc.Channel, metadata: tuple = (), streams: int = 2) -> None:
        self._make = lambda: _Stream(channel, metadata)
        self._lock = threading.Lock()
        self._open = [self._make() for _ in range(streams)]

    def ask(self, number: int, request: bytes) -> service_pb2.ModelStreamInferResponse:
        """request: its id is str(number)."""
        at = number % len(self._open)
        with self._lock:
            stream = self._open[at]
            if stream.asked >= 200 or stream.over:
                stream.finish()
                stream = self._open[at] = self._make()
            waiting = stream.send(str(number), request)
        return waiting.result(ANSWER_S)

    def close(self) -> None:
        for stream in self._open:
            stream.finish()


class _Stream:
    def __init__(self, channel: grpc.Channel, metadata: tuple) -> None:
        self.asked = 0
        self.over = False
        self._requests: queue.SimpleQueue = queue.SimpleQueue()
        self._waiting: dict[str, concurrent.futures.Future] = {}
        answers = channel.stream_stream(STREAM)(iter(self._requests.get, None), metadata=metadata)
        threading.Thread(target=self._read, args=(answers,), daemon=True).start()

    def send(self, request_id: str, request: bytes) -> concurrent.futures.Future:
        waiting = self._waiting[request_id] = concurrent.futures.Future()
        self.asked += 1
        self._requests.put(request)
        return waiting

    def finish(self) -> None:
        self._requests.put(None)

    def _read(self, answers: object) -> None:
        error: Exception = ConnectionError("the stream ended without an answer")
        try:
            for raw in answers:
                answer = service_pb2.ModelStreamInferResponse.FromString(raw)
                self._waiting.pop(answer.infer_response.id).set_result(answer)
        except Exception as caught:
            error = caught
        self.over = True
        for waiting in list(self._waiting.values()):
            waiting.set_exception(error)


def serially(connect: Callable[[], Client], request: bytes) -> object:
    """The answer, on a connection of its own."""
    connections = Connections(connect)
    try:
        return connections.ask(request)
    finally:
        connections.close()


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + ANSWER_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {ANSWER_S} s"
        time.sleep(0.05)
