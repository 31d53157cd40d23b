"""Part "story": Python services with PyTorch against one server, on the same card.

Both get the same JSON requests of one row over HTTP from `verdict load`. A Python service is one
process a model; Verdict is one process for all, with dynamic batching.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator

import numpy as np

from comparison.servers import free_ports

from . import kernels, machine, programs, reference, targets
from .record import Record

MODELS = ("R4b", "R6", "R9")
EIGHT = 8
COUNTS = (8, 16, 32, 64)  # models in one process of ours
LIMIT_MS = 20
# The search for the highest rate: from this share of the closed loop's to all of it; so many rates
# are tried between the last within the limit and the first beyond it.
FIRST_SHARE, REFINEMENTS = 1 / 64, 2
LEAST_REQUESTS, LONGEST_S = 100, 6  # a load of a low rate lasts longer: a p99 needs its requests
PYTHON_CONCURRENCY, CONCURRENCY = 16, 256
THREADS = 4
LIGHT_SHARE = 3  # of --seconds: Python's queue varies much
SERVER = pathlib.Path(__file__).resolve().parents[1] / "peers" / "torch_server.py"
ROWS = 64  # of different requests, sent in turn


def search(load: Callable[[float], dict], first: float, most: float) -> dict:
    """The load of the highest rate whose p99 is within the limit: doubles the rate until it is not,
    then tries rates in between. A rate that is beyond the limit is tried once more, as one stall in
    a second of load is chance. "none_at": the lowest rate, where even that is beyond it.
    load: a rate -> its "rate", "p99" in us, "per_s"."""
    tried: list[dict] = []

    def within(rate: float) -> dict | None:
        for _ in range(2):
            tried.append(load(rate))
            if tried[-1]["p99"] < 1e3 * LIMIT_MS:
                return tried[-1]
        return None

    best, rate = None, first
    while found := within(rate):
        best = found
        if rate >= most:
            return best | {"tried": tried}
        rate = min(2 * rate, most)
    if best is None:
        return {"per_s": None, "none_at": first, "tried": tried}
    low, high = best["rate"], rate
    for _ in range(REFINEMENTS):
        middle = (low * high) ** 0.5
        if found := within(middle):
            best, low = found, middle
        else:
            high = middle
    return best | {"tried": tried}


class Story:
    def __init__(self, args: argparse.Namespace, record: Record) -> None:
        self.args, self.record, self.clock = args, record, record.clock
        self.names = [n for n in MODELS if n in args.only]
        self.verdict = programs.Verdict(args.verdict, args.backend, self.clock, args.build_cap)
        self.engines = args.out / "engines"
        self.engines.mkdir(parents=True, exist_ok=True)

    def _onnx(self, name: str) -> pathlib.Path:
        return self.args.models / f"{name}.onnx"

    def _engine(self, name: str) -> pathlib.Path:
        """Half precision, where the gate of accuracy lets it: what a user would deploy."""
        return self.engines / f"{name}.{self.args.story_precision}.engine"

    def _inputs(self, name: str) -> pathlib.Path:
        return self.args.out / f"{name}.story.npz"

    def prepare(self) -> None:
        """Engines that part kernels has left here are taken as they are."""
        self.record.stage("build", len(self.names))
        with concurrent.futures.ThreadPoolExecutor(max(1, len(self.names))) as pool:
            concurrent.futures.wait([pool.submit(self._prepare, name) for name in self.names])

    def _prepare(self, name: str) -> None:
        if not self.record.planning:
            inputs = reference.make_inputs(self._onnx(name), ROWS)
            np.savez(self._inputs(name), **inputs)
        if self.record.exists(self._engine(name)):
            return

        def build() -> dict:
            shapes = [reference.shapes(inputs, batch)
                      for batch in (1, reference.OPT_BATCH, reference.MAX_BATCH)]
            return self.verdict.build(self._onnx(name), self._engine(name), shapes,
                                      self.args.story_precision)
        self.record.attempt(f"story build/{name}", build,
                            programs.build_s(name, self.args.story_precision), self._engine(name))

    # The two kinds of servers.

    def _start_python(self, name: str, log: str) -> programs.Server:
        ports = free_ports()
        return programs.Server(
            [sys.executable, str(SERVER), "--model", name, "--onnx", str(self._onnx(name)),
             "--port", str(ports.http), "--device", self.args.device], ports, [name],
            self.args.out / f"{log}.log")

    @contextlib.contextmanager
    def _python(self, names: list[str]) -> Iterator[list[programs.Server]]:
        """Started together; ready when all are."""
        servers = [self._start_python(n, f"python-{i}-{n}") for i, n in enumerate(names)]
        try:
            for server in servers:
                server.wait()
            yield servers
        finally:
            for server in servers:
                server.stop()

    def _serve(self, models: dict[str, str], label: str) -> programs.Server:
        """models: served name -> reference model."""
        repository = self.args.out / f"repository-{label}"
        shutil.rmtree(repository, ignore_errors=True)
        programs.lay_out(repository, {served: self._engine(n) for served, n in models.items()},
                         programs.BATCHING)
        return programs.serve(self.verdict, repository, self.args.out / f"serve-{label}.log")

    # Rates and latencies.

    def _load(self, server: programs.Server, name: str, duration_s: float, *flags: object,
              threads: int = THREADS) -> dict:
        return programs.load(self.args.verdict, server, name, self._inputs(name), self.args.out,
                             duration_s, "--threads", threads, *flags,
                             timeout_s=max(1, min(60, self.clock.left())))

    def _light(self, server: programs.Server, name: str, per_s: float) -> dict:
        """The generator does not sleep: else its own waking would count."""
        return self._load(server, name, LIGHT_SHARE * self.args.seconds, "--rate", f"{per_s:.2f}",
                          "--connections", CONCURRENCY, "--spin", threads=1)

    def _warm(self, server: programs.Server, name: str) -> None:
        """The first requests load kernels and make batches of every size once."""
        self._load(server, name, 0.7, "--concurrency", PYTHON_CONCURRENCY)

    def _within_limit(self, server: programs.Server, name: str, closed_per_s: float) -> dict:
        """The highest rate found at which p99 of an open loop stays under the limit."""
        def load(rate: float) -> dict:
            seconds = min(LONGEST_S, max(self.args.seconds, LEAST_REQUESTS / rate))
            found = self._load(server, name, seconds, "--rate", f"{rate:.1f}",
                               "--connections", CONCURRENCY)
            return {"rate": rate, "p99": found["p99"], "per_s": found["per_s"]}
        return search(load, FIRST_SHARE * closed_per_s, closed_per_s)

    def _compare(self, name: str) -> None:
        attempt = self.record.attempt

        def python() -> str:
            with self._python([name]) as servers:
                server = servers[0]
                self._warm(server, name)
                closed = attempt(f"story/{name}/python closed", lambda: self._load(
                    server, name, self.args.seconds, "--concurrency", PYTHON_CONCURRENCY), 8)
                if closed:
                    attempt(f"story/{name}/python light", lambda: self._light(
                        server, name, targets.LIGHT * closed['per_s']), 10)
                    attempt(f"story/{name}/python limit", lambda: self._within_limit(
                        server, name, closed["per_s"]), 15)
            return "done"

        def ours() -> dict[str, int]:
            theirs = self.record.cells.get(f"story/{name}/python closed", {}).get("per_s")
            with self._serve({name: name}, name) as server:
                self._warm(server, name)
                closed = attempt(f"story/{name}/verdict closed", lambda: self._load(
                    server, name, self.args.seconds, "--concurrency", CONCURRENCY), 8)
                if theirs:
                    attempt(f"story/{name}/verdict light", lambda: self._light(
                        server, name, targets.LIGHT * theirs), 10)
                if closed:
                    attempt(f"story/{name}/verdict limit", lambda: self._within_limit(
                        server, name, closed["per_s"]), 15)
                return server.refuse_cpu()
        for who, measure in (("python", python), ("verdict", ours)):
            self.record.guard(f"story/{name}/{who}", [f"story/{name}/{who} {figure}" for figure in
                                                      ("closed", "light", "limit")], measure, 40)

    # Memory.

    def _cycle(self, count: int) -> list[str]:
        return [self.names[i % len(self.names)] for i in range(count)]

    def _ask_each(self, servers: list[tuple[programs.Server, str, str]]) -> None:
        """A few requests for every model, so that it holds what it needs to answer.
        servers: server, served name, reference model."""
        for server, served, name in servers:
            programs.load(self.args.verdict, server, served, self._inputs(name), self.args.out,
                          0.05, "--concurrency", 4, warmup_s=0)

    def _python_memory(self, count: int, idle_mib: float) -> float:
        names = self._cycle(count)
        with self._python(names) as servers:
            self._ask_each([(s, n, n) for s, n in zip(servers, names)])
            return machine.memory_used_mib() - idle_mib

    def _our_memory(self, count: int, idle_mib: float) -> float:
        models = {f"{name}-{i}": name for i, name in enumerate(self._cycle(count))}
        with self._serve(models, f"{count}-models") as server:
            self._ask_each([(server, served, name) for served, name in models.items()])
            used = machine.memory_used_mib() - idle_mib
            server.refuse_cpu()
            return used

    def _memory(self) -> None:
        def idle_mib() -> float:
            return self.record.cells["memory/idle"]
        self.record.attempt("memory/idle", machine.memory_used_mib)
        if not self.record.has("memory/idle"):
            return
        for count in (2, EIGHT):
            self.record.attempt(f"memory/python {count}",
                                lambda c=count: self._python_memory(c, idle_mib()), 15 + 2 * count)
        two = self.record.cells.get("memory/python 2")
        for count in COUNTS:
            used = self.record.attempt(f"memory/verdict {count}",
                                       lambda c=count: self._our_memory(c, idle_mib()),
                                       10 + count / 2)
            if count > EIGHT and isinstance(two, float) and (used is None or used > two):
                break

    def run(self) -> None:
        self.record.put("seconds", self.args.seconds)
        self.record.put("precision", self.args.story_precision)
        self.prepare()
        if self.args.build_only:
            return
        # The memory first: it is what a long search for a rate must not cost.
        self.record.stage("memory")
        self._memory()
        self.record.stage("latency and rates")
        for name in self.names:
            self._compare(name)


def run(args: argparse.Namespace, record: Record) -> None:
    if not record.planning:
        kernels.make_models(args)
    Story(args, record).run()
