"""`verdict health`: what a container's health check runs, against servers that live, load, and hang."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
from collections.abc import Iterator

import pytest
from serving import BINARY, Server, free_ports
from test_security import Authority, authority, tls_settings  # noqa: F401


def health(*arguments: object,
           environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BINARY, "health", *map(str, arguments)], capture_output=True, text=True,
                          timeout=60, check=False, env=os.environ | (environment or {}))


@pytest.fixture
def start(small_repository: pathlib.Path, tmp_path: pathlib.Path) -> Iterator:
    running: list[Server] = []

    def one(*flags: object) -> Server:
        running.append(Server(small_repository, tmp_path / "log", "--drain-ms", 0, *flags))
        return running[-1]

    yield one
    for server in running:
        assert server.stop() == 0, server.log()


def test_a_server_that_lives(start) -> None:
    """Found by flag, by environment, and by file; a proxy of the environment is not asked."""
    server = start()
    done = health("--http-port", server.port)
    assert (done.returncode, done.stdout, done.stderr) == (0, "live\n", "")
    for setting in ({"VERDICT_HTTP_PORT": str(server.port)},
                    {"VERDICT_HTTP_PORT": str(server.port), "VERDICT_HTTP_HOST": "127.0.0.1",
                     "http_proxy": "http://127.0.0.1:9"}):
        assert health("--ready", environment=setting).stdout == "ready\n"


def test_the_port_of_the_servers_file(start, tmp_path: pathlib.Path) -> None:
    server = start()
    config = tmp_path / "server.yaml"
    config.write_text(f"http: {{port: {server.port}}}\n")
    assert health("--config", config).returncode == 0
    config.write_text("http: {prot: 1}\n")
    wrong = health("--config", config)
    assert wrong.returncode == 1 and "did you mean 'port'?" in wrong.stderr


def test_no_model_is_live_but_not_ready(start) -> None:
    server = start("--set", "repository.mode=explicit")
    assert health("--http-port", server.port).returncode == 0
    waiting = health("--http-port", server.port, "--ready")
    assert waiting.returncode == 1 and "/v2/health/ready answers 503" in waiting.stderr


def test_a_server_that_hangs_and_one_that_is_gone(start) -> None:
    server = start()
    server.process.send_signal(signal.SIGSTOP)
    try:
        hangs = health("--http-port", server.port, "--timeout-ms", 200)
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert hangs.returncode == 1 and "timed out" in hangs.stderr
    gone = health("--http-port", free_ports(1)[0])
    assert gone.returncode == 1 and "Failed to connect" in gone.stderr


def test_a_server_with_tls(start, authority: Authority) -> None:  # noqa: F811
    certificate = authority.issue("server", "DNS:elsewhere")
    server = start(*tls_settings(certificate))
    environment = {"VERDICT_TLS_CERTIFICATE": str(certificate[0]),
                   "VERDICT_TLS_KEY": str(certificate[1])}
    assert health("--http-port", server.port, environment=environment).stdout == "live\n"
    assert health("--http-port", server.port).returncode == 1  # without TLS


def test_a_server_that_asks_for_certificates(start, authority: Authority,  # noqa: F811
                                             tmp_path: pathlib.Path) -> None:
    """The server's own does if its authority is the clients'; else it says what to give."""
    certificate = authority.issue("server", "DNS:elsewhere")
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    for ca, works in ((authority.certificate, True), (other.certificate, False)):
        server = start(*tls_settings(certificate, client_ca=ca, client_auth="required"))
        environment = {"VERDICT_TLS_CERTIFICATE": str(certificate[0]),
                       "VERDICT_TLS_KEY": str(certificate[1]), "VERDICT_TLS_CLIENT_CA": str(ca),
                       "VERDICT_TLS_CLIENT_AUTH": "required"}
        arguments = ("--http-port", server.port)
        done = health(*arguments, environment=environment)
        assert done.returncode == (0 if works else 1), done.stderr
        if not works:
            assert "give --cert and --key" in done.stderr
            shown = other.issue("probe")
            arguments += ("--cert", shown[0], "--key", shown[1])
            assert health(*arguments, environment=environment).returncode == 0


def test_a_port_that_the_server_picks_must_be_said() -> None:
    done = health(environment={"VERDICT_HTTP_PORT": "0"})
    assert done.returncode == 1 and "--http-port" in done.stderr
