"""A fuzz stage that has run nothing has not passed."""

from pathlib import Path

import pytest
import run_tests

DONE = "INFO: Running\nstat::number_of_executed_units: {}\nstat::average_exec_per_sec: 1\n"


def test_target_that_executed_inputs_passes() -> None:
    tally = run_tests.fuzz_verdict("a_fuzz", 0, DONE.format(1234))
    assert (tally.passed, tally.failed) == (1, [])


@pytest.mark.parametrize("output", ["", "usage: a_fuzz\n", DONE.format(0)])
def test_target_without_inputs_fails(output: str) -> None:
    tally = run_tests.fuzz_verdict("a_fuzz", 0, output)
    assert (tally.passed, tally.failed) == (0, ["fuzz/a_fuzz: executed no inputs"])


def test_crash_fails() -> None:
    assert run_tests.fuzz_verdict("a_fuzz", 77, DONE.format(5)).failed == ["fuzz/a_fuzz"]


def test_stage_without_targets_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "build-fuzz").mkdir()
    (tmp_path / "build-fuzz/fuzz_targets.txt").write_text("\n")
    monkeypatch.setattr(run_tests, "ROOT", tmp_path)
    monkeypatch.setattr(run_tests, "build", lambda *_: True)
    assert run_tests.fuzz_stage().failed == ["fuzz: no targets found"]
