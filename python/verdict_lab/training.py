"""The three models that fraud teams start from, and how well they do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    import lightgbm  # else imported where it is used: who only splits weeks need not have it

WEEK_S = 7 * 24 * 3600
MAX_FALSE_POSITIVE_RATE = 0.005


@dataclass(frozen=True)
class Split:
    """Rows of the earlier and of the later weeks. The very first only give the others a past."""

    train: np.ndarray
    test: np.ndarray
    test_start_s: int


def split_by_week(time_s: np.ndarray, past_weeks: int = 4, test_weeks: int = 7) -> Split:
    week = time_s // WEEK_S
    first_test_week = int(week.max()) + 1 - test_weeks
    return Split(
        train=np.flatnonzero((week >= past_weeks) & (week < first_test_week)),
        test=np.flatnonzero(week >= first_test_week),
        test_start_s=first_test_week * WEEK_S,
    )


def training_labels(split: Split, is_fraud: np.ndarray, reported_s: np.ndarray) -> np.ndarray:
    """[len(split.train)] int64: 1 for the frauds that a bank training before the test knows of."""
    # One that is reported later passes for genuine: its report comes from the test's own time.
    known = is_fraud & (reported_s < split.test_start_s)
    return known[split.train].astype(np.int64)


def train_logistic(x: np.ndarray, y: np.ndarray, seed: int) -> Pipeline:
    model = LogisticRegression(max_iter=1000, random_state=seed)
    return make_pipeline(StandardScaler(), model).fit(x, y)


def train_gbm(x: np.ndarray, y: np.ndarray, seed: int) -> lightgbm.Booster:
    import lightgbm

    parameters = {
        "objective": "binary",
        "num_leaves": 31,
        "learning_rate": 0.04,
        "min_data_in_leaf": 100,
        "lambda_l2": 20,
        "feature_fraction": 0.7,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,  # the same trees everywhere; and fast enough
        "verbosity": -1,
    }
    return lightgbm.train(parameters, lightgbm.Dataset(x, y), num_boost_round=200)


def train_mlp(x: np.ndarray, y: np.ndarray, seed: int) -> Pipeline:
    model = MLPClassifier(
        hidden_layer_sizes=(64, 32), alpha=0.01, batch_size=512, max_iter=12, random_state=seed
    )
    return make_pipeline(StandardScaler(), model).fit(x, y)


TRAINERS = {"logistic": train_logistic, "gbm": train_gbm, "mlp": train_mlp}


def library_scores(model: Pipeline | lightgbm.Booster, x: np.ndarray) -> np.ndarray:
    """[n] float64: the probability of fraud as the model's own library computes it."""
    if isinstance(model, Pipeline):
        return model.predict_proba(x)[:, 1]
    return model.predict(x, num_threads=1)


@dataclass(frozen=True)
class Quality:
    roc_auc: float
    recall: float  # at MAX_FALSE_POSITIVE_RATE


def quality(is_fraud: np.ndarray, scores: np.ndarray) -> Quality:
    false_positive_rate, recall, _ = roc_curve(is_fraud, scores)
    allowed = false_positive_rate <= MAX_FALSE_POSITIVE_RATE
    return Quality(float(roc_auc_score(is_fraud, scores)), float(recall[allowed].max()))
