"""A card's latest transactions as one sample, for models that read sequences.

A sample ends with the transaction to be scored; where the card has fewer, the front is padding. A
sequence model sees the card's own past, so what features.py counts of the card is left out.
"""

from dataclasses import dataclass

import numpy as np

from . import features
from . import simulator as sim
from .simulator import DAY_S, HOUR_S

# A sequence model can count these itself.
OF_THE_CARD = (
    "card_count_10min",
    "card_count_1h",
    "card_count_24h",
    "card_spent_1h",
    "card_small_amounts_1h",
    "card_new_terminals_24h",
)
AGE = "age"  # log minutes from the event to the transaction that is scored
EVENT_FEATURES = 32
# Besides the features of an event, ONE_HOT_COLUMNS hold its category, its hour, its weekday, and
# one of BINS quantiles for each of these features.
BINNED = (
    "log_amount",
    "amount_to_customer_mean",
    "amount_deviations",
    "customer_count_24h",
    "customer_count_7d",
    "customer_count_30d",
    "customer_spent_24h",
    "customer_pause",
    "card_pause",
    "amount_to_terminal_mean",
    "terminal_trend",
    "terminal_newcomers_7d",
    "terminal_reports_28d",
    "terminal_report_share_28d",
    "home_distance",
    "travelled",
    "travel_speed",
    "terminal_visits",
    "device_age",
    "contact_change_age",
    AGE,
)
BINS = 7
ONE_HOT_COLUMNS = EVENT_FEATURES + len(sim.CATEGORIES) + 24 + 7 + len(BINNED) * BINS  # 220
ID_COLUMNS = 8


@dataclass(frozen=True)
class Sample:
    """Sequences of k transactions, the oldest event first."""

    rows: np.ndarray  # [k] the transactions that are scored
    events: np.ndarray  # [k, length] rows of the stream; 0 where there is no event
    padding: np.ndarray  # [k, length] bool, True where there is no event
    raw: np.ndarray  # [k, length, EVENT_FEATURES] float32


class CardSequences:
    """The transactions of every card in a stream, each with features as of its own time."""

    def __init__(self, stream: sim.Stream):
        values, names = features.compute(stream)
        kept = [i for i, name in enumerate(names) if name not in OF_THE_CARD]
        self.names = (*(names[i] for i in kept), AGE)
        self._values = values[:, kept]
        self._stream = stream
        self._order = np.argsort(stream.card, kind="stable")
        self._place = np.empty_like(self._order)
        self._place[self._order] = np.arange(len(stream))
        self._first = np.searchsorted(stream.card[self._order], stream.card)

    def sample(self, rows: np.ndarray, length: int) -> Sample:
        """The last `length` transactions of each row's card, that row the last."""
        places = self._place[rows][:, None] + np.arange(1 - length, 1)
        padding = places < self._first[rows][:, None]
        events = np.where(padding, 0, self._order[np.maximum(places, 0)])
        age_s = self._stream.time_s[rows][:, None] - self._stream.time_s[events]
        age = np.log1p(np.minimum(age_s, 30 * DAY_S) / 60).astype(np.float32)
        raw = np.concatenate([self._values[events], age[:, :, None]], axis=2)
        raw[padding] = 0
        return Sample(rows, events, padding, raw)


class Encoder:
    """Raw events to what networks take, with the means, deviations and quantiles of a sample."""

    def __init__(self, stream: sim.Stream, sequences: CardSequences, training: Sample):
        self._stream = stream
        self._binned = [sequences.names.index(name) for name in BINNED]
        seen = training.raw[~training.padding]
        self._mean, self._deviation = seen.mean(axis=0), seen.std(axis=0) + np.float32(1e-6)
        shares = np.arange(1, BINS) / BINS
        self._edges = np.quantile(seen[:, self._binned], shares, axis=0)  # [BINS - 1, binned]

    def standardized(self, sample: Sample) -> np.ndarray:
        """[k, length, EVENT_FEATURES] float32; zeros where there is no event."""
        x = (sample.raw - self._mean) / self._deviation
        x[sample.padding] = 0
        return x.astype(np.float32)

    def one_hot(self, sample: Sample) -> np.ndarray:
        """[k, length, ONE_HOT_COLUMNS] float32: the standardized features, then ones and zeros."""
        time_s = self._stream.time_s[sample.events]
        category = self._stream.world.terminal_category[self._stream.terminal[sample.events]]
        choices = [
            (category, len(sim.CATEGORIES)),
            (time_s % DAY_S // HOUR_S, 24),
            (time_s // DAY_S % 7, 7),
        ]
        for column, edges in zip(self._binned, self._edges.T):
            choices.append((np.searchsorted(edges, sample.raw[:, :, column]), BINS))
        x = np.zeros((*sample.padding.shape, ONE_HOT_COLUMNS), np.float32)
        x[:, :, :EVENT_FEATURES] = self.standardized(sample)
        first = EVENT_FEATURES
        for chosen, width in choices:
            np.put_along_axis(x, (first + chosen)[:, :, None], 1, axis=2)
            first += width
        x[sample.padding] = 0
        return x


def identifiers(stream: sim.Stream, rows: np.ndarray, table_rows: int) -> np.ndarray:
    """[k, ID_COLUMNS] int64 in [0, table_rows): who, where and with what, for embeddings.

    Cards, customers, terminals and devices beyond table_rows share entries.
    """
    world, terminal = stream.world, stream.terminal[rows]
    time_s = stream.time_s[rows]
    columns = [
        stream.card[rows],
        stream.customer[rows],
        terminal,
        stream.device[rows] + 1,  # 0: no device
        world.terminal_category[terminal],
        world.terminal_city[terminal],
        world.home_city[stream.customer[rows]],
        time_s // HOUR_S % (24 * 7),
    ]
    return np.stack(columns, axis=1).astype(np.int64) % table_rows


def choose(
    rng: np.random.Generator, rows: np.ndarray, keep: np.ndarray, others: int
) -> np.ndarray:
    """All rows with `keep`, and `others` of the rest at random, in their order.

    rows, keep: [n]. What is drawn from the rest leaves the ROC-AUC what it is, but for chance.
    """
    rest = rows[~keep]
    drawn = rng.choice(rest, min(others, len(rest)), replace=False)
    return np.sort(np.concatenate([rows[keep], drawn]))
