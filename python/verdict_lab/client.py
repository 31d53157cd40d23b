"""A client as anyone would write it with tritonclient: v2 protocol over HTTP, binary tensors."""

import multiprocessing
import signal
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier

import numpy as np
import tritonclient.http as triton

from . import INPUT, PROBABILITIES


class Scorer:
    """One connection to one model. Not for several threads at once."""

    def __init__(self, address: str, model: str, timeout_s: float = 60.0):
        self._client = triton.InferenceServerClient(
            address, connection_timeout=timeout_s, network_timeout=timeout_s
        )
        self._model = model
        self._wanted = [triton.InferRequestedOutput(PROBABILITIES, binary_data=True)]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """rows: [n, f] float32. Returns [n] float32, the probability of fraud."""
        tensor = triton.InferInput(INPUT, rows.shape, "FP32")
        tensor.set_data_from_numpy(rows, binary_data=True)
        answer = self._client.infer(self._model, [tensor], outputs=self._wanted)
        return answer.as_numpy(PROBABILITIES)[:, 1]

    def close(self) -> None:
        self._client.close()


@dataclass(frozen=True)
class Timing:
    """What the clients saw, from before a request was written until after its answer was read."""

    latency_us: np.ndarray  # one a request
    transactions_per_s: float
    scores: np.ndarray  # [n], in the order of the rows


def score_in_batches(address: str, model: str, rows: np.ndarray, batch: int) -> Timing:
    """Sends all rows over one connection, batch by batch."""
    scorer = Scorer(address, model)
    scorer(rows[:1])  # connects
    scores, latency_us = [], []
    start = time.perf_counter()
    for i in range(0, len(rows), batch):
        sent = time.perf_counter()
        scores.append(scorer(rows[i : i + batch]))
        latency_us.append((time.perf_counter() - sent) * 1e6)
    elapsed_s = time.perf_counter() - start
    scorer.close()
    return Timing(np.array(latency_us), len(rows) / elapsed_s, np.concatenate(scores))


def score_one_by_one(address: str, model: str, rows: np.ndarray, connections: int) -> Timing:
    """Sends one transaction a request over several connections, each in a process of its own.

    Each connection sends its next request when it has its answer (a closed loop). Threads would
    share Python's lock, and so measure one another.
    """
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    barrier = context.Barrier(connections)
    workers = [
        context.Process(
            target=_one_connection, args=(address, model, rows[i::connections], barrier, results, i)
        )
        for i in range(connections)
    ]
    for worker in workers:
        worker.start()
    try:
        parts = sorted((results.get(timeout=300) for _ in workers), key=lambda part: part[0])
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    errors = [part[1] for part in parts if isinstance(part[1], str)]
    if errors:
        raise RuntimeError(" / ".join(dict.fromkeys(errors)))
    scores = np.empty(len(rows), np.float32)
    for i, _, _, _, some in parts:
        scores[i::connections] = some
    elapsed_s = max(part[2] for part in parts) - min(part[1] for part in parts)
    return Timing(np.concatenate([part[3] for part in parts]), len(rows) / elapsed_s, scores)


def _one_connection(
    address: str, model: str, rows: np.ndarray, barrier: Barrier, results, index: int
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    try:
        scorer = Scorer(address, model)
        for row in rows[:50]:
            scorer(row[None])
        scores, latency_us = np.empty(len(rows), np.float32), np.empty(len(rows))
        barrier.wait(60)
        start = time.perf_counter()
        for i in range(len(rows)):
            sent = time.perf_counter()
            scores[i] = scorer(rows[i : i + 1])[0]
            latency_us[i] = (time.perf_counter() - sent) * 1e6
        results.put((index, start, time.perf_counter(), latency_us, scores))
    except Exception as error:  # the parent raises it
        barrier.abort()
        results.put((index, f"{type(error).__name__}: {error}"))
