"""A seeded stream of card transactions with labelled fraud.

Customers live in cities, hold one or two cards, have favourite terminals, travel, buy online from
their own devices and now and then change phones. Thieves follow four patterns (see fraud.py).
Genuine behaviour includes what a fraud model stumbles over: trips, shopping sprees, borrowed
devices, new phones.
"""

from dataclasses import dataclass

import numpy as np

HOUR_S = 3600
DAY_S = 24 * HOUR_S
NEVER_S = np.iinfo(np.int64).max  # a time that never comes
NO_DEVICE = -1  # card-present transactions show no device

PATTERNS = (
    "genuine",
    "stolen card",
    "compromised terminal",
    "account take-over",
    "velocity burst",
)
GENUINE, STOLEN_CARD, COMPROMISED_TERMINAL, ACCOUNT_TAKE_OVER, VELOCITY_BURST = range(5)

# name, share of terminals, online, median of amount / customer's scale
CATEGORIES = (
    ("grocery", 0.24, False, 0.9),
    ("restaurant", 0.22, False, 0.8),
    ("fuel", 0.09, False, 1.4),
    ("fashion", 0.12, False, 1.9),
    ("electronics", 0.06, False, 4.5),
    ("travel", 0.05, False, 5.0),
    ("cash machine", 0.08, False, 2.4),
    ("online retail", 0.07, True, 1.4),
    ("online digital", 0.04, True, 0.4),
    ("online electronics", 0.03, True, 4.0),
)
CATEGORY_NAMES = tuple(name for name, _, _, _ in CATEGORIES)
CATEGORY_ONLINE = np.array([online for _, _, online, _ in CATEGORIES])
CATEGORY_SCALE = np.array([scale for _, _, _, scale in CATEGORIES])
CASH = CATEGORY_NAMES.index("cash machine")
MAX_AMOUNT_CENTS = 1_000_000


@dataclass(frozen=True)
class Config:
    """What to simulate. The same values give the same stream."""

    seed: int = 1
    customers: int = 2_500
    terminals: int = 1_500
    days: int = 182
    transactions_per_day: float = 0.7  # mean of a customer
    fraud_incidents_per_customer_day: float = 1 / 1_500


@dataclass(frozen=True)
class World:
    """Who and what exists; index = id. Places are kilometres on a plane."""

    city_xy: np.ndarray  # [cities, 2]
    home_city: np.ndarray  # [customers]
    home_xy: np.ndarray  # [customers, 2]
    scale_cents: np.ndarray  # [customers] a usual amount
    card_customer: np.ndarray  # [cards] who holds it; a customer's cards are neighbours
    first_card: (
        np.ndarray
    )  # [customers + 1] so customer c holds cards first_card[c] ... first_card[c + 1] - 1
    terminal_category: np.ndarray  # [terminals]
    terminal_city: np.ndarray  # [terminals]
    terminal_xy: np.ndarray  # [terminals, 2]; of no meaning where the category is online
    popularity: np.ndarray  # [terminals]

    @property
    def terminal_online(self) -> np.ndarray:
        return CATEGORY_ONLINE[self.terminal_category]


@dataclass(frozen=True)
class Stream:
    """Transactions in order of time (one row each), and what the bank learns beside them."""

    world: World
    time_s: np.ndarray  # int64, since the first midnight, a Monday
    customer: np.ndarray
    card: np.ndarray
    terminal: np.ndarray
    device: np.ndarray  # NO_DEVICE where the card was present
    amount_cents: np.ndarray  # int64
    pattern: np.ndarray  # index into PATTERNS; 0 is genuine
    reported_s: np.ndarray  # when the bank learns that it was fraud; NEVER_S where genuine
    change_customer: np.ndarray  # changes of an account's contact data: whose,
    change_time_s: np.ndarray  # and when

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def is_fraud(self) -> np.ndarray:
        return self.pattern != GENUINE


def simulate(config: Config) -> Stream:
    """Draws the world, everyone's genuine transactions, and the thieves'."""
    from . import fraud  # which imports this module

    rng = np.random.default_rng(config.seed)
    world = _draw_world(rng, config)
    genuine = _genuine(rng, config, world)
    change_customer, change_time_s = _contact_changes(rng, config)
    incidents = fraud.draw(rng, config, world, genuine)

    rows = {name: np.concatenate([genuine[name], incidents.rows[name]]) for name in genuine}
    inside = (rows["time_s"] >= 0) & (rows["time_s"] < config.days * DAY_S)
    order = np.flatnonzero(inside)[np.argsort(rows["time_s"][inside], kind="stable")]
    rows = {name: column[order] for name, column in rows.items()}
    delay_s = (DAY_S * (1 + rng.exponential(4.0, len(order)))).astype(np.int64)
    is_fraud = rows["pattern"] != GENUINE
    return Stream(
        world=world,
        reported_s=np.where(is_fraud, rows["time_s"] + delay_s, NEVER_S),
        change_customer=np.concatenate([change_customer, incidents.change_customer]),
        change_time_s=np.concatenate([change_time_s, incidents.change_time_s]),
        **rows,
    )


def amounts_cents(
    rng: np.random.Generator, world: World, customer: np.ndarray, terminal: np.ndarray, spread=0.55
) -> np.ndarray:
    """Amounts as the customer spends at such a terminal; cash comes in notes of ten."""
    category = world.terminal_category[terminal]
    median = world.scale_cents[customer] * CATEGORY_SCALE[category]
    cents = median * rng.lognormal(0.0, spread, len(customer))
    cents = np.where(category == CASH, np.ceil(cents / 1000) * 1000, cents)
    return np.clip(cents, 50, MAX_AMOUNT_CENTS).astype(np.int64)


def hours_of_day_s(rng: np.random.Generator, n: int) -> np.ndarray:
    """Seconds since midnight of n purchases: morning, noon, evening, late."""
    part = rng.choice(4, n, p=(0.18, 0.30, 0.42, 0.10))
    centre = np.array([9.0, 13.0, 18.5, 22.5])[part]
    width = np.array([1.3, 1.6, 1.9, 2.2])[part]
    return (rng.normal(centre, width) % 24 * HOUR_S).astype(np.int64)


def own_device(customer: np.ndarray, slot: np.ndarray) -> np.ndarray:
    """Customer c owns devices 8 c to 8 c + 7; foreign ones have larger numbers."""
    return customer * 8 + slot


def _draw_world(rng: np.random.Generator, config: Config) -> World:
    cities = 9
    city_xy = rng.uniform((0, 0), (600, 400), (cities, 2))
    city_share = rng.dirichlet(np.full(cities, 4.0))
    home_city = rng.choice(cities, config.customers, p=city_share)
    cards_held = 1 + (rng.random(config.customers) < 0.4)
    terminal_city = rng.choice(cities, config.terminals, p=city_share)
    shares = np.array([share for _, share, _, _ in CATEGORIES])
    return World(
        city_xy=city_xy,
        home_city=home_city,
        home_xy=city_xy[home_city] + rng.normal(0, 6, (config.customers, 2)),
        scale_cents=rng.lognormal(np.log(2200), 0.45, config.customers),
        card_customer=np.repeat(np.arange(config.customers), cards_held),
        first_card=np.concatenate([[0], np.cumsum(cards_held)]),
        terminal_category=rng.choice(len(CATEGORIES), config.terminals, p=shares / shares.sum()),
        terminal_city=terminal_city,
        terminal_xy=city_xy[terminal_city] + rng.normal(0, 6, (config.terminals, 2)),
        popularity=rng.pareto(1.5, config.terminals) + 0.2,
    )


def _weighted_order(rng: np.random.Generator, weights: np.ndarray, k: int) -> np.ndarray:
    """For each row of weights, k different columns drawn in proportion to them (Gumbel's trick)."""
    with np.errstate(divide="ignore"):
        keys = np.log(weights) + rng.gumbel(size=weights.shape)
    return np.argsort(-keys, axis=1)[:, :k]


def _genuine(rng: np.random.Generator, config: Config, world: World) -> dict[str, np.ndarray]:
    rate = rng.gamma(4.0, config.transactions_per_day / 4.0, config.customers)
    customer = np.repeat(np.arange(config.customers), rng.poisson(rate * config.days))
    weekday_share = np.array([0.9, 0.9, 0.95, 1.0, 1.2, 1.3, 0.75])[np.arange(config.days) % 7]
    day = rng.choice(config.days, len(customer), p=weekday_share / weekday_share.sum())
    habit_s = rng.normal(0, 1.0, config.customers) * HOUR_S
    second = (hours_of_day_s(rng, len(customer)) + habit_s[customer].astype(np.int64)) % DAY_S
    time_s = day * DAY_S + second

    # A spree: several purchases after one another.
    parent = np.flatnonzero(rng.random(len(customer)) < 0.03)
    parent = np.repeat(parent, rng.integers(1, 5, len(parent)))
    time_s = np.concatenate([time_s, time_s[parent] + rng.integers(120, 2 * HOUR_S, len(parent))])
    customer = np.concatenate([customer, customer[parent]])

    online_share = rng.beta(2, 6, config.customers)
    online = rng.random(len(customer)) < online_share[customer]
    terminal = np.where(
        online,
        _choose_online(rng, config, world, customer),
        _choose_present(rng, config, world, customer, time_s // DAY_S),
    )
    amount = amounts_cents(rng, world, customer, terminal)
    splurge = rng.random(len(customer)) < 0.01
    amount = np.where(splurge, amount * rng.integers(2, 8, len(customer)), amount)
    second_card = rng.random(len(customer)) < 0.25
    last_card = world.first_card[customer + 1] - 1
    return {
        "time_s": time_s,
        "customer": customer,
        "card": np.where(second_card, last_card, world.first_card[customer]),
        "terminal": terminal,
        "device": np.where(online, _choose_device(rng, config, customer, time_s), NO_DEVICE),
        "amount_cents": np.clip(amount, 50, MAX_AMOUNT_CENTS),
        "pattern": np.full(len(customer), GENUINE),
    }


def _choose_present(
    rng: np.random.Generator, config: Config, world: World, customer: np.ndarray, day: np.ndarray
) -> np.ndarray:
    """Favourites near home mostly; any in the own city at times; another city's while on a trip."""
    shops = np.flatnonzero(~world.terminal_online)
    gap_km = np.linalg.norm(world.home_xy[:, None] - world.terminal_xy[None, shops], axis=2)
    weights = world.popularity[shops] * np.exp(-gap_km / 5)
    favourites = shops[_weighted_order(rng, weights, min(25, len(shops)))]
    rank = (favourites.shape[1] * rng.random(len(customer)) ** 2).astype(np.int64)
    chosen = favourites[customer, rank]

    trip_city = rng.integers(0, len(world.city_xy), config.customers)
    trip_start = rng.uniform(0, config.days, config.customers)
    trip_days = rng.integers(2, 12, config.customers)
    on_trip = (day >= trip_start[customer]) & (day < (trip_start + trip_days)[customer])
    wanders = on_trip | (rng.random(len(customer)) < 0.08)
    city = np.where(on_trip, trip_city[customer], world.home_city[customer])
    return np.where(wanders, terminals_in(rng, world, city), chosen)


def terminals_in(rng: np.random.Generator, world: World, city: np.ndarray) -> np.ndarray:
    """A shop in each given city (anywhere, if that city has none), popular ones more often."""
    shops = np.flatnonzero(~world.terminal_online)
    chosen = np.empty(len(city), np.int64)
    for c in np.unique(city):
        here = shops[world.terminal_city[shops] == c]
        here = here if len(here) else shops
        share = world.popularity[here] / world.popularity[here].sum()
        chosen[city == c] = rng.choice(here, np.count_nonzero(city == c), p=share)
    return chosen


def _choose_online(
    rng: np.random.Generator, config: Config, world: World, customer: np.ndarray
) -> np.ndarray:
    sites = np.flatnonzero(world.terminal_online)
    weights = np.broadcast_to(world.popularity[sites], (config.customers, len(sites)))
    favourites = sites[_weighted_order(rng, weights, min(8, len(sites)))]
    usual = favourites[customer, rng.integers(0, favourites.shape[1], len(customer))]
    return np.where(rng.random(len(customer)) < 0.1, rng.choice(sites, len(customer)), usual)


def _choose_device(
    rng: np.random.Generator, config: Config, customer: np.ndarray, time_s: np.ndarray
) -> np.ndarray:
    """A phone, perhaps a computer, a new phone once, a borrowed device now and then."""
    has_second = rng.random(config.customers) < 0.5
    new_phone_s = rng.uniform(0, 3 * config.days * DAY_S, config.customers)
    on_second = has_second[customer] & (rng.random(len(customer)) < 0.3)
    slot = np.where(on_second, 1, np.where(time_s >= new_phone_s[customer], 2, 0))
    borrowed = foreign_device(config, rng.integers(0, 1 << 30, len(customer)))
    return np.where(rng.random(len(customer)) < 0.02, borrowed, own_device(customer, slot))


def foreign_device(config: Config, number: np.ndarray) -> np.ndarray:
    """A device that is no customer's own."""
    return config.customers * 8 + number


def _contact_changes(rng: np.random.Generator, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Genuine changes of address, number or password: about one a customer and year."""
    customer = np.repeat(
        np.arange(config.customers), rng.poisson(config.days / 365, config.customers)
    )
    return customer, rng.integers(0, config.days * DAY_S, len(customer))
