"""How the server talks to those who run it: its log, its settings, and the service manager."""

from __future__ import annotations

import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest
import tritonclient.http as triton
from serving import BINARY, Client, Server, get, post, wait_for
from slow_model import build_slow
from tritonclient.utils import InferenceServerException

TEXT_LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d (debug|info|warning|error) .+")
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def own(small_repository: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[Server]:
    """A server whose settings the test may change."""
    running = Server(small_repository, tmp_path / "log", "--drain-ms", 0)
    yield running
    assert running.stop() == 0, running.log()


def test_every_line_of_the_text_log_has_time_and_level(server: Server) -> None:
    lines = server.log().splitlines()
    assert lines
    for line in lines:
        assert TEXT_LINE.fullmatch(line), line


def test_json_log_has_an_object_a_line(
    repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    running = Server(repository, tmp_path / "log", "--drain-ms", 0, "--set", "log.format=json")
    assert running.stop() == 0
    lines = [json.loads(line) for line in running.log().splitlines()]
    assert all(STAMP.fullmatch(line["ts"]) for line in lines)
    assert all(line["level"] in ("info", "warning", "error") for line in lines)
    refused = [line for line in lines if "is not served" in line["msg"]]
    assert {(line["model"], line["version"]) for line in refused} == {
        ("half-broken", "2"), ("broken", "1"), ("broken", "2")}
    ready = next(line for line in lines if "model gru version 7 is ready" in line["msg"])
    assert (ready["level"], ready["model"], ready["version"]) == ("info", "gru", "7")


def test_log_settings_change_while_it_runs(own: Server) -> None:
    with triton.InferenceServerClient(own.admin_address) as client:
        before = client.get_log_settings()
        assert before == {"log_file": "", "log_info": True, "log_warning": True,
                          "log_error": True, "log_verbose_level": 0, "log_format": "ISO8601"}
        refused = "/v2/models/none/ready"
        assert own.ask(get(refused + "?card=4929")).code == 404
        assert refused not in own.log()
        after = client.update_log_settings({"log_verbose_level": 1, "log_format": "json"})
        assert after == dict(before, log_verbose_level=1, log_format="json")
        assert own.ask(get(refused + "?card=4929")).code == 404
        wait_for(lambda: refused in own.log(), "the refused request in the log")
        last = json.loads(own.log().splitlines()[-1])
        assert last["level"] == "debug" and last["msg"] == f"{refused}: 404 NOT_FOUND"
        with pytest.raises(InferenceServerException, match="log_file cannot be changed"):
            client.update_log_settings({"log_info": False, "log_file": "x"})
        assert client.get_log_settings() == after
        client.update_log_settings({"log_info": False, "log_verbose_level": 0})
    assert own.stop() == 0
    assert "SIGTERM" not in own.log()  # that line is an info


def test_what_a_request_holds_is_never_logged(own: Server) -> None:
    secret = 8675309.5
    with triton.InferenceServerClient(own.admin_address) as client:
        client.update_log_settings({"log_verbose_level": 2})
    for data in ([secret] * 10, [secret] * 11, [secret, "x"]):
        body = {"id": str(secret), "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [1, 10], "data": data}]}
        own.ask(post("/v2/models/fraud/infer?card=8675309", body))
    assert own.stop() == 0
    assert "/v2/models/fraud/infer: 400 INVALID_ARGUMENT" in own.log()
    assert "8675309" not in own.log()


class Manager:
    """A service manager's notification socket."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(20)

    def waiting(self) -> bool:
        """Whether there is a message."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def received(self) -> list[str]:
        return self._socket.recv(4096).decode().split("\n")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: pathlib.Path) -> Iterator[Manager]:
    listening = Manager(tmp_path / "notify")
    yield listening
    listening.close()


def start(repository: pathlib.Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(BINARY), "serve", "--repository", str(repository), "--host", "127.0.0.1",
         "--http-port", "0", "--metrics-port", "0", "--drain-ms", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment)


def test_the_service_manager_is_told(
    small_repository: pathlib.Path, manager: Manager
) -> None:
    process = start(small_repository, NOTIFY_SOCKET=str(manager.path), WATCHDOG_USEC="400000")
    try:
        assert manager.received() == ["READY=1", "STATUS=serving"]
        for _ in range(3):  # again and again, within the time the watchdog allows
            assert manager.received() == ["WATCHDOG=1"]
        process.send_signal(signal.SIGTERM)
        message = ["WATCHDOG=1"]
        while message == ["WATCHDOG=1"]:
            message = manager.received()
        assert message[0] == "STOPPING=1"
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_reload_during_the_start_does_not_end_it(
    tmp_path: pathlib.Path, manager: Manager
) -> None:
    """SIGHUP while models are loaded: they go on being loaded, and only then is it ready."""
    root = tmp_path / "repository"
    build_slow(root / "m0" / "1" / "model.engine")
    for i in range(1, 10):
        shutil.copytree(root / "m0", root / f"m{i}")
    config = tmp_path / "server.yaml"
    config.write_text("repository: {mode: poll}\nadmin: {port: 0}\ngrpc: {port: 0}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [str(BINARY), "serve", "--config", str(config), "--repository", str(root), "--host",
         "127.0.0.1", "--http-port", str(port), "--metrics-port", "0", "--drain-ms", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"NOTIFY_SOCKET": str(manager.path)})

    def code(target: str) -> int:
        try:
            client = Client(port)
        except OSError:
            return 0
        answer = client.ask(get(target)).code
        client.close()
        return answer

    try:
        wait_for(lambda: code("/v2/health/live") == 200, "it is live")
        assert code("/v2/models/m9/ready") == 503, "the last is loaded already: too late a signal"
        process.send_signal(signal.SIGHUP)
        # Not "reloading", nor ready by what the signal did.
        assert manager.received() == ["READY=1", "STATUS=serving"]
        assert code("/v2/models/m9/ready") == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        _, errors = process.communicate()
    assert "reloaded" in errors


def test_a_notify_socket_that_is_none_ends_the_start(small_repository: pathlib.Path) -> None:
    process = start(small_repository, NOTIFY_SOCKET="/nowhere/at/all")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "NOTIFY_SOCKET is '/nowhere/at/all'" in errors
