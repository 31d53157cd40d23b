"""What a run has measured so far, kept in a file, so that one failing cell costs no other."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import threading
import time
import traceback
from collections.abc import Callable, Sequence

OUT_OF_TIME = "not measured: the run's time was over"
TOOK = "took"  # the cell of every cell's seconds: what a plan goes by


class ProgramFailed(Exception):
    """One that is run: its message says why, and no trace of ours says more."""


class Clock:
    """A run's time: a command on a lent machine ends at its limit, measured or not."""

    def __init__(self, budget_s: float) -> None:
        self._start = time.monotonic()
        self._end = self._start + budget_s

    def left(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def spent(self) -> float:
        return time.monotonic() - self._start


class Record:
    """A flat JSON object of cells, written after each. A cell that was measured before is kept.

    Threads: any."""

    planning = False

    def __init__(self, path: pathlib.Path, clock: Clock, builds: bool = True) -> None:
        """builds: else cells that make a file are left as they are."""
        self.path = path
        self.clock = clock
        self.builds = builds
        self._lock = threading.Lock()
        self.cells: dict = json.loads(path.read_text()) if path.exists() else {}

    def put(self, name: str, value: object) -> None:
        with self._lock:
            self.cells[name] = value
            self._write()

    def _write(self) -> None:
        scratch = self.path.with_suffix(".tmp")
        scratch.write_text(json.dumps(self.cells, indent=1) + "\n")
        scratch.replace(self.path)

    def has(self, name: str) -> bool:
        value = self.cells.get(name)
        return value is not None and not _failed(value)

    def missing(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if not self.has(name)]

    def exists(self, file: pathlib.Path) -> bool:
        """Whether a cell has made the file."""
        return file.exists()

    def stage(self, what: str, jobs: int = 1) -> None:
        """What comes next, so many cells at a time."""
        at_once = f", {jobs} at a time" if jobs > 1 else ""
        print(f"{what}{at_once}: {self.clock.left():.0f} s are left", flush=True)

    def attempt(self, name: str, measure: Callable[[], object], needs_s: float = 1,
                makes: pathlib.Path | None = None) -> object:
        """What it returns becomes the cell; what it raises, the cell's error. needs_s: with less
        time left it is not tried. makes: a file, without which an earlier run's cell is void."""
        if makes is not None and not self.builds:
            return self.cells.get(name)
        if self.has(name) and (makes is None or self.exists(makes)):
            return self.cells[name]
        return self._try(name, measure, needs_s)

    def guard(self, name: str, cells: Sequence[str], measure: Callable[[], object],
              needs_s: float = 1) -> None:
        """For what sets up and measures several cells: done again while any of them is missing."""
        if self.missing([name, *cells]):
            self._try(name, measure, needs_s)

    def _try(self, name: str, measure: Callable[[], object], needs_s: float) -> object:
        if self.clock.left() < needs_s:
            self.put(name, {"error": OUT_OF_TIME})
            return None
        start = time.monotonic()
        try:
            value = measure()
        except Exception as error:  # whatever it is, the other cells go on
            text = f"{type(error).__name__}: {error}"
            print(f"  {name}: {text}", flush=True)
            if not isinstance(error, ProgramFailed):
                traceback.print_exc()
            self.put(name, {"error": text[-600:]})
            return None
        seconds = time.monotonic() - start
        print(f"  {name}: {seconds:.1f} s", flush=True)
        with self._lock:
            self.cells.setdefault(TOOK, {})[name] = round(seconds, 1)
        self.put(name, value)
        return value


def machines(cells: dict) -> list[dict]:
    """Where a part's cells were measured: by one run, or by several."""
    found = cells.get("machine", [])
    return found if isinstance(found, list) else [found]


def _failed(value: object) -> bool:
    return isinstance(value, dict) and "error" in value


def merge(earlier: dict, later: dict) -> dict:
    """A part's cells, those that a later run has measured in the place of an earlier one's. The
    later run's machine names the reference models that it has measured."""
    measured = {name: value for name, value in later.items() if not _failed(value)}
    missing = {name: value for name, value in later.items() if name not in earlier}
    models = {word for name in measured if "/" in name and not name.startswith("build ")
              for word in name.split("/") if re.fullmatch(r"R\d+[ab]?", word)}
    both = earlier | missing | measured
    for least in ("duration_s", "seconds"):  # a cell, a load
        if least in earlier and least in later:
            both[least] = min(earlier[least], later[least])
    both["machine"] = [*machines(earlier),
                       *(m | {"models": sorted(models)} for m in machines(later))]
    return both | {name: earlier.get(name, {}) | later.get(name, {}) for name in (TOOK, "notes")
                   if name in both}


@dataclasses.dataclass
class Stage:
    what: str
    jobs: int
    cells: list[tuple[str, float]]  # name, seconds

    def seconds(self) -> float:
        """Of all, one after the other or side by side; never less than the longest."""
        each = [seconds for _, seconds in self.cells]
        return max(sum(each) / self.jobs, *each) if each else 0


class Plan(Record):
    """Measures nothing: lists the cells that a run would measure, with the seconds that each took
    when it was last measured, or else the least that it is given. What depends on a figure is not
    known yet, and so not listed."""

    planning = True

    def __init__(self, path: pathlib.Path, clock: Clock, earlier: dict,
                 made: set[pathlib.Path], builds: bool = True) -> None:
        """earlier: a run's cells. made: files that parts planned before make; added to."""
        super().__init__(path, clock, builds)
        self._made = made
        self._took = earlier.get(TOOK, {}) | self.cells.get(TOOK, {})
        self._earlier = earlier
        self._planned: set[str] = set()
        self.stages: list[Stage] = []

    def put(self, name: str, value: object) -> None:
        pass

    def has(self, name: str) -> bool:
        """What is planned counts as measured for what builds upon it."""
        return name in self._planned or super().has(name)

    def exists(self, file: pathlib.Path) -> bool:
        return file in self._made or super().exists(file)

    def stage(self, what: str, jobs: int = 1) -> None:
        self.stages.append(Stage(what, jobs, []))

    def attempt(self, name: str, measure: Callable[[], object], needs_s: float = 1,
                makes: pathlib.Path | None = None) -> object:
        if makes is not None and not self.builds:
            return None
        if super().has(name) and (makes is None or self.exists(makes)):
            return None
        self._try(name, measure, needs_s)
        if makes is not None:
            self._made.add(makes)
        return None

    def _try(self, name: str, measure: Callable[[], object], needs_s: float) -> object:
        if name in self._planned:
            return None
        cell = self._earlier.get(name)
        built = cell.get("seconds") if isinstance(cell, dict) else None
        with self._lock:
            self._planned.add(name)
            self.stages[-1].cells.append((name, float(self._took.get(name) or built or needs_s)))
        return None
