"""The quickstart's report, as text."""

import numpy as np

from .client import Timing
from .simulator import CATEGORY_NAMES, DAY_S, HOUR_S, PATTERNS, Stream
from .training import Quality

TITLES = {"logistic": "logistic regression", "gbm": "boosted trees", "mlp": "neural network (MLP)"}


def quality_table(
    ours: dict[str, Quality], library: dict[str, Quality], gap: dict[str, float]
) -> str:
    lines = [
        f"  {'':22}{'ROC-AUC':^22}{'recall at 0.5 % FPR':^24}{'largest':>12}",
        f"  {'model':22}{'Verdict':>10}{'library':>10}  {'Verdict':>11}{'library':>10}"
        f"{'difference':>15}",
    ]
    for model, title in TITLES.items():
        a, b = ours[model], library[model]
        lines.append(
            f"  {title:22}{a.roc_auc:10.5f}{b.roc_auc:10.5f}  {a.recall:11.2%}{b.recall:10.2%}"
            f"  {gap[model]:13.1e}"
        )
    return "\n".join(lines)


def speed_table(batched: dict[str, Timing], single: dict[str, Timing]) -> str:
    lines = [
        f"  {'':22}{'one transaction a request':^46}{'batches':>14}",
        f"  {'model':22}{'p50':>9}{'p95':>10}{'p99':>10}{'requests/s':>14}{'transactions/s':>17}",
    ]
    for model, title in TITLES.items():
        p50, p95, p99 = np.percentile(single[model].latency_us, (50, 95, 99)) / 1000
        lines.append(
            f"  {title:22}{p50:6.3f} ms{p95:7.3f} ms{p99:7.3f} ms"
            f"{single[model].transactions_per_s:14,.0f}{batched[model].transactions_per_s:17,.0f}"
        )
    return "\n".join(lines)


def riskiest_table(stream: Stream, rows: np.ndarray, scores: np.ndarray, n: int = 10) -> str:
    """rows: which of the stream's transactions were scored; scores: [len(rows)]."""
    lines = [f"  {'score':>8}  {'when':13}{'card':>6}{'amount':>11}  {'where':20}{'truth'}"]
    for i in np.argsort(-scores, kind="stable")[:n]:
        row = rows[i]
        day, second = divmod(int(stream.time_s[row]), DAY_S)
        when = f"day {day} {second // HOUR_S:02}:{second % HOUR_S // 60:02}"
        where = CATEGORY_NAMES[stream.world.terminal_category[stream.terminal[row]]]
        truth = stream.pattern[row]
        lines.append(
            f"  {scores[i]:8.6f}  {when:13}{stream.card[row]:>6}"
            f"{stream.amount_cents[row] / 100:>11,.2f}  {where:20}"
            + (f"FRAUD: {PATTERNS[truth]}" if truth else PATTERNS[truth])
        )
    return "\n".join(lines)
