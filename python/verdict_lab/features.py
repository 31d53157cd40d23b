"""What a real-time scorer knows when a transaction arrives: the transaction, and the past.

A row's features depend on rows before it and on nothing after it; a fraud counts as known from the
moment it was reported. Sums run over integers, so that the past gives the same bits whatever
follows.
"""

import numpy as np

from . import simulator as sim
from .simulator import DAY_S, HOUR_S

MINUTE_S = 60


class History:
    """The rows of one key (a customer, a card, a terminal), each with what came before it.

    key: [n] integers >= 0; time_s: [n] ascending. Rows of the same second count in stream order.
    """

    def __init__(self, key: np.ndarray, time_s: np.ndarray):
        self._order = np.argsort(key, kind="stable")
        self._place = np.empty_like(self._order)
        self._place[self._order] = np.arange(len(key))
        sorted_key = key[self._order]
        # Key and time in one number, with room for the longest window between two keys.
        self._longest_s = 400 * DAY_S
        stride = int(time_s[-1]) + self._longest_s + 1 if len(time_s) else 1
        self._when = sorted_key.astype(np.int64) * stride + time_s[self._order]
        self._first = np.searchsorted(sorted_key, key)  # place of the key's first row

    def _since(self, span_s: int) -> np.ndarray:
        assert span_s <= self._longest_s
        return np.searchsorted(self._when, self._when[self._place] - span_s)

    def count(self, span_s: int | None = None) -> np.ndarray:
        """[n] earlier rows of the same key, in the last span_s seconds or ever."""
        return self._place - (self._first if span_s is None else self._since(span_s))

    def total(self, values: np.ndarray, span_s: int | None = None) -> np.ndarray:
        """[n] sum of integer values over those rows."""
        running = np.concatenate([[0], np.cumsum(values[self._order], dtype=np.int64)])
        since = self._first if span_s is None else self._since(span_s)
        return running[self._place] - running[since]

    def previous(self, values: np.ndarray, otherwise) -> np.ndarray:
        """[n, ...] value in the same key's row before."""
        before = values[self._order][np.maximum(self._place - 1, 0)]
        none = self._place == self._first
        return np.where(none.reshape(-1, *[1] * (values.ndim - 1)), otherwise, before)

    def first(self, values: np.ndarray) -> np.ndarray:
        """[n] value in the key's first row."""
        return values[self._order][self._first]


def _pair(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[n] one small number for each different (a, b)."""
    return np.unique(a.astype(np.int64) * (int(b.max(initial=0)) + 2) + b + 1, return_inverse=True)[
        1
    ]


def _known(event_key, event_s, key, time_s, span_s: int | None = None) -> np.ndarray:
    """[n] events of the key that happened before time_s (and less than span_s ago)."""
    order = np.lexsort((event_s, event_key))
    stride = 1 << 40  # seconds: longer than any stream
    when = event_key[order].astype(np.int64) * stride + event_s[order]
    now = key.astype(np.int64) * stride + time_s
    since = key.astype(np.int64) * stride if span_s is None else now - np.minimum(span_s, time_s)
    return np.searchsorted(when, now) - np.searchsorted(when, since)


def _seconds_since_event(event_key, event_s, key, time_s, never_s: int) -> np.ndarray:
    """[n] seconds since the key's latest event, at most never_s."""
    order = np.lexsort((event_s, event_key))
    stride = 1 << 40
    when = event_key[order].astype(np.int64) * stride + event_s[order]
    now = key.astype(np.int64) * stride + time_s
    latest = np.concatenate([[-1], when])[np.searchsorted(when, now)]
    same_key = latest // stride == key
    return np.where(same_key, np.minimum(now - latest, never_s), never_s)


def compute(stream: sim.Stream) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns features [n, f] float32, finite, and their f names."""
    t, cents, world = stream.time_s, stream.amount_cents, stream.world
    category = world.terminal_category[stream.terminal]
    online = world.terminal_online[stream.terminal]
    customer, card = History(stream.customer, t), History(stream.card, t)
    terminal = History(stream.terminal, t)
    visits = History(_pair(stream.customer, stream.terminal), t)
    devices = History(_pair(stream.customer, stream.device), t)
    f: dict[str, np.ndarray] = {}

    # The transaction itself.
    hour = t % DAY_S / HOUR_S
    f["log_amount"] = np.log1p(cents / 100)
    f["hour_sin"], f["hour_cos"] = np.sin(hour * np.pi / 12), np.cos(hour * np.pi / 12)
    f["night"] = (hour < 6).astype(float)
    f["weekend"] = (t // DAY_S % 7 >= 5).astype(float)
    f["online"] = online.astype(float)
    f["cash"] = (category == sim.CASH).astype(float)
    f["electronics"] = np.isin(category, _ELECTRONICS).astype(float)

    # Against the customer's own habit.
    n_30d, sum_30d = customer.count(30 * DAY_S), customer.total(cents, 30 * DAY_S)
    mean_30d = (sum_30d + _PRIOR_CENTS) / (n_30d + 1)
    square_30d = customer.total(cents * cents, 30 * DAY_S) + _PRIOR_CENTS**2
    deviation = np.sqrt(np.maximum(square_30d / (n_30d + 1) - mean_30d**2, 1e4))
    f["amount_to_customer_mean"] = np.log(cents / mean_30d)
    f["amount_deviations"] = np.clip((cents - mean_30d) / deviation, -10, 50)
    for name, span_s in (("1h", HOUR_S), ("24h", DAY_S), ("7d", 7 * DAY_S)):
        f[f"customer_count_{name}"] = np.log1p(customer.count(span_s))
    f["customer_count_30d"] = np.log1p(n_30d)
    f["customer_spent_24h"] = np.log1p(customer.total(cents, DAY_S) / mean_30d)
    f["customer_pause"] = _log_pause(t, customer.previous(t, -30 * DAY_S))

    # The card.
    for name, span_s in (("10min", 10 * MINUTE_S), ("1h", HOUR_S), ("24h", DAY_S)):
        f[f"card_count_{name}"] = np.log1p(card.count(span_s))
    f["card_spent_1h"] = np.log1p(card.total(cents, HOUR_S) / mean_30d)
    f["card_pause"] = _log_pause(t, card.previous(t, -30 * DAY_S))
    small = (cents < 600).astype(np.int64)
    f["card_small_amounts_1h"] = np.log1p(card.total(small, HOUR_S))
    new_here = (visits.count() == 0).astype(np.int64)
    f["card_new_terminals_24h"] = np.log1p(card.total(new_here, DAY_S))

    # The terminal, and what has been reported about it.
    terminal_mean = (terminal.total(cents, 30 * DAY_S) + _PRIOR_CENTS) / (
        terminal.count(30 * DAY_S) + 1
    )
    f["amount_to_terminal_mean"] = np.log(cents / terminal_mean)
    f["terminal_count_1h"] = np.log1p(terminal.count(HOUR_S))
    f["terminal_trend"] = np.log(
        (terminal.count(7 * DAY_S) + 1) / (terminal.count(56 * DAY_S) / 8 + 1)
    )
    f["terminal_newcomers_7d"] = terminal.total(new_here, 7 * DAY_S) / (
        terminal.count(7 * DAY_S) + 1
    )
    was_reported = stream.reported_s != sim.NEVER_S
    reports = _known(
        stream.terminal[was_reported], stream.reported_s[was_reported], stream.terminal, t,
        28 * DAY_S,
    )  # fmt: skip
    f["terminal_reports_28d"] = np.log1p(reports)
    f["terminal_report_share_28d"] = reports / (terminal.count(28 * DAY_S) + 5)
    reports = _known(
        stream.customer[was_reported], stream.reported_s[was_reported], stream.customer, t,
        28 * DAY_S,
    )  # fmt: skip
    f["customer_reports_28d"] = np.log1p(reports)

    # Places.
    home_km = np.linalg.norm(
        world.home_xy[stream.customer] - world.terminal_xy[stream.terminal], axis=1
    )
    f["home_distance"] = np.where(online, 0, np.log1p(home_km))
    travelled_km, pause_s = _since_last_place(stream, online)
    f["travelled"] = np.log1p(travelled_km)
    f["travel_speed"] = np.log1p(travelled_km / np.maximum(pause_s / HOUR_S, 0.1))
    f["terminal_visits"] = np.log1p(visits.count())

    # The device and the account.
    device_age_s = np.where(online, t - devices.first(t), 90 * DAY_S)
    f["device_new"] = (online & (devices.count() == 0)).astype(float)
    f["device_age"] = np.log1p(np.minimum(device_age_s, 90 * DAY_S) / HOUR_S)
    change_s = _seconds_since_event(
        stream.change_customer, np.maximum(stream.change_time_s, 0), stream.customer, t, 60 * DAY_S
    )
    f["contact_change_age"] = np.log1p(change_s / HOUR_S)
    return np.column_stack(list(f.values())).astype(np.float32), tuple(f)


_ELECTRONICS = [i for i, name in enumerate(sim.CATEGORY_NAMES) if "electronics" in name]
_PRIOR_CENTS = (
    3000  # one imagined purchase: what a customer or a terminal without a past counts for
)


def _log_pause(t: np.ndarray, previous_s: np.ndarray) -> np.ndarray:
    return np.log1p(np.minimum(t - previous_s, 30 * DAY_S) / MINUTE_S)


def _since_last_place(stream: sim.Stream, online: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[n] kilometres (0 if online) and seconds since the customer's last card-present row."""
    travelled_km = np.zeros(len(stream))
    pause_s = np.full(len(stream), 30 * DAY_S)
    rows = np.flatnonzero(~online)
    history = History(stream.customer[rows], stream.time_s[rows])
    here = stream.world.terminal_xy[stream.terminal[rows]]
    before = history.previous(here, stream.world.home_xy[stream.customer[rows]])
    travelled_km[rows] = np.linalg.norm(here - before, axis=1)
    pause_s[rows] = np.minimum(
        stream.time_s[rows] - history.previous(stream.time_s[rows], -30 * DAY_S), 30 * DAY_S
    )
    return travelled_km, pause_s
