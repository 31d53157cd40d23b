"""What is done to a server with TLS and tokens that looks at its repository itself: requests, strangers,
broken handshakes, and certificates, clients, versions and configuration that are replaced on SIGHUP."""

from __future__ import annotations

import pathlib
import shutil
import signal
import socket
import ssl
import time

import grpc
import models
from explicit_server import LATEST, put
from load import ANSWER_S, Actor, Streams, serially, until
from open_loop import Connections, call
from serving import Client, Server, build, get
from test_scenarios_load import die
from test_security import Authority, bearer, entry, tls_settings
from tritonclient.grpc import service_pb2

TOKEN = "vdt_soak"


class TlsClient(Client):
    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        super().__init__(port)
        self.socket.settimeout(ANSWER_S)
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")


def make_repository(root: pathlib.Path) -> None:
    build(models.kind_of(1), root / "fraud" / "1" / "model.engine")
    (root / "fraud" / "config.yaml").write_text(LATEST)
    for kind in models.KINDS:
        build(kind, root.parent / "engines" / f"{kind}.engine")


class PolledServer:
    def __init__(self, folder: pathlib.Path) -> None:
        self.root = folder / "repository"
        (folder / "certificates").mkdir()
        self.authority = Authority(folder / "certificates")
        self.clients_file = folder / "clients.yaml"
        self.configuration = folder / "server.yaml"
        self.version = 1
        self._write_clients(0)
        self._write_configuration(0)
        self.flags = (
            "--config", self.configuration, "--drain-ms", 500, "--set", "repository.mode=poll",
            "--set", "repository.poll_interval_s=3600",
            "--set", f"auth.clients_file={self.clients_file}",
            *tls_settings(self.authority.issue("server"), reload_interval_s=3600))
        self.context = ssl.create_default_context(cafile=str(self.authority.certificate))

    def begin(self, server: Server) -> None:
        self.server = server
        self.engines = {kind: (self.root.parent / "engines" / f"{kind}.engine").read_bytes()
                        for kind in models.KINDS}
        self.kept = Connections(self.client)
        self.channel = grpc.secure_channel(server.grpc_address, grpc.ssl_channel_credentials(
            self.authority.certificate.read_bytes()))
        self.metadata = (("authorization", f"Bearer {TOKEN}"),)
        self.streams = Streams(self.channel, self.metadata)

    def client(self) -> Client:
        return TlsClient(self.server.port, self.context)

    def close(self) -> None:
        self.kept.close()
        self.streams.close()
        self.channel.close()

    def actors(self) -> list[Actor]:
        return [
            Actor("HTTPS", 20, self.https, {200}),
            Actor("HTTPS, new connections", 3, self.https_anew, {200}),
            Actor("gRPC with TLS, unary", 20, self.grpc_unary, {"OK"}),
            Actor("gRPC with TLS, stream", 20, self.grpc_stream, {"OK"}),
            Actor("wrong tokens", 5, self.wrong_token, {401, "UNAUTHENTICATED"}),
            Actor("broken handshakes", 5, self.broken_handshake, {"left"}),
            Actor("new certificates", 0.1, self.new_certificate, {"used"}, alone=True),
            Actor("new clients", 0.2, self.new_clients, {"used"}, alone=True),
            Actor("new configurations", 0.2, self.new_configuration, {"sent"}, alone=True),
            Actor("new versions", 0.3, self.new_version, {"used"}, alone=True),
        ]

    def _request(self, number: int, token: str = TOKEN) -> bytes:
        row = models.ROWS[number % len(models.ROWS)][None]
        return models.http_request("fraud", row, "probabilities", number % 2 == 0, **bearer(token))

    def _check(self, number: int, answer: object) -> int:
        if answer.code == 200:
            body, got = models.http_values(answer)
            models.check_fraud(number, body["model_version"], got)
        return answer.code

    def https(self, number: int) -> int:
        return self._check(number, self.kept.ask(self._request(number)))

    def https_anew(self, number: int) -> int:
        return self._check(number, serially(self.client, self._request(number)))

    def grpc_unary(self, number: int, token: str = TOKEN) -> str:
        row = models.ROWS[number % len(models.ROWS)][None]
        return call(self.channel, models.grpc_request("fraud", row, "probabilities"),
                    lambda raw: models.check_fraud_response(
                        number, service_pb2.ModelInferResponse.FromString(raw)),
                    ANSWER_S, (("authorization", f"Bearer {token}"),))

    def grpc_stream(self, number: int) -> str:
        return models.check_fraud_over_stream(number, self.streams)

    def wrong_token(self, number: int) -> object:
        if number % 2:
            return self.grpc_unary(number, "vdt_wrong")
        return serially(self.client, self._request(number, "vdt_wrong")).code

    def broken_handshake(self, number: int) -> str:
        port = (self.server.port, int(self.server.grpc_address.rsplit(":", 1)[1]))[number % 2]
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as client:
            try:
                client.sendall((get("/v2"), b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
                                b"")[number // 2 % 4])
                time.sleep(0.05)
                die(client, reset=number % 3 == 0)
            except ConnectionError:
                pass
        return "left"

    # On SIGHUP

    def _hang_up(self) -> None:
        self.server.process.send_signal(signal.SIGHUP)

    def _serial(self) -> str:
        client = self.client()
        try:
            return client.socket.getpeercert()["serialNumber"]
        finally:
            client.close()

    def new_certificate(self, number: int) -> str:
        before = self._serial()
        self.authority.issue("server")
        self._hang_up()
        until(lambda: self._serial() != before, "the new certificate is used")
        return "used"

    def _write_clients(self, number: int) -> None:
        fresh = self.clients_file.with_suffix(".fresh")
        fresh.write_text("tokens:\n" + entry("soak", TOKEN, "infer, admin, metrics")
                         + entry("guest", f"vdt_guest_{number}", "infer"))
        fresh.rename(self.clients_file)

    def new_clients(self, number: int) -> str:
        self._write_clients(number)
        self._hang_up()
        request = self._request(0, f"vdt_guest_{number}")
        until(lambda: serially(self.client, request).code == 200, "the new client is known")
        return "used"

    def _write_configuration(self, number: int) -> None:
        fresh = self.configuration.with_suffix(".fresh")
        level = ("info", "debug", "no such level")[number % 3]
        fresh.write_text(f"log: {{level: {level}, format: {('text', 'json')[number % 2]}}}\n")
        fresh.rename(self.configuration)

    def new_configuration(self, number: int) -> str:
        self._write_configuration(number)
        self._hang_up()
        return "sent"

    def new_version(self, number: int) -> str:
        """Now and then one that cannot be loaded first, which leaves the old one."""
        following = self.version + 1
        whole = self.engines[models.kind_of(following)]
        if number % 4 == 1:
            put(self.root, "fraud", following, whole[: len(whole) // 2])
            self._hang_up()
            time.sleep(0.2)
        put(self.root, "fraud", following, whole)
        self._hang_up()
        request = self._request(0)
        until(lambda: models.http_values(self.kept.ask(request))[0]["model_version"]
              == str(following), f"version {following} answers")
        shutil.rmtree(self.root / "fraud" / str(self.version))
        self.version = following
        return "used"
