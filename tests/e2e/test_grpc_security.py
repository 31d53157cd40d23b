"""Who may do what over gRPC: TLS, client certificates, tokens, roles and limits, seen from outside."""

from __future__ import annotations

import pathlib
import signal
import socket
import ssl
import subprocess

import grpc
import pytest
import tritonclient.grpc as triton
from grpc_health.v1 import health_pb2, health_pb2_grpc
from serving import ANSWER_TIMEOUT_S, BINARY, Server, golden, wait_for
from test_grpc import INFER, check, fraud_request, inputs_of
from test_security import (  # noqa: F401  fixtures too
    TOKENS,
    Authority,
    auth_settings,
    authority,
    clients_file,
    entry,
    start,
    tls_settings,
)
from tritonclient.grpc import service_pb2, service_pb2_grpc

OK = "OK"


def channel_to(server: Server, trusted: pathlib.Path,
               certificate: tuple[pathlib.Path, pathlib.Path] | None = None) -> grpc.Channel:
    """To localhost, for which the server's certificates are."""
    chain, key = certificate or (None, None)
    credentials = grpc.ssl_channel_credentials(
        trusted.read_bytes(), key and key.read_bytes(), chain and chain.read_bytes())
    port = server.grpc_address.rsplit(":", 1)[1]
    # Each channel makes a connection of its own.
    return grpc.secure_channel(f"localhost:{port}", credentials,
                               [("grpc.use_local_subchannel_pool", 1)])


def metadata(token: str | None) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")] if token else []


def code_of(channel: grpc.Channel, token: str | None = None) -> str:
    """Of an inference."""
    try:
        channel.unary_unary(INFER)(fraud_request().SerializeToString(), metadata=metadata(token),
                                   timeout=ANSWER_TIMEOUT_S)
        return OK
    except grpc.RpcError as error:
        return error.code().name


def once(server: Server, trusted: pathlib.Path, certificate=None) -> str:
    with channel_to(server, trusted, certificate) as channel:
        return code_of(channel)


def shake_hands(server: Server, authority: Authority,  # noqa: F811
                version: ssl.TLSVersion | None = None) -> tuple[str | None, str]:
    """The version and the serial number of the server's certificate, with gRPC's ALPN."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.set_alpn_protocols(["h2"])
    if version is not None:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    port = int(server.grpc_address.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_TIMEOUT_S) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
            assert wrapped.selected_alpn_protocol() == "h2"
            return wrapped.version(), wrapped.getpeercert()["serialNumber"]


# TLS


def test_a_client_infers_over_tls(start, authority) -> None:  # noqa: F811
    server = start(*tls_settings(authority.issue("server")))
    port = server.grpc_address.rsplit(":", 1)[1]
    inputs, expected = golden("skl_lr_binary")
    with triton.InferenceServerClient(f"localhost:{port}", ssl=True,
                                      root_certificates=str(authority.certificate)) as client:
        assert client.is_server_ready()
        check(client.infer("fraud", inputs_of(inputs)), expected)
    other = authority.folder / "other"
    other.mkdir()
    assert once(server, Authority(other).certificate) == "UNAVAILABLE"  # it trusts another one
    with grpc.insecure_channel(server.grpc_address) as plain:
        assert code_of(plain) == "UNAVAILABLE"
    assert once(server, authority.certificate) == OK


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_1_2_is_the_oldest(start, authority) -> None:  # noqa: F811
    server = start(*tls_settings(authority.issue("server")))
    for old in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            shake_hands(server, authority, old)
    assert shake_hands(server, authority, ssl.TLSVersion.TLSv1_2)[0] == "TLSv1.2"
    assert shake_hands(server, authority)[0] == "TLSv1.3"


def test_tls_1_3_alone_is_not_to_be_had(
    small_repository: pathlib.Path, authority  # noqa: F811
) -> None:
    command = [BINARY, "serve", "--repository", small_repository, "--host", "127.0.0.1",
               "--http-port", "0", "--metrics-port", "0", "--grpc-port", "0", "--set",
               "admin.port=0", *tls_settings(authority.issue("server"), min_version="TLSv1.3")]
    for check in ([], ["--check"]):
        done = subprocess.run([*command, *check], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "gRPC cannot be held to TLS 1.3" in done.stderr
    without = [*command, "--set", "grpc.enabled=false"]
    done = subprocess.run([*without, "--check"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    with subprocess.Popen(without, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True) as process:
        lines = [process.stdout.readline() for _ in range(3)]
        process.terminate()
        lines.append(process.stdout.read())
        assert process.wait(20) == 0
    assert lines[0].startswith("listening on https://") and "gRPC" not in "".join(lines)


def test_certificates_are_replaced_under_open_connections(start, authority) -> None:  # noqa: F811
    server = start(*tls_settings(authority.issue("server")))
    with channel_to(server, authority.certificate) as old:
        states: list[grpc.ChannelConnectivity] = []
        assert code_of(old) == OK
        old.subscribe(states.append)
        wait_for(lambda: states == [grpc.ChannelConnectivity.READY], "the channel is ready")
        before = shake_hands(server, authority)[1]
        certificate, _ = authority.issue("server")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: shake_hands(server, authority)[1] != before, "the new one is used")
        assert code_of(old) == OK
        assert once(server, authority.certificate) == OK
        certificate.write_text("broken")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "certificate: what was read before stays in use" in server.log(), "said")
        assert once(server, authority.certificate) == OK  # so it is for gRPC
        assert code_of(old) == OK
        assert states == [grpc.ChannelConnectivity.READY]  # it is the same connection


def test_only_good_client_certificates_enter(start, authority, tmp_path) -> None:  # noqa: F811
    clients = tmp_path / "clients.yaml"
    clients.write_text("certificates:\n"
                       "  - {name: checkout, subject: 'dns:a.example', roles: [infer]}\n"
                       "  - {name: watch, subject: 'cn:watch', roles: [metrics]}\n"
                       "  - {name: ops, subject: 'cn:ops', roles: [infer, admin]}\n")
    server = start(*auth_settings(clients), *tls_settings(
        authority.issue("server"), client_ca=authority.certificate, client_auth="required"))
    trusted = authority.certificate
    assert once(server, trusted, authority.issue("any", "DNS:a.example")) == OK
    assert once(server, trusted, authority.issue("stranger", "DNS:b.example")) == "UNAUTHENTICATED"
    assert once(server, trusted, authority.issue("watch", "DNS:b.example")) == "PERMISSION_DENIED"
    ops = authority.issue("ops", "DNS:b.example")
    assert once(server, trusted, ops) == OK
    for certificate, code in ((ops, OK), (authority.issue("any", "DNS:a.example"),
                                          "PERMISSION_DENIED")):
        with channel_to(server, trusted, certificate) as channel:
            assert of_method(channel, "LogSettings") == code
    # Without one, with an expired one, with one of another authority: no connection.
    assert once(server, trusted) == "UNAVAILABLE"
    assert once(server, trusted, authority.issue("late", "DNS:a.example", days=-1)) == "UNAVAILABLE"
    (tmp_path / "own").mkdir()
    own = Authority(tmp_path / "own")
    assert once(server, trusted, own.issue("any", "DNS:a.example")) == "UNAVAILABLE"
    assert once(server, trusted, ops) == OK


# Tokens and roles

OPEN, INFERS, ADMIN = "open", "infer", "admin"
METHODS = {
    "ServerLive": OPEN, "ServerReady": OPEN, "ModelReady": INFERS, "ServerMetadata": INFERS,
    "ModelMetadata": INFERS, "ModelConfig": INFERS, "ModelStatistics": INFERS, "ModelInfer": INFERS,
    "RepositoryIndex": INFERS, "RepositoryModelLoad": ADMIN, "RepositoryModelUnload": ADMIN,
    "SystemSharedMemoryStatus": INFERS, "SystemSharedMemoryRegister": INFERS,
    "SystemSharedMemoryUnregister": INFERS, "CudaSharedMemoryStatus": INFERS,
    "CudaSharedMemoryRegister": INFERS, "CudaSharedMemoryUnregister": INFERS,
    "TraceSetting": ADMIN, "LogSettings": ADMIN,
}


def of_method(channel: grpc.Channel, method: str, token: str | None = None,
              headers: list[tuple[str, str]] | None = None) -> str:
    """The code of a call with an empty request."""
    call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
    try:
        call(b"", metadata=headers or metadata(token), timeout=ANSWER_TIMEOUT_S)
        return OK
    except grpc.RpcError as error:
        return error.code().name


def test_every_method_asks_for_its_role(start, clients_file) -> None:  # noqa: F811
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert {m.name for m in service.methods} == {*METHODS, "ModelStreamInfer"}
    server = start(*auth_settings(clients_file))
    refused = ("UNAUTHENTICATED", "PERMISSION_DENIED")
    with grpc.insecure_channel(server.grpc_address) as channel:
        for method, role in METHODS.items():
            for holder, token in TOKENS.items():
                code = of_method(channel, method, token)
                if "SharedMemory" in method and role == holder:
                    assert code != "UNAUTHENTICATED"  # is off here
                elif role in (OPEN, holder):
                    assert code not in refused, (method, holder, code)
                else:
                    assert code == "PERMISSION_DENIED", (method, holder, code)
            for headers in (None, metadata("vdt_wrong"), [("authorization", "Basic eDp5")],
                            metadata(TOKENS["infer"]) * 2):  # which of the two would be meant?
                code = of_method(channel, method, headers=headers)
                assert (code not in refused) if role == OPEN else (code == "UNAUTHENTICATED"), (
                    method, headers, code)
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=ANSWER_TIMEOUT_S)


def test_a_stream_asks_for_the_role_too(start, clients_file) -> None:  # noqa: F811
    server = start(*auth_settings(clients_file))
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for token, words in ((TOKENS["infer"], ""), (TOKENS["metrics"], "role"),
                             ("vdt_wrong", "token"), (None, "authorization")):
            answers = list(stub.ModelStreamInfer(iter([fraud_request(), fraud_request()]),
                                                 metadata=metadata(token),
                                                 timeout=ANSWER_TIMEOUT_S))
            assert len(answers) == 2
            for answer in answers:
                assert bool(answer.error_message) == bool(words), (token, answer)
                assert words in answer.error_message.lower()
                assert "hush" not in answer.error_message


def test_without_a_clients_file_admin_calls_are_not_for_this_port(start) -> None:  # noqa: F811
    server = start()
    with grpc.insecure_channel(server.grpc_address) as channel:
        assert of_method(channel, "LogSettings") == "UNAUTHENTICATED"
        assert of_method(channel, "RepositoryIndex") == OK
    like_triton = start("--set", "auth.admin_on_inference_port=true")
    with grpc.insecure_channel(like_triton.grpc_address) as channel:
        assert of_method(channel, "LogSettings") == OK


def test_the_clients_file_is_read_again(start, clients_file) -> None:  # noqa: F811
    server = start(*auth_settings(clients_file))
    with grpc.insecure_channel(server.grpc_address) as channel:
        assert code_of(channel, TOKENS["infer"]) == OK
        clients_file.write_text("tokens:\n" + entry("new", "vdt_new", "infer"))
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: code_of(channel, "vdt_new") == OK, "SIGHUP reads the clients file")
        assert code_of(channel, TOKENS["infer"]) == "UNAUTHENTICATED"


# Limits


def test_a_client_that_asks_too_much_is_told_when_to_come_again(
    start, tmp_path  # noqa: F811
) -> None:
    clients = tmp_path / "clients.yaml"
    clients.write_text("tokens:\n" + entry("greedy", "vdt_greedy", "infer") +
                       entry("modest", "vdt_modest", "infer"))
    server = start(*auth_settings(clients), "--set", "limits.client.requests_per_s=0.01",
                   "--set", "limits.client.burst=3")
    no_retries = [("grpc.enable_retries", 0)]
    with grpc.insecure_channel(server.grpc_address, no_retries) as channel:
        codes = [code_of(channel, "vdt_greedy") for _ in range(5)]
        assert codes == [OK] * 3 + ["RESOURCE_EXHAUSTED"] * 2
        for method, request in (("ModelInfer", fraud_request().SerializeToString()),
                                ("ServerMetadata", b"")):
            with pytest.raises(grpc.RpcError) as raised:
                channel.unary_unary(f"/inference.GRPCInferenceService/{method}")(
                    request, metadata=metadata("vdt_greedy"), timeout=ANSWER_TIMEOUT_S)
            hint = dict(raised.value.trailing_metadata())["grpc-retry-pushback-ms"]
            assert 90_000 <= int(hint) <= 100_000
        assert code_of(channel, "vdt_modest") == OK
        assert of_method(channel, "ServerLive") == OK


def test_the_retries_of_grpc_wait_as_long_as_they_are_told(start) -> None:  # noqa: F811
    server = start("--set", "limits.client.requests_per_s=1", "--set", "limits.client.burst=1")
    policy = ('{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 2, "initialBackoff":'
              '"0.01s", "maxBackoff": "0.01s", "backoffMultiplier": 1,'
              '"retryableStatusCodes": ["RESOURCE_EXHAUSTED"]}}]}')
    with grpc.insecure_channel(server.grpc_address, [("grpc.service_config", policy)]) as channel:
        # Of one second's room each; alone, after 10 ms, the second attempt would fail too.
        assert [code_of(channel) for _ in range(3)] == [OK] * 3
