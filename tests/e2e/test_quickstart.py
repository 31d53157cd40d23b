"""The Python half of the quick start, whole, in a small world: its exit status and its report."""

import os
import pathlib
import re
import subprocess
import sys

from serving import BINARY, ROOT

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


def test_missing_binary_is_said_so(tmp_path: pathlib.Path) -> None:
    done = quickstart("--verdict", tmp_path / "verdict", "--folder", tmp_path)
    assert done.returncode == 1
    assert "quickstart: error: " in done.stderr and "./quickstart.sh builds it" in done.stderr
    assert "Traceback" not in done.stderr
