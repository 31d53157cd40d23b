"""How the server ends: readiness first, nothing lost, exit status 0. Every test lists the codes it
requires. (Under load: test_scenarios_lifecycle.py.)"""

from __future__ import annotations

import pathlib
import signal
import subprocess
import threading
import time

import grpc
import numpy as np
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from serving import Client, Server, get, golden, post, wait_for
from slow_model import build_slow, slow_request

INFER = "/v2/models/fraud/infer"


def good_request() -> tuple[bytes, list[float]]:
    inputs, expected = golden("skl_lr_binary")
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 10],
                        "data": inputs["x"][0].tolist()}],
            "outputs": [{"name": "probabilities"}]}
    return post(INFER, body), expected["probabilities"][0].tolist()


REQUEST, EXPECTED = good_request()


def right(body: dict) -> bool:
    return bool(np.allclose(body["outputs"][0]["data"], EXPECTED, 1e-5, 1e-5))


def test_requests_under_way_are_answered(
    small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """200 for a request of which a part is here when connections are refused."""
    running = Server(small_repository, tmp_path / "log", "--drain-ms", 0)
    half = running.client()
    half.send(REQUEST[:50])
    wait_for(lambda: running.metric("verdict_http_connections") == 1, "accepted")
    time.sleep(0.1)
    running.process.terminate()

    def refused() -> bool:
        try:
            Client(running.port).close()
            return False
        except OSError:
            return True

    wait_for(refused, "new connections are refused")
    answer = half.ask(REQUEST[50:])
    assert answer.code == 200 and right(answer.json())
    assert half.closed()
    assert running.process.wait(10) == 0


def test_a_closed_terminal_ends_the_server_in_order(
    small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    running = Server(small_repository, tmp_path / "log", "--drain-ms", 300)
    running.process.send_signal(signal.SIGHUP)
    wait_for(lambda: running.ask(get("/v2/health/ready")).code == 503, "readiness fails", 1)
    assert running.ask(REQUEST).code == 200
    assert running.process.wait(10) == 0
    assert "SIGHUP: not ready from now on" in running.log()


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_at_once(
    small_repository: pathlib.Path, tmp_path: pathlib.Path, first: signal.Signals
) -> None:
    # As a shell starts a background job: the child inherits the ignored SIGINT.
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        running = Server(small_repository, tmp_path / "log", "--drain-ms", 60_000)
    finally:
        signal.signal(signal.SIGINT, previous)
    running.process.send_signal(first)
    wait_for(lambda: running.ask(get("/v2/health/ready")).code == 503, "readiness fails")
    running.process.send_signal(first)
    try:
        assert running.process.wait(5) == -first
    except subprocess.TimeoutExpired:
        running.process.kill()
        raise


def test_a_reload_that_comes_too_late_ends_nothing(
    small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """200 while the server drains, whatever a file's rotation sends it; exit status 0."""
    running = Server(small_repository, tmp_path / "log", "--drain-ms", 1000)
    running.process.terminate()
    wait_for(lambda: running.ask(get("/v2/health/ready")).code == 503, "readiness fails")
    for _ in range(3):
        running.process.send_signal(signal.SIGHUP)
        assert running.ask(REQUEST).code == 200
    assert running.process.wait(10) == 0


def test_admin_calls_under_way_are_answered(
    small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """200 for an admin call of which a part is here when connections are refused."""
    running = Server(small_repository, tmp_path / "log", "--drain-ms", 0)
    half = Client(int(running.admin_url.rsplit(":", 1)[1]))
    request = get("/v2/logging")
    half.send(request[:10])
    time.sleep(0.1)
    running.process.terminate()
    time.sleep(0.3)
    assert half.ask(request[10:]).code == 200
    assert running.process.wait(10) == 0


def test_stuck_clients_do_not_hold_the_server(
    small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """A request that never ends is cut after the read timeout: 408, exit status 0."""
    running = Server(small_repository, tmp_path / "log", "--drain-ms", 0, "--read-timeout-s", 1)
    stuck = running.client()
    stuck.send(REQUEST[:50])
    wait_for(lambda: running.metric("verdict_http_connections") == 1, "accepted")
    time.sleep(0.1)
    begin = time.monotonic()
    running.process.terminate()
    assert stuck.read().code == 408
    assert running.process.wait(15) == 0
    assert time.monotonic() - begin < 5


def test_an_open_stream_does_not_hold_the_server(
    small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """A tool that keeps its reflection stream open is told UNAVAILABLE: the server does not wait
    out its patience for it."""
    running = Server(small_repository, tmp_path / "log", "--drain-ms", 0)
    ended = threading.Event()

    def requests():
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        ended.wait(60)

    with grpc.insecure_channel(running.grpc_address) as channel:
        answers = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(requests())
        assert next(answers).list_services_response.service
        begin = time.monotonic()
        running.process.terminate()
        assert running.process.wait(30) == 0
        assert time.monotonic() - begin < 8
        assert answers.code() == grpc.StatusCode.UNAVAILABLE
        assert "shutting down" in answers.details()
        ended.set()


def test_a_run_that_does_not_end_is_ended_by_force(tmp_path: pathlib.Path) -> None:
    """Exit status 3, said in the log, some 15 s after the signal; the run would take longer."""
    root = tmp_path / "repository"
    build_slow(root / "slow" / "1" / "model.engine", layers=1000)  # a minute, on a fast machine
    running = Server(root, tmp_path / "log", "--drain-ms", 0, "--set", "compute.threads=1")
    labels = '{model="slow",version="1"}'
    waiting = "nv_inference_pending_request_count" + labels
    answered = "nv_inference_request_success" + labels

    def waits_on() -> bool:
        """For longer than a small request waits for its own run."""
        for _ in range(10):
            if running.metric(waiting) != 1:
                return False
            time.sleep(0.05)
        return True

    stuck = running.client()
    stuck.send(slow_request("slow", 60_000))
    behind = running.client()
    overtaken = 0  # small requests that were answered before the long one had arrived
    while True:
        behind.send(slow_request("slow", 1))
        wait_for(lambda: waits_on() or running.metric(answered) > overtaken,
                 "one runs, one waits behind it")
        if running.metric(answered) == overtaken:
            break
        assert behind.read().code == 200
        overtaken += 1
    assert running.metric(waiting) == 1
    begin = time.monotonic()
    running.process.terminate()
    assert running.process.wait(40) == 3, running.log()
    assert 12 < time.monotonic() - begin < 30
    assert "ended by force" in running.log()
    assert stuck.closed() and behind.closed()
