"""What a run has measured so far, kept in a file, so that one failing cell costs no other."""

from __future__ import annotations

import json
import pathlib
import threading
import time
import traceback
from collections.abc import Callable, Sequence

OUT_OF_TIME = "not measured: the run's time was over"


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

    def __init__(self, path: pathlib.Path, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self._lock = threading.Lock()
        self.cells: dict = json.loads(path.read_text()) if path.exists() else {}

    def put(self, name: str, value: object) -> None:
        with self._lock:
            self.cells[name] = value
            scratch = self.path.with_suffix(".tmp")
            scratch.write_text(json.dumps(self.cells, indent=1) + "\n")
            scratch.replace(self.path)

    def has(self, name: str) -> bool:
        value = self.cells.get(name)
        return value is not None and not (isinstance(value, dict) and "error" in value)

    def attempt(self, name: str, measure: Callable[[], object], needs_s: float = 1,
                makes: pathlib.Path | None = None) -> object:
        """What it returns becomes the cell; what it raises, the cell's error. needs_s: with less
        time left it is not tried. makes: a file, without which an earlier run's cell is void."""
        if self.has(name) and (makes is None or makes.exists()):
            return self.cells[name]
        return self._try(name, measure, needs_s)

    def guard(self, name: str, cells: Sequence[str], measure: Callable[[], object],
              needs_s: float = 1) -> None:
        """For what sets up and measures several cells: done again while any of them is missing."""
        if not all(map(self.has, [name, *cells])):
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
            traceback.print_exc()
            self.put(name, {"error": text[-600:]})
            return None
        print(f"  {name}: {time.monotonic() - start:.1f} s", flush=True)
        self.put(name, value)
        return value
