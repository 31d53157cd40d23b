"""The script that runs the tests on a card, here with a program and a card that are made up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import gpu_tests
import pytest

LISTING = """\
Running main() from gtest_main.cc
DeviceBuild.
  Float32IsTheReferences
  RefitGivesTheNewWeightsScores
  TimingCacheIsFilledAndUsed
DeviceRun.
  CapturedPaddedAndUncapturedBatches
  IndicesOutsideTheTableAreRefused
  LatencyOfOneRow
  MemoryIsReported
DeviceEngines.
  One
DeviceFault.
  Two
DeviceTrials.
  Three
Cases/TensorRtNetwork.
  ComputesTheSame/Layers0  # GetParam() = Layers0
Golden/TensorRtNetworkModel.
  ComputesTheSame/mlp  # GetParam() = "mlp.onnx"
PlanFile.
  NeedsNoCard
NvmlOnTheCard.
  Tells
"""
# Of both programs; FAKE_FAIL and so on name a test. Like GoogleTest it writes its report at the end.
PROGRAM = f"""#!{sys.executable}
import os, subprocess, sys, time
flags = dict(a.split("=", 1) if "=" in a else (a, "") for a in sys.argv[1:])
if "--gtest_list_tests" in flags:
    print('''{LISTING}''')
    sys.exit()
names = flags["--gtest_filter"].split(":")
print("runs", *names, os.environ.get("GTEST_FILTER"))
if os.environ.get("FAKE_HANG") in names:
    subprocess.Popen(["sleep", "1000"])
    print("hangs", flush=True)
    time.sleep(1000)
if os.environ.get("FAKE_CRASH_BESIDE") in names and len(names) > 1:
    os.abort()
once = os.environ.get("FAKE_FAIL_ONCE", "")  # a file, named for the test
fails = {{os.environ.get("FAKE_FAIL")}} & set(names)
if os.path.basename(once) in names and not os.path.exists(once):
    open(once, "w").close()
    fails.add(os.path.basename(once))
skips = "<skipped message='at: 1&#10;no card'/>" if os.environ.get("FAKE_SKIP") else ""
if "--gtest_output" in flags:
    with open(flags["--gtest_output"].removeprefix("xml:"), "w") as report:
        report.write("<testsuites><testsuite>")
        for suite, test in (name.rsplit(".", 1) for name in names):
            report.write(f"<testcase classname='{{suite}}' name='{{test}}'>"
                         f"{{'<failure/>' if f'{{suite}}.{{test}}' in fails else ''}}{{skips}}</testcase>")
        report.write("</testsuite></testsuites>")
sys.exit(1 if fails else 0)
"""
SANITIZER = """#!/bin/bash
while [ "${1#--}" != "$1" ]; do shift 2; done
"$@" || exit 1
echo "========= ERROR SUMMARY: ${FAKE_ERRORS:-0} errors"
[ "${FAKE_ERRORS:-0}" = 0 ] || exit 99
"""
CARD_TESTS = 13


def script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A build's folder, on a machine with a card and compute-sanitizer."""
    for name in gpu_tests.CARD_TESTS:
        script(tmp_path / name, PROGRAM)
    script(tmp_path / "nvidia-smi", "#!/bin/sh\necho GPU 0: No Card 9000\n")
    script(tmp_path / "compute-sanitizer", SANITIZER)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def run(build: Path, capsys: pytest.CaptureFixture, *flags: str) -> tuple[int, list[str]]:
    status = gpu_tests.main(["--build", str(build), "--results", str(build / "results"), *flags])
    return status, capsys.readouterr().out.splitlines()


def test_every_test_of_the_card_runs_once_and_four_again_under_the_sanitizer(
        build: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GTEST_FILTER", "-*")
    status, lines = run(build, capsys)
    assert (status, lines[-1]) == (0, f"{CARD_TESTS + 4} passed, 0 failed, 0 skipped")
    cases = list(ElementTree.parse(build / "results/gpu-tests.xml").iter("testcase"))
    assert len({(c.get("classname"), c.get("name")) for c in cases}) == CARD_TESTS + 4
    log = (build / "results/gpu-tests.log").read_text()
    assert ("runs Cases/TensorRtNetwork.ComputesTheSame/Layers0 "
            "Golden/TensorRtNetworkModel.ComputesTheSame/mlp None") in log
    assert "PlanFile" not in log


def test_a_failure_is_named_and_so_is_one_error_of_memory(
        build: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "DeviceFault.Two")
    status, lines = run(build, capsys, "--stages", "together,alone")
    assert (status, lines[-1]) == (1, f"{CARD_TESTS - 1} passed, 1 failed, 0 skipped")
    assert "FAILED: verdict_tensorrt_test: DeviceFault.Two" in lines
    monkeypatch.delenv("FAKE_FAIL")
    monkeypatch.setenv("FAKE_ERRORS", "3")
    status, lines = run(build, capsys, "--stages", "memcheck", "--only", "DeviceBuild.Refit*")
    assert (status, lines[-1]) == (1, "0 passed, 1 failed, 0 skipped")
    assert any("3 errors, exit status 99" in line for line in lines)


def test_what_fails_beside_others_is_run_again_alone(
        build: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL_ONCE", str(build / "DeviceRun.IndicesOutsideTheTableAreRefused"))
    status, lines = run(build, capsys, "--stages", "together")
    assert (status, lines[-1]) == (0, f"{CARD_TESTS - 6} passed, 0 failed, 0 skipped")
    assert any("again, alone: 1 in" in line for line in lines)
    # What it printed at first is kept.
    title = "verdict_tensorrt_test: DeviceRun.IndicesOutsideTheTableAreRefused"
    assert f"FAILED: {title}" not in lines
    log = (build / "results/gpu-tests.log").read_text()
    assert f"{title}: failed beside others, " in log
    assert log.count("runs DeviceRun.IndicesOutsideTheTableAreRefused") == 2
    (kept,) = ElementTree.parse(build / "results/gpu-tests.xml").iter("system-out")
    assert "runs DeviceRun.IndicesOutsideTheTableAreRefused" in (kept.text or "")


def test_of_several_in_one_process_each_has_its_own_outcome(
        build: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    network = "Cases/TensorRtNetwork.ComputesTheSame/Layers0"
    flags = ("--only", "Cases/*,Golden/*", "--stages", "together")
    monkeypatch.setenv("FAKE_FAIL", network)
    status, lines = run(build, capsys, *flags)
    assert (status, lines[-1]) == (1, "1 passed, 1 failed, 0 skipped")
    assert f"FAILED: verdict_tensorrt_test: {network}" in lines
    # A process that dies takes no test with it that passes alone.
    monkeypatch.delenv("FAKE_FAIL")
    monkeypatch.setenv("FAKE_CRASH_BESIDE", network)
    status, lines = run(build, capsys, *flags)
    assert (status, lines[-1]) == (0, "2 passed, 0 failed, 0 skipped")
    assert any("again, alone: 2 in" in line for line in lines)


def test_what_failed_beside_others_and_finds_no_time_alone_has_failed(
        build: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = "DeviceRun.IndicesOutsideTheTableAreRefused"
    monkeypatch.setenv("FAKE_FAIL", failing)
    left = iter([60.0, 0.0])  # at the first look there is time, then none
    monkeypatch.setattr(gpu_tests.Run, "_left", lambda _: next(left, 0.0))
    status, lines = run(build, capsys, "--only", failing, "--stages", "together")
    assert (status, lines[-1]) == (1, "0 passed, 1 failed, 0 skipped")
    assert any("over before it was run alone" in line for line in lines)


def test_what_measures_runs_alone(build: Path, capsys: pytest.CaptureFixture) -> None:
    status, lines = run(build, capsys, "--list", "--stages", "alone")
    assert status == 0
    for name in ("DeviceTrials.Three", "DeviceEngines.One", "DeviceRun.LatencyOfOneRow"):
        assert f"  verdict_tensorrt_test: {name}" in lines


def test_a_test_that_hangs_has_failed_and_leaves_nothing_running(
        build: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_HANG", "DeviceEngines.One")
    start = time.monotonic()
    status, lines = run(build, capsys, "--only", "DeviceEngines.One", "--limit", "1")
    assert time.monotonic() - start < 30
    assert (status, lines[-1]) == (1, "0 passed, 1 failed, 0 skipped")
    assert any("not ended in 1 s" in line for line in lines)
    while subprocess.run(["pgrep", "-f", "^sleep 1000$"], capture_output=True).returncode == 0:
        assert time.monotonic() - start < 30, "what it started goes on"
        time.sleep(0.05)


def test_where_all_are_skipped_nothing_has_passed(
        build: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SKIP", "1")
    (build / "nvidia-smi").unlink()
    monkeypatch.setattr(gpu_tests, "cards", lambda: "")
    status, lines = run(build, capsys)
    assert (status, lines[-1]) == (1, f"0 passed, 0 failed, {CARD_TESTS + 4} skipped")
    assert any(line.startswith(f"skipped {CARD_TESTS}: no card: ") for line in lines)
    assert any(line.startswith("skipped 4: there is no card: DeviceBuild.") for line in lines)


def test_what_there_is_no_time_for_is_skipped_and_said(build: Path,
                                                      capsys: pytest.CaptureFixture) -> None:
    status, lines = run(build, capsys, "--budget", "0")
    assert (status, lines[-1]) == (1, f"0 passed, 0 failed, {CARD_TESTS + 4} skipped")
    assert any(line.startswith(f"skipped {CARD_TESTS + 4}: {gpu_tests.OUT_OF_TIME}: ")
               for line in lines)


def test_a_list_that_is_out_of_date_is_an_error(build: Path, capsys: pytest.CaptureFixture,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_tests, "ALONE", ("DeviceRun.Renamed",))
    assert gpu_tests.main(["--build", str(build)]) == 2
    assert "no test is called DeviceRun.Renamed" in capsys.readouterr().err
    (build / "verdict_observe_test").unlink()
    assert gpu_tests.main(["--build", str(build)]) == 2
    assert "build it" in capsys.readouterr().err
