"""The targets, and what a run says about each."""

from __future__ import annotations

import dataclasses
import math

from comparison.servers import PROTOCOLS

CPU_LIMITS_US = {"http-json": 20, "http-binary": 16, "grpc": 28, "grpc-stream": 12}
USER_LIMIT_US = 8
ALONE_P50_US = 60
OPEN_P99_US = {"open 30": 300, "open 70": 1000}
# Triton with a C++ ONNX Runtime backend, R4b over gRPC, one core, November 2026.
TRITON_R4B_PER_S = 22_800
GOODPUT_LOSS = 10
IDLE_MB = 40
MB_OF_MIB = 1.048576
READY_MS = 100


@dataclasses.dataclass(frozen=True)
class Target:
    """measured: None if this run has no such figure. The less the better, up to the limit."""

    what: str
    limit: float
    unit: str
    measured: float | None

    @property
    def met(self) -> bool:
        return self.measured is not None and self.measured <= self.limit

    def outcome(self) -> str:
        """In words; a miss is never rounded down, and what is met is never rounded up."""
        if self.measured is None:
            return "not measured"
        difference = (self.measured - self.limit) / self.limit * 100
        if self.met:
            return f"met, by {math.floor(-difference)} %"
        return f"**not met**, by {math.ceil(difference)} %"


def _figure(cells: list[dict], name: str, **wanted: str) -> float | None:
    for cell in cells:
        if all(cell[key] == value for key, value in wanted.items()):
            return cell["user"] + cell["kernel"] if name == "cpu" else cell[name]
    return None


def compare(results: dict) -> list[Target]:
    """All targets, against the figures with the server on one CPU."""
    cells = results["pinned"]["cells"]

    def ours_of(name: str, protocol: str, load: str, model: str = "R1") -> float | None:
        return _figure(cells, name, peer="Verdict", protocol=protocol, load=load, model=model)

    found = [Target(f"R1, {PROTOCOLS[protocol]}: CPU a request", limit, "us",
                     ours_of("cpu", protocol, "closed 64"))
             for protocol, limit in CPU_LIMITS_US.items()]
    found += [Target(f"R1, {PROTOCOLS[protocol]}: its user-space part", USER_LIMIT_US, "us",
                     ours_of("user", protocol, "closed 64"))
              for protocol in ("http-json", "http-binary")]
    found += [Target(f"R1, {name}: p50 of one connection alone", ALONE_P50_US, "us",
                     ours_of("p50", protocol, "closed 1")) for protocol, name in PROTOCOLS.items()]
    found += [Target(f"R1, {name}: p99 at {load.removeprefix('open ')} % of its maximum", limit,
                      "us", ours_of("p99", protocol, load))
              for protocol, name in PROTOCOLS.items() for load, limit in OPEN_P99_US.items()]
    # Both with dynamic batching.
    ours = _figure(cells, "cpu", peer="Verdict batching", protocol="grpc", load="closed 64",
                   model="R4b")
    found.append(Target(f"R4b, gRPC, batched, 64 connections: CPU a request, against half of "
                         f"Triton's {TRITON_R4B_PER_S:,}/s", 1e6 / TRITON_R4B_PER_S / 2, "us", ours))
    triton = _figure(cells, "cpu", peer="Triton", protocol="grpc", load="closed 64", model="R4b")
    if triton is not None:
        found.append(Target("R4b, gRPC, batched, 64 connections: CPU a request, against half of "
                             "Triton's in this run", triton / 2, "us", ours))
    for peer, protocol, model, _, once, twice in results["pinned"].get("goodput", []):
        if peer == "Verdict":
            found.append(Target(f"{model}, {PROTOCOLS[protocol]}: goodput lost at twice the "
                                 "sustained rate", GOODPUT_LOSS, "%",
                                 max(0.0, 100 * (1 - twice / once))))
    start = next((s for s in results["starts"] if s["peer"] == "Verdict"), None)
    found.append(Target("ten small models: idle resident memory", IDLE_MB, "MB",
                        start and start["idle_mib"] * MB_OF_MIB))
    found.append(Target("ten small models: time to ready", READY_MS, "ms",
                        start and start["ready_ms"]))
    return found
