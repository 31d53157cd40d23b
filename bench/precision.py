#!/usr/bin/env python3
"""Measures what int8 costs in accuracy and brings in size and time, and writes docs/precision.md.

Trains models on card transactions (the first two thirds of the time), calibrates on some hundred of
their rows, and holds them to the rest. Takes some minutes.

Usage: precision.py --cards creditcard.csv.gz [--verdict BINARY] [--out DIR] [--document FILE]
"""

from __future__ import annotations

import argparse
import datetime
import json
import pathlib
import re
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "python"))
FEATURES = 30
FIRST_TEST_SECOND = 103_129
CALIBRATION_STEP = 50  # every 50th row


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cards", type=pathlib.Path, required=True,
                        help="Time, V1 to V28, Amount, Class: the ULB card transactions")
    parser.add_argument("--verdict", type=pathlib.Path, default=ROOT / "build" / "verdict")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "precision",
                        help="models, engines and reports")
    parser.add_argument("--document", type=pathlib.Path, default=ROOT / "docs" / "precision.md")
    return parser.parse_args()


def read_cards(path: pathlib.Path) -> tuple[np.ndarray, ...]:
    """train_x, train_y, test_x, test_y; the amount as log(1 + amount)."""
    def label(text: str | bytes) -> float:
        return float((text.decode() if isinstance(text, bytes) else text).strip('"'))
    rows = np.genfromtxt(path, delimiter=",", skip_header=1, converters={FEATURES: label})
    x = rows[:, :FEATURES].copy()
    x[:, -1] = np.log1p(x[:, -1])
    x = x.astype(np.float32)
    y = rows[:, FEATURES].astype(int)
    test = rows[:, 0] >= FIRST_TEST_SECOND
    return x[~test], y[~test], x[test], y[test]


def trainers() -> dict[str, tuple[str, object]]:
    """Name -> what it is, and a model to fit."""
    from lightgbm import LGBMClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def network(*layers: int) -> object:
        return make_pipeline(StandardScaler(), MLPClassifier(
            layers, alpha=1e-3, early_stopping=True, random_state=1))
    return {
        "R1": ("scaler and logistic regression, 30 features",
               make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))),
        "R3-like": ("150 boosted trees of 15 leaves",
                    LGBMClassifier(n_estimators=150, num_leaves=15, learning_rate=0.05,
                                   random_state=1, n_jobs=1, verbosity=-1)),
        "R4a-like": ("network 30-64-32-1", network(64, 32)),
        "R4b-like": ("network 30-512-256-128-1", network(512, 256, 128)),
    }


def run(*command: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
    return done


def measure(args: argparse.Namespace) -> list[dict]:
    from verdict_lab.export import to_onnx
    train_x, train_y, test_x, test_y = read_cards(args.cards)
    np.savez(args.out / "samples.npz", float_input=train_x[::CALIBRATION_STEP])
    np.savez(args.out / "held-out.npz", float_input=test_x, label=test_y)
    results = []
    for name, (what, model) in trainers().items():
        print(f"{name}: {what}", flush=True)
        model.fit(train_x.astype(np.float64), train_y)
        onnx_path = args.out / f"{name}.onnx"
        trained = getattr(model, "booster_", model)  # of LightGBM
        onnx_path.write_bytes(to_onnx(trained, name, FEATURES).SerializeToString())
        build = [args.verdict, "build", "--onnx", onnx_path, "--optShapes", "float_input:32x30",
                 "--minShapes", "float_input:1x30", "--maxShapes", "float_input:128x30"]
        floating, engine = args.out / f"{name}.float.engine", args.out / f"{name}.engine"
        run(*build, "--saveEngine", floating)
        done = run(*build, "--saveEngine", engine, "--best", "--calib", args.out / "samples.npz",
                   "--evaluate", args.out / "held-out.npz", "--report", args.out / f"{name}.html")
        report = None
        metadata = json.loads(run(args.verdict, "inspect", "--json", engine).stdout)["metadata"]
        if "precision_report" in metadata:
            report = json.loads(metadata["precision_report"])
        results.append({
            "name": name, "what": what, "report": report,
            "note": " ".join(re.findall(r"float32 is kept: (.*)", done.stderr)),
            "bytes": [floating.stat().st_size, engine.stat().st_size],
            "speeds": [[float(a), float(b)] for a, b in re.findall(
                r"float32 ([\d.e+-]+) us, int8 ([\d.e+-]+) us", done.stdout)]})
    return results


def write(results: list[dict], rows: int) -> str:
    lines = [
        "# Precision: figures", "",
        "Written by `bench/precision.py`: models trained on card transactions, built with `verdict build "
        "--best --calib … --evaluate …`. Accuracy is that of the transactions that come after those of the "
        f"training ({rows:,} rows), which neither training nor calibration has seen. Times are of one "
        "thread, at batch 1 and 32; sizes are of the engine files. What a row says of int8 is what was "
        "built; where float32 was kept, the last column says why.", "",
        f"{datetime.date.today().isoformat()}, {processor()}.", "",
        "| model | | ROC-AUC float32 | int8 | lost | 95 % | flipped at FPR 1 % | layers in int8 | size "
        "| batch 1, us | batch 32, us | |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"]
    for result in results:
        report = result["report"]
        cells = [result["name"], result["what"]]
        if report:
            low, high = report["roc_auc"]["difference_95"]
            int8 = sum(layer["precision"] == "int8" for layer in report["layers"])
            cells += [f"{report['roc_auc']['float32']:.5f}", f"{report['roc_auc']['int8']:.5f}",
                      f"{report['auc_drop']:.5f}", f"{-high:.5f} to {-low:.5f}",
                      str(report["decisions_flipped"]), f"{int8} of {len(report['layers'])}",
                      f"{result['bytes'][1] / result['bytes'][0]:.2f}"]
        else:
            cells += ["–"] * 7
        cells += [f"{a:.3g} → {b:.3g}" for a, b in result["speeds"]] or ["–", "–"]
        lines.append("| " + " | ".join([*cells, result["note"]]) + " |")
    return "\n".join(lines) + "\n"


def processor() -> str:
    text = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    return name[1] if name else "unknown processor"


def main() -> None:
    args = parse()
    args.out.mkdir(parents=True, exist_ok=True)
    results = measure(args)
    rows = len(np.load(args.out / "held-out.npz")["label"])
    args.document.write_text(write(results, rows))
    print(f"{args.document}")


if __name__ == "__main__":
    main()
