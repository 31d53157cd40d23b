"""What is asked of Verdict on a card, and whether a run met it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

STORY = ("R4b", "R6", "R9")
GATE = 0.001  # of ROC-AUC
BATCHES = (1, 8, 32, 128)
NETWORK = ("http-binary", "grpc")
SHARED_MEMORY = "http-shm"  # the inputs lie in a POSIX object that the server was told of
PROTOCOLS = (*NETWORK, SHARED_MEMORY)  # how R9 is asked
LIGHT = 0.7  # of a Python service's maximum
KEPT_UP = 0.95  # of what Verdict answered of the same arrivals

NO_LAYER = " (TensorRT took no layer in it)"

Cells = dict[str, object]


@dataclasses.dataclass(frozen=True)
class Target:
    """measured: None where the run has no such figure. at_least: else the figure is a limit.
    over: what is measured is known to be exceeded, by how much is not."""

    what: str
    limit: float
    unit: str
    measured: float | None
    at_least: bool = False
    over: bool = False

    @property
    def met(self) -> bool:
        if self.measured is None:
            return False
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def outcome(self) -> str:
        if self.measured is None:
            return "not measured"
        return "met" if self.met else "**MISSED**"

    def figure(self) -> str:
        """Never rounded to its better side."""
        if self.measured is None:
            return "–"
        digits = 4 if self.unit == "of ROC-AUC" else 0 if self.measured >= 100 else 2
        scale = 10**digits
        rounded = (math.floor if self.at_least else math.ceil)(self.measured * scale) / scale
        return f"{'over ' if self.over else ''}{rounded:,.{digits}f} {self.unit}".rstrip()

    def asked(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.limit:g} {self.unit}".rstrip()


def get(cells: Cells, *path: str) -> float | None:
    """A figure in a cell; None if the cell is missing, has failed or has no such figure."""
    found: object = cells
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, int | float) else None


def bare_case(kernels: Cells, model: str, precision: str, batch: int) -> Cells:
    cases = kernels.get(f"bare/{model}/{precision}")
    found = [c for c in cases if c["case"] == str(batch)] if isinstance(cases, list) else []
    return found[0] if found else {}


def bare_runs_per_s(kernels: Cells, model: str, batch: int) -> float | None:
    """The most of all numbers of streams that were tried."""
    streams = bare_case(kernels, model, "tf32", batch).get("streams")
    return max(streams.values()) if streams else None


def tried_streams(kernels: Cells, model: str) -> list[int]:
    """On how many streams bare graphs were tried, ascending."""
    return sorted(map(int, bare_case(kernels, model, "tf32", BATCHES[0]).get("streams") or {}))


def served_runs_per_s(kernels: Cells, protocol: str, batch: int) -> float | None:
    """R9's throughput; the most of all numbers of streams that were tried."""
    prefix = f"served/R9/{protocol}/{batch}/"
    found = [get(kernels, name, "per_s") for name in kernels if name.startswith(prefix)]
    return max((value for value in found if value is not None), default=None)


def served_share(kernels: Cells, batch: int) -> float | None:
    """R9's served throughput, the best of the protocols, of the bare engine's; in percent."""
    bare = bare_runs_per_s(kernels, "R9", batch)
    ours = [served_runs_per_s(kernels, p, batch) for p in PROTOCOLS]
    known = [value for value in ours if value is not None]
    return 100 * max(known) / bare if bare and known else None


def ratio(over: float | None, under: float | None) -> float | None:
    return over / under if over is not None and under else None


def _kernels(kernels: Cells) -> list[Target]:
    compute = get(kernels, "served/R4b/phases", "compute", "p50")
    bare = get(bare_case(kernels, "R4b", "tf32", 1), "graph", "p50")
    over = compute - bare if compute is not None and bare is not None else None
    targets = [
        Target("R4b served, batch 1: compute phase over the bare CUDA graph, p50", 5, "us", over),
        Target("R4b served, light load: queue phase, p50", 10, "us",
               get(kernels, "served/R4b/phases", "queue", "p50"))]
    return targets + [
        Target(f"R9 served, batch {batch}: throughput of the bare engine's on its best number "
               "of streams", 90, "%",
               served_share(kernels, batch) if len(tried_streams(kernels, "R9")) > 1 else None,
               at_least=True) for batch in BATCHES]


def most_models(story: Cells) -> tuple[int, float] | None:
    """The most models of ours, of those that were tried, within the memory of two Python services;
    and their MiB."""
    two = get(story, "memory/python 2")
    fitting = [(int(name.rsplit(" ", 1)[1]), value) for name, value in story.items()
               if name.startswith("memory/verdict ") and isinstance(value, float)
               and two is not None and value <= two]
    return max(fitting) if fitting else None


def kept_up(story: Cells, name: str) -> bool:
    """Whether the Python service answered the light load, so that its latency is its own and not a
    growing queue's."""
    theirs, ours = (get(story, f"story/{name}/{who} light", "per_s")
                    for who in ("python", "verdict"))
    return theirs is None or ours is None or theirs >= KEPT_UP * ours


def _story(story: Cells) -> list[Target]:
    targets = []
    for name in STORY:
        overloaded = "" if kept_up(story, name) else " (it did not keep up)"
        targets.append(Target(
            f"{name}: mean latency of the Python service at 70 % of its maximum{overloaded}, over "
            "ours", 10, "x",
            ratio(get(story, f"story/{name}/python light", "mean"),
                  get(story, f"story/{name}/verdict light", "mean")), at_least=True))
        ours = get(story, f"story/{name}/verdict limit", "per_s")
        if get(story, f"story/{name}/verdict limit", "none_at") is not None:
            ours = 0.0
        theirs = get(story, f"story/{name}/python limit", "per_s")
        # Where they are over the limit at every rate, their rate is below the lowest tried.
        none_at = get(story, f"story/{name}/python limit", "none_at")
        targets.append(Target(
            f"{name}: requests/s with p99 under 20 ms, over the Python service's", 20, "x",
            ratio(ours, none_at if theirs is None else theirs), at_least=True,
            over=theirs is None and none_at is not None))
    targets.append(Target("memory of eight Python services over that of eight models of ours", 8,
                          "x", ratio(get(story, "memory/python 8"),
                                     get(story, "memory/verdict 8")), at_least=True))
    most = most_models(story)
    known = get(story, "memory/python 2") is not None and get(story, "memory/verdict 8") is not None
    targets.append(Target("models within the memory of two Python services", 16, "models",
                          most[0] if most else 0 if known else None, at_least=True))
    return targets


def _models(models: Cells) -> list[Target]:
    found = models.get("models/devices")
    attached = [m for m in found["models"] if m["state"] == "attached"] if found else []
    return [Target("different reference models on the card in one process", 16, "models",
                   len(attached) if attached else None, at_least=True)]


def is_tf32(key: str, figures: Callable[[str], list[float | None]]) -> bool:
    """Whether TensorRT, which may mix, took no layer of a narrower type: then it computes the same.
    figures: of what an engine of a precision computes."""
    found = figures(key)
    return key not in ("fp32", "tf32") and None not in found and found == figures("tf32")


def bare_is_tf32(kernels: Cells, model: str, key: str) -> bool:
    return is_tf32(key, lambda k: [get(bare_case(kernels, model, k, batch), "difference")
                                   for batch in BATCHES])


def scores_are_tf32(precision: Cells, name: str, key: str) -> bool:
    return is_tf32(key, lambda k: [get(precision, f"score/{name}/{k}", figure)
                                   for figure in ("auc", "largest_difference")])


def _precision(precision: Cells) -> list[Target]:
    names = precision.get("cases")
    return [Target(f"{name}, {label}{NO_LAYER if scores_are_tf32(precision, name, key) else ''}: "
                   "ROC-AUC changes by", GATE, "of ROC-AUC",
                   None if drop is None else abs(drop))
            for name in (names if isinstance(names, dict) else {})
            for key, label in (("fp16", "float16"), ("int8", "int8, TensorRT's calibrator"),
                               ("qdq", "int8, our Q/DQ"))
            for drop in [get(precision, f"score/{name}/{key}", "drop")]]


def compare(parts: dict[str, Cells]) -> list[Target]:
    """Of the parts that were run."""
    of = {"kernels": _kernels, "story": _story, "models": _models, "precision": _precision}
    return [target for part, cells in parts.items() for target in of[part](cells)]
