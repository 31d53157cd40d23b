"""Models of single transactions, trained on the ULB card data: the earlier two thirds of it."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import numpy as np

from verdict_lab import INPUT
from verdict_lab.export import to_onnx

from . import case

SOURCE = "card transactions"
FEATURES = 30
FIRST_TEST_SECOND = 103_129
CALIBRATION_STEP = 50  # every 50th row


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


def _trainers() -> dict[str, tuple[str, object]]:
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


def train(path: pathlib.Path, folder: pathlib.Path, only: set[str]) -> Iterator[case.Case]:
    """path: the card data. only: names, none for all. Writes models and rows into the folder."""
    train_x, train_y, test_x, test_y = read_cards(path)
    data = SOURCE, "cards-samples.npz", "cards-held-out.npz"
    np.savez(folder / data[1], **{INPUT: train_x[::CALIBRATION_STEP]})
    np.savez(folder / data[2], **{INPUT: test_x}, label=test_y)
    for name, (what, model) in _trainers().items():
        if only and name not in only:
            continue
        model.fit(train_x.astype(np.float64), train_y)
        trained = getattr(model, "booster_", model)  # of LightGBM
        yield case.write(folder, name, what, to_onnx(trained, name, FEATURES), data,
                         {INPUT: test_x}, "probabilities")
