"""The thieves: four patterns of fraud, drawn over the genuine stream."""

from dataclasses import dataclass

import numpy as np

from . import simulator as sim

# Of all incidents. A compromised terminal brings the most transactions, so it is the rarest.
_SHARES = {
    sim.STOLEN_CARD: 0.47,
    sim.COMPROMISED_TERMINAL: 0.06,
    sim.ACCOUNT_TAKE_OVER: 0.32,
    sim.VELOCITY_BURST: 0.15,
}


@dataclass(frozen=True)
class Incidents:
    rows: dict[str, np.ndarray]  # the columns of Stream that a transaction itself has
    change_customer: np.ndarray  # a thief who takes an account over often changes its contact data
    change_time_s: np.ndarray


def draw(
    rng: np.random.Generator,
    config: sim.Config,
    world: sim.World,
    genuine: dict[str, np.ndarray],
) -> Incidents:
    """Draws all incidents; every pattern occurs, spread over the whole time."""
    expected = config.fraud_incidents_per_customer_day * config.customers * config.days
    count = {p: max(3, round(expected * share)) for p, share in _SHARES.items()}
    take_over, change_customer, change_time_s = _account_take_over(
        rng, config, world, count[sim.ACCOUNT_TAKE_OVER]
    )
    parts = [
        _stolen_card(rng, config, world, count[sim.STOLEN_CARD]),
        _compromised_terminal(rng, config, world, genuine, count[sim.COMPROMISED_TERMINAL]),
        take_over,
        _velocity_burst(rng, config, world, count[sim.VELOCITY_BURST]),
    ]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in genuine}
    return Incidents(rows, change_customer, change_time_s)


def _starts_s(rng: np.random.Generator, config: sim.Config, n: int) -> np.ndarray:
    """Evenly spread over the time, so that the earlier and the later weeks hold every pattern."""
    return ((np.arange(n) + rng.random(n)) / n * config.days * sim.DAY_S).astype(np.int64)


def _rows(time_s, customer, card, terminal, device, amount_cents, pattern) -> dict[str, np.ndarray]:
    return {
        "time_s": time_s.astype(np.int64),
        "customer": customer,
        "card": card,
        "terminal": terminal,
        "device": device,
        "amount_cents": np.clip(amount_cents, 50, sim.MAX_AMOUNT_CENTS).astype(np.int64),
        "pattern": np.full(len(time_s), pattern),
    }


def _stolen_card(rng: np.random.Generator, config: sim.Config, world: sim.World, n: int):
    """Someone else spends with the card, fast and high, until it is blocked hours or days later."""
    card_of = rng.integers(0, len(world.card_customer), n)
    start_s = _starts_s(rng, config, n)
    until_blocked_s = rng.lognormal(np.log(14 * sim.HOUR_S), 0.7, n)
    local = rng.random(n) < 0.6
    elsewhere = rng.integers(0, len(world.city_xy), n)
    city_of = np.where(local, world.home_city[world.card_customer[card_of]], elsewhere)

    incident = np.repeat(np.arange(n), rng.integers(3, 12, n))
    card, m = card_of[incident], len(incident)
    customer = world.card_customer[card]
    online = rng.random(m) < 0.25
    sites = np.flatnonzero(world.terminal_online)
    shop = sim.terminals_in(rng, world, city_of[incident])
    terminal = np.where(online, rng.choice(sites, m), shop)
    device = np.where(online, sim.foreign_device(config, (1 << 30) + incident), sim.NO_DEVICE)
    greed = rng.uniform(0.7, 4.0, m)
    return _rows(
        start_s[incident] + until_blocked_s[incident] * rng.random(m),
        customer,
        card,
        terminal,
        device,
        sim.amounts_cents(rng, world, customer, terminal) * greed,
        sim.STOLEN_CARD,
    )


def _compromised_terminal(
    rng: np.random.Generator,
    config: sim.Config,
    world: sim.World,
    genuine: dict[str, np.ndarray],
    n: int,
):
    """For weeks, cards that were copied at a terminal are spent there, at nearly usual amounts."""
    count = np.bincount(genuine["terminal"], minlength=config.terminals)
    count[world.terminal_online] = 0
    candidates = np.argsort(-count)[: max(n, np.count_nonzero(count >= 20))]
    terminal_of = rng.choice(candidates, n, replace=len(candidates) < n)
    first_day = _starts_s(rng, config, n) // sim.DAY_S
    days = rng.integers(8, 25, n)

    incident = np.repeat(np.arange(n), rng.poisson(2.5 * days))
    victim = np.empty(len(incident), np.int64)  # a row of the genuine stream
    for i in range(n):
        visits = np.flatnonzero(genuine["terminal"] == terminal_of[i])
        copied = visits[genuine["time_s"][visits] < first_day[i] * sim.DAY_S]
        copied = copied if len(copied) else visits  # nobody came before
        victim[incident == i] = rng.choice(copied, np.count_nonzero(incident == i))
    day = first_day[incident] + rng.integers(0, days[incident])
    customer, terminal = genuine["customer"][victim], terminal_of[incident]
    amount = sim.amounts_cents(rng, world, customer, terminal)
    return _rows(
        day * sim.DAY_S + sim.hours_of_day_s(rng, len(incident)),
        customer,
        genuine["card"][victim],
        terminal,
        np.full(len(incident), sim.NO_DEVICE),
        amount * rng.uniform(0.9, 2.2, len(incident)),
        sim.COMPROMISED_TERMINAL,
    )


def _account_take_over(rng: np.random.Generator, config: sim.Config, world: sim.World, n: int):
    """Logs in as the customer, often changes the contact data, then buys ever larger."""
    customer_of = rng.integers(0, config.customers, n)
    start_s = _starts_s(rng, config, n)
    lasts_s = rng.uniform(0.3, 8, n) * sim.DAY_S
    remote_control = rng.random(n) < 0.35  # acts from the customer's own device
    changes = rng.random(n) < 0.65

    incident = np.repeat(np.arange(n), rng.integers(3, 13, n))
    customer, m = customer_of[incident], len(incident)
    progress = rng.random(m)
    cards_held = np.diff(world.first_card)[customer]
    terminal = rng.choice(np.flatnonzero(world.terminal_online), m)
    ramp = 0.15 + 4.5 * progress**1.5
    rows = _rows(
        start_s[incident] + lasts_s[incident] * progress,
        customer,
        world.first_card[customer] + rng.integers(0, cards_held),
        terminal,
        np.where(
            remote_control[incident],
            sim.own_device(customer, np.zeros(m, np.int64)),
            sim.foreign_device(config, (1 << 31) + incident),
        ),
        sim.amounts_cents(rng, world, customer, terminal, spread=0.3) * ramp,
        sim.ACCOUNT_TAKE_OVER,
    )
    change_s = start_s[changes] - rng.integers(60, 6 * sim.HOUR_S, np.count_nonzero(changes))
    return rows, customer_of[changes], change_s


def _velocity_burst(rng: np.random.Generator, config: sim.Config, world: sim.World, n: int):
    """A stolen number is tried out: dozens of tiny payments within minutes, then one or two big."""
    card_of = rng.integers(0, len(world.card_customer), n)
    start_s = _starts_s(rng, config, n)
    lasts_s = rng.uniform(6, 45, n) * 60
    tries = rng.integers(8, 30, n)
    sites = np.flatnonzero(world.terminal_online)
    site_of = rng.choice(sites, (n, 3))

    incident = np.repeat(np.arange(n), tries)
    card, m = card_of[incident], len(incident)
    customer = world.card_customer[card]
    nth = np.arange(m) - np.repeat(np.cumsum(tries) - tries, tries)
    at_end = nth >= tries[incident] - rng.integers(1, 3, n)[incident]
    position = (nth + rng.random(m)) / tries[incident]
    terminal = site_of[incident, rng.integers(0, 3, m)]
    big = sim.amounts_cents(rng, world, customer, terminal) * rng.uniform(2, 5, m)
    return _rows(
        start_s[incident] + lasts_s[incident] * position,
        customer,
        card,
        terminal,
        sim.foreign_device(config, (3 << 30) + incident),
        np.where(at_end, big, rng.integers(50, 600, m)),
        sim.VELOCITY_BURST,
    )
