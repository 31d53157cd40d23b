#!/usr/bin/env python3
"""Runs servers for a long time under everything at once, and tells what went wrong.

Builds servers with TSan and ASan, and takes the release build as well (or takes the binaries given);
starts two of each: one whose models are loaded by calls, one with TLS that polls its repository. All
are driven by open loops of good, late, cancelled, broken and hostile requests, while models,
versions, certificates, clients and configuration change. Every answer is checked against ONNX Runtime's. At the end: SIGTERM, exit
status 0, no report of a sanitizer, no growth of memory. Then the scenarios of docs/reference at
their full length, with the release build. Exit status 0 if nothing was found.

Usage: tests/soak/run.py [--minutes 30] [--verdict BINARY]... [--out DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
SANITIZERS = {"libtsan": "TSan", "libasan": "ASan"}
# What a server may grow by in the second half of the time: bytes, and a share of what it has. The
# sanitizers' own memory grows for long, by several MiB a minute, where the release build stays as it
# is: that one, which runs beside them, is held to little.
GROWTH = {"release": (8 << 20, 0.05), "TSan": (128 << 20, 0.25), "ASan": (128 << 20, 0.25)}
# Whoever started us with nohup has SIGHUP ignored, in the servers too.
DEFAULT_HUP = ("env", "--default-signal=HUP")
# Descriptors that may be open at the end and were not before the load.
DESCRIPTORS = 16


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--verdict", type=pathlib.Path, action="append", metavar="BINARY",
                        help="a server to run, may be repeated; default: TSan's, ASan's, the release build")
    parser.add_argument("--release", type=pathlib.Path, default=ROOT / "build" / "verdict",
                        help="makes the engines too, and runs the scenarios; default build/verdict")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "soak",
                        help="soak.json, logs and reports; default build/soak")
    parser.add_argument("--scale", type=float, default=1, help="factor of all rates")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--without-scenarios", action="store_true",
                        help="leaves the scenarios at full length out")
    return parser.parse_args()


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def build(preset: str) -> pathlib.Path:
    say(f"building {preset}")
    for command in (["cmake", "--preset", preset],
                    ["cmake", "--build", "--preset", preset, "--target", "verdict"]):
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return ROOT / {"release": "build"}.get(preset, f"build-{preset}") / "verdict"


def sanitizer_of(binary: pathlib.Path) -> str:
    libraries = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
    return next((name for library, name in SANITIZERS.items() if library in libraries), "release")


class Watched:
    """A server under load: what it is, what it used, what was found."""

    def __init__(self, binary: pathlib.Path, kind: str, folder: pathlib.Path) -> None:
        self.binary = binary
        self.sanitizer = sanitizer_of(binary)
        self.kind = kind
        self.name = f"{self.sanitizer}, {kind}"
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "repository").mkdir(parents=True)
        self.samples: list[tuple[float, int, int, int]] = []  # s, resident bytes, files, threads
        self.findings: list[str] = []
        self.exit_status: int | None = None

    def start(self, flags: tuple, headers: dict[str, str]) -> None:
        import serving

        common = f"log_path={self.folder}/report"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("VERDICT_")} | {
            "TSAN_OPTIONS": f"{common}:second_deadlock_stack=1:"
                            f"suppressions={ROOT}/tests/tsan.supp",
            # Freed memory is kept back for a while: a little, so that growth can be told from it.
            "ASAN_OPTIONS": f"{common}:detect_stack_use_after_return=1:strict_string_checks=1:"
                            "quarantine_size_mb=32",
            "UBSAN_OPTIONS": f"{common}:print_stacktrace=1",
        }
        launcher = list(DEFAULT_HUP)
        if self.sanitizer != "release":
            launcher += ["setarch", "-R"]  # their shadow memory does not fit every random layout
        self.server = serving.Server(
            self.folder / "repository", self.folder / "log", *flags, launcher=launcher,
            binary=self.binary, environment=environment)
        self.headers = headers

    def sample(self) -> None:
        process = pathlib.Path(f"/proc/{self.server.process.pid}")
        try:
            threads = len(os.listdir(process / "task"))
            files = len(os.listdir(process / "fd"))
            self.samples.append((time.monotonic(), self.server.resident_bytes(), files, threads))
        except (OSError, StopIteration):
            pass  # it has ended: the requests say so

    def metrics(self) -> dict[str, float]:
        request = urllib.request.Request(self.server.metrics_url, headers=self.headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            lines = response.read().decode().splitlines()
        return {name: float(value) for name, value in
                (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}

    def settle(self) -> None:
        """After the load nothing of it is left."""
        wanted = ("nv_inference_pending_request_count", "verdict_http_connections")
        deadline = time.monotonic() + 60
        while True:
            left = {name: value for name, value in self.metrics().items()
                    if name.split("{")[0] in wanted and value}
            if not left:
                return
            if time.monotonic() > deadline:
                self.findings.append(f"a minute after the load there is still {left}")
                return
            time.sleep(0.2)

    def ended_early(self) -> bool:
        status = self.server.process.poll()
        if status is None:
            return False
        self.findings.append(f"ended under load, exit status {status}")
        return True

    def end(self) -> None:
        self.sample()
        try:
            self.exit_status = self.server.stop()
        except subprocess.TimeoutExpired:
            self.findings.append("did not end within 30 s of SIGTERM")
            return
        if self.exit_status != 0:
            self.findings.append(f"exit status {self.exit_status}")

    def growth_per_hour(self) -> float:
        """Bytes: the slope of a line through the second half of the resident sizes."""
        import numpy as np

        half = np.array([(at, resident) for at, resident, *_ in self.samples])
        half = half[half[:, 0] >= half[:, 0].mean()]
        if len(half) < 3:
            return 0.0
        return float(np.polyfit(half[:, 0] - half[0, 0], half[:, 1], 1)[0] * 3600)

    def check(self, seconds: float) -> None:
        for report in sorted(self.folder.glob("report*")):
            text = report.read_text(errors="replace")
            kinds = re.findall(r"^(?:WARNING|.*ERROR): \w+Sanitizer: .*|.*runtime error: .*", text,
                               re.MULTILINE)
            self.findings.append(f"{report}: {len(kinds)} reports: " + "; ".join(sorted(set(kinds))))
        log = self.server.log()
        for pattern in (r".*\bcritical\b.*", r".*runtime error: .*", r".*Sanitizer: .*"):
            if found := re.search(pattern, log):
                self.findings.append(f"its log says: {found[0]}")
        # Shorter than that, it is still getting its working memory.
        if seconds >= 120 and len(self.samples) > 10:
            growth = self.growth_per_hour() * seconds / 2 / 3600
            most, share = GROWTH[self.sanitizer]
            allowed = most + share * self.samples[-1][1]
            if growth > allowed:
                self.findings.append(f"memory grew by {growth / 1e6:.1f} MB in the second half, "
                                     f"{allowed / 1e6:.1f} MB are allowed")
        if self.samples and self.samples[-1][2] > self.samples[0][2] + DESCRIPTORS:
            self.findings.append(f"{self.samples[-1][2]} open files at the end, "
                                 f"{self.samples[0][2]} before the load")


def soak(binaries: list[pathlib.Path], args: argparse.Namespace) -> list[dict]:
    import explicit_server
    import polled_server
    from load import Load

    seconds = args.minutes * 60
    running: list[tuple[Watched, object, Load]] = []
    try:
        for number, binary in enumerate(binaries):
            for kind in ("explicit", "polled"):
                watched = Watched(binary, kind, args.out / f"{number}-{kind}")
                root = watched.folder / "repository"
                if kind == "explicit":
                    explicit_server.make_repository(root)
                    watched.start(explicit_server.FLAGS, {})
                    driver = explicit_server.ExplicitServer(watched.server, root)
                else:
                    polled_server.make_repository(root)
                    driver = polled_server.PolledServer(watched.folder)
                    watched.start(driver.flags, polled_server.bearer(polled_server.TOKEN))
                    driver.begin(watched.server)
                say(f"{watched.name}: process {watched.server.process.pid}")
                load = Load(driver.actors(), args.seed + 1000 * len(running), args.scale)
                running.append((watched, driver, load))
        for watched, _, load in running:
            watched.sample()
            load.start()
        begin = time.monotonic()
        said = begin
        while (now := time.monotonic()) < begin + seconds:
            time.sleep(min(1, begin + seconds - now))
            for watched, *_ in running:
                watched.sample()
            if any([watched.ended_early() for watched, *_ in running]):
                break
            if now > said + 60:
                said = now
                for watched, _, load in running:
                    say(f"{watched.name}: {load.tally.sent.total()} done, "
                        f"{watched.samples[-1][1] >> 20} MiB, {len(load.tally.wrong)} wrong")
        for _, driver, load in running:
            load.stop()
            driver.close()
        for watched, *_ in running:
            if watched.server.process.poll() is None:
                watched.settle()
        seconds = time.monotonic() - begin
    finally:
        for watched, *_ in running:
            watched.end()
    return [outcome(watched, load, seconds) for watched, _, load in running]


def outcome(watched: Watched, load: object, seconds: float) -> dict:
    watched.check(seconds)
    problems = load.problems()
    findings = watched.findings + problems[:20]
    if len(problems) > 20:
        findings.append(f"and {len(problems) - 20} more")
    return {
        "server": watched.name, "binary": str(watched.binary),
        "seconds": seconds, "exit_status": watched.exit_status,
        "sent": load.tally.sent.total(),
        "codes": {actor.name: {str(code): n for code, n in load.tally.codes[actor.name].items()}
                  for actor in load.actors},
        "resident_bytes": [resident for _, resident, *_ in watched.samples],
        "growth_bytes_per_hour": watched.growth_per_hour(),
        "open_files": [watched.samples[0][2], watched.samples[-1][2]],
        "threads": [watched.samples[0][3], watched.samples[-1][3]],
        "reports": len(list(watched.folder.glob("report*"))),
        "findings": findings,
    }


def scenarios(release: pathlib.Path, out: pathlib.Path) -> dict:
    """Those of the e2e tests, the long ones at their full length."""
    say("scenarios at full length")
    environment = os.environ | {"SOAK": "1", "TESTED_BINARY": str(release)}
    begin = time.monotonic()
    with (out / "scenarios.log").open("wb") as log:
        status = subprocess.run([*DEFAULT_HUP, sys.executable, "-m", "pytest", "-q", "-rA", "-m",
                                 "scenario", "tests/e2e"], cwd=ROOT, env=environment, stdout=log,
                                stderr=subprocess.STDOUT).returncode
    text = (out / "scenarios.log").read_text(errors="replace")
    findings = re.findall(r"^(?:FAILED|ERROR) .*", text, re.MULTILINE)
    if status != 0 and not findings:
        findings = [f"scenarios: exit status {status}; see {out}/scenarios.log"]
    return {"server": "release, scenarios", "seconds": time.monotonic() - begin,
            "exit_status": status, "passed": len(re.findall(r"^PASSED ", text, re.MULTILINE)),
            "findings": findings}


def summary(parts: list[dict]) -> str:
    lines = []
    for part in parts:
        if "codes" not in part:
            lines.append(f"{part['server']}: {part['passed']} passed in {part['seconds']:.0f} s")
        else:
            resident = part["resident_bytes"]
            lines.append(
                f"{part['server']}: {part['sent']} acts in {part['seconds']:.0f} s, exit status "
                f"{part['exit_status']}, {part['reports']} sanitizer reports; resident "
                f"{resident[0] >> 20} MiB at first, {max(resident) >> 20} at most, "
                f"{resident[-1] >> 20} at last, {part['growth_bytes_per_hour'] / 2**20:+.1f} "
                f"MiB an hour in the second half; files {part['open_files'][0]} -> "
                f"{part['open_files'][1]}, threads {part['threads'][0]} -> {part['threads'][1]}")
            lines += [f"    {name}: " + ", ".join(f"{code} {n}" for code, n in codes.items())
                      for name, codes in part["codes"].items()]
        lines += [f"    FOUND: {finding}" for finding in part["findings"]]
    found = sum(len(part["findings"]) for part in parts)
    return "\n".join([*lines, f"{found} findings" if found else "nothing found"])


def main() -> int:
    args = parse()
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    release = args.release.resolve()
    if not release.is_file():
        release = build("release")
    binaries = ([path.resolve() for path in args.verdict or []]
                or [build("tsan"), build("asan"), release])
    os.environ["TESTED_BINARY"] = str(release)  # before the modules below are read
    sys.path[:0] = [str(ROOT / "tests" / "e2e")]
    parts = soak(binaries, args)
    if not args.without_scenarios:
        parts.append(scenarios(release, args.out))
    text = summary(parts)
    found = any(part["findings"] for part in parts)
    (args.out / "soak.json").write_text(json.dumps({"found": found, "parts": parts}, indent=1))
    (args.out / "soak.txt").write_text(text + "\n")
    print(text)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
