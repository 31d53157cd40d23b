"""bench/operations.py runs against a real server, and its page says what came of it."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

from serving import BINARY, ROOT

sys.path[:0] = [str(ROOT / "bench")]

import operations  # noqa: E402


def test_the_page_has_what_was_measured(tmp_path: pathlib.Path) -> None:
    page = tmp_path / "operations.md"
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "operations.py", "--verdict", BINARY, "--out",
         tmp_path / "out", "--document", page, "--requests", "40"],
        capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = json.loads(page.with_suffix(".json").read_text())["cells"]
    assert cells["healthy"]["by"] == {"deep": 40}
    assert cells["error"]["by"] == {"light": 40} and cells["error"]["reasons"] == {"error": 40}
    assert cells["nan"]["reasons"] == {"not_a_number": 40}
    assert all(cell["answered"] == 40 for cell in cells.values() if isinstance(cell, dict))
    assert "| each run gives NaN | 40 of 40 | light 40 |" in page.read_text()


def test_what_is_missed_is_said() -> None:
    cell = {"requests": 10, "answered": 10, "p50": 1.0, "p99": 2.0, "max": 3.0, "late": None,
            "by": {"deep": 10}, "reasons": {"-": 10}}
    cells = {name: cell for name in ("light alone", "deep alone", "healthy", "error", "nan",
                                     "shut off")}
    cells["error"] = cell | {"p50": 3.5, "p99": 3.9}
    for deadline in operations.DEADLINES_MS:
        for route in ("risk", "guarded"):
            cells[f"hangs, {route}, {deadline} ms"] = cell | {"answered": 9, "late": 1}
    text = operations.write({"date": "2000-01-01", "processor": "abacus", "cpus": 2,
                             "cells": cells | {"back after s": 1.0}})
    assert "| 2.50 ms | **MISSED** |" in text and "| 1.90 ms | met |" in text
    assert text.count("**MISSED**") == 3
