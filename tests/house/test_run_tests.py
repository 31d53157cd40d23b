"""What has run nothing has not passed, and the closing line always comes."""

import sys
import tempfile
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
    (tmp_path / "build-asan").mkdir()
    (tmp_path / "build-asan/fuzz_targets.txt").write_text("\n")
    monkeypatch.setattr(run_tests, "ROOT", tmp_path)
    monkeypatch.setattr(run_tests, "build", lambda *_: True)
    assert run_tests.fuzz_stage().failed == ["fuzz: no targets found"]


def test_stacks_have_names_where_there_is_addr2line(monkeypatch: pytest.MonkeyPatch,
                                                    tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_tests.symbolizer() == ""
    (tmp_path / "addr2line").touch(mode=0o755)
    assert run_tests.symbolizer() == f"external_symbolizer_path={tmp_path}/addr2line"


def report(folder: Path, *cases: str) -> Path:
    path = folder / "report.xml"
    path.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    return path


GOOD = '<testcase classname="Suite" name="Good"/>'
BAD = '<testcase classname="Suite" name="Bad"><failure/></testcase>'
SKIPPED = '<testcase classname="Suite" name="No"><skipped message="at: 1&#10;no GPU"/></testcase>'
DISABLED = '<testcase classname="Suite" name="Off" status="notrun"/>'


def test_cases_are_counted_by_outcome(tmp_path: Path) -> None:
    tally = run_tests.from_junit("unit", report(tmp_path, GOOD, BAD, SKIPPED, DISABLED), 1, "")
    assert tally.passed == 1
    assert tally.failed == ["unit: Suite.Bad"]
    assert tally.skipped == ["unit: Suite.No: no GPU", "unit: Suite.Off: disabled"]


def test_program_that_fails_beside_good_cases_fails(tmp_path: Path) -> None:
    tally = run_tests.from_junit("unit", report(tmp_path, GOOD), 66, "")
    assert (tally.passed, tally.failed) == (1, ["unit: exit status 66"])


def test_program_that_ran_no_case_fails(tmp_path: Path) -> None:
    cut_off = tmp_path / "cut_off.xml"
    cut_off.write_text("<testsuites><testcase")
    for path in (report(tmp_path), cut_off, tmp_path / "absent.xml"):
        tally = run_tests.from_junit("unit", path, 0, "")
        assert (tally.passed, tally.failed) == (0, ["unit: ran no test case"])


def test_programs_do_not_see_a_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GTEST_FILTER", "-*")
    monkeypatch.setenv("KEPT", "kept")
    code = "import os; print(os.environ.get('GTEST_FILTER'), os.environ['KEPT'], os.environ['X'])"
    assert run_tests.run([sys.executable, "-c", code], 60, X="x") == (0, "None kept x\n")


@pytest.mark.parametrize(("status", "prefix"), [(0, ["setarch", "-R"]), (1, []), (127, [])])
def test_fixed_layout_only_where_it_is_allowed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, status: int, prefix: list[str]
) -> None:
    monkeypatch.setattr(run_tests, "run", lambda *_: (status, "not permitted\n"))
    assert run_tests.fixed_layout.__wrapped__() == prefix
    assert ("without `setarch -R`" in capsys.readouterr().out) == (status != 0)


def test_stage_that_breaks_off_is_one_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(run_tests, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(tempfile, "tempdir", None)  # main() sets these three
    for name in ("TMPDIR", "TEST_TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    stages = {"static": lambda: 1 / 0, "unit": lambda: run_tests.Tally(passed=2)}
    monkeypatch.setattr(run_tests, "STAGES", stages)
    assert run_tests.main(["static", "unit"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "ZeroDivisionError: division by zero" in lines
    assert lines[-2:] == ["FAILED: static: the stage broke off", "2 passed, 1 failed, 0 skipped"]
