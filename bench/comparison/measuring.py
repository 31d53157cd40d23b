"""The order of measuring: everything is repeated, and the servers take turns."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import statistics
import time

import numpy as np

from comparison import answers, environment, noise, process_tree
from comparison.environment import say
from comparison.generator import Generator, Measured, RunFailed
from comparison.servers import Peer, Server, StartFailed

OPEN_LOOP_CONNECTIONS = 64
SHARES = (0.3, 0.7, 0.9)  # of each server's own maximum
GOODPUT_DEADLINE_US = 20_000
SUSTAINED_SHARE = 0.99  # of the requests in time
# Of a row's maximum, tried in turn as the rate that it sustains.
SUSTAINED_TRIES = (1.0, 0.9, 0.8, 0.7, 0.5, 0.3, 0.2, 0.1)
INPUT_ROWS = 64  # different requests
IDLE_S = 1.0
SETTLE_S = 0.5
SLOW_START_S = 10  # measured once: its milliseconds matter to nobody
MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Extent:
    """How much is measured."""

    models: tuple[str, ...]
    connections: tuple[int, ...]
    shares: tuple[float, ...]
    repeats: int
    closed_s: float
    open_s: float
    starts: int


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where server and load run. name: key of the results."""

    name: str
    server_cpus: list[int]
    load_cpus: list[int]


def _median(runs: list[Measured]) -> dict[str, float]:
    """Of each figure by itself; client_bound and late if half of the runs were. CPU time is that
    of all runs: the kernel tells user from kernel time by samples, of which one run has few."""
    values = {field.name: statistics.median(float(getattr(run, field.name)) for run in runs)
              for field in dataclasses.fields(Measured)}
    count = sum(run.answers for run in runs)
    for part in ("user", "kernel"):
        values[part] = sum(getattr(run, part) * run.answers for run in runs) / count
    return values | {"runs": len(runs)}


class Cells:
    """Runs of each cell, failures of each row."""

    def __init__(self) -> None:
        self.runs: dict[tuple, list[Measured]] = {}
        self.failures: dict[tuple, str] = {}
        self.second_tries: dict[tuple, str] = {}
        self.noise: list[noise.Noise] = []

    def measure(self, generator: Generator, key: tuple, server: Server, model: str,
                connections: int, duration_s: float, rate: float | None = None) -> None:
        row = (server.peer.name, key[1], model)
        if row in self.failures:
            return
        try:
            run = generator.measure(server, key[1], model, connections, duration_s, rate)
            self.runs.setdefault(key, []).append(run)
        except (RunFailed, OSError) as error:
            if server.alive() and row not in self.second_tries:
                self.second_tries[row] = str(error)
                say(f"  {server.peer.name} {key[1]} {model} is tried again: {error}")
                return self.measure(generator, key, server, model, connections, duration_s, rate)
            self.failures[row] = str(error)
            if not server.alive():
                self.failures[row] = f"the server died of it ({server.process.returncode})"
                with contextlib.suppress(StartFailed):  # then the next row says that it is gone
                    server.start()
            say(f"  {server.peer.name} {key[1]} {model} is left out: {self.failures[row]}")

    def documents(self) -> list[dict]:
        return [dict(zip(("peer", "protocol", "model", "load"), key)) | _median(runs)
                for key, runs in self.runs.items()]


def measure_starts(peers: list[Peer], verdict: pathlib.Path, out: pathlib.Path, cpus: list[int],
                   starts: int, absent: dict[str, str]) -> list[dict]:
    """Time to ready and idle memory with ten small models; the servers take turns. Those that do
    not start are added to `absent`, with the reason."""
    folders = environment.lay_out(
        out / "small", verdict, {f"small{i}": "R1" for i in range(environment.SMALL_MODELS)}, 1)
    ready: dict[str, list[float]] = {}
    memory: dict[str, list[int]] = {}
    for _ in range(starts):
        for peer in peers:
            if peer.name in absent or ready.get(peer.name, [0])[0] > SLOW_START_S:
                continue
            try:
                server = Server(peer, folders, cpus, out / f"{peer.name}.start.log")
            except StartFailed as error:
                absent[peer.name] = str(error)
                say(f"{peer.name} is left out: {error}")
                continue
            time.sleep(SETTLE_S)
            ready.setdefault(peer.name, []).append(server.ready_s)
            memory.setdefault(peer.name, []).append(server.pss_bytes())
            server.stop()
    for name in ready:
        say(f"  {name}: ready in {1e3 * statistics.median(ready[name]):.0f} ms, "
            f"{statistics.median(memory[name]) / MIB:.0f} MiB")
    return [{"peer": name, "ready_ms": 1e3 * statistics.median(ready[name]),
             "idle_mib": statistics.median(memory[name]) / MIB} for name in ready]


def _check_all(servers: list[Server], model: str, cells: Cells, out: pathlib.Path) -> None:
    """Compares answers, and leaves the inputs of the load in `out`."""
    inputs = answers.make_inputs(model, INPUT_ROWS)
    np.savez(out / f"{model}.npz", **inputs)
    want = answers.expected(model, inputs)
    for server in servers:
        for protocol in server.peer.protocols:
            wrong = answers.check(server, protocol, model, inputs, want)
            if wrong:
                cells.failures[server.peer.name, protocol, model] = wrong
                say(f"  {server.peer.name} {protocol} {model} is left out: {wrong}")


def _idle_cpu(servers: list[Server]) -> dict[str, float]:
    """Share of a CPU that each server uses when nobody asks it anything."""
    before = {s.peer.name: process_tree.cpu_time(s.tree()) for s in servers}
    time.sleep(IDLE_S)
    return {s.peer.name: process_tree.cpu_time(s.tree()).since(before[s.peer.name]).total_us
            / 1e6 / IDLE_S for s in servers}


def _start_all(peers: list[Peer], folders: environment.Folders, cpus: list[int], model: str,
               cells: Cells, out: pathlib.Path) -> list[Server]:
    """Those that start; of the others each row is a failure."""
    servers = []
    for peer in peers:
        try:
            servers.append(Server(peer, folders, cpus, out / f"{peer.name}.log"))
        except StartFailed as error:
            say(f"  {peer.name} is left out: {error}")
            cells.failures |= {(peer.name, protocol, model): str(error)
                               for protocol in peer.protocols}
    return servers


def _alone(server: Server, servers: list[Server]) -> contextlib.AbstractContextManager[None]:
    """The others do nothing meanwhile: what they do now and then would be seen in its tail."""
    return process_tree.paused([other.tree() for other in servers if other is not server])


def _measure_model(servers: list[Server], generator: Generator, placement: Placement, model: str,
                   extent: Extent, cells: Cells) -> dict[tuple[str, str, str], float]:
    """All loads of one model. Returns each row's greatest throughput in a closed loop."""
    rows = [(server, (server.peer.name, protocol, model))
            for server in servers for protocol in server.peer.protocols]
    for turn in range(extent.repeats):
        say(f"  {placement.name}, {model}: closed loop, {turn + 1} of {extent.repeats}")
        for connections in extent.connections:
            for server, row in rows:
                with _alone(server, servers):
                    cells.measure(generator, (*row, f"closed {connections}"), server, model,
                                  connections, extent.closed_s)
    most = _maxima(cells, model)
    for turn in range(extent.repeats):
        say(f"  {placement.name}, {model}: open loop, {turn + 1} of {extent.repeats}")
        with process_tree.paused([server.tree() for server in servers]):
            cells.noise.append(noise.measure(sorted({*placement.server_cpus,
                                                     *placement.load_cpus})))
        for share in extent.shares:
            for server, row in rows:
                if row in most:
                    with _alone(server, servers):
                        cells.measure(generator, (*row, f"open {100 * share:.0f}"), server, model,
                                      OPEN_LOOP_CONNECTIONS, extent.open_s, share * most[row])
    return most


def _measure_goodput(servers: list[Server], generator: Generator, model: str, extent: Extent,
                     cells: Cells, most: dict[tuple[str, str, str], float]) -> list[list]:
    """Each row: peer, protocol, model, the rate that it sustains, goodput at that and at twice
    that. Rows that sustain none have none."""
    say(f"  {model}: goodput at once and twice the rate that each sustains")
    found = []
    for server in servers:
        for protocol in server.peer.protocols:
            row = (server.peer.name, protocol, model)
            if row not in most or row in cells.failures:
                continue

            def run(rate: float) -> tuple[float, float]:
                with _alone(server, servers):
                    return generator.goodput(server, protocol, model, OPEN_LOOP_CONNECTIONS,
                                             extent.open_s, rate, GOODPUT_DEADLINE_US)
            try:
                for share in SUSTAINED_TRIES:
                    rate = share * most[row]
                    once, in_time = run(rate)
                    if in_time >= SUSTAINED_SHARE:
                        found.append([*row, rate, once, run(2 * rate)[0]])
                        break
                else:
                    say(f"  {' '.join(row)} sustains no rate")
            except (RunFailed, OSError) as error:
                say(f"  {' '.join(row)} has no goodput: {error}")
                if not server.alive():
                    with contextlib.suppress(StartFailed):
                        server.start()
    return found


def measure_placement(peers: list[Peer], verdict: pathlib.Path, generator_binary: pathlib.Path,
                      placement: Placement, extent: Extent, out: pathlib.Path,
                      goodput: bool = False) -> dict:
    """All cells of one placement. All servers run side by side, anew for each model: the kernel
    scales a process's user and kernel time over its whole life, so that one life must not mix
    loads of different kinds."""
    generator = Generator(generator_binary, placement.load_cpus, len(placement.load_cpus), out)
    cells = Cells()
    most: dict[tuple[str, str, str], float] = {}
    loaded: dict[str, dict[str, float]] = {}
    idle: dict[str, dict[str, float]] = {}
    sustained: list[list] = []
    for model in extent.models:
        folders = environment.lay_out(out / "models", verdict, {model: model},
                                      len(placement.server_cpus))
        servers = _start_all(peers, folders, placement.server_cpus, model, cells, out)
        try:
            _check_all(servers, model, cells, out)
            idle[model] = _idle_cpu(servers)
            most |= _measure_model(servers, generator, placement, model, extent, cells)
            if goodput:
                sustained += _measure_goodput(servers, generator, model, extent, cells, most)
            loaded[model] = {server.peer.name: server.pss_bytes() / MIB for server in servers}
        finally:
            for server in servers:
                server.stop()
    return {"placement": dataclasses.asdict(placement), "cells": cells.documents(),
            "noise": [dataclasses.asdict(of_turn) for of_turn in cells.noise],
            "goodput": sustained, "maxima": [[*row, most[row]] for row in most],
            "idle_cpu": idle, "loaded_mib": loaded,
            "failures": [[*row, text] for row, text in cells.failures.items()],
            "second_tries": [[*row, text] for row, text in cells.second_tries.items()]}


def _maxima(cells: Cells, model: str) -> dict[tuple[str, str, str], float]:
    """Throughput of the number of connections that each server did most with."""
    most: dict[tuple[str, str, str], float] = {}
    for key, runs in cells.runs.items():
        if key[2] != model:
            continue
        throughput = statistics.median(run.throughput for run in runs)
        most[key[:3]] = max(most.get(key[:3], 0.0), throughput)
    return most
