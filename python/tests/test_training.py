"""What the models learn from is known when they learn it."""

import numpy as np
from verdict_lab import training
from verdict_lab.simulator import DAY_S, NEVER_S
from verdict_lab.training import WEEK_S


def test_labels_are_what_is_reported_before_the_test_begins():
    time_s = WEEK_S * np.array([0, 4, 5, 5, 5, 6, 9])
    start_s = 6 * WEEK_S
    split = training.split_by_week(time_s, past_weeks=4, test_weeks=4)
    assert (split.train.tolist(), split.test.tolist()) == ([1, 2, 3, 4], [5, 6])
    assert split.test_start_s == start_s

    reported_s = np.array(
        [DAY_S, start_s - 1, start_s, start_s + DAY_S, NEVER_S, start_s + DAY_S, NEVER_S]
    )
    labels = training.training_labels(split, reported_s != NEVER_S, reported_s)
    assert labels.dtype == np.int64 and labels.tolist() == [1, 0, 0, 0]
