"""deploy/nginx in front of three servers, mutual TLS on both sides: nothing is lost when one of them
is killed, stopped, restarted, or hangs."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator

import grpc
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
from code_blocks import code_blocks
from serving import ANSWER_TIMEOUT_S, BINARY, ROOT, Server, free_ports, golden, wait_for
from test_grpc import inputs_of
from test_security import Authority, entry, serial
from test_server import check, infer_inputs
from tritonclient.utils import InferenceServerException

DEPLOY = ROOT / "deploy" / "nginx"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
MODEL = "skl_lr_binary"
SERVERS = 3
TOKENS = {role: f"vdt_of_{role}" for role in ("infer", "admin", "metrics")}
PORTS = (8000, 8001, 8080)  # of the shipped configuration: HTTP, gRPC, health
GUIDE = (ROOT / "docs" / "guides" / "deployment.md").read_text()


def block(language: str, containing: str) -> str:
    """The guide's block of that language in which this stands."""
    found = [text for _, text in code_blocks(GUIDE, language) if containing in text]
    assert len(found) == 1, (language, containing, found)
    return found[0]


def retries() -> str:
    """The policy that the guide gives to gRPC's clients."""
    code = block("python", "RETRIES = ")
    names: dict[str, str] = {}
    exec(code[:code.index("client = ")], names)
    return names["RETRIES"]


pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


def token(role: str = "infer") -> dict[str, str]:
    """A dictionary of its own: tritonclient writes into it."""
    return {"authorization": f"Bearer {TOKENS[role]}"}


def install(authority: Authority, folder: pathlib.Path) -> None:
    """A new certificate of the gateway's, its key, and who signed it."""
    for source, name in zip((*authority.issue("gateway", "DNS:localhost"), authority.certificate),
                            ("gateway.crt", "gateway.key", "ca.crt")):
        shutil.copy(source, folder / name)


class Gateway:
    """nginx with the shipped files; only ports, servers and certificates are the test's."""

    def __init__(self, folder: pathlib.Path, authority: Authority, servers: list[Server]) -> None:
        self.folder = folder
        (folder / "tls").mkdir(parents=True)
        install(authority, folder / "tls")
        conf = (DEPLOY / "nginx.conf").read_text()
        self.http, self.grpc, self.health = free_ports(len(PORTS))
        for shipped, own in zip(PORTS, (self.http, self.grpc, self.health)):
            assert conf.count(f"listen {shipped}") == 1
            conf = conf.replace(f"listen {shipped}", f"listen 127.0.0.1:{own}")
        (folder / "nginx.conf").write_text(conf)
        upstreams = (DEPLOY / "upstreams.conf").read_text()
        for number, server in enumerate(servers, 11):
            for port, address in ((8000, server.address), (8001, server.grpc_address)):
                assert upstreams.count(f"192.0.2.{number}:{port}") == 1
                upstreams = upstreams.replace(f"192.0.2.{number}:{port}", address)
        (folder / "upstreams.conf").write_text(upstreams)
        self.log = folder / "error.log"
        self.access = folder / "access.log"
        with self.log.open("wb") as errors:
            self.process = subprocess.Popen([NGINX, "-p", folder, "-c", "nginx.conf"],
                                            stderr=errors)
        wait_for(lambda: self.get("/live") == 200, "the gateway listens")

    def get(self, target: str) -> int:
        """Of the health port; 0 if nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.health, timeout=5)
        try:
            connection.request("GET", target)
            return connection.getresponse().status
        except OSError:
            assert self.process.poll() is None, self.log.read_text()
            return 0
        finally:
            connection.close()

    def stop(self) -> int:
        self.signal("quit")
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()

    def signal(self, what: str) -> None:
        """reload, quit."""
        subprocess.run([NGINX, "-p", self.folder, "-c", "nginx.conf", "-s", what], check=True,
                       capture_output=True, timeout=30)


class Fleet:
    """Servers that come back on the ports that they had."""

    def __init__(self, repository: pathlib.Path, folder: pathlib.Path,
                 authority: Authority) -> None:
        self._repository, self._folder = repository, folder
        certificate, key = authority.issue("server", "DNS:verdict")
        clients = folder / "clients.yaml"
        clients.write_text("tokens:\n" + "".join(entry(role, token, role)
                                                 for role, token in TOKENS.items()))
        self._settings = [part for setting in (
            f"tls.certificate={certificate}", f"tls.key={key}", "tls.client_auth=required",
            f"tls.client_ca={authority.certificate}", f"auth.clients_file={clients}",
            "repository.mode=explicit", "repository.load=fraud")
            for part in ("--set", setting)]
        self.starts = 0
        self.servers = [self._start() for _ in range(SERVERS)]

    def _start(self, ports: tuple[int, int] = (0, 0)) -> Server:
        self.starts += 1
        return Server(self._repository, self._folder / f"server-{self.starts}.log", *self._settings,
                      ports=ports)

    def restart(self, index: int) -> None:
        old = self.servers[index]
        self.servers[index] = self._start((old.port, int(old.grpc_address.rsplit(":", 1)[1])))

    def answered(self, index: int) -> float:
        name = 'nv_inference_request_success{model="fraud",version="1"}'
        try:
            return self.servers[index].metric(name, token("metrics"))
        except KeyError:  # the model is not loaded yet
            return 0

    def stop(self) -> None:
        for server in self.servers:
            if server.process.poll() is None:
                server.process.send_signal(signal.SIGCONT)
                server.process.terminate()
        for server in self.servers:
            server.process.wait(30)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def fleet(small_repository: pathlib.Path, tmp_path: pathlib.Path,
          authority: Authority) -> Iterator[Fleet]:
    made = Fleet(small_repository, tmp_path, authority)
    yield made
    made.stop()


@pytest.fixture
def gateway(fleet: Fleet, tmp_path: pathlib.Path, authority: Authority) -> Iterator[Gateway]:
    made = Gateway(tmp_path / "gateway", authority, fleet.servers)
    yield made
    assert made.stop() == 0


@pytest.fixture
def client_certificate(authority: Authority) -> tuple[pathlib.Path, pathlib.Path]:
    return authority.issue("client", "DNS:checkout")


def context(authority: Authority,
            certificate: tuple[pathlib.Path, pathlib.Path] | None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(authority.certificate))
    if certificate is not None:
        made.load_cert_chain(*certificate)
    return made


def credentials(authority: Authority, certificate) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        authority.certificate.read_bytes(), certificate[1].read_bytes(),
        certificate[0].read_bytes())


def over_grpc(gateway: Gateway, authority: Authority, certificate) -> object:
    return triton_grpc.InferenceServerClient(
        f"localhost:{gateway.grpc}", ssl=True, creds=credentials(authority, certificate),
        channel_args=[("grpc.service_config", retries())])


class Load:
    """`verdict load` over HTTP and a client over gRPC, both through the gateway."""

    def __init__(self, gateway: Gateway, authority: Authority, certificate,
                 folder: pathlib.Path, duration_s: float) -> None:
        self._out = folder / "load.json"
        (folder / "token").write_text(TOKENS["infer"])
        self._until = time.monotonic() + duration_s
        self._client = over_grpc(gateway, authority, certificate)
        self._inputs, self._expected = golden(MODEL)
        self.grpc_answers = 0
        self.grpc_errors: list[str] = []
        self._thread = threading.Thread(target=self._over_grpc)
        self._process = subprocess.Popen(
            [BINARY, "load", "--model", "fraud", "--url", f"https://localhost:{gateway.http}",
             "--token-file", folder / "token", "--tls-ca", authority.certificate,
             "--cert", certificate[0], "--key", certificate[1],
             "--rate", "200", "--connections", "16", "--duration", str(duration_s), "--warmup", "0",
             "--json-out", self._out], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def _over_grpc(self) -> None:
        inputs = inputs_of(self._inputs)
        while time.monotonic() < self._until:
            try:
                answer = self._client.infer("fraud", inputs, headers=token(), client_timeout=10)
                check(answer, self._expected)
                self.grpc_answers += 1
            except (InferenceServerException, AssertionError) as error:
                self.grpc_errors.append(str(error))
            time.sleep(0.01)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.output = self._process.communicate(timeout=60)[0]
        self._thread.join()
        self._client.close()

    def check_nothing_failed(self, gateway: Gateway) -> dict:
        """The generator's results."""
        assert self._process.returncode == 0, self.output + gateway.log.read_text()
        result = json.loads(self._out.read_text())
        assert result["answers"] == {"200": result["requests"]} and result["requests"] > 500
        assert not self.grpc_errors and self.grpc_answers > 50, self.grpc_errors[:3]
        return result


def test_clients_infer_over_both_transports(
    gateway: Gateway, fleet: Fleet, authority: Authority, client_certificate
) -> None:
    inputs, expected = golden(MODEL)
    for binary in (False, True):
        with triton.InferenceServerClient(
            f"localhost:{gateway.http}", ssl=True,
            ssl_context_factory=lambda: context(authority, client_certificate)) as client:
            assert client.is_server_ready() and client.is_model_ready("fraud", headers=token())
            for _ in range(6):
                answer = client.infer("fraud", infer_inputs(inputs, binary), headers=token())
                check(answer, expected)
    with over_grpc(gateway, authority, client_certificate) as client:
        for _ in range(6):
            check(client.infer("fraud", inputs_of(inputs), headers=token()), expected)
        answers: list[object] = []
        client.start_stream(lambda result, error: answers.append(error or result),
                            headers=token())
        client.async_stream_infer("fraud", inputs_of(inputs))
        wait_for(lambda: answers, "the stream's answer")
        check(answers[0], expected)
        client.stop_stream()
    assert all(fleet.answered(i) > 0 for i in range(SERVERS)), "all servers take part"


def ask(gateway: Gateway, authority: Authority, certificate, target: str, role: str = "infer",
        verb: str = "GET") -> tuple[int, str]:
    """0: the TLS handshake failed."""
    connection = http.client.HTTPSConnection(
        "localhost", gateway.http, context=context(authority, certificate),
        timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request(verb, target, b"{}" if verb == "POST" else None,
                           token(role) if role else {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    except (ssl.SSLError, ConnectionError) as error:
        return 0, str(error)
    finally:
        connection.close()


def test_only_known_clients_come_in(
    gateway: Gateway, authority: Authority, client_certificate, tmp_path: pathlib.Path
) -> None:
    assert ask(gateway, authority, client_certificate, "/v2/models/fraud")[0] == 200
    assert ask(gateway, authority, client_certificate, "/v2/models/fraud", role="")[0] == 401
    assert ask(gateway, authority, None, "/v2/models/fraud")[0] == 400
    (tmp_path / "stranger").mkdir()
    stranger = Authority(tmp_path / "stranger").issue("client")
    assert ask(gateway, authority, stranger, "/v2/models/fraud")[0] in (0, 400)


def test_only_what_clients_need_goes_through(
    gateway: Gateway, fleet: Fleet, authority: Authority, client_certificate
) -> None:
    for target in ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/stats",
                   "/v2/models/fraud", "/v2/models/fraud/versions/1/config",
                   "/v2/models/fraud/ready", "/v2/models/fraud/stats"):
        assert ask(gateway, authority, client_certificate, target)[0] == 200, target
    for verb, target in (
        ("POST", "/v2/repository/models/fraud/unload"), ("POST", "/v2/logging"),
        ("GET", "/v2/systemsharedmemory/status"), ("POST", "/v2/devices/fault"),
        ("GET", "/metrics"), ("GET", "/v2x"), ("GET", "/")):
        code, body = ask(gateway, authority, client_certificate, target, "admin", verb)
        assert code == 404 and json.loads(body)["error"].startswith("no such path"), target
    with over_grpc(gateway, authority, client_certificate) as client:
        assert client.is_server_ready() and client.is_model_ready("fraud", headers=token())
        for call in (lambda: client.unload_model("fraud", headers=token("admin")),
                     lambda: client.get_log_settings(headers=token("admin")),
                     client.get_system_shared_memory_status):
            with pytest.raises(InferenceServerException) as error:
                call()
            assert error.value.status() == "StatusCode.UNIMPLEMENTED"
            assert "no such call at the gateway" in error.value.message()
    assert ask(gateway, authority, client_certificate, "/v2/models/fraud/ready")[0] == 200


def test_a_server_without_the_model_costs_no_request(
    gateway: Gateway, fleet: Fleet, authority: Authority, client_certificate
) -> None:
    """It refuses quickly, and so is the one with the fewest requests under way."""
    trusting = context(authority, client_certificate)
    trusting.check_hostname = False  # the servers' is for "verdict"
    connection = http.client.HTTPSConnection(fleet.servers[0].admin_address.rstrip("/"),
                                             context=trusting, timeout=ANSWER_TIMEOUT_S)
    connection.request("POST", "/v2/repository/models/fraud/unload", b"{}", token("admin"))
    response = connection.getresponse()
    assert response.status == 200, response.read()
    connection.close()
    inputs, expected = golden(MODEL)
    with triton.InferenceServerClient(
        f"localhost:{gateway.http}", ssl=True,
        ssl_context_factory=lambda: context(authority, client_certificate)) as client:
        for _ in range(30):
            check(client.infer("fraud", infer_inputs(inputs, True), headers=token()), expected)
    assert gateway.get("/ready") == 200


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_ends_under_load_costs_no_request_and_comes_back(
    gateway: Gateway, fleet: Fleet, authority: Authority, client_certificate,
    tmp_path: pathlib.Path, how: signal.Signals
) -> None:
    with Load(gateway, authority, client_certificate, tmp_path, 8) as load:
        wait_for(lambda: min(map(fleet.answered, range(SERVERS))) > 50, "all take part")
        if how == signal.SIGKILL:  # with requests under way
            fleet.servers[1].process.send_signal(signal.SIGSTOP)
            time.sleep(0.3)
        fleet.servers[1].process.send_signal(how)
        fleet.servers[1].process.wait(30)
        others = fleet.answered(0)
        wait_for(lambda: fleet.answered(0) > others + 50, "the others go on")
        fleet.restart(1)
        wait_for(lambda: fleet.answered(1) > 20, "it is asked again", 10)
    load.check_nothing_failed(gateway)


def test_a_server_that_hangs_costs_time_and_no_request(
    gateway: Gateway, fleet: Fleet, authority: Authority, client_certificate,
    tmp_path: pathlib.Path
) -> None:
    with Load(gateway, authority, client_certificate, tmp_path, 8) as load:
        wait_for(lambda: min(map(fleet.answered, range(SERVERS))) > 50, "all take part")
        fleet.servers[2].process.send_signal(signal.SIGSTOP)
        time.sleep(4)
        fleet.servers[2].process.send_signal(signal.SIGCONT)
    result = load.check_nothing_failed(gateway)
    # Those that it held were answered by another after proxy_read_timeout.
    assert 1e6 < result["latency_us"]["max"] < 3e6
    assert result["latency_us"]["p50"] < 1e5


def test_without_servers_the_answer_says_so_and_health_too(
    gateway: Gateway, fleet: Fleet, authority: Authority, client_certificate
) -> None:
    assert gateway.get("/ready") == 200
    for server in fleet.servers:
        server.process.kill()
        server.process.wait()
    assert gateway.get("/ready") == 502 and gateway.get("/live") == 200
    connection = http.client.HTTPSConnection(
        "localhost", gateway.http, context=context(authority, client_certificate), timeout=10)
    connection.request("GET", "/v2/models/fraud", headers=token())
    response = connection.getresponse()
    assert response.status == 503 and response.getheader("Retry-After") == "1"
    assert json.loads(response.read()) == {"error": "no server has answered"}
    connection.close()
    inputs, expected = golden(MODEL)
    with over_grpc(gateway, authority, client_certificate) as client:
        with pytest.raises(InferenceServerException) as error:
            client.infer("fraud", inputs_of(inputs), headers=token())
        assert error.value.status() == "StatusCode.UNAVAILABLE"
        assert "no server has answered" in error.value.message()
        # Go's and Java's libraries want these fields, which C++'s and Python's do without.
        said = subprocess.run(
            ["curl", "-si", "--http2", "--cacert", authority.certificate, "--cert",
             client_certificate[0], "--key", client_certificate[1], "-X", "POST", "-H",
             "content-type: application/grpc", "--data-binary", "",
             f"https://localhost:{gateway.grpc}/inference.GRPCInferenceService/ModelInfer"],
            capture_output=True, text=True, timeout=30, check=True).stdout
        assert said.startswith("HTTP/2 200") and "grpc-status: 14" in said, said
        assert "content-type: application/grpc" in said, said
        fleet.restart(0)
        wait_for(lambda: gateway.get("/ready") == 200, "a server is back")

        def reached() -> bool:
            try:
                return client.is_server_live()
            except InferenceServerException:
                return False
        wait_for(reached, "gRPC reaches it")
        check(client.infer("fraud", inputs_of(inputs), headers=token()), expected)


def test_a_reload_brings_a_new_certificate_and_a_log_line_tells_who_asked(
    gateway: Gateway, authority: Authority, client_certificate
) -> None:
    trusting = context(authority, client_certificate)
    before = serial(gateway.http, trusting)
    install(authority, gateway.folder / "tls")
    assert serial(gateway.http, trusting) == before
    gateway.signal("reload")
    wait_for(lambda: serial(gateway.http, trusting) != before, "the new certificate")
    code, _ = ask(gateway, authority, client_certificate, "/v2/models/fraud")
    assert code == 200, "the servers take it"
    wait_for(lambda: "/v2/models/fraud" in gateway.access.read_text(), "its line in the log")
    line = json.loads(gateway.access.read_text().splitlines()[-1])
    assert line["client"] == "CN=client" and line["path"] == "/v2/models/fraud"
    assert line["status"] == line["server_status"] == "200" and line["seconds"] < 10


def test_the_guides_commands_make_a_gateway(tmp_path: pathlib.Path, authority: Authority) -> None:
    install(authority, tmp_path)
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    environment = os.environ | {"PATH": f"{pathlib.Path(NGINX).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-euc", block("sh", "nginx -p")], cwd=tmp_path,
                          env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and "warn" not in done.stderr, done.stderr
    assert "test is successful" in done.stderr
    assert (tmp_path / "gateway" / "upstreams.conf").read_text().count("10.0.0.1") == 6
