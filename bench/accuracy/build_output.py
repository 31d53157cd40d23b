"""What `verdict build` prints: times, and why there is no engine or none of the precision asked."""

from __future__ import annotations

import re

NUMBER = r"([\d.e+-]+)"


def speeds(printed: str, told: str) -> list[list[float]]:
    """Per batch: float32 and another precision, us; empty if none was timed. With --best several
    are timed; told: names the one to take."""
    times: dict[str, list[list[float]]] = {}
    for a, precision, b in re.findall(rf"float32 {NUMBER} us, ([\w+]+) {NUMBER} us", printed):
        times.setdefault(precision, []).append([float(a), float(b)])
    return next((t for precision, t in times.items() if precision == told.split(" ")[0]), [])


def reason(complaints: str, has_engine: bool) -> str:
    """Why float32 was kept, or why there is no engine; empty if all is as asked."""
    if has_engine:
        return " ".join(re.findall(r"float32 is kept: (.*)", complaints))
    # After the semicolon stands what to do instead.
    found = re.search(r"error: (?:\S+\.onnx: )?([^;\n]*)", complaints)
    return "no engine: " + (found[1] if found else complaints.strip())
