"""The Python half of the quick start, whole, in a small world: its exit status and its report."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import urllib.request

from serving import ANSWER_TIMEOUT_S, BINARY, ROOT, wait_for

CUSTOMERS = 120
TITLES = ("logistic regression", "boosted trees", "neural network (MLP)")
MAX_SCORE_GAP = 1e-5


def quickstart(*flags: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "verdict_lab", *map(str, flags)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "python")},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def rows_of(report: str, head: str) -> dict[str, list[float]]:
    """The numbers of each model's row in the table under the line that begins with `head`."""
    table = report.partition(f"\n{head}")[2].partition("\n\n")[0]
    rows = {}
    for line in table.splitlines():
        for title in TITLES:
            if line.strip().startswith(title):
                rest = line.partition(title)[2].replace(",", "")
                rows[title] = [float(n) for n in re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?", rest)]
    return rows


def test_report_is_complete_and_right(tmp_path: pathlib.Path) -> None:
    done = quickstart("--verdict", BINARY, "--folder", tmp_path, "--customers", CUSTOMERS)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    report = done.stdout

    scored = re.search(
        r"^Scored ([\d,]+) transactions over HTTP: the last 7 weeks \(([\d,]+), of which ([\d,]+) "
        r"are fraud\)", report, re.MULTILINE,
    )  # fmt: skip
    assert scored, report
    sent, later, fraud = (int(n.replace(",", "")) for n in scored.groups())
    assert later > 1000 and 0 < fraud < later / 10
    assert sent >= 2 * len(TITLES) * min(later, 6000)  # in batches, and once more one by one

    quality = rows_of(report, "As good as the libraries")
    assert set(quality) == set(TITLES), report
    for title, (auc, auc_library, recall, recall_library, gap) in quality.items():
        assert 0.5 < auc <= 1, f"{title} has learnt nothing"
        assert abs(auc - auc_library) <= 1.1e-5, title  # five digits are printed
        assert 0 <= recall <= 100 and 0 <= recall_library <= 100, title
        assert gap <= MAX_SCORE_GAP, title

    speed = rows_of(report, "As the clients saw it")
    assert set(speed) == set(TITLES), report
    for title, (p50, p95, p99, requests_per_s, transactions_per_s) in speed.items():
        assert 0 < p50 <= p95 <= p99, title
        assert requests_per_s > 0 and transactions_per_s > 0, title

    riskiest = report.partition("\nThe ten riskiest transactions by ")[2].splitlines()[2:12]
    scores = []
    for line in riskiest:
        row = re.match(r" +([01]\.\d{6})  day \d+ \d\d:\d\d .*(FRAUD: \w+|genuine)", line)
        assert row, line
        scores.append(float(row[1]))
    assert len(scores) == 10 and scores == sorted(scores, reverse=True)


def processes_of(folder: pathlib.Path) -> list[int]:
    """Those with the folder in their command line, which one that has ended no longer has."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(folder) in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            pass  # ended meanwhile
    return found


def test_keep_leaves_a_server_and_says_how_to_use_and_stop_it(tmp_path: pathlib.Path) -> None:
    done = quickstart(
        *("--verdict", BINARY, "--folder", tmp_path, "--customers", CUSTOMERS, "--keep")
    )
    try:
        told = re.search(
            r"^The server goes on: process (\d+)\. Try\n(.+)^and stop it with\n  (kill \d+)\n\Z",
            done.stdout, re.MULTILINE | re.DOTALL,
        )  # fmt: skip
        assert done.returncode == 0 and told, f"{done.stdout}\n{done.stderr}"
        assert processes_of(tmp_path) == [int(told[1])]
        address = re.search(r"starting the server on (\S+)$", done.stdout, re.MULTILINE)[1]
        with urllib.request.urlopen(
            f"http://{address}/v2/models/mlp", timeout=ANSWER_TIMEOUT_S
        ) as answer:
            assert json.load(answer)["name"] == "mlp"
        commands = told[2].splitlines()
        assert len(commands) == 4
        for command in commands:
            command = command.replace("build/verdict", str(BINARY)).replace("curl", "curl -sSf")
            tried = subprocess.run(
                ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60,
                check=False,
            )  # fmt: skip
            assert tried.returncode == 0 and tried.stdout, f"{command}\n{tried.stderr}"
            if "/infer" in command:
                scores = {o["name"]: o["data"] for o in json.loads(tried.stdout)["outputs"]}
                assert scores["probabilities"][1] > 0.5  # the riskiest of all
        subprocess.run(["bash", "-c", told[3]], check=True)
        wait_for(lambda: not processes_of(tmp_path), "the server ends")
    finally:
        for pid in processes_of(tmp_path):
            os.kill(pid, signal.SIGKILL)


def test_missing_binary_is_said_so(tmp_path: pathlib.Path) -> None:
    done = quickstart("--verdict", tmp_path / "verdict", "--folder", tmp_path)
    assert done.returncode == 1
    assert "quickstart: error: " in done.stderr and "./quickstart.sh builds it" in done.stderr
    assert "Traceback" not in done.stderr
