"""Sequences of a card's transactions: whose, in which order, and what they may know."""

import dataclasses

import numpy as np
import pytest
from verdict_lab import sequences, simulator
from verdict_lab.simulator import Config, Stream

LENGTH = 7


@pytest.fixture(scope="module")
def stream() -> Stream:
    return simulator.simulate(Config(seed=7, customers=200, terminals=150, days=60))


@pytest.fixture(scope="module")
def cards(stream: Stream) -> sequences.CardSequences:
    return sequences.CardSequences(stream)


@pytest.fixture(scope="module")
def everything(stream: Stream, cards: sequences.CardSequences) -> sequences.Sample:
    return cards.sample(np.arange(len(stream)), LENGTH)


@pytest.fixture(scope="module")
def encoder(stream, cards, everything) -> sequences.Encoder:
    return sequences.Encoder(stream, cards, everything)


def test_events_are_the_cards_latest_in_order(stream: Stream, everything: sequences.Sample):
    for row in range(0, len(stream), 37):
        own = np.flatnonzero(stream.card[: row + 1] == stream.card[row])[-LENGTH:]
        assert everything.padding[row].tolist() == [True] * (LENGTH - len(own)) + [False] * len(own)
        np.testing.assert_array_equal(everything.events[row][~everything.padding[row]], own)
    assert np.any(everything.padding) and not np.all(everything.padding[:, 0])


def test_padding_is_zero(encoder: sequences.Encoder, everything: sequences.Sample):
    for x in (everything.raw, encoder.standardized(everything), encoder.one_hot(everything)):
        assert np.all(x[everything.padding] == 0)
        assert np.all(np.isfinite(x)) and x.dtype == np.float32


def test_a_sample_does_not_know_what_follows(
    stream: Stream, cards: sequences.CardSequences, everything: sequences.Sample
):
    half = len(stream) // 2
    fields = {f.name: getattr(stream, f.name) for f in dataclasses.fields(Stream)}
    del fields["world"]
    cut = {name: v[:half] if len(v) == len(stream) else v for name, v in fields.items()}
    earlier = Stream(world=stream.world, **cut)
    sample = sequences.CardSequences(earlier).sample(np.arange(half), LENGTH)
    np.testing.assert_array_equal(sample.raw, everything.raw[:half])


def test_age_counts_to_the_scored_transaction(
    stream: Stream, cards: sequences.CardSequences, everything: sequences.Sample
):
    age = everything.raw[:, :, cards.names.index(sequences.AGE)]
    assert np.all(age[:, -1] == 0)
    assert np.all(np.diff(age, axis=1)[~everything.padding[:, :-1]] <= 0)


def test_no_feature_counts_the_card(cards: sequences.CardSequences):
    assert len(cards.names) == sequences.EVENT_FEATURES
    assert not set(cards.names) & set(sequences.OF_THE_CARD)


def test_one_hot_sets_one_column_of_each_choice(
    stream: Stream, encoder: sequences.Encoder, everything: sequences.Sample
):
    x = encoder.one_hot(everything)
    assert x.shape[2] == sequences.ONE_HOT_COLUMNS == 220
    np.testing.assert_array_equal(
        x[:, :, : sequences.EVENT_FEATURES], encoder.standardized(everything)
    )
    real = x[~everything.padding][:, sequences.EVENT_FEATURES :]
    widths = [10, 24, 7] + [sequences.BINS] * len(sequences.BINNED)
    for choice in np.split(real, np.cumsum(widths)[:-1], axis=1):
        assert np.all(choice.sum(axis=1) == 1) and np.all((choice == 0) | (choice == 1))
    category = stream.world.terminal_category[stream.terminal]
    np.testing.assert_array_equal(x[:, -1, 32:42].argmax(axis=1), category)
    weekday = stream.time_s // simulator.DAY_S % 7
    np.testing.assert_array_equal(x[:, -1, 66:73].argmax(axis=1), weekday)


def test_identifiers_fit_their_tables(stream: Stream):
    ids = sequences.identifiers(stream, np.arange(len(stream)), 100)
    assert ids.shape == (len(stream), sequences.ID_COLUMNS) and ids.dtype == np.int64
    assert ids.min() >= 0 and ids.max() < 100
    assert len(np.unique(ids[:, 0])) == 100


def test_choose_keeps_all_frauds_and_the_order(stream: Stream):
    rows = np.arange(50, len(stream))
    chosen = sequences.choose(np.random.default_rng(1), rows, stream.is_fraud[rows], 500)
    assert np.all(np.diff(chosen) > 0)
    assert stream.is_fraud[chosen].sum() == stream.is_fraud[rows].sum() > 0
    assert (~stream.is_fraud[chosen]).sum() == 500
