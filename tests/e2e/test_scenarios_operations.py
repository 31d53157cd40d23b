"""Scenarios 22, 25 and 28: engines of other machines, models that fail, clocks that jump, processors
that are throttled, workers that hang; under load, on a route."""

from __future__ import annotations

import os
import pathlib
import signal
import threading
from collections.abc import Iterator

import pytest
from rig import Rig
from serving import Server, get, post, wait_for
from test_device_serving import admin
from traffic import Codes, Traffic

FAKETIME = pathlib.Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
# Version 2, and version 1 where it fails.
ROUTE = """
fault_injection: true
routes:
  card-risk:
    rungs: [{model: fraud, version: 2}, {model: fraud, version: 1}]
    breaker: {open_ms: 100, max_open_ms: 400}
deadline: {default_us: 1000000}
"""
BREAKER = 'verdict_breaker_state{route="card-risk",rung="0",model="fraud"}'


def on_a_route(rig: Rig, environment: dict[str, str] | None = None) -> Server:
    rig.put("fraud", 1, rig.engine(1))
    rig.put("fraud", 2, rig.engine(2))
    (rig.root / "fraud" / "config.yaml").write_text("version_policy: {all: {}}\n")
    settings = rig.root.with_name("server.yaml")
    settings.write_text(ROUTE)
    server = rig.start("--config", settings, environment=environment)
    wait_for(lambda: server.ask(get("/v2/models/fraud/versions/2/ready")).code == 200
             and server.ask(get("/v2/models/fraud/versions/1/ready")).code == 200, "both are there")
    return server


def order(server: Server, **fault: object) -> None:
    answer = admin(server, post("/v2/models/fraud/fault", dict(fault)))
    assert answer.code == 200, answer.body


def traffic_of(rig: Rig, server: Server) -> Traffic:
    return Traffic(server, rig.rows({"1": [1], "2": [2]}, "card-risk"))


@pytest.mark.parametrize("kind", ["error", "nan"])
@pytest.mark.scenario(25, required={"200", "OK"})
def test_a_model_that_fails_costs_no_answer(rig: Rig, codes: Codes, kind: str) -> None:
    """The breaker opens, the next rung answers and is named, a probe finds that it is over."""
    server = on_a_route(rig)
    with traffic_of(rig, server) as traffic:
        traffic.wait_for_version(2)
        order(server, kind=kind)
        wait_for(lambda: server.metric(BREAKER) > 0, "the breaker opens")
        traffic.wait_for_version(1)
        assert server.ask(get("/v2/health/live")).code == 200
        order(server, kind="none")
        wait_for(lambda: server.metric(BREAKER) == 0, "it closes")
        before = traffic.answered
        wait_for(lambda: any(o.version == "2" for o in traffic.outcomes[before:]),
                 "version 2 answers again")
    traffic.check(*codes)


@pytest.mark.scenario(28, required={"200", "OK"})
def test_workers_that_hang_cost_no_answer(rig: Rig, codes: Codes) -> None:
    """All that run the first rung, for far longer than any deadline."""
    server = on_a_route(rig)
    with traffic_of(rig, server) as traffic:
        traffic.wait_for_version(2)
        order(server, kind="delay", delay_us=4_000_000)
        traffic.wait_for_version(1)
        traffic.wait_for_more(200)
        order(server, kind="none")
        before = traffic.answered
        wait_for(lambda: any(o.version == "2" for o in traffic.outcomes[before:]),
                 "version 2 answers again")
    traffic.check(*codes)


@pytest.fixture
def throttled(rig: Rig) -> Iterator[None]:
    """Half of the time the server's processor is taken away, for 5 ms each time."""
    stop = threading.Event()

    def throttle() -> None:
        while not stop.wait(0.005):
            if rig.running is None:
                continue
            os.kill(rig.running.process.pid, signal.SIGSTOP)
            stop.wait(0.005)
            os.kill(rig.running.process.pid, signal.SIGCONT)

    thread = threading.Thread(target=throttle)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.scenario(28, required={"200", "OK"},
                      allowed={"503", "UNAVAILABLE", "504", "DEADLINE_EXCEEDED"})
def test_a_throttled_processor_leaves_answers_or_honest_refusals(
        rig: Rig, codes: Codes, throttled: None) -> None:
    server = on_a_route(rig)
    with traffic_of(rig, server) as traffic:
        traffic.wait_for_more(400)
    traffic.check(*codes)
    answered = sum(outcome.succeeded for outcome in traffic.outcomes)
    assert answered > 0.9 * traffic.answered, "the deadline is fifty such pauses away"


@pytest.mark.skipif(not FAKETIME.exists(), reason="libfaketime (package faketime) is not installed")
@pytest.mark.scenario(28, required={"200", "OK"})
def test_a_clock_that_jumps_costs_no_answer(rig: Rig, codes: Codes) -> None:
    """The time of day, a year ahead and a year back: deadlines are kept by another clock."""
    offset = rig.root.with_name("offset")
    offset.write_text("+0\n")
    environment = os.environ | {
        "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    server = on_a_route(rig, environment)
    with traffic_of(rig, server) as traffic:
        traffic.wait_for_more(50)
        for jump in ("+365d", "-365d", "+0"):
            offset.write_text(jump + "\n")
            order(server, kind="none")  # which is logged
            traffic.wait_for_more(100)
    traffic.check(*codes)
    years = {line[:4] for line in server.log().splitlines() if line[:4].isdigit()}
    assert len(years) == 3, f"the clock did not jump: {years}"


@pytest.mark.scenario(22, required={"200", "OK"})
def test_an_engine_built_for_another_processor_is_planned_again(rig: Rig, codes: Codes) -> None:
    """It says so, and answers rightly."""
    environment = os.environ | {"VERDICT_CPU_ISA": "baseline"}
    server = on_a_route(rig, environment)
    with traffic_of(rig, server) as traffic:
        traffic.wait_for_more(100)
    traffic.check(*codes)
    assert "planned again" in server.log(), server.log()
