"""docs/reference/scenarios.md and the markers of the tests say the same."""

from __future__ import annotations

import ast
import collections
import dataclasses
import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/reference/scenarios.md"
E2E = ROOT / "tests/e2e"
MUST_BE_TESTED = range(1, 21)
ALL = set(range(1, 29))
WRITE = os.environ.get("VERDICT_WRITE_SCENARIOS") == "1"
TESTS = 5  # the column


@dataclasses.dataclass
class Marked:
    tests: dict[str, list[str]]  # file -> names
    required: set[str]
    allowed: set[str]
    tells_codes: bool  # else its tests have codes by kind of request


def literal(call: ast.Call, name: str) -> set[str]:
    return next((ast.literal_eval(keyword.value) for keyword in call.keywords
                 if keyword.arg == name), set())


def markers(folder: Path = E2E) -> dict[int, Marked]:
    """By scenario."""
    found: dict[int, Marked] = collections.defaultdict(lambda: Marked({}, set(), set(), False))
    for file in sorted(folder.glob("*.py")):
        text = file.read_text()
        calls = 0
        for function in ast.walk(ast.parse(text)):
            for call in getattr(function, "decorator_list", []):
                if not isinstance(call, ast.Call) or ast.unparse(call.func) != "pytest.mark.scenario":
                    continue
                calls += 1
                for number in map(ast.literal_eval, call.args):
                    marked = found[number]
                    marked.tests.setdefault(file.name, []).append(function.name)
                    marked.required |= literal(call, "required")
                    marked.allowed |= literal(call, "allowed")
                    marked.tells_codes |= bool(call.keywords)
        assert calls == text.count("mark.scenario("), f"{file}: a marker that is no decorator"
    return found


def cell_of(marked: Marked) -> str:
    return "; ".join(f"`{file}`: " + ", ".join(f"`{name}`" for name in names)
                     for file, names in marked.tests.items())


def rows(text: str) -> dict[int, list[str]]:
    """Cells by scenario."""
    found = {}
    for line in text.splitlines():
        if match := re.match(r"\| (\d+) \|", line):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert int(match[1]) not in found, f"scenario {match[1]} has two rows"
            found[int(match[1])] = cells
    return found


def codes(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_table_and_markers_agree() -> None:
    marked = markers()
    text = DOCUMENT.read_text()
    if WRITE:
        lines = text.splitlines()
        for at, line in enumerate(lines):
            match = re.match(r"\| (\d+) \|", line)
            if match and len(cells := line.strip("|").split("|")) > TESTS:
                cells[TESTS] = f" {cell_of(marked[int(match[1])])} "
                lines[at] = "|" + "|".join(cells) + "|"
        text = "\n".join(lines) + "\n"
        DOCUMENT.write_text(text)
    documented = rows(text)
    assert set(documented) == ALL
    for number, cells in documented.items():
        if len(cells) <= TESTS:
            assert number not in MUST_BE_TESTED, f"scenario {number} has no tests"
            assert number not in marked, f"scenario {number} has tests: {cell_of(marked[number])}"
            continue
        assert number in marked, f"no test is marked with scenario {number}"
        want = cell_of(marked[number])
        assert cells[TESTS] == want, (
            f"scenario {number}: the markers say {want}; VERDICT_WRITE_SCENARIOS=1 writes that")
        if marked[number].tells_codes:
            assert codes(cells[3]) == marked[number].required, f"scenario {number}: required"
            assert codes(cells[4]) == marked[number].allowed, f"scenario {number}: allowed"
    assert set(marked) <= ALL, f"there is no such scenario: {set(marked) - ALL}"


def test_markers_are_found(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(
        "import pytest\n"
        "@pytest.mark.scenario(3, 4, required={'200'}, allowed={'503'})\n"
        "@pytest.mark.parametrize('x', [1])\n"
        "def test_one(x): ...\n"
        "@pytest.mark.scenario(4)\n"
        "def test_two(): ...\n")
    found = markers(tmp_path)
    assert cell_of(found[3]) == "`test_a.py`: `test_one`"
    assert cell_of(found[4]) == "`test_a.py`: `test_one`, `test_two`"
    assert (found[4].required, found[4].allowed) == ({"200"}, {"503"})
