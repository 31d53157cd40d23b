#!/usr/bin/env python3
"""Runs the tests that need a card, and compute-sanitizer over a few.

Usage: scripts/gpu_tests.py [--build DIR] [--results DIR] [--jobs N] [--limit S] [--budget S]
                            [--only PATTERN[,...]] [--stages together,alone,memcheck]
                            [--sanitizer PATH] [--list]

--build holds the test programs, the plugin and verdict-device-worker; TensorRT's libraries are in
LD_LIBRARY_PATH. Most of a test's time is TensorRT's start and its builds, so that many run at a
time, of the networks several in one process, and one that does not pass so is run again alone.
Those that measure, or that trap, hang or fill the card, run alone after them, each in a process of
its own, and last those under compute-sanitizer. A test that is still running after --limit seconds
(twice that under compute-sanitizer, and for several) has failed; what --budget leaves no time for
is skipped, unless it has failed beside others.

The last line reads "N passed, N failed, N skipped"; the exit status is 0 if nothing has failed and
something has passed. Results: gpu-tests.xml (JUnit) and gpu-tests.log.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from run_tests import ROOT, Tally, from_junit, junit_cases, say, why_skipped

# Program -> its tests that need a card. Without one they skip themselves.
CARD_TESTS = {
    "verdict_tensorrt_test": ("Device*", "Cases/TensorRtNetwork.*", "Golden/TensorRtNetworkModel.*"),
    "verdict_observe_test": ("NvmlOnTheCard.*",),
}
# What others would disturb, or what disturbs them.
ALONE = (
    "DeviceBuild.TimingCacheIsFilledAndUsed",  # compares two builds' times
    "DeviceEngines.*",  # free memory of the card is counted, and taken
    "DeviceFault*",  # hangs and traps, and counts of memory
    "DeviceRun.LatencyOfOneRow",
    "DeviceRun.MemoryIsReported",
    "DeviceTrials.*",  # set the environment and compare times
)
# Networks, of which a process takes so many: TensorRT's start takes longer than a small one's build.
NETWORKS = ("Cases/*", "Golden/*")
IN_ONE_PROCESS = 8
# Building, running, captured graphs, refitting: under compute-sanitizer.
SANITIZED = (
    "DeviceBuild.Float32IsTheReferences",
    "DeviceBuild.RefitGivesTheNewWeightsScores",
    "DeviceRun.CapturedPaddedAndUncapturedBatches",
    "DeviceRun.IndicesOutsideTheTableAreRefused",
)
SANITIZER_FOLDERS = ("/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer")
STAGES = ("together", "alone", "memcheck")
OUT_OF_TIME = "not run: the time was over"
BESIDE_OTHERS = "failed beside others"
# Kernels are loaded when they are first used: the CUDA driver's own default for newer toolkits.
ENVIRONMENT = {"CUDA_MODULE_LOADING": "LAZY"}


@dataclass(frozen=True)
class Test:
    program: Path
    name: str

    @property
    def title(self) -> str:
        return f"{self.program.name}: {self.name}"


def parse_listing(text: str) -> list[str]:
    """The names in what --gtest_list_tests prints."""
    names, suite = [], ""
    for line in text.splitlines():
        word = line.split("#")[0].strip()
        if not word:
            continue
        if not line.startswith(" "):
            suite = word if word.endswith(".") else ""
        elif suite:
            names.append(suite + word)
    return names


def matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def find_tests(build: Path) -> list[Test]:
    """Errors: FileNotFoundError: a program; ValueError: one whose patterns match none of its tests,
    or that cannot be asked."""
    found = []
    for name, patterns in CARD_TESTS.items():
        program = build / name
        if not program.is_file():
            raise FileNotFoundError(f"{program}: build it, with TENSORRT_ROOT and VERDICT_TESTS")
        done = subprocess.run([program, "--gtest_list_tests"], capture_output=True, text=True)
        if done.returncode != 0:
            raise ValueError(f"{program}: {done.stderr.strip()}")
        names = parse_listing(done.stdout)
        for pattern in patterns:
            if not any(fnmatch.fnmatchcase(n, pattern) for n in names):
                raise ValueError(f"{program}: no test is called {pattern}")
        found += [Test(program, n) for n in names if matches(n, patterns)]
    for pattern in (*ALONE, *SANITIZED):
        if not any(fnmatch.fnmatchcase(test.name, pattern) for test in found):
            raise ValueError(f"no test is called {pattern}: mend this script's lists")
    return found


def run_limited(command: Sequence[object], log: Path, limit_s: float) -> tuple[int, str]:
    """Exit status and output; 124 where it was stopped, with all that it had started."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GTEST_")} | ENVIRONMENT
    with log.open("wb") as output:
        process = subprocess.Popen([str(word) for word in command], cwd=ROOT, env=environment,
                                   stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                   start_new_session=True)
        try:
            status = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            output.write(f"\n(stopped after {limit_s:.0f} s)\n".encode())
            status = 124
    return status, log.read_text(errors="replace")


def printable_end(output: str) -> str:
    """What XML can hold of it, without what is far from its end."""
    return re.sub(r"[^\t\n -~]", "?", output[-4000:])


def batches(tests: Sequence[Test]) -> list[list[Test]]:
    """Networks first, several at a time: they take longest, so that no process waits for one at the
    end."""
    networks = [test for test in tests if matches(test.name, NETWORKS)]
    found = [networks[i:i + IN_ONE_PROCESS] for i in range(0, len(networks), IN_ONE_PROCESS)]
    return found + [[test] for test in tests if test not in networks]


class Run:
    """One run of the script: tests are run by several threads, their outcomes gathered here."""

    def __init__(self, results: Path, limit_s: float, budget_s: float) -> None:
        self.results, self.limit_s = results, limit_s
        self._end = time.monotonic() + budget_s
        self._lock = threading.Lock()
        self.tally = Tally()
        self.suites = ElementTree.Element("testsuites")
        self._log = (results / "gpu-tests.log").open("w")
        self.scratch = Path(tempfile.mkdtemp(prefix="gpu-tests."))
        self.seconds: dict[str, float] = {}
        self._first: dict[str, str] = {}  # what a test printed that failed beside others, by title

    def _left(self) -> float:
        return self._end - time.monotonic()

    def _add(self, title: str, tally: Tally, output: str, seconds: float) -> None:
        """Also to the JUnit file, where every test is a case of its own."""
        program, name = title.split(": ", 1)
        with self._lock:
            self.tally.add(tally)
            self.seconds[title] = seconds
            case = ElementTree.SubElement(
                ElementTree.SubElement(self.suites, "testsuite", name=program, tests="1"),
                "testcase", classname=program, name=name, time=f"{seconds:.2f}")
            for reason in tally.skipped:
                ElementTree.SubElement(case, "skipped", message=reason)
            for _ in tally.failed:
                ElementTree.SubElement(case, "failure").text = printable_end(output)
            if title in self._first:
                ElementTree.SubElement(case, "system-out").text = (
                    f"{BESIDE_OTHERS}:\n{printable_end(self._first[title])}")
            self._log.write(f"===== {title}: {tally}, {seconds:.1f} s\n{output}\n")
            self._log.flush()

    def _add_disturbed(self, title: str, output: str, seconds: float) -> None:
        """A failure beside others: kept, whatever comes of the test alone."""
        with self._lock:
            self._first[title] = output
            self._log.write(f"===== {title}: {BESIDE_OTHERS}, {seconds:.1f} s\n{output}\n")
            self._log.flush()

    def skip(self, title: str, reason: str) -> None:
        self._add(title, Tally(skipped=[f"{title}: {reason}"]), "", 0)

    def one(self, test: Test) -> None:
        """In a process of its own."""
        if self._left() < 5:
            if test.title in self._first:
                self._add(test.title, Tally(failed=[f"{test.title}: {BESIDE_OTHERS}; the time was "
                                                    "over before it was run alone"]), "", 0)
            else:
                self.skip(test.title, OUT_OF_TIME)
            return
        limit_s = min(self.limit_s, self._left())
        status, output, report, seconds = self._run([test], limit_s)
        end = "\n".join(output.splitlines()[-25:])  # what is printed of a failure
        tally = from_junit(test.program.name, report, status, end)
        if status == 124:
            tally = Tally(failed=[f"{test.title}: not ended in {limit_s:.0f} s"])
        self._add(test.title, tally, output, seconds)

    def several(self, tests: Sequence[Test], disturbed: list[Test]) -> None:
        """Of one program, in one process. disturbed: gets those that have not passed or been
        skipped, which is no outcome yet, as others have run beside them."""
        limit_s = min(self.limit_s * min(2, len(tests)), self._left())
        if limit_s < 5:
            for test in tests:
                self.skip(test.title, OUT_OF_TIME)
            return
        status, output, report, seconds = self._run(tests, limit_s)
        cases = {f"{case.get('classname')}.{case.get('name')}": case for case in junit_cases(report)}
        over = status == 124 and self._left() < 5
        # One that ends badly without a failure has failed as a whole.
        failed = {name for name, case in cases.items() if case.find("failure") is not None}
        if status != 0 and not failed:
            failed = {test.name for test in tests}
        for test in tests:
            skipped = cases[test.name].find("skipped") if test.name in cases else None
            if skipped is not None:
                self.skip(test.title, why_skipped(skipped))
            elif test.name in cases and test.name not in failed:
                self._add(test.title, Tally(passed=1), output, float(cases[test.name].get("time", 0)))
                output = ""  # once is enough
            elif over:
                self.skip(test.title, OUT_OF_TIME)
            else:
                self._add_disturbed(test.title, output, seconds)
                disturbed.append(test)

    def _run(self, tests: Sequence[Test], limit_s: float) -> tuple[int, str, Path, float]:
        """Exit status, output, JUnit report and seconds."""
        stem = re.sub(r"\W", "_", tests[0].name)
        report = self.scratch / f"{stem}.xml"
        report.unlink(missing_ok=True)
        start = time.monotonic()
        status, output = run_limited(
            [tests[0].program, f"--gtest_filter={':'.join(test.name for test in tests)}",
             f"--gtest_output=xml:{report}"], self.scratch / f"{stem}.log", limit_s)
        return status, output, report, time.monotonic() - start

    def sanitized(self, sanitizer: str, test: Test) -> None:
        """Passes where the test does and not one error was found."""
        title = f"memcheck: {test.name}"
        if self._left() < 5:
            self.skip(title, OUT_OF_TIME)
            return
        limit_s = min(2 * self.limit_s, self._left())
        start = time.monotonic()
        status, output = run_limited(
            [sanitizer, "--tool", "memcheck", "--error-exitcode", "99", test.program,
             f"--gtest_filter={test.name}"],
            self.scratch / f"memcheck_{re.sub(r'[^A-Za-z]', '_', test.name)}.log", limit_s)
        found = re.search(r"ERROR SUMMARY: (\d+) error", output)
        tally = Tally()
        if status == 124:
            tally.failed.append(f"{title}: not ended in {limit_s:.0f} s")
        elif not found:
            tally.failed.append(f"{title}: compute-sanitizer has printed no summary")
        elif status != 0 or found[1] != "0":
            tally.failed.append(f"{title}: {found[1]} errors, exit status {status}")
        elif skipped := re.search(r"\[  SKIPPED \]", output):
            tally.skipped.append(f"{title}: {skipped[0]}")
        else:
            tally.passed += 1
        self._add(title, tally, output, time.monotonic() - start)

    def all(self, what: str, jobs: int, calls: Sequence[Callable[[], None]]) -> None:
        if not calls:
            return
        start = time.monotonic()
        with ThreadPoolExecutor(jobs) as pool:
            for call in [pool.submit(call) for call in calls]:
                call.result()
        say(f"{what}: {len(calls)} in {time.monotonic() - start:.0f} s; so far {self.tally}")

    def _skips(self) -> dict[str, list[str]]:
        """The names of the tests that were skipped, by reason."""
        found: dict[str, list[str]] = {}
        for entry in self.tally.skipped:
            _, name, reason = entry.split(": ", 2)
            found.setdefault(reason, []).append(name)
        return found

    def finish(self) -> int:
        ElementTree.ElementTree(self.suites).write(self.results / "gpu-tests.xml",
                                                   encoding="utf-8", xml_declaration=True)
        self._log.close()
        shutil.rmtree(self.scratch, ignore_errors=True)
        slowest = sorted(self.seconds.items(), key=lambda item: -item[1])[:10]
        print("slowest: " + ", ".join(f"{title.split(': ')[1]} {s:.0f} s" for title, s in slowest))
        for reason, names in sorted(self._skips().items()):
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            print(f"skipped {len(names)}: {reason}: {', '.join(names[:3])}{more}")
        for entry in self.tally.failed:
            print(f"FAILED: {entry}")
        print(self.tally)
        return 0 if self.tally.passed and not self.tally.failed else 1


def find_sanitizer(wanted: str) -> str | None:
    return shutil.which(wanted or "compute-sanitizer") or shutil.which(
        "compute-sanitizer", path=os.pathsep.join(SANITIZER_FOLDERS))


def cards() -> str:
    """What nvidia-smi lists; empty without a card."""
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "test-results")
    parser.add_argument("--jobs", type=int, default=10, help="tests at a time; default 10")
    parser.add_argument("--limit", type=float, default=240, help="seconds a test; default 240")
    parser.add_argument("--budget", type=float, default=3600, help="seconds; default 3600")
    parser.add_argument("--only", type=lambda text: text.split(","), default=["*"],
                        help="patterns of test names")
    parser.add_argument("--stages", type=lambda text: text.split(","), default=list(STAGES))
    parser.add_argument("--sanitizer", default="", help="a compute-sanitizer")
    parser.add_argument("--list", action="store_true", help="print what would run, and end")
    args = parser.parse_args(arguments)
    if unknown := set(args.stages) - set(STAGES):
        parser.error(f"--stages: no stage {', '.join(sorted(unknown))}: there are {', '.join(STAGES)}")
    return args


def main(arguments: Sequence[str]) -> int:
    args = parse(arguments)
    try:
        every = find_tests(args.build.resolve())
    except (OSError, ValueError) as error:
        print(f"gpu_tests.py: error: {error}", file=sys.stderr)
        return 2
    wanted = [test for test in every if matches(test.name, args.only)]
    stages = {"together": [test for test in wanted if not matches(test.name, ALONE)],
              "alone": [test for test in wanted if matches(test.name, ALONE)],
              "memcheck": [test for test in wanted if matches(test.name, SANITIZED)]}
    stages = {name: tests for name, tests in stages.items() if name in args.stages}
    if args.list:
        for name, tests in stages.items():
            print(f"{name}: {len(tests)}", *(f"  {test.title}" for test in tests), sep="\n")
        return 0
    args.results.mkdir(parents=True, exist_ok=True)
    run = Run(args.results.resolve(), args.limit, args.budget)
    card = cards()
    say(card or "no card: nvidia-smi lists none")
    disturbed: list[Test] = []
    run.all("together", args.jobs, [lambda t=t: run.several(t, disturbed)
                                    for t in batches(stages.get("together", []))])
    run.all("again, alone", 1, [lambda t=t: run.one(t) for t in disturbed])
    run.all("alone", 1, [lambda t=t: run.one(t) for t in stages.get("alone", [])])
    sanitizer = find_sanitizer(args.sanitizer)
    if card and sanitizer:
        run.all("memcheck", len(SANITIZED),
                [lambda t=t: run.sanitized(sanitizer, t) for t in stages.get("memcheck", [])])
    else:
        why = "there is no card" if not card else "there is no compute-sanitizer"
        for test in stages.get("memcheck", []):
            run.skip(f"memcheck: {test.name}", why)
    return run.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
