"""Exported trees take the same branches as the library's."""

import re

import lightgbm
import numpy as np
from verdict_lab.export import with_float32_thresholds


def test_rounded_thresholds_send_every_float32_to_the_same_leaf():
    # Neighbouring float32 values: between two of them there is no room for a threshold but at one.
    step = np.spacing(np.float32(1))
    x = (1 + step * np.arange(64)).astype(np.float32)[:, None].repeat(20, axis=0)
    y = (np.arange(len(x)) // 20 * 37 % 64).astype(np.float64)
    parameters = {"num_leaves": 64, "min_data_in_leaf": 1, "min_data_in_bin": 1, "verbosity": -1}
    booster = lightgbm.train(parameters, lightgbm.Dataset(x, y), num_boost_round=3)

    rounded = with_float32_thresholds(booster)

    np.testing.assert_array_equal(
        rounded.predict(x, pred_leaf=True), booster.predict(x, pred_leaf=True)
    )
    lines = re.findall(r"^threshold=(.+)$", rounded.model_to_string(), flags=re.MULTILINE)
    thresholds = np.array(" ".join(lines).split(), np.float64)
    assert len(np.unique(thresholds)) > 30
    np.testing.assert_array_equal(thresholds, thresholds.astype(np.float32).astype(np.float64))
    before = re.findall(r"^threshold=(.+)$", booster.model_to_string(), flags=re.MULTILINE)
    exact = np.array(" ".join(before).split(), np.float64)
    assert np.any(exact.astype(np.float32) > exact), "rounding to the nearest would do as well"
