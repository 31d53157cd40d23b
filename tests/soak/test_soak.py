"""The soak, for a few seconds with the release build: so that it still runs when it is needed."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

RUN = pathlib.Path(__file__).resolve().parent / "run.py"
BINARY = os.environ.get("TESTED_BINARY", RUN.parents[2] / "build" / "verdict")


def soak(out: pathlib.Path, *arguments: object) -> tuple[int, dict, str]:
    command = [sys.executable, RUN, "--minutes", "0.2", "--verdict", BINARY, "--release", BINARY,
               "--without-scenarios", "--scale", "0.5", "--out", out, *arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          timeout=200, check=False)
    report = out / "soak.json"
    assert report.is_file(), done.stderr
    return done.returncode, json.loads(report.read_text()), done.stdout


def test_a_short_soak_finds_nothing(tmp_path: pathlib.Path) -> None:
    status, report, text = soak(tmp_path)
    assert status == 0, text
    assert [part["server"] for part in report["parts"]] == ["release, explicit", "release, polled"]
    for part in report["parts"]:
        assert part["exit_status"] == 0 and part["reports"] == 0
        assert part["sent"] > 200
        assert all(sum(codes.values()) > 0 for codes in part["codes"].values())
    assert text.rstrip().endswith("nothing found")
