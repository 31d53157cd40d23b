"""The simulated stream, and features that know only the past."""

import dataclasses

import numpy as np
import pytest
from verdict_lab import features, simulator
from verdict_lab.simulator import DAY_S, NEVER_S, NO_DEVICE, PATTERNS, Config, Stream

SMALL = Config(
    seed=7, customers=300, terminals=200, days=70, fraud_incidents_per_customer_day=1 / 900
)
COLUMNS = [f.name for f in dataclasses.fields(Stream) if f.name != "world"]
ROW_COLUMNS = [name for name in COLUMNS if not name.startswith("change_")]


@pytest.fixture(scope="module")
def stream() -> Stream:
    return simulator.simulate(SMALL)


@pytest.fixture(scope="module")
def computed(stream: Stream) -> tuple[np.ndarray, tuple[str, ...]]:
    return features.compute(stream)


def edited(stream: Stream, **columns: np.ndarray) -> Stream:
    return dataclasses.replace(stream, **columns)


def test_same_seed_gives_same_stream(stream: Stream):
    again = simulator.simulate(SMALL)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(stream, name), getattr(again, name), err_msg=name)


def test_other_seed_gives_other_stream(stream: Stream):
    other = simulator.simulate(dataclasses.replace(SMALL, seed=8))
    n = min(len(stream), len(other))
    assert not np.array_equal(stream.time_s[:n], other.time_s[:n])


def test_stream_is_consistent(stream: Stream):
    world = stream.world
    assert np.all(np.diff(stream.time_s) >= 0)
    assert stream.time_s[0] >= 0 and stream.time_s[-1] < SMALL.days * DAY_S
    assert np.all(world.card_customer[stream.card] == stream.customer)
    assert np.all(stream.amount_cents >= 50)
    np.testing.assert_array_equal(
        stream.device == NO_DEVICE, ~world.terminal_online[stream.terminal]
    )


def test_every_pattern_occurs_early_and_late(stream: Stream):
    middle_s = SMALL.days * DAY_S // 2
    for pattern, name in enumerate(PATTERNS):
        times_s = stream.time_s[stream.pattern == pattern]
        assert np.any(times_s < middle_s) and np.any(times_s >= middle_s), name
    assert 0.001 < stream.is_fraud.mean() < 0.05


def test_fraud_is_reported_later_and_genuine_never(stream: Stream):
    fraud = stream.is_fraud
    assert np.all(stream.reported_s[fraud] >= stream.time_s[fraud] + DAY_S)
    assert np.all(stream.reported_s[~fraud] == NEVER_S)


def test_velocity_burst_is_fast_small_and_from_a_strange_device(stream: Stream):
    burst = stream.pattern == simulator.VELOCITY_BURST
    assert np.median(stream.amount_cents[burst]) < 600
    for device in np.unique(stream.device[burst]):
        assert device >= SMALL.customers * 8
        times_s = stream.time_s[burst & (stream.device == device)]
        assert len(times_s) < 8 or np.median(np.diff(times_s)) < 900


def test_compromised_terminals_are_few(stream: Stream):
    at = stream.terminal[stream.pattern == simulator.COMPROMISED_TERMINAL]
    assert len(at) > 10 * len(np.unique(at))


def test_cards_are_copied_where_they_were_used_before(stream: Stream):
    fraud = np.flatnonzero(stream.pattern == simulator.COMPROMISED_TERMINAL)
    for terminal in np.unique(stream.terminal[fraud]):
        there = fraud[stream.terminal[fraud] == terminal]
        genuine = ~stream.is_fraud & (stream.terminal == terminal)
        first_day = stream.time_s[there[0]] // DAY_S
        before = genuine & (stream.time_s < first_day * DAY_S)
        assert before.any(), "choose another seed: nobody was there before"
        assert set(stream.card[there]) <= set(stream.card[before])


def test_features_are_finite_float32_with_one_name_each(stream: Stream, computed):
    x, names = computed
    assert x.dtype == np.float32 and x.shape == (len(stream), len(names))
    assert len(set(names)) == len(names) and 20 <= len(names) <= 40
    assert np.all(np.isfinite(x))
    assert np.all(np.ptp(x, axis=0) > 0), "a constant feature tells nothing"


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_features_do_not_depend_on_later_transactions(stream: Stream, computed, share: float):
    n = int(len(stream) * share)
    # From row n on: other cards and places, larger amounts, and all of it fraud.
    rng = np.random.default_rng(0)
    columns = {name: getattr(stream, name).copy() for name in ROW_COLUMNS}
    shuffled = n + rng.permutation(len(stream) - n)
    for name in ("customer", "card", "terminal", "device"):
        columns[name][n:] = columns[name][shuffled]
    columns["amount_cents"][n:] *= 3
    columns["pattern"][n:] = simulator.STOLEN_CARD
    columns["reported_s"][n:] = columns["time_s"][n:] + 1
    x, _ = features.compute(edited(stream, **columns))
    np.testing.assert_array_equal(x[:n], computed[0][:n])
    assert not np.array_equal(x[n:], computed[0][n:])


def test_features_do_not_depend_on_there_being_later_transactions(stream: Stream, computed):
    n = len(stream) // 3
    x, _ = features.compute(edited(stream, **{c: getattr(stream, c)[:n] for c in ROW_COLUMNS}))
    np.testing.assert_array_equal(x, computed[0][:n])


def test_features_do_not_know_a_fraud_before_its_report(stream: Stream, computed):
    x, names = computed
    row = int(np.flatnonzero(stream.pattern == simulator.COMPROMISED_TERMINAL)[0])
    never_reported = stream.reported_s.copy()
    never_reported[row] = NEVER_S
    y, _ = features.compute(edited(stream, reported_s=never_reported))
    changed = np.flatnonzero((x != y).any(axis=1))
    assert len(changed) and np.all(stream.time_s[changed] > stream.reported_s[row])
    for column in np.flatnonzero((x != y).any(axis=0)):
        assert "report" in names[column]


def test_features_do_not_know_a_contact_change_before_it_happens(stream: Stream, computed):
    at_s = SMALL.days * DAY_S // 2
    earlier = stream.change_time_s < at_s
    y, _ = features.compute(
        edited(
            stream,
            change_customer=stream.change_customer[earlier],
            change_time_s=stream.change_time_s[earlier],
        )
    )
    changed = (computed[0] != y).any(axis=1)
    assert changed.any() and np.all(stream.time_s[changed] >= at_s)


def test_history_counts_and_sums_what_came_before():
    key = np.array([1, 0, 1, 1, 0, 1])
    time_s = np.array([0, 5, 10, 10, 20, 100])
    values = np.array([1, 2, 4, 8, 16, 32])
    history = features.History(key, time_s)
    assert history.count().tolist() == [0, 0, 1, 2, 1, 3]
    assert history.count(90).tolist() == [0, 0, 1, 2, 1, 2]
    assert history.total(values, 90).tolist() == [0, 0, 1, 5, 2, 12]
    assert history.previous(values, -1).tolist() == [-1, -1, 1, 4, 2, 8]
    assert history.first(values).tolist() == [1, 2, 1, 1, 2, 1]
