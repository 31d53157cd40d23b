"""A `verdict serve` process on free ports, and clients that send exactly what they are told to."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.request
from collections.abc import Sequence

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
BINARY = pathlib.Path(os.environ.get("TESTED_BINARY", ROOT / "build" / "verdict")).resolve()
START_TIMEOUT_S = 60
ANSWER_TIMEOUT_S = 30


def golden(name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A golden model's inputs and expected outputs."""
    parts = []
    for kind in ("inputs", "outputs"):
        with np.load(GOLDEN / f"{name}.{kind}.npz") as stored:
            parts.append(dict(stored))
    return parts[0], parts[1]


def free_ports(count: int) -> list[int]:
    """All different, on loopback."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in found]


def build(name: str, engine: pathlib.Path, *flags: str) -> None:
    """Builds a golden model's engine."""
    engine.parent.mkdir(parents=True, exist_ok=True)
    command = [BINARY, "build", "--onnx", GOLDEN / f"{name}.onnx", "--saveEngine", engine,
               *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{name}: exit {done.returncode}: {done.stderr.strip()}"


class Server:
    """A running server. Its log is a file, read with log().

    launcher: what the binary is started by; binary and environment: others than the usual; ports: of
    HTTP and gRPC, 0 for a free one; metrics_port: likewise."""

    def __init__(self, repository: pathlib.Path, log: pathlib.Path, *flags: object,
                 launcher: Sequence[str] = (), binary: pathlib.Path = BINARY,
                 environment: dict[str, str] | None = None,
                 ports: tuple[int, int] = (0, 0), metrics_port: int = 0) -> None:
        self._log = log
        command = [*launcher, binary, "serve", "--repository", repository, "--host", "127.0.0.1",
                   "--http-port", ports[0], "--metrics-port", metrics_port,
                   "--grpc-port", ports[1], "--set", "admin.port=0", *flags]
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [str(part) for part in command], stdout=subprocess.PIPE, stderr=stderr, text=True,
                env=environment)
        assert self.process.stdout is not None
        urls = []
        for _ in range(3):
            line = self.process.stdout.readline()
            assert line.startswith("listening on http"), f"{line!r}; log: {self.log()}"
            urls.append(line.split()[2])
        self.url, self.admin_url = urls[0], urls[2]
        self.address = urls[0].split("://")[1]
        self.port = int(self.address.rsplit(":", 1)[1])
        self.metrics_url = urls[1]
        self.admin_address = urls[2].split("://")[1]
        line = self.process.stdout.readline()
        assert line.startswith("listening on ") and line.endswith(" (gRPC)\n"), repr(line)
        self.grpc_address = line.split()[2]

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def metrics(self, fields: dict[str, str] | None = None) -> str:
        """fields: of the request, a token's say."""
        request = urllib.request.Request(self.metrics_url, headers=fields or {})
        with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as response:
            return response.read().decode()

    def metric(self, name_and_labels: str, fields: dict[str, str] | None = None) -> float:
        for line in self.metrics(fields).splitlines():
            if line.startswith(name_and_labels + " "):
                return float(line.rsplit(" ", 1)[1])
        raise KeyError(name_and_labels)

    def resident_bytes(self) -> int:
        return self._memory("VmRSS:")

    def peak_resident_bytes(self) -> int:
        return self._memory("VmHWM:")

    def _memory(self, key: str) -> int:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        kilobytes = next(line for line in status.splitlines() if line.startswith(key))
        return int(kilobytes.split()[1]) * 1024

    def reset_peak_resident_bytes(self) -> None:
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def client(self) -> Client:
        return Client(self.port)

    def ask(self, request: bytes) -> Response:
        """The answer to one request on a connection of its own."""
        client = self.client()
        try:
            client.send(request)
            return client.read()
        finally:
            client.close()

    def stop(self) -> int:
        """Exit status after SIGTERM."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


class Response:
    def __init__(self, code: int, fields: dict[str, str], body: bytes) -> None:
        self.code = code
        self.fields = fields  # names in lower case
        self.body = body

    def json(self) -> dict:
        return json.loads(self.body)

    def error(self) -> str:
        return self.json()["error"]


class Client:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_TIMEOUT_S)
        self._received = b""
        self.answered = False  # for callers to note

    def send(self, data: bytes) -> None:
        """A server that refuses may stop reading: that it did is for read() to tell."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def read(self, has_body: bool = True) -> Response:
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, self._received = self._received.split(b"\r\n\r\n", 1)
        status, *lines = head.decode().split("\r\n")
        fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        length = int(fields.get("content-length", 0)) if has_body else 0
        while len(self._received) < length:
            self._receive()
        body, self._received = self._received[:length], self._received[length:]
        return Response(int(status.split()[1]), fields, body)

    def ask(self, request: bytes) -> Response:
        self.send(request)
        return self.read()

    def closed(self) -> bool:
        """True once the server closes without a further byte."""
        try:
            return self._received == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.socket.close()

    def _receive(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError(f"closed after {self._received!r}")
        self._received += data


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode()


def post(target: str, body: bytes | str | dict, **fields: object) -> bytes:
    if isinstance(body, dict):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    head = f"POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n"
    for name, value in fields.items():
        head += f"{name.replace('_', '-')}: {value}\r\n"
    return head.encode() + b"\r\n" + body


def wait_for(condition, what: str, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.01)
