"""Trains what part "precision" measures: the models of docs/precision.md, by the same code.

The networks of sequences need nothing but JAX and are trained on the machine with the card:

    python -m gpu.train --out DIR --only R6-like,R9-like

That of single transactions needs scikit-learn and the converters of the test environment
(scripts/python-env.sh test), and the card transactions; its folder travels to that machine:

    python -m gpu.train --out DIR --only R4b-like --cards creditcard.csv.gz
"""

from __future__ import annotations

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "python")]

from accuracy import case  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--only", required=True)
    parser.add_argument("--cards", type=pathlib.Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    only = set(args.only.split(","))
    if args.cards:
        from accuracy import cards
        trained = cards.train(args.cards, args.out, only)
    else:
        from accuracy import simulated
        trained = simulated.train(args.out, only)
    for model in trained:
        case.remember(model)
        print(f"{model.name}: {model.what}", flush=True)


if __name__ == "__main__":
    main()
