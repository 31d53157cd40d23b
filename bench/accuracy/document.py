"""docs/precision.md: one table for all models and precisions."""

from __future__ import annotations

import datetime
import pathlib
import re

from .case import Row

HEAD = ("model", "", "precision", "ROC-AUC float32", "reduced", "lost", "95 %",
        "flipped at FPR 1 %", "layers reduced", "size", "batch 1, us", "batch 32, us",
        "ONNX Runtime", "OpenVINO f32", "OpenVINO bf16", "")
TEXT_COLUMNS = (0, 1, 2, len(HEAD) - 1)
NONE = "–"
FASTER = ("R4b", "R6", "R9")  # the models that int8 is to make twice as fast
NAMES = {"bf16": "bfloat16", "fp16": "float16"}  # of flags, as reports name the precisions


def _us(time: float) -> str:
    return f"{time:,.0f}" if time >= 1000 else f"{time:.3g}"


def _cells(row: Row) -> list[str]:
    cells = [row.name, row.what, NAMES.get(row.asked, row.asked), f"{row.auc:.5f}"]
    report = row.report
    if report:
        precision = report["precision"]
        low, high = report["roc_auc"]["difference_95"]
        reduced = sum(layer["precision"] != "float32" for layer in report["layers"])
        cells[2] = f"best: {precision}" if row.asked == "best" else precision
        cells += [f"{report['roc_auc'][precision]:.5f}", f"{report['auc_drop']:z.5f}",
                  f"{-high:z.5f} to {-low:z.5f}", str(report["decisions_flipped"]),
                  f"{reduced} of {len(report['layers'])}"]
    else:
        cells += [NONE] * 5
    megabytes = row.bytes[0] / 1e6
    cells.append(f"{row.bytes[1] / row.bytes[0]:.2f} of {megabytes:.2g} MB" if report
                 else f"{megabytes:.2g} MB")
    cells += [" → ".join(map(_us, speed)) for speed in row.speeds]
    cells += [" / ".join(map(_us, times)) if times else NONE
              for times in row.peers.values()]
    return [*cells, row.note.replace("|", "\\|")]


def _targets(rows: list[Row]) -> list[str]:
    """What is asked of int8, and whether it is met."""
    lines = []
    reduced = [row for row in rows if row.asked == "int8" and row.report]
    for row in reduced:
        verdicts = []

        def say(what: str, is_met: bool) -> None:
            verdicts.append(f"{what}: {'met' if is_met else '**missed**'}")
        say(f"ROC-AUC loses {row.report['auc_drop']:z.5f} (0.001 allowed)",
            row.report["auc_drop"] <= 0.001)
        if row.bytes[0] > 1e6:
            share = row.bytes[1] / row.bytes[0]
            say(f"size {share:.3f} (0.28)", share <= 0.28)
        if row.name.split("-")[0] in FASTER:
            gains = [before / after for before, after in row.speeds]
            say(f"{gains[0]:.2f} and {gains[1]:.2f} times as fast as float32 (2)", min(gains) >= 2)
            bf16 = row.peers.get("OpenVINO bf16")
            if bf16:
                leads = [peer / speed[1] for peer, speed in zip(bf16, row.speeds)]
                say(f"{leads[0]:.2f} and {leads[1]:.2f} times as fast as OpenVINO in bfloat16 (1)",
                    min(leads) >= 1)
        lines.append(f"- {row.name}: " + "; ".join(verdicts) + ".")
    return lines


def write(rows: list[Row], held_out: dict[str, tuple[int, int]]) -> str:
    """held_out: what the rows are -> how many, and how many of them frauds."""
    counts = " and ".join(f"{n:,} {what}, {frauds:,} of them frauds"
                          for what, (n, frauds) in held_out.items())
    lines = [
        "# Precision: figures", "",
        "Written by `python3 bench/precision.py --cards creditcard.csv.gz`: models trained on "
        "card transactions and on the simulator's stream, built with `verdict build --best "
        "--calib … --evaluate …`, or with the flag of one precision. Accuracy is that of "
        "transactions that come after those of the training, which neither training nor "
        f"calibration has seen: {counts}. `best` is what the command takes by itself; where that "
        "is float32, the last column says why. The rows of one precision hold the engine to it "
        "also where it is slower (`--precisionConstraints obey`).", "",
        "Times are of one thread, the least of many short rounds, float32 → the precision; the "
        "peers' at batch 1 / 32, their scores checked first. Sizes are of the engine files, "
        "beside float32's.", "",
        "R1 to R4b-like learn the ULB card data, the others the stream of `python/verdict_lab`:",
        "",
        "- R6- and R7-like: the card's last 7 transactions, 220 columns each: 32 features, one-hot "
        "category, hour and weekday, and 21 of the features as one of seven quantiles each.",
        "- R9-like: the card's last 32 transactions (the reference model R9 has 128), 32 features "
        "each; earlier places are masked where a card has fewer.",
        "- R11-like: the transaction's 32 features and eight ids: card, customer, terminal, "
        "device (numbers beyond the table share entries), category, both cities, hour of the week.",
        "",
        f"{datetime.date.today().isoformat()}, {processor()}.", "",
        "| " + " | ".join(HEAD) + " |",
        "| " + " | ".join("---" if i in TEXT_COLUMNS else "---:" for i in range(len(HEAD))) + " |"]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows]
    if targets := _targets(rows):
        lines += ["", "What is asked of int8 (engines over 1 MB at most 0.28 of float32; R4b, R6 and "
                  "R9 at batch 1 and 32 twice as fast, and ahead of OpenVINO in bfloat16):", "",
                  *targets]
    return "\n".join(lines) + "\n"


def processor() -> str:
    text = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    return name[1] if name else "unknown processor"
