"""CPU time and memory of a process and all its descendants, from /proc."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import signal
from collections.abc import Iterable, Iterator

TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class CpuTime:
    """Microseconds since the processes began."""

    user_us: float
    kernel_us: float

    def since(self, earlier: CpuTime) -> CpuTime:
        return CpuTime(self.user_us - earlier.user_us, self.kernel_us - earlier.kernel_us)

    @property
    def total_us(self) -> float:
        return self.user_us + self.kernel_us


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: the name before them may hold spaces."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def pids(root: int) -> list[int]:
    """root and its descendants that are alive."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                children.setdefault(int(_stat(int(entry))[1]), []).append(int(entry))
            except OSError:
                pass  # it ended meanwhile
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


@contextlib.contextmanager
def paused(trees: list[list[int]]) -> Iterator[None]:
    """Stops the processes meanwhile: a parent before its children, which it may watch, and lets
    it go on after them."""
    stopped = [pid for tree in trees for pid in tree]

    def send(number: signal.Signals, targets: Iterable[int]) -> None:
        for pid in targets:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    try:
        send(signal.SIGSTOP, stopped)
        yield
    finally:
        send(signal.SIGCONT, reversed(stopped))


def cpu_time(tree: list[int]) -> CpuTime:
    """Of all threads, with children that ended and were waited for."""
    ticks = [0, 0]
    for pid in tree:
        try:
            fields = _stat(pid)
        except OSError:
            continue  # it ended: its time is its parent's now
        ticks[0] += int(fields[11]) + int(fields[13])
        ticks[1] += int(fields[12]) + int(fields[14])
    return CpuTime(ticks[0] * TICK_US, ticks[1] * TICK_US)


def pss_bytes(root: int) -> int:
    """Proportional set size of the tree: a page shared by n processes counts 1/n in each."""
    total = 0
    for pid in pids(root):
        try:
            rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue  # it ended
        total += next(int(line.split()[1]) for line in rollup.splitlines()
                      if line.startswith("Pss:")) * 1024
    return total
