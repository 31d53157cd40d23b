#!/usr/bin/env python3
"""Measures what int8 and bf16 lose in accuracy and win in size and time: docs/precision.md.

Makes its environment, .venv-precision (scripts/python-env.sh precision). Trains models on card
transactions (the first two thirds of the time) and on the simulator's stream (the earlier weeks),
calibrates on some hundred of their rows, and holds them to the later ones. Takes about 20 minutes
on two cores.

Usage: precision.py --cards creditcard.csv.gz [--only R1,R6-like] [--precisions int8,bf16,best]
                    [--verdict BINARY] [--out DIR] [--document FILE] [--reuse]
"""

from __future__ import annotations

import argparse
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv-precision"
sys.path.insert(0, str(ROOT / "python"))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cards", type=pathlib.Path, required=True,
                        help="Time, V1 to V28, Amount, Class: the ULB card transactions")
    parser.add_argument("--precisions", default="int8,bf16,best",
                        help="flags of `verdict build`, comma-separated: int8,bf16,fp16,best")
    parser.add_argument("--only", default="", help="models, comma-separated: R1,R6-like")
    parser.add_argument("--verdict", type=pathlib.Path, default=ROOT / "build" / "verdict")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "precision",
                        help="models, engines and reports")
    parser.add_argument("--document", type=pathlib.Path, default=ROOT / "docs" / "precision.md")
    parser.add_argument("--reuse", action="store_true",
                        help="train nothing: the models that an earlier run left in --out")
    return parser.parse_args()


def enter_environment() -> None:
    """Starts this program again in .venv-precision, unless it is in it."""
    if pathlib.Path(sys.prefix).resolve() == VENV.resolve():
        return
    if subprocess.run([ROOT / "scripts" / "python-env.sh", "precision"]).returncode != 0:
        sys.exit(1)
    python = VENV / "bin" / "python"
    os.execv(python, [python, *sys.argv])


def cases(args: argparse.Namespace) -> Iterator:
    only = set(filter(None, args.only.split(",")))
    from accuracy import cards, case, simulated
    if args.reuse:
        yield from (c for c in case.recall(args.out) if not only or c.name in only)
        return
    yield from cards.train(args.cards, args.out, only)
    yield from simulated.train(args.out, only)


def main() -> None:
    args = parse()
    enter_environment()
    from accuracy import case, document, measure
    args.out.mkdir(parents=True, exist_ok=True)
    rows, held_out = [], {}
    for model in cases(args):
        case.remember(model)
        print(f"{model.name}: {model.what}", flush=True)
        rows += measure.measure(model, args.precisions.split(","), args.verdict)
        labels = model.read_held_out()[1]
        held_out[model.source] = len(labels), int(labels.sum())
    args.document.write_text(document.write(rows, held_out))
    print(f"{args.document}")


if __name__ == "__main__":
    main()
