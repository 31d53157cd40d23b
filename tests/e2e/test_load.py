"""`verdict load`: what it sends, what it measures, and what it makes of odd servers."""

from __future__ import annotations

import json
import os
import pathlib
import pty
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
import xml.etree.ElementTree
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from conftest import SERVED
from serving import BINARY, GOLDEN, Server, golden

TIMEOUT_S = 60
METADATA = json.dumps(
    {"name": "m", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]}
).encode()


def load(*arguments: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [str(part) for part in (BINARY, "load", *arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == status, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def measure(tmp_path: pathlib.Path, *arguments: object, status: int = 0) -> dict:
    """The JSON document of a run."""
    out = tmp_path / "load.json"
    load(*arguments, "--json-out", out, status=status)
    return json.loads(out.read_text())


def check_histogram(histogram: dict) -> None:
    assert sum(count for _, _, count in histogram["buckets"]) == histogram["count"]
    values = [histogram[name] for name in ("min", "p50", "p90", "p95", "p99", "p99.9", "max")]
    assert values == sorted(values)


# Against the real server


def success_count(server: Server, model: str) -> float:
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in server.metrics().splitlines()
        if line.startswith("nv_inference_request_success{") and f'model="{model}"' in line
    )


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_server_has_seen_exactly_what_was_sent(
    server: Server, tmp_path: pathlib.Path, form: list[str]
) -> None:
    before = success_count(server, "fraud")
    result = measure(tmp_path, "--model", "fraud", "--url", server.address, "--warmup", 0,
                     "--requests", 1000, "--concurrency", 8, "--threads", 2,
                     "--server-pid", server.process.pid, *form)  # fmt: skip
    assert success_count(server, "fraud") - before == 1000
    assert result["answers"] == {"200": 1000}
    assert result["requests"] == result["latency_us"]["count"] == 1000
    check_histogram(result["latency_us"])
    assert result["cpu"]["server"]["resident_bytes"] > 1 << 20
    assert result["machine"]["cpus"] >= 1


@pytest.mark.parametrize("model", SERVED)
def test_every_model_takes_random_values(server: Server, tmp_path: pathlib.Path, model: str) -> None:
    result = measure(tmp_path, "--model", model, "--url", server.address, "--warmup", 0,
                     "--requests", 50)  # fmt: skip
    assert result["answers"] == {"200": 50}


def test_an_open_loop_keeps_its_rate(server: Server, tmp_path: pathlib.Path) -> None:
    for arrivals, low, high in (("poisson", 850, 1150), ("constant", 999, 1001)):
        result = measure(tmp_path, "--model", "fraud", "--model-version", 2, "--url",
                         server.address, "--rate", 500, "--duration", 2, "--warmup", 0.2,
                         "--arrivals", arrivals, "--deadline-us", 2_000_000)  # fmt: skip
        assert low <= result["requests"] <= high
        assert result["answers"] == {"200": result["requests"]}
        # From intended times: never below what it took from the sending.
        for percentile in ("p50", "p99", "max"):
            assert result["latency_us"][percentile] >= result["service_us"][percentile] * 0.999
        assert result["goodput_per_s"] == result["throughput_per_s"]
        # As they were given, the rare ones too.
        assert result["flags"]["--rate"] == "500" and result["flags"]["--warmup"] == "0.2"


def test_one_that_never_sleeps_is_no_bottleneck(server: Server, tmp_path: pathlib.Path) -> None:
    result = measure(tmp_path, "--model", "fraud", "--url", server.address, "--rate", 200,
                     "--duration", 1, "--warmup", 0.1, "--spin")  # fmt: skip
    assert result["answers"] == {"200": result["requests"]}
    used = result["cpu"]["generator"]
    assert used["user_s"] + used["kernel_s"] > 0.5
    assert not [warning for warning in result["warnings"] if "bottleneck" in warning]


def test_the_same_seed_sends_the_same_number(server: Server, tmp_path: pathlib.Path) -> None:
    def requests(seed: int) -> int:
        return measure(tmp_path, "--model", "fraud", "--url", server.address, "--rate", 1000,
                       "--duration", 1, "--warmup", 0, "--seed", seed)["requests"]  # fmt: skip

    assert requests(7) == requests(7)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_rows_of_a_file_are_sent_in_turn(
    server: Server, tmp_path: pathlib.Path, form: list[str]
) -> None:
    rows = len(golden("skl_rf_binary")[0]["x"])
    result = measure(tmp_path, "--model", "fraud", "--url", server.address, "--warmup", 0,
                     "--requests", 100, "--batch", 2, *form,
                     "--input-data", GOLDEN / "skl_rf_binary.inputs.npz")  # fmt: skip
    assert result["answers"] == {"200": 100}
    assert f"{rows // 2} different requests" in result["inputs"]


def test_a_shape_is_what_is_sent(server: Server, tmp_path: pathlib.Path) -> None:
    small, large = (
        measure(tmp_path, "--model", "fraud", "--url", server.address, "--warmup", 0,
                "--requests", 20, "--shape", f"x:{batch}x10")["response_bytes"]
        for batch in (1, 50)
    )  # fmt: skip
    assert large > small + 20 * 40 * 8, "a label of 8 bytes a row"
    done = load("--model", "fraud", "--url", server.address, "--shape", "x:1x11", status=1)
    assert "input 'x': [1,11] does not fit the model's [-1,10]" in done.stderr


def test_a_recording_is_replayed_at_its_times(server: Server, tmp_path: pathlib.Path) -> None:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 10], "data": [0.5] * 10}]}
    lines = [{"at_us": 5_000_000, "body": json.dumps(body)}]
    lines += [{"at_us": 5_000_000 + 10_000 * i, **body} for i in range(1, 60)]
    recording = tmp_path / "stream.jsonl"
    recording.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = measure(tmp_path, "--model", "fraud", "--url", server.address, "--replay", recording)
    assert result["answers"] == {"200": 60}
    assert 0.58 < result["measured_s"] < 2
    fast = measure(tmp_path, "--model", "fraud", "--url", server.address, "--replay", recording,
                   "--replay-speed", 10)  # fmt: skip
    assert fast["measured_s"] < result["measured_s"] / 3
    recording.write_text("{\"at_us\": 1}\n")
    done = load("--model", "fraud", "--url", server.address, "--replay", recording, status=1)
    assert "stream.jsonl, line 1: must have either" in done.stderr


def test_the_summary_reads_as_that_of_bench(server: Server) -> None:
    done = load("--model", "fraud", "--url", server.address, "--duration", 0.3, "--warmup", 0.1,
                "--rate", 200, "--deadline-us", 1_000_000,
                "--server-pid", server.process.pid)  # fmt: skip
    for pattern in (
        r"^=== Load summary ===$", r"^Throughput: [\d.]+ qps$", r"^Answers: 200: \d+$",
        r"^Goodput: [\d.]+ qps within 1000\.0 ms, 100\.00 % of the requests$",
        r"^Latency: min = [\d.]+ ms, max = [\d.]+ ms, mean = [\d.]+ ms, median = [\d.]+ ms, "
        r"percentile\(90%\) = [\d.]+ ms, .*percentile\(99\.9%\) = [\d.]+ ms$",
        r"^Server CPU: [\d.]+ us a request \([\d.]+ user \+ [\d.]+ kernel\)",
    ):  # fmt: skip
        assert re.search(pattern, done.stdout, re.MULTILINE), f"{pattern}\n{done.stdout}"
    assert done.stderr == "", "progress is for terminals"


def test_a_terminal_sees_a_line_a_second(server: Server) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(BINARY), "load", "--model", "fraud", "--url", server.address, "--rate", "200",
         "--duration", "2.2", "--warmup", "0"],
        stdout=subprocess.DEVNULL, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    text = b""
    try:
        while chunk := os.read(ours, 4096):
            text += chunk
    except OSError:  # the other side has ended
        pass
    os.close(ours)
    assert process.wait(TIMEOUT_S) == 0
    lines = text.decode().splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r" +1 s +\d+/s  in flight +\d+  p50 .* p99 .* errors 0/s", lines[0])


@pytest.mark.parametrize("name", ["plot.svg", "plot.html"])
def test_the_plot_is_well_formed(server: Server, tmp_path: pathlib.Path, name: str) -> None:
    plot = tmp_path / name
    load("--model", "fraud", "--url", server.address, "--requests", 200, "--warmup", 0,
         "--rate", 2000, "--plot", plot)  # fmt: skip
    text = plot.read_text()
    if name.endswith("html"):
        text = text[text.index("<svg") : text.index("</svg>") + 6]
    svg = xml.etree.ElementTree.fromstring(text)
    assert len(svg.findall(".//{http://www.w3.org/2000/svg}path")) == 2


def test_an_interruption_still_reports(server: Server, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out.json"
    process = subprocess.Popen(
        [str(BINARY), "load", "--model", "fraud", "--url", server.address, "--rate", "300",
         "--duration", "600", "--warmup", "0", "--json-out", str(out)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    assert "Warning: interrupted" in text
    result = json.loads(out.read_text())
    assert result["answers"] == {"200": result["requests"]}
    assert 0.5 < result["measured_s"] < 30


def test_what_the_server_refuses_is_counted_and_fails(server: Server, tmp_path: pathlib.Path) -> None:
    recording = tmp_path / "bad.jsonl"
    recording.write_text('{"at_us": 0, "body": "{}"}\n' * 5)
    arguments = ["--model", "fraud", "--url", server.address, "--replay", recording]
    done = load(*arguments, status=1)
    assert "Answers: 400: 5" in done.stdout
    assert "the first (warm-up included) was 400: {\"error\":" in done.stderr
    load(*arguments, "--allow-status", "200,400")


def test_an_unknown_model_is_said_at_once(server: Server) -> None:
    done = load("--model", "nope", "--url", server.address, status=1)
    assert "answered 404 to GET /v2/models/nope" in done.stderr


# Against odd servers


class OddServer:
    """Answers the metadata; `answer` does the rest with a connection and its request's number."""

    def __init__(
        self, answer: Callable[[socket.socket, int], bool], context: ssl.SSLContext | None = None
    ) -> None:
        self.heads: list[bytes] = []
        self._answer = answer
        self._context = context
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                while head := self._read_head(connection):
                    if head.startswith(b"GET "):
                        connection.sendall(ok(METADATA))
                        continue
                    with self._lock:
                        self.heads.append(head)
                        number = len(self.heads)
                    if not self._answer(connection, number):
                        return
        except OSError:
            pass

    def _read_head(self, connection: socket.socket) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                return b""
            data += more
        head, rest = data.split(b"\r\n\r\n", 1)
        length = re.search(rb"Content-Length: (\d+)", head)
        left = int(length.group(1)) - len(rest) if length else 0
        while left > 0:
            more = connection.recv(left)
            if not more:
                return b""
            left -= len(more)
        return head

    def close(self) -> None:
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # ends the accept() that waits
        except OSError:
            pass  # closed already
        self._listener.close()


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


@pytest.fixture
def odd() -> Iterator[Callable[..., OddServer]]:
    made: list[OddServer] = []

    def make(answer, context=None) -> OddServer:
        made.append(OddServer(answer, context))
        return made[-1]

    yield make
    for server in made:
        server.close()


def test_a_stall_is_not_hidden(odd, tmp_path: pathlib.Path) -> None:
    """400 requests are due while one connection is held up; each counts from its own time."""

    def answer(connection: socket.socket, number: int) -> bool:
        if number == 100:
            time.sleep(0.8)
        connection.sendall(ok(b"{}"))
        return True

    result = measure(tmp_path, "--model", "m", "--url", odd(answer).url, "--rate", 500,
                     "--arrivals", "constant", "--duration", 1.6, "--warmup", 0,
                     "--connections", 1)  # fmt: skip
    late = sum(count for low, _, count in result["latency_us"]["buckets"] if low > 100_000)
    slow = sum(count for low, _, count in result["service_us"]["buckets"] if low > 100_000)
    assert result["requests"] == 800
    assert slow <= 5, "one answer took long"
    assert late >= 340, "those that ought to have been sent meanwhile were late too"
    assert result["waited_for_connection"] >= 340
    assert any("waited for a free connection" in text for text in result["warnings"])


def test_a_connection_closed_midway_is_counted_and_made_again(odd, tmp_path: pathlib.Path) -> None:
    def answer(connection: socket.socket, number: int) -> bool:
        if number % 3 == 1:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            return False
        connection.sendall(ok(b"{}"))
        return True

    server = odd(answer)
    arguments = ["--model", "m", "--url", server.url, "--requests", 90, "--warmup", 0]
    result = measure(tmp_path, *arguments, status=1)
    assert result["answers"] == {"200": 60, "closed": 30}
    # The first answer of a connection being cut off, it is made again after a pause or two.
    assert result["reconnects"] == 30
    server.heads.clear()
    done = load(*arguments, "--allow-status", "200,closed")
    assert "closed: 30" in done.stdout


def test_garbage_is_malformed(odd, tmp_path: pathlib.Path) -> None:
    def answer(connection: socket.socket, number: int) -> bool:
        connection.sendall([b"SSH-2.0-x\r\n\r\n", ok(b"{}") + b"and more"][number % 2])
        return True

    result = measure(tmp_path, "--model", "m", "--url", odd(answer).url, "--requests", 6,
                     "--warmup", 0, "--concurrency", 2, status=1)  # fmt: skip
    assert result["answers"] == {"malformed": 6}


def test_a_head_without_end_takes_bounded_memory(odd, tmp_path: pathlib.Path) -> None:
    def answer(connection: socket.socket, number: int) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X: " + b"x" * 60_000 + b"\r\n")

    result = measure(tmp_path, "--model", "m", "--url", odd(answer).url, "--requests", 2,
                     "--warmup", 0, status=1)  # fmt: skip
    assert result["answers"] == {"malformed": 2}
    assert result["cpu"]["generator"]["resident_bytes"] < 256 << 20


def test_no_answer_is_a_timeout_and_counts_as_slow(odd, tmp_path: pathlib.Path) -> None:
    def answer(connection: socket.socket, number: int) -> bool:
        if number % 2 == 0:
            time.sleep(5)
        connection.sendall(ok(b"{}"))
        return True

    result = measure(tmp_path, "--model", "m", "--url", odd(answer).url, "--requests", 6,
                     "--warmup", 0, "--timeout-ms", 200, status=1)  # fmt: skip
    assert result["answers"] == {"200": 3, "timeout": 3}
    assert result["latency_us"]["count"] == 6
    assert result["latency_us"]["p90"] >= 200_000


def test_a_server_that_goes_away_is_reported(odd, tmp_path: pathlib.Path) -> None:
    server = odd(lambda connection, number: False)
    threading.Timer(1, server.close).start()
    done = load("--model", "m", "--url", server.url, "--rate", 50, "--duration", 2, "--warmup", 0,
                "--connections", 2, "--timeout-ms", 500, status=1)  # fmt: skip
    assert "closed" in done.stdout
    assert "unanswered" in done.stdout


def test_a_refused_connection_says_what_to_do() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"127.0.0.1:{unused.getsockname()[1]}"
        done = load("--model", "m", "--url", url, status=1)
    assert f"the server at {url} cannot be reached: connect: Connection refused" in done.stderr
    assert "is `verdict serve` running there" in done.stderr


def test_headers_deadline_and_token_are_sent(odd, tmp_path: pathlib.Path) -> None:
    def answer(connection: socket.socket, number: int) -> bool:
        connection.sendall(ok(b"{}"))
        return True

    server = odd(answer)
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    result = measure(tmp_path, "--model", "m", "--url", server.url, "--requests", 2, "--warmup", 0,
                     "--deadline-us", 1500, "--header", "X-A: b", "--header", "X-C: d",
                     "--token-file", token)  # fmt: skip
    lines = server.heads[0].split(b"\r\n")
    for line in (b"Verdict-Deadline-Us:       1500", b"X-A: b", b"X-C: d",
                 b"Authorization: Bearer s3cret"):  # fmt: skip
        assert line in lines
    assert "s3cret" not in json.dumps(result)
    assert "X-A" not in json.dumps(result)
    token.write_text("s3cret\r\nX-Evil: 1")
    done = load("--model", "m", "--url", server.url, "--token-file", token, status=1)
    assert "not a token" in done.stderr
    assert "s3cret" not in done.stderr


# TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """ca.pem, server.pem and server.key for "localhost", client.pem and client.key."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")  # fmt: skip
    for name in ("server", "client"):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")  # fmt: skip
        (folder / "names").write_text("subjectAltName=DNS:localhost")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", "2", "-extfile", "names", "-out",
                f"{name}.pem")  # fmt: skip
    return folder


def test_tls_is_verified_both_ways(odd, certificates: pathlib.Path, tmp_path: pathlib.Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    def answer(connection: socket.socket, number: int) -> bool:
        connection.sendall(ok(b"x" * 200_000))
        return True

    server = odd(answer, context)
    named = "https://" + server.url.replace("127.0.0.1", "localhost")
    trusted = ["--model", "m", "--requests", 20, "--warmup", 0, "--concurrency", 4,
               "--tls-ca", certificates / "ca.pem"]  # fmt: skip
    identity = ["--cert", certificates / "client.pem", "--key", certificates / "client.key"]
    result = measure(tmp_path, *trusted, *identity, "--url", named)
    assert result["answers"] == {"200": 20}
    assert result["response_bytes"] == 20 * 200_000
    done = load(*trusted, *identity, "--url", server.url, status=1)
    assert "IP address mismatch" in done.stderr
    done = load("--model", "m", "--url", named, status=1)
    assert "certificate" in done.stderr
    done = load(*trusted, "--cert", certificates / "client.pem", "--key",
                certificates / "server.key", "--url", named, status=1)  # fmt: skip
    assert "not the certificate's private key" in done.stderr


# Flags


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--rate", "5", "--concurrency", "2"], "give one of --concurrency, --rate and --replay"),
        (["--rate", "nan"], "nan is not a number"),
        (["--rate", "-1"], "--rate"),
        (["--shape", "x:1x"], "--shape: shape 'x:1x'"),
        (["--shape", "x:1", "--input-data", "f"], "either --shape or --input-data"),
        (["--cert", "c"], "--cert and --key together"),
        (["--concurrency", "2", "--connections", "3"], "one request a connection"),
        (["--threads", "2", "--concurrency", "1"], "no more than connections"),
        (["--plot", "p.png"], "must end in .svg or .html"),
        (["--protocol", "smtp"], "--protocol"),
        (["--seeds", "5"], "there is no flag '--seeds'"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], message: str) -> None:
    assert message in load("--model", "m", *arguments, status=2).stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--allow-status", "200,what"], "'what' is no status"),
        (["--url", "localhost:99999"], "--url: 'localhost:99999'"),
        (["--url", "no.such.host.invalid:80"], "does not resolve"),
        (["--header", "Content-Length: 1"], "--header: 'Content-Length: 1'"),
        (["--json-out", "/no/such/folder/x"], "--json-out /no/such/folder/x: there is no folder"),
        (["--tls-ca", "/dev/null"], "--tls-ca"),
    ],
)
def test_wrong_values_are_told_before_anything_is_sent(arguments: list[str], message: str) -> None:
    assert message in load("--model", "m", *arguments, status=1).stderr


def test_all_flags_are_shown_on_demand() -> None:
    done = load("--help-all")
    for flag in ("--seed", "--tls-ca", "--spin", "--rate"):
        assert f"\n  {flag} " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_values_that_json_lacks_are_refused(server: Server, tmp_path: pathlib.Path) -> None:
    rows = tmp_path / "nan.npz"
    np.savez(rows, x=np.full((1, 10), np.nan, np.float32))
    done = load("--model", "fraud", "--url", server.address, "--json", "--input-data", rows,
                status=1)  # fmt: skip
    assert "input 'x' has values that JSON does not carry" in done.stderr
