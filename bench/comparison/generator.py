"""One run of `verdict load`, and what the server's processes used meanwhile."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import subprocess

from comparison import process_tree
from comparison.servers import Server

WARMUP_S = 0.2
TIMEOUT_S = 60
# A generator this busy, beside a server with time to spare, is what limited the throughput.
CLIENT_BUSY = 0.95
SERVER_IDLE = 0.9
REFUSALS_HTTP = "200,429,503,504,dropped,timeout"
# UNKNOWN is an error within a stream.
REFUSALS_GRPC = "OK,UNAVAILABLE,DEADLINE_EXCEEDED,RESOURCE_EXHAUSTED,UNKNOWN,dropped,timeout"


class RunFailed(Exception):
    pass


@dataclasses.dataclass(frozen=True)
class Measured:
    """Times in microseconds; CPU per answer, of the server's whole process tree."""

    throughput: float
    p50: float
    p99: float
    p999: float
    user: float
    kernel: float
    answers: int
    client_bound: bool
    late: bool  # the generator sent requests late of its own fault


class Generator:
    """Starts `verdict load` on the given CPUs. folder: for inputs and results."""

    def __init__(self, binary: pathlib.Path, cpus: list[int], threads: int,
                 folder: pathlib.Path) -> None:
        self._binary = binary
        self._cpus = cpus
        self._threads = threads
        self._folder = folder

    def _run(self, server: Server, protocol: str, model: str, connections: int, duration_s: float,
             *flags: object) -> dict:
        """The document of one run."""
        result = self._folder / "load.json"
        result.unlink(missing_ok=True)
        command = [
            "taskset", "--cpu-list", ",".join(map(str, self._cpus)), self._binary, "load",
            "--model", model, "--url", f"127.0.0.1:{server.port(protocol)}",
            "--protocol", protocol.removesuffix("-json").removesuffix("-binary"),
            "--input-data", self._folder / f"{model}.npz", "--connections", connections,
            "--threads", min(self._threads, connections), "--duration", duration_s, "--warmup", 0,
            "--json-out", result, *flags]
        if protocol == "http-json":
            command.append("--json")
        if protocol.startswith("grpc"):
            command += ["--concurrency", connections]  # one a connection, as HTTP has
        try:
            done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                                  timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise RunFailed(f"verdict load did not end in {TIMEOUT_S} s") from error
        if done.returncode != 0:
            raise RunFailed((done.stderr or done.stdout).strip()[-400:])
        return json.loads(result.read_text())

    def goodput(self, server: Server, protocol: str, model: str, connections: int,
                duration_s: float, rate: float, deadline_us: int) -> tuple[float, float]:
        """Answers within the deadline, a second, at Poisson arrivals; and their share of the
        requests. Errors: RunFailed."""
        self._run(server, protocol, model, connections, WARMUP_S)
        result = self._run(server, protocol, model, connections, duration_s, "--rate",
                           f"{rate:.3f}", "--deadline-us", deadline_us, "--allow-status",
                           REFUSALS_HTTP if protocol.startswith("http") else REFUSALS_GRPC)
        return result["goodput_per_s"], result["in_time"] / result["requests"]

    def measure(self, server: Server, protocol: str, model: str, connections: int,
                duration_s: float, rate: float | None = None) -> Measured:
        """A closed loop, or Poisson arrivals at `rate` a second, after a short closed loop to warm.

        Errors: RunFailed with the generator's words."""
        self._run(server, protocol, model, connections, WARMUP_S)
        tree = server.tree()
        before = process_tree.cpu_time(tree)
        flags = [] if rate is None else ["--rate", f"{rate:.3f}"]
        result = self._run(server, protocol, model, connections, duration_s, *flags)
        used = process_tree.cpu_time(tree).since(before)
        answers = sum(result["answers"].values())
        cpu = result["cpu"]
        client = (cpu["generator"]["user_s"] + cpu["generator"]["kernel_s"]) / cpu["wall_s"]
        latency = result["latency_us"]
        return Measured(
            throughput=result["throughput_per_s"], p50=latency["p50"], p99=latency["p99"],
            p999=latency["p99.9"], user=used.user_us / answers, kernel=used.kernel_us / answers,
            answers=answers, late=any("sent late" in text for text in result["warnings"]),
            client_bound=(client / self._threads > CLIENT_BUSY
                          and used.total_us / 1e6 / cpu["wall_s"] < SERVER_IDLE))
