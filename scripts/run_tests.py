"""Runs the stages of test.sh, which installs what they need and describes them.

Every test program writes JUnit XML (GoogleTest and pytest both do); a static check, a fuzz target
and a build that fails count as one test each.
"""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "build/test-results"
CORES = len(os.sched_getaffinity(0))
FUZZ_SECONDS = 30
PROGRAM_TIMEOUT_S = 900
BUILD_TIMEOUT_S = 3600
TSAN_FOLDERS = ("base", "runtime", "device_worker", "observe", "release", "serve")
# Files that fuzzing starts from, besides those in tests/fuzz/<target>/.
FUZZ_SEEDS = {
    "engine_fuzz": "tests/data/*.engine",
    "import_fuzz": "tests/golden/*.onnx",
    "npz_fuzz": "tests/golden/*.inputs.npz",
}
MAX_SEED_BYTES = 32768  # larger ones slow every mutation down

STARTED = int(os.environ.get("PROGRESS_STARTED", time.time()))


@dataclass
class Tally:
    """What has passed, failed (by name) and been skipped (by name and reason)."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self) -> str:
        return f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"


def say(text: str) -> None:
    print(f"[{int(time.time()) - STARTED:4d} s] {text}", flush=True)


def run(command: Sequence[str], timeout_s: float, **environment: str) -> tuple[int, str]:
    """Exit status and all output of a command run in the project's root."""
    # A filter or a shard that the caller's shell has set would leave tests out.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("GTEST_")}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=inherited | environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout_s, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as expired:
        text = (expired.stdout or b"").decode(errors="replace")
        return 124, f"{text}\n(stopped after {timeout_s:.0f} s)\n"
    except OSError as error:
        return 127, str(error)
    return done.returncode, done.stdout.decode(errors="replace")


def one(name: str, status: int, output: str) -> Tally:
    """A command that is one test."""
    if status == 0:
        return Tally(passed=1)
    print(f"----- {name}: exit status {status}\n{output.rstrip()}\n-----", flush=True)
    return Tally(failed=[name])


def junit_cases(report: Path) -> list[ElementTree.Element]:
    """What a program's JUnit file holds; nothing where there is none, or its program had no end."""
    try:
        return list(ElementTree.parse(report).iter("testcase"))
    except (FileNotFoundError, ElementTree.ParseError):
        return []


def why_skipped(skipped: ElementTree.Element) -> str:
    return skipped.get("message", "").strip().splitlines()[-1]


def from_junit(name: str, report: Path, status: int, output: str) -> Tally:
    """The cases of a test program, from its JUnit XML. One that has run no case has failed."""
    tally = Tally()
    cases = junit_cases(report)
    for case in cases:
        title = f"{name}: {case.get('classname')}.{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            tally.failed.append(title)
        elif skipped is not None or case.get("status") == "notrun":
            reason = why_skipped(skipped) if skipped is not None else "disabled"
            tally.skipped.append(f"{title}: {reason}")
        else:
            tally.passed += 1
    if status != 0 and not tally.failed:
        tally.failed.append(f"{name}: exit status {status}")
    elif not cases:
        tally.failed.append(f"{name}: ran no test case")
    if tally.failed:
        print(f"----- {name}\n{output.rstrip()}\n-----", flush=True)
    return tally


def build(preset: str, targets: Sequence[str], *options: str) -> bool:
    """Configures and builds; on failure prints all of the failing command's output."""
    for what, command in (
        ("configure", ["cmake", "--preset", preset, *options]),
        ("build", ["cmake", "--build", "--preset", preset, "--target", *targets]),
    ):
        started = time.time()
        status, output = run(command, BUILD_TIMEOUT_S)
        (RESULTS / f"{preset}-{what}.log").write_text(output)
        if status != 0:
            one(f"{preset}: {what}", status, output)
            return False
        say(f"{preset}: {what} took {time.time() - started:.0f} s")
    return True


def symbolizer() -> str:
    """An option of sanitizers, or none: clang's own is a package of its own; without any, stacks
    are bare addresses."""
    found = shutil.which("addr2line")
    return f"external_symbolizer_path={found}" if found else ""


@functools.cache
def fixed_layout() -> list[str]:
    """What sanitized programs start with: their shadow memory does not fit every random layout."""
    prefix = ["setarch", "-R"]
    status, output = run([*prefix, "true"], 60)
    if status == 0:
        return prefix
    say(f"running without `setarch -R`, which is not allowed here: {output.strip()}")
    return []


def unit_tests(preset: str, folder: str, wanted: Sequence[str] = ()) -> Tally:
    """Runs the test programs of a built preset, as many at a time as there are cores."""
    status, listing = run(["ctest", "--test-dir", folder, "--show-only=json-v1"], 60)
    tests = json.loads(listing)["tests"] if status == 0 else []
    tests = [test for test in tests if not wanted or test["name"] in wanted]
    if not tests:
        return one(f"{preset}: no unit tests found", 1, listing)
    prefix = [] if preset == "release" else fixed_layout()

    def run_one(test: dict) -> Tally:
        name = f"{preset}/{test['name']}"
        report = RESULTS / f"{preset}-{test['name']}.xml"
        started = time.time()
        outcome = run(
            [*prefix, *test["command"], "--gtest_brief=1", f"--gtest_output=xml:{report}"],
            PROGRAM_TIMEOUT_S,
            ASAN_OPTIONS=f"detect_stack_use_after_return=1:strict_string_checks=1:{symbolizer()}",
            UBSAN_OPTIONS="print_stacktrace=1",
            TSAN_OPTIONS=f"second_deadlock_stack=1:suppressions={ROOT}/tests/tsan.supp",
        )  # fmt: skip
        tally = from_junit(name, report, *outcome)
        say(f"{name}: {tally} in {time.time() - started:.1f} s")
        return tally

    total = Tally()
    with ThreadPoolExecutor(CORES) as pool:
        for tally in pool.map(run_one, tests):
            total.add(tally)
    return total


def static_stage() -> Tally:
    tracked = subprocess.run(
        ["git", "ls-files", "*.h", "*.cc", "*.sh", ".ci/run"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    ).stdout.split()  # fmt: skip
    cxx = [f for f in tracked if f.endswith((".h", ".cc")) and not f.startswith("third_party/")]
    shell = [f for f in tracked if not f.endswith((".h", ".cc"))]
    total = Tally()
    for name, command in (
        ("static/format", ["clang-format-14", "--dry-run", "-Werror", *cxx]),
        ("static/includes", [sys.executable, "scripts/check_includes.py"]),
        *((f"static/{f}", ["bash", "-n", f]) for f in shell),
    ):
        status, output = run(command, 300)
        if status == 0 and output:
            print(output, end="")
        total.add(one(name, status, output))
    return total


def unit_stage() -> Tally:
    if not build("release", ["all"], "-DVERDICT_TESTS=ON"):
        return Tally(failed=["release build"])
    total = Tally(passed=1)
    total.add(unit_tests("release", "build"))
    return total


def integration_stage() -> Tally:
    if not build("release", ["all"], "-DVERDICT_TESTS=ON"):
        return Tally(failed=["release build, for the integration tests"])
    report = RESULTS / "pytest.xml"
    command = [".venv/bin/python", "-m", "pytest", "-ra", f"--junitxml={report}"]
    return from_junit("pytest", report, *run(command, 2 * PROGRAM_TIMEOUT_S))


def asan_stage() -> Tally:
    if not build("asan", ["unit_tests"]):
        return Tally(failed=["asan build"])
    return unit_tests("asan", "build-asan")


def tsan_stage() -> Tally:
    if not build("tsan", [f"verdict_{folder}_test" for folder in TSAN_FOLDERS]):
        return Tally(failed=["tsan build"])
    return unit_tests("tsan", "build-tsan", TSAN_FOLDERS)


def fuzz_verdict(target: str, status: int, output: str) -> Tally:
    """A target's outcome. One that has executed no input has shown nothing."""
    found = re.search(r"^stat::number_of_executed_units:\s*(\d+)", output, re.MULTILINE)
    inputs = int(found[1]) if found else 0
    say(f"fuzz/{target}: {inputs} inputs")
    if status == 0 and inputs == 0:
        return one(f"fuzz/{target}: executed no inputs", 1, output)
    return one(f"fuzz/{target}", status, output)


def fuzz_stage() -> Tally:
    if not build("asan", ["fuzz_targets"]):
        return Tally(failed=["fuzz build"])
    targets = (ROOT / "build-asan/fuzz_targets.txt").read_text().split()
    if not targets:
        return one("fuzz: no targets found", 1, "build-asan/fuzz_targets.txt is empty")

    artifacts = RESULTS / "fuzz"
    artifacts.mkdir()
    prefix = fixed_layout()

    def fuzz_one(target: str) -> Tally:
        corpus = Path(tempfile.mkdtemp(prefix=f"{target}."))
        seeds = [*(ROOT / "tests/fuzz" / target).glob("*"), *ROOT.glob(FUZZ_SEEDS.get(target, "-"))]
        seeds = [seed for seed in seeds if seed.stat().st_size <= MAX_SEED_BYTES]
        for seed in seeds:
            shutil.copy(seed, corpus)
        options = [
            f"-max_total_time={FUZZ_SECONDS}", "-timeout=10", "-rss_limit_mb=2048", "-verbosity=0",
            "-print_final_stats=1", f"-artifact_prefix={artifacts}/{target}-",
        ]  # fmt: skip
        dictionary = ROOT / "tests/fuzz" / f"{target}.dict"
        if dictionary.exists():
            options.append(f"-dict={dictionary}")
        command = [*prefix, f"build-asan/{target}", str(corpus), *options]
        return fuzz_verdict(target, *run(command, FUZZ_SECONDS + 120, ASAN_OPTIONS=symbolizer()))

    total = Tally()
    with ThreadPoolExecutor(CORES) as pool:
        for tally in pool.map(fuzz_one, targets):
            total.add(tally)
    return total


def tidy_stage() -> Tally:
    return one("tidy", *run(["scripts/tidy.sh"], BUILD_TIMEOUT_S))


STAGES: dict[str, Callable[[], Tally]] = {
    "static": static_stage,
    "unit": unit_stage,
    "integration": integration_stage,
    "asan": asan_stage,
    "tsan": tsan_stage,
    "fuzz": fuzz_stage,
    "tidy": tidy_stage,
}


def main(stages: Sequence[str]) -> int:
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    total = Tally()
    table = []
    with tempfile.TemporaryDirectory(prefix="verdict-test.") as scratch:
        os.chmod(scratch, 0o711)  # one test runs the server as another user
        os.environ["TMPDIR"] = os.environ["TEST_TMPDIR"] = tempfile.tempdir = scratch
        for name in dict.fromkeys(stages):
            say(f"stage {name}")
            started = time.time()
            try:
                tally = STAGES[name]()
            except Exception:
                print(traceback.format_exc(), flush=True)
                tally = Tally(failed=[f"{name}: the stage broke off"])
            table.append(f"{name:<12} {time.time() - started:7.0f} s   {tally}")
            total.add(tally)
    print("\n" + "\n".join(table))
    for title, names in (("skipped", total.skipped), ("FAILED", total.failed)):
        for entry in names:
            print(f"{title}: {entry}")
    print(total)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
