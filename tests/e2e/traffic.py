"""Open-loop load: requests leave at Poisson arrivals, whatever the server does, over HTTP
connections that are kept and over gRPC. What became of each is kept: its code, its version, its
times, and what was wrong with its answer."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import functools
import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterable

import grpc
import numpy as np
from serving import ANSWER_TIMEOUT_S, Server, post, wait_for
from tritonclient.grpc import service_pb2

INFER = "/inference.GRPCInferenceService/ModelInfer"
TOLERANCE = 1e-5
# What a request that got no answer has instead of a code. gRPC's client says UNAVAILABLE for the
# first two; its server's library cancels calls that come after it was told to end, and before the
# client has heard of that.
REFUSED = "refused"
CLOSED = "closed"
TIMEOUT = "timeout"
SUCCESS = {"200", "OK"}
# How much later than noted a client's request may really leave on a busy machine.
CLIENT_LAG_S = 0.25

# Which codes a test requires, and which it allows besides.
Codes = tuple[set[str], set[str]]


class Rows:
    """Requests for a row each, and what they must be answered."""

    def __init__(self, model: str, name: str, rows: np.ndarray, output: str,
                 wanted: Callable[[str], list[np.ndarray]]) -> None:
        """wanted: by version what may be answered, [rows, …] each; if nothing, it must not."""
        self._wanted = wanted
        self._count = len(rows)
        self._http, self._grpc = [], []
        for row in np.float32(rows):
            self._http.append(post(f"/v2/models/{model}/infer", {
                "inputs": [{"name": name, "datatype": "FP32", "shape": [1, len(row)],
                            "data": row.tolist()}],
                "outputs": [{"name": output}]}))
            message = service_pb2.ModelInferRequest(model_name=model)
            message.inputs.add(name=name, datatype="FP32", shape=[1, len(row)])
            message.outputs.add(name=output)
            message.raw_input_contents.append(row.tobytes())
            self._grpc.append(message.SerializeToString())

    def over_http(self, number: int) -> bytes:
        return self._http[number % self._count]

    def over_grpc(self, number: int) -> bytes:
        return self._grpc[number % self._count]

    def problem(self, number: int, version: str, got: Iterable[float]) -> str:
        """What is wrong with an answer, or nothing."""
        have = np.ravel(got)
        for wanted in self._wanted(version):
            want = wanted[number % self._count].ravel()
            if have.shape == want.shape and np.allclose(have, want, TOLERANCE, TOLERANCE):
                return ""
        return f"version {version} answered {have} to request {number}"


@dataclasses.dataclass
class Outcome:
    number: int
    sent_s: float  # as time.monotonic() counts
    done_s: float = math.nan
    code: str = TIMEOUT
    version: str = ""
    problem: str = ""

    @property
    def succeeded(self) -> bool:
        return self.code in SUCCESS

    def __str__(self) -> str:
        took = self.done_s - self.sent_s
        return f"request {self.number}: {self.code} after {took:.3f} s {self.problem}"


class Traffic:
    """Load from entering to leaving, half of it over each transport. Leaving waits for answers."""

    def __init__(self, server: Server, rows: Rows, rate_per_s: float = 200, seed: int = 1) -> None:
        self._server = server
        self._rows = rows
        self._rate = rate_per_s
        self._gaps = np.random.default_rng(seed)
        self._stop = threading.Event()
        self._idle: collections.deque = collections.deque()
        self._lock = threading.Lock()
        self._outcomes: list[Outcome] = []  # guarded by _lock
        self.sent = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def outcomes(self) -> list[Outcome]:
        with self._lock:
            return list(self._outcomes)

    @property
    def answered(self) -> int:
        return len(self.outcomes)

    @property
    def versions(self) -> set[str]:
        return {outcome.version for outcome in self.outcomes if outcome.succeeded}

    def wait_for_version(self, version: int) -> None:
        wait_for(lambda: str(version) in self.versions, f"version {version} answers")

    def wait_for_code(self, code: str) -> None:
        wait_for(lambda: any(outcome.code == code for outcome in self.outcomes), code)

    def wait_for_more(self, count: int) -> None:
        before = self.answered
        wait_for(lambda: self.answered >= before + count, f"{count} more answers")

    def check(self, required: Iterable[str], allowed: Iterable[str] = (), *,
              sent_before_s: float = math.inf) -> None:
        """Nothing that was sent until then was lost or answered wrongly; every required code came,
        and no other than those and the allowed ones. After stop()."""
        assert not self._thread.is_alive()
        assert self.answered == self.sent, f"{self.answered} outcomes of {self.sent} requests"
        wrong = [str(outcome) for outcome in self.outcomes if outcome.succeeded and outcome.problem]
        assert not wrong, wrong[:5]
        looked_at = [outcome for outcome in self.outcomes if outcome.sent_s < sent_before_s]
        codes = collections.Counter(outcome.code for outcome in looked_at)
        others = [str(o) for o in looked_at if o.code not in {*required, *allowed}]
        assert not others, (codes, others[:5])
        assert set(required) <= set(codes), (required, codes)

    def check_shutdown(self, required: Iterable[str], allowed: Iterable[str],
                       refusing_s: float) -> None:
        """For a server that refuses from refusing_s on: only what was sent after that, or so
        shortly before that it may have left late, failed; and nothing failed earlier."""
        self.check(SUCCESS, sent_before_s=refusing_s - CLIENT_LAG_S)
        self.check(required, allowed)
        early = [str(o) for o in self.outcomes if not o.succeeded and o.done_s < refusing_s]
        assert not early, early[:5]

    # All below on the thread's loop, but for _end_grpc.

    async def _run(self) -> None:
        channel = grpc.insecure_channel(
            self._server.grpc_address, options=[("grpc.use_local_subchannel_pool", 1)])
        infer = channel.unary_unary(INFER)
        under_way: set[asyncio.Task] = set()
        due = time.monotonic()
        while True:
            due += self._gaps.exponential(1 / self._rate)
            while (left := due - time.monotonic()) > 0 and not self._stop.is_set():
                await asyncio.sleep(min(left, 0.05))
            if self._stop.is_set():
                break
            outcome = Outcome(self.sent, time.monotonic())
            self.sent += 1
            if outcome.number % 2 == 0:
                task = asyncio.create_task(self._over_http(outcome))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            else:
                call = infer.future(self._rows.over_grpc(outcome.number), timeout=ANSWER_TIMEOUT_S)
                call.add_done_callback(functools.partial(self._end_grpc, outcome))
            await asyncio.sleep(0)  # overdue ones too must let answers be read
        while self.answered < self.sent:  # each has its own timeout
            await asyncio.sleep(0.005)
        while self._idle:
            self._idle.popleft()[1].close()
        channel.close()

    def _end(self, outcome: Outcome) -> None:
        outcome.done_s = time.monotonic()
        with self._lock:
            self._outcomes.append(outcome)

    def _end_grpc(self, outcome: Outcome, call: grpc.Future) -> None:
        try:
            outcome.code = call.code().name
            if outcome.succeeded:
                answer = service_pb2.ModelInferResponse.FromString(call.result())
                outcome.version = answer.model_version
                outcome.problem = self._rows.problem(
                    outcome.number, answer.model_version,
                    np.frombuffer(answer.raw_output_contents[0], np.float32))
            else:
                outcome.problem = call.details()
        except Exception as error:
            outcome.problem = f"no answer of ours: {error!r}"
        self._end(outcome)

    async def _over_http(self, outcome: Outcome) -> None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self._ask_http(outcome)
        except TimeoutError:
            pass
        except ConnectionRefusedError:
            outcome.code = REFUSED
        except (OSError, EOFError) as error:
            outcome.code, outcome.problem = CLOSED, repr(error)
        except Exception as error:
            outcome.problem = f"no answer of ours: {error!r}"
        self._end(outcome)

    async def _ask_http(self, outcome: Outcome) -> None:
        # The one idle for longest: so all are used in turn, and all learn of a shutdown.
        reader, writer = self._idle.popleft() if self._idle else await asyncio.open_connection(
            "127.0.0.1", self._server.port)
        keep = False
        try:
            writer.write(self._rows.over_http(outcome.number))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            outcome.code = head.split(b" ", 2)[1].decode()
            if outcome.succeeded:
                answer = json.loads(body)
                outcome.version = answer["model_version"]
                outcome.problem = self._rows.problem(
                    outcome.number, outcome.version, answer["outputs"][0]["data"])
            else:
                outcome.problem = body.decode(errors="replace")
            keep = b"\r\nconnection: close\r\n" not in head
        finally:
            if keep:
                self._idle.append((reader, writer))
            else:
                writer.close()
