"""Who may do what: TLS, client certificates, tokens, roles, limits, and what never reaches a log."""

from __future__ import annotations

import datetime
import hashlib
import http.client
import os
import pathlib
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator

import pytest
import tritonclient.http as triton
from serving import ANSWER_TIMEOUT_S, BINARY, Server, get, golden, wait_for
from test_server import check, infer_inputs

TOKENS = {role: f"vdt_hush_of_{role}" for role in ("infer", "admin", "metrics")}
MODEL = "skl_lr_binary"


def openssl(*arguments: object) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr


class Authority:
    """Makes certificates in a folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.certificate = folder / "ca.crt"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", "/CN=test ca", "-days", 2, "-keyout", folder / "ca.key",
                "-out", self.certificate)

    def issue(self, name: str, alternative: str = "DNS:localhost,IP:127.0.0.1", days: int = 2,
              file: str | None = None) -> tuple[pathlib.Path, pathlib.Path]:
        """NAME.crt and NAME.key, each moved into place whole. days <= 0: has expired."""
        file = file or name
        fresh = self.folder / f"{file}.fresh"
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", f"/CN={name}", "-keyout", f"{fresh}.key", "-out", f"{fresh}.csr")
        extensions = self.folder / f"{file}.ext"
        extensions.write_text(f"subjectAltName={alternative}\n")
        openssl("x509", "-req", "-in", f"{fresh}.csr", "-CA", self.certificate, "-CAkey",
                self.folder / "ca.key", "-CAcreateserial", "-days", days, "-extfile", extensions,
                "-out", f"{fresh}.crt")
        made = self.folder / f"{file}.crt", self.folder / f"{file}.key"
        os.replace(f"{fresh}.crt", made[0])
        os.replace(f"{fresh}.key", made[1])
        return made


@pytest.fixture
def authority(tmp_path: pathlib.Path) -> Authority:
    folder = tmp_path / "certificates"
    folder.mkdir()
    return Authority(folder)


def tls_settings(certificate: tuple[pathlib.Path, pathlib.Path], **more: object) -> list[str]:
    keys = {"certificate": certificate[0], "key": certificate[1], "reload_interval_s": 1, **more}
    return [part for key, value in keys.items() for part in ("--set", f"tls.{key}={value}")]


def entry(name: str, token: str, roles: str, more: str = "") -> str:
    digest = hashlib.sha256(token.encode()).hexdigest()
    return f"  - name: {name}\n    sha256: {digest}\n    roles: [{roles}]\n{more}"


@pytest.fixture
def clients_file(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "clients.yaml"
    path.write_text("tokens:\n" + "".join(entry(role, token, role)
                                          for role, token in TOKENS.items()))
    return path


def auth_settings(path: pathlib.Path) -> list[str]:
    return ["--set", f"auth.clients_file={path}"]


@pytest.fixture
def start(small_repository: pathlib.Path, tmp_path: pathlib.Path) -> Iterator:
    running: list[Server] = []

    def begin(*settings: object) -> Server:
        log = tmp_path / f"log.{len(running)}"
        running.append(Server(small_repository, log, "--drain-ms", 0, *settings))
        return running[-1]

    yield begin
    for server in running:
        assert server.stop() == 0, server.log()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def code_of(port: int, verb: str, target: str, fields: dict[str, str] | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request(verb, target, b"{}" if verb == "POST" else None, fields or {})
        return connection.getresponse().status
    finally:
        connection.close()


def trusting(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    return context


def ask(port: int, context: ssl.SSLContext, target: str = "/v2/models/fraud",
        fields: dict[str, str] | None = None) -> int:
    connection = http.client.HTTPSConnection("localhost", port, context=context,
                                             timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", target, headers=fields or {})
        return connection.getresponse().status
    finally:
        connection.close()


def serial(port: int, context: ssl.SSLContext) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_TIMEOUT_S) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
            return wrapped.getpeercert()["serialNumber"]


# TLS


def test_a_client_infers_over_tls(start, authority: Authority) -> None:
    server = start(*tls_settings(authority.issue("server")))
    inputs, expected = golden(MODEL)
    for binary in (False, True):
        with triton.InferenceServerClient(
            f"localhost:{server.port}", ssl=True,
            ssl_context_factory=lambda: trusting(authority)) as client:
            assert client.is_server_ready()
            check(client.infer("fraud", infer_inputs(inputs, binary)), expected)


def test_certificates_are_replaced_under_open_connections(start, authority: Authority) -> None:
    server = start(*tls_settings(authority.issue("server")))
    context = trusting(authority)
    connection = http.client.HTTPSConnection("localhost", server.port, context=context,
                                             timeout=ANSWER_TIMEOUT_S)
    connection.request("GET", "/v2/health/live")
    assert connection.getresponse().read() == b""
    open_socket = connection.sock
    before = serial(server.port, context)
    authority.issue("server")
    wait_for(lambda: serial(server.port, context) != before, "the new certificate is used")
    connection.request("GET", "/v2/models/fraud")
    assert connection.getresponse().status == 200
    assert connection.sock is open_socket
    connection.close()


def test_a_broken_certificate_leaves_the_old_one(start, authority: Authority) -> None:
    server = start(*tls_settings(authority.issue("server")))
    context = trusting(authority)
    before = serial(server.port, context)
    certificate = authority.folder / "server.crt"
    certificate.write_text("not a certificate\n")
    wait_for(lambda: "what was read before stays in use" in server.log(), "the error is logged")
    assert "server.crt: no certificate in PEM form" in server.log()
    assert serial(server.port, context) == before
    authority.issue("other", file="server")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: serial(server.port, context) != before, "SIGHUP reads it again")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_of_tls_are_refused(start, authority: Authority, version) -> None:
    server = start(*tls_settings(authority.issue("server")))
    context = trusting(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with pytest.raises(ssl.SSLError, match="(?i)protocol.version|internal error|unsupported"):
        ask(server.port, context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert ask(server.port, context) == 200


def test_only_good_client_certificates_enter(start, authority: Authority,
                                             tmp_path: pathlib.Path) -> None:
    clients = tmp_path / "clients.yaml"
    clients.write_text("certificates:\n"
                       "  - {name: checkout, subject: 'dns:a.example', roles: [infer]}\n"
                       "  - {name: ops, subject: 'cn:ops', roles: [infer, admin]}\n")
    server = start(*auth_settings(clients), *tls_settings(
        authority.issue("server"), client_ca=authority.certificate, client_auth="required"))

    def answer(certificate, target: str = "/v2/models/fraud") -> int | str:
        context = trusting(authority)
        if certificate is not None:
            context.load_cert_chain(*certificate)
        try:
            return ask(server.port, context, target)
        except (ssl.SSLError, ConnectionError) as error:
            return type(error).__name__

    assert answer(authority.issue("any", "DNS:a.example")) == 200
    assert answer(authority.issue("ops", "DNS:b.example")) == 200
    assert answer(authority.issue("stranger", "DNS:b.example")) == 401
    assert answer(authority.issue("stranger", "DNS:b.example"), "/v2/health/live") == 200
    assert answer(None) in ("SSLError", "ConnectionResetError")
    expired = authority.issue("late", "DNS:a.example", days=-1)
    assert answer(expired) in ("SSLError", "ConnectionResetError")
    (tmp_path / "own").mkdir()
    own = Authority(tmp_path / "own")
    assert answer((own.certificate, own.folder / "ca.key")) in ("SSLError", "ConnectionResetError")
    # At most one such line a second is logged.
    wait_for(lambda: answer(expired) != 200 and "certificate verify failed" in server.log(),
             "the reason is logged")


def test_metrics_tell_of_certificates_and_handshakes(start, authority: Authority) -> None:
    made = authority.issue("server")
    server = start(*tls_settings(made, client_auth="optional", client_ca=authority.certificate))
    for use, path in (("server", made[0]), ("client_ca", authority.certificate)):
        said = server.metric(f'verdict_tls_certificate_expiry_timestamp_seconds{{use="{use}"}}')
        text = subprocess.run(["openssl", "x509", "-in", path, "-noout", "-enddate"],
                              capture_output=True, text=True, timeout=60, check=True).stdout
        assert said == ssl.cert_time_to_seconds(text.strip().removeprefix("notAfter="))
    handshakes = 'verdict_http_tls_handshakes_total{{result="{}"}}'
    assert ask(server.port, trusting(authority)) == 200
    client = server.client()
    client.send(get("/v2/health/live"))
    wait_for(lambda: server.metric(handshakes.format("failure")) == 1, "no TLS is counted")
    client.close()
    assert server.metric(handshakes.format("success")) == 1
    certificate = 'verdict_reloads_total{{files="certificate",result="{}"}}'
    made[0].write_text("broken")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: server.metric(certificate.format("failure")) >= 1, "so are broken files")
    assert server.metric(certificate.format("success")) == 0


def test_plain_text_on_the_encrypted_port_ends_the_connection(start, authority: Authority) -> None:
    server = start(*tls_settings(authority.issue("server")))
    client = server.client()
    client.send(get("/v2/health/live"))
    client.socket.settimeout(ANSWER_TIMEOUT_S)
    try:
        # TLS's alert, which is no HTTP, or nothing.
        assert not client.socket.recv(100).startswith(b"HTTP")
    except ConnectionResetError:
        pass
    wait_for(lambda: "http request" in server.log(), "the reason is logged")
    assert ask(server.port, trusting(authority)) == 200


def test_wrong_files_are_named_before_anything_is_served(
    small_repository: pathlib.Path, authority: Authority, tmp_path: pathlib.Path
) -> None:
    good = authority.issue("server")
    other = authority.issue("other")
    expired = authority.issue("late", days=-1)
    clients = tmp_path / "clients.yaml"
    clients.write_text("tokens:\n  - name: a\n    sha256: vdt_hush\n    roles: [infer]\n")
    cases = [
        (tls_settings((good[0], other[1])), "other.key: is not the key of the certificate"),
        (tls_settings((expired[0], expired[1])), "late.crt: the certificate has expired on"),
        (tls_settings((good[0], tmp_path / "absent")), "absent: cannot open"),
        (auth_settings(clients), "clients.yaml: line 3: sha256: expected 64 hexadecimal digits"),
        (["--set", "admin.host=0.0.0.0"], "would take admin calls from other machines"),
    ]
    for settings, message in cases:
        done = subprocess.run(
            [BINARY, "serve", "--repository", small_repository, "--host", "127.0.0.1",
             "--http-port", "0", "--metrics-port", "0", "--set", "admin.port=0", *settings],
            capture_output=True, text=True, timeout=60)
        assert done.returncode == 1, message
        assert message in done.stderr
        assert "hush" not in done.stderr


# Tokens and roles

OPEN, INFER, ADMIN = "open", "infer", "admin"
ENDPOINTS = [
    ("GET", "/v2/health/live", OPEN),
    ("GET", "/v2/health/ready", OPEN),
    ("GET", "/v2", INFER),
    ("POST", "/v2/models/fraud/infer", INFER),
    ("POST", "/v2/models/fraud/versions/1/infer", INFER),
    ("GET", "/v2/models/stats", INFER),
    ("GET", "/v2/models/fraud", INFER),
    ("GET", "/v2/models/fraud/versions/1", INFER),
    ("GET", "/v2/models/fraud/ready", INFER),
    ("GET", "/v2/models/fraud/versions/1/ready", INFER),
    ("GET", "/v2/models/fraud/config", INFER),
    ("GET", "/v2/models/fraud/versions/1/config", INFER),
    ("GET", "/v2/models/fraud/stats", INFER),
    ("GET", "/v2/models/fraud/versions/1/stats", INFER),
    ("POST", "/v2/repository/index", INFER),
    ("POST", "/v2/repository/models/absent/load", ADMIN),
    ("POST", "/v2/repository/models/absent/unload", ADMIN),
]


def test_every_endpoint_asks_for_its_role(start, clients_file: pathlib.Path) -> None:
    server = start(*auth_settings(clients_file))
    admin_port = int(server.admin_address.rsplit(":", 1)[1])
    metrics_port = int(server.metrics_url.split(":")[2].split("/")[0])
    for port in (server.port, admin_port):
        for verb, target, role in ENDPOINTS:
            for holder, token in TOKENS.items():
                code = code_of(port, verb, target, bearer(token))
                allowed = role in (OPEN, holder)
                assert (code not in (401, 403)) if allowed else (code == 403), (target, holder, code)
            for fields in ({}, bearer("vdt_wrong"), {"Authorization": "Basic eDp5"}):
                code = code_of(port, verb, target, fields)
                assert (code not in (401, 403)) if role == OPEN else (code == 401), (target, code)
    for holder, token in TOKENS.items():
        expected = 200 if holder == "metrics" else 403
        assert code_of(metrics_port, "GET", "/metrics", bearer(token)) == expected
    assert code_of(metrics_port, "GET", "/metrics") == 401


def test_a_refusal_says_how_to_come_in(start, clients_file: pathlib.Path) -> None:
    server = start(*auth_settings(clients_file))
    response = server.ask(get("/v2/models/fraud"))
    assert response.code == 401
    assert response.fields["www-authenticate"] == "Bearer"
    assert "Authorization: Bearer" in response.error()


def test_a_token_ends_when_it_expires_and_the_file_is_read_again(
    start, clients_file: pathlib.Path
) -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=4)
    clients_file.write_text("tokens:\n" + entry(
        "brief", "vdt_brief", "infer", f"    expires: {soon:%Y-%m-%dT%H:%M:%SZ}\n"))
    server = start(*auth_settings(clients_file))

    def answer(token: str) -> int:
        return code_of(server.port, "GET", "/v2/models/fraud", bearer(token))

    assert answer("vdt_brief") == 200
    wait_for(lambda: answer("vdt_brief") == 401, "the token expires")
    assert answer("vdt_new") == 401
    clients_file.write_text("tokens:\n" + entry("new", "vdt_new", "infer"))
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: answer("vdt_new") == 200, "SIGHUP reads the clients file")
    clients_file.write_text("tokens: [")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "clients file: what was read before stays in use" in server.log(), "an error")
    assert answer("vdt_new") == 200


def test_the_command_makes_tokens_that_the_server_takes(start, tmp_path: pathlib.Path) -> None:
    made = subprocess.run([BINARY, "token", "--name", "checkout", "--roles", "infer,metrics",
                           "--expires", "2999-01-01"], capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    token, *rest = made.stdout.splitlines()
    assert token not in "\n".join(rest)
    clients = tmp_path / "clients.yaml"
    clients.write_text("tokens:\n" + "\n".join(rest) + "\n")
    server = start(*auth_settings(clients))
    assert code_of(server.port, "GET", "/v2/models/fraud", bearer(token)) == 200
    for arguments, status, message in [
        (["--name", "a b"], 1, "name: expected"),
        (["--name", "a", "--roles", "root"], 2, "--roles: root not in {infer,admin,metrics}"),
        (["--name", "a", "--expires", "soon"], 2, "--expires: 'soon' is no time"),
        (["--name", "a", "--expires", "2020-01-01"], 2, "--expires: '2020-01-01' is over"),
    ]:
        wrong = subprocess.run([BINARY, "token", *arguments], capture_output=True, text=True,
                               timeout=60)
        assert wrong.returncode == status
        assert message in wrong.stderr
        assert wrong.stdout == ""


def test_secrets_never_reach_the_log(start, authority: Authority,
                                     clients_file: pathlib.Path) -> None:
    server = start(*auth_settings(clients_file), *tls_settings(authority.issue("server")),
                   "--set", "log.level=trace")
    context = trusting(authority)
    for token in (*TOKENS.values(), "vdt_wrong_hush"):
        ask(server.port, context, fields=bearer(token))
        ask(server.port, context, target="/no/such", fields=bearer(token))
    clients_file.write_text("tokens:\n  - name: a\n    sha256: vdt_misplaced_hush\n")
    (authority.folder / "server.key").write_text("vdt_misplaced_hush\n")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: server.log().count("stays in use") >= 2, "both errors are logged")
    assert "hush" not in server.log()
    assert "PRIVATE" not in server.log()


# Without a clients file


def test_admin_calls_have_a_port_of_their_own(start) -> None:
    load = "/v2/repository/models/absent/load"
    server = start()
    admin_port = int(server.admin_address.rsplit(":", 1)[1])
    assert code_of(server.port, "POST", load) == 401
    assert code_of(admin_port, "POST", load) not in (401, 403)
    assert code_of(admin_port, "POST", load, {"Origin": "https://evil.example"}) == 403
    assert code_of(admin_port, "POST", load, {"Sec-Fetch-Site": "cross-site"}) == 403
    assert code_of(server.port, "GET", "/v2/models/fraud", {"Origin": "https://a.example"}) == 200
    like_triton = start("--set", "auth.admin_on_inference_port=true")
    assert code_of(like_triton.port, "POST", load) not in (401, 403)


# Limits


def test_a_client_that_asks_too_much_is_told_when_to_come_again(
    start, tmp_path: pathlib.Path
) -> None:
    clients = tmp_path / "clients.yaml"
    clients.write_text("tokens:\n" + entry("greedy", "vdt_greedy", "infer") +
                       entry("modest", "vdt_modest", "infer"))
    server = start(*auth_settings(clients), "--set", "limits.client.requests_per_s=0.01",
                   "--set", "limits.client.burst=3")

    def request(token: str) -> bytes:
        return (f"GET /v2/models/fraud HTTP/1.1\r\nHost: h\r\n"
                f"Authorization: Bearer {token}\r\n\r\n").encode()

    codes = [server.ask(request("vdt_greedy")) for _ in range(5)]
    assert [response.code for response in codes] == [200, 200, 200, 429, 429]
    assert 90 <= int(codes[-1].fields["retry-after"]) <= 100
    assert server.ask(request("vdt_modest")).code == 200
    assert server.ask(get("/v2/health/live")).code == 200


def test_nobody_sends_a_long_body_before_we_know_who_it_is(
    start, clients_file: pathlib.Path
) -> None:
    server = start(*auth_settings(clients_file))
    head = "POST /v2/models/fraud/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 60000000\r\n"
    client = server.client()
    response = client.ask((head + "\r\n").encode() + b"{" * 100_000)
    assert response.code == 401
    assert response.fields["connection"] == "close"
    client.close()
    client = server.client()
    asked = (head + f"Authorization: Bearer {TOKENS['infer']}\r\nExpect: 100-continue\r\n\r\n")
    assert client.ask(asked.encode()).code == 100
    client.close()
    client = server.client()
    assert client.ask((head + "Expect: 100-continue\r\n\r\n").encode()).code == 401
    client.close()


def test_calls_that_are_open_to_all_take_no_body(start, clients_file: pathlib.Path) -> None:
    server = start(*auth_settings(clients_file))
    head = b"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n"
    for body in (b"Content-Length: 60000000\r\n\r\n" + b"x" * 100_000,
                 b"Transfer-Encoding: chunked\r\n\r\n3938700\r\n" + b"x" * 100_000,
                 b"Content-Length: 60000000\r\nExpect: 100-continue\r\n\r\n",
                 b"Content-Length: 2\r\n\r\n{}"):
        client = server.client()
        assert client.ask(head + body).code == 413
        client.close()
    assert server.ask(get("/v2/health/live")).code == 200


def test_slow_handshakes_hold_up_nobody(start, authority: Authority) -> None:
    server = start(*tls_settings(authority.issue("server")), "--io-threads", 1)
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    for one in silent:
        one.sendall(b"\x16\x03\x01")
    assert ask(server.port, trusting(authority)) == 200
    for one in silent:
        one.close()
    assert ask(server.port, trusting(authority)) == 200
