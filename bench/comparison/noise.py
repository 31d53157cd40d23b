"""How much of the processors' time the machine takes from a process that only spins."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

DURATION_S = 1.0
# A shorter gap is an interrupt or the kernel's own work, which no tail shows.
GAP_S = 100e-6

_SPIN = """
import json, sys, time
end = time.perf_counter() + float(sys.argv[1])
now, gaps = time.perf_counter(), []
while now < end:
    before, now = now, time.perf_counter()
    if now - before > float(sys.argv[2]):
        gaps.append(now - before)
print(json.dumps(gaps))
"""


@dataclasses.dataclass(frozen=True)
class Noise:
    """share: of the time lost in gaps; longest: ms. Both of the worst processor."""

    share: float
    longest_ms: float


def measure(cpus: list[int]) -> Noise:
    """All of the processors at once."""
    running = [subprocess.Popen(["taskset", "--cpu-list", str(cpu), sys.executable, "-c", _SPIN,
                                 str(DURATION_S), str(GAP_S)], stdout=subprocess.PIPE)
               for cpu in cpus]
    gaps = [json.loads(process.communicate()[0]) for process in running]
    return Noise(max(sum(of_one) for of_one in gaps) / DURATION_S,
                 1e3 * max(max(of_one, default=0.0) for of_one in gaps))
