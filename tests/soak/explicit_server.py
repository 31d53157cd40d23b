"""What is done to a server in plain text whose models are loaded by calls: all kinds of requests, those
that are cancelled, late, broken or hostile, and an operator who never rests."""

from __future__ import annotations

import os
import pathlib
import shutil
import time
import uuid

import grpc
import models
import numpy as np
from load import ANSWER_S, Actor, Streams, serially
from open_loop import INFER, Connections, call
from serving import Client, Server, build, get, post
from test_scenarios_load import die, half_grpc_call
from test_server_hostile import BAD_BINARY, BAD_JSON
from test_server_hostile import INFER as HOSTILE_TARGET
from tritonclient.grpc import service_pb2

LATEST = "version_policy: {latest: {num_versions: 1}}\n"
CONFIGS = {
    "fraud": LATEST,
    "network": """
max_batch_size: 8
dynamic_batching:
  preferred_batch_size: [4, 8]
  max_queue_delay_microseconds: 2000
  priority_levels: 3
  default_priority_level: 2
  default_queue_policy: {allow_timeout_override: true}
""",
    "step": """
max_batch_size: 8
sequence_batching:
  max_sequence_idle_microseconds: 600000000
  state: [{input_name: state, output_name: new_state}]
""",
}
READ_TIMEOUT_S = 5
FLAGS = ("--set", "repository.mode=explicit", "--set", "shared_memory.allow=true",
         "--set", "repository.load=fraud,network,step,fixed,fragile",
         "--read-timeout-s", READ_TIMEOUT_S, "--drain-ms", 500)


def make_repository(root: pathlib.Path) -> None:
    for model, name in (("fraud", models.kind_of(1)), ("fixed", "skl_lr_binary"),
                        ("fragile", "skl_lr_binary"), ("other", "skl_rf_binary"),
                        ("network", models.NETWORK), ("step", models.STEP)):
        build(name, root / model / "1" / "model.engine")
    for model, config in CONFIGS.items():
        (root / model / "config.yaml").write_text(config)
    for kind in models.KINDS:
        build(kind, root.parent / "engines" / f"{kind}.engine")


def put(root: pathlib.Path, model: str, version: int, contents: bytes) -> None:
    """The folder appears whole."""
    staging = root.parent / f"staging-{model}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    (staging / "model.engine").write_bytes(contents)
    target = root / model / str(version)
    if target.is_dir():
        os.replace(staging / "model.engine", target / "model.engine")
    else:
        staging.rename(target)


class ExplicitServer:
    """The actors on one server. What they share is written by one of them alone each."""

    def __init__(self, server: Server, root: pathlib.Path) -> None:
        self.server = server
        self.root = root
        self.engines = {kind: (root.parent / "engines" / f"{kind}.engine").read_bytes()
                        for kind in models.KINDS}
        self.version = 1
        self.kept = Connections(self.client)
        self.channel = grpc.insecure_channel(server.grpc_address)
        self.streams = Streams(self.channel)
        self.grpc_port = int(server.grpc_address.rsplit(":", 1)[1])
        whole = self.engines["skl_rf_binary"]
        self.broken = [whole[: len(whole) // 2], b"x",
                       whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]]
        self.hostile = [(post(self._at_fixed(HOSTILE_TARGET), body), message)
                        for body, message in BAD_JSON.values()]
        self.hostile += [(data.replace(HOSTILE_TARGET.encode(), b"/v2/models/fixed/infer"), message)
                         for data, message in BAD_BINARY.values()]

    @staticmethod
    def _at_fixed(target: str) -> str:
        return target.replace("fraud/versions/1", "fixed")

    def client(self) -> Client:
        made = self.server.client()
        made.socket.settimeout(ANSWER_S)
        return made

    def close(self) -> None:
        self.kept.close()
        self.streams.close()
        self.channel.close()

    def actors(self) -> list[Actor]:
        refused = {200, 503, 504, "OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
        return [
            Actor("HTTP, JSON", 40, self.http_json, {200}),
            Actor("HTTP, binary, priorities", 40, self.http_binary, {200}),
            Actor("gRPC, unary", 40, self.grpc_unary, {"OK"}),
            Actor("gRPC, stream", 40, self.grpc_stream, {"OK"}),
            Actor("sequences", 6, self.sequence, {"done"}),
            Actor("deadlines", 30, self.deadline, set(), refused),
            Actor("cancelled", 20, self.cancel, {"left"}),
            Actor("bad requests", 20, self.bad_request, {400}),
            Actor("half bodies", 10, self.half_body, {"left"}),
            Actor("slow loris", 0.5, self.slow_loris, {408}),
            Actor("70,000 chunks", 0.05, self.chunks, {200}),
            Actor("idle connections", 0.2, self.idle, {200}),
            Actor("shared memory", 8, self.shared_memory, {200}),
            Actor("readers", 5, self.read, {200}),
            Actor("swaps", 1, self.swap, {200}, alone=True),
            Actor("failed loads", 0.3, self.failed_load, {503}, alone=True),
            Actor("load and unload", 0.5, self.load_unload, {200}, alone=True),
            Actor("a model that comes and goes", 10, self.other, set(), {200, 503}),
            Actor("settings", 0.2, self.settings, {200}, alone=True),
        ]

    # Good requests

    def http_json(self, number: int) -> int:
        row = models.ROWS[number % len(models.ROWS)][None]
        answer = self.kept.ask(models.http_request("fraud", row, "probabilities"))
        if answer.code == 200:
            body, got = models.http_values(answer)
            models.check_fraud(number, body["model_version"], got)
        return answer.code

    def http_binary(self, number: int) -> int:
        at = number % len(models.NETWORK_ROWS)
        answer = self.kept.ask(models.http_request(
            "network", models.NETWORK_ROWS[at][None], "y", True, {"priority": 1 + number % 3}))
        if answer.code == 200:
            models.near(models.http_values(answer)[1], models.NETWORK_SCORES[at], "network")
        return answer.code

    def grpc_unary(self, number: int) -> str:
        row = models.ROWS[number % len(models.ROWS)][None]
        return call(self.channel, models.grpc_request("fraud", row, "probabilities"),
                    lambda raw: models.check_fraud_response(
                        number, service_pb2.ModelInferResponse.FromString(raw)), ANSWER_S)

    def grpc_stream(self, number: int) -> str:
        return models.check_fraud_over_stream(number, self.streams)

    def sequence(self, number: int) -> str:
        """A whole one, its steps over either transport."""
        inputs, scores = models.WALKS[number % len(models.WALKS)]
        key = f"card-{number}"
        for step, (x, want) in enumerate(zip(inputs, scores)):
            flags = {"sequence_id": key, "sequence_start": step == 0,
                     "sequence_end": step == models.STEPS - 1}
            if (number + step) % 2:
                answer = self.kept.ask(models.http_request("step", x, "score", parameters=flags))
                assert answer.code == 200, answer.body
                got = models.http_values(answer)[1]
            else:
                raw = self.channel.unary_unary(INFER)(
                    models.grpc_request("step", x, "score", **flags), timeout=ANSWER_S)
                got = np.frombuffer(service_pb2.ModelInferResponse.FromString(
                    raw).raw_output_contents[0], np.float32)
            models.near(got, want, f"step {step} of a sequence")
        return "done"

    def deadline(self, number: int) -> object:
        """50 us to 50 ms."""
        seconds = 5e-5 * 1000 ** np.random.default_rng(number).random()
        at = number % len(models.NETWORK_ROWS)
        row = models.NETWORK_ROWS[at][None]
        if number % 2:
            def check(raw: bytes) -> str:
                got = service_pb2.ModelInferResponse.FromString(raw).raw_output_contents[0]
                models.near(np.frombuffer(got, np.float32), models.NETWORK_SCORES[at], "network")
                return "OK"

            return call(self.channel, models.grpc_request("network", row, "y"), check, seconds)
        answer = self.kept.ask(models.http_request(
            "network", row, "y", number % 4 == 0, Verdict_Deadline_Us=max(1, int(seconds * 1e6))))
        if answer.code == 200:
            models.near(models.http_values(answer)[1], models.NETWORK_SCORES[at], "network")
        return answer.code

    # Clients that go away

    def cancel(self, number: int) -> str:
        at = number % len(models.NETWORK_ROWS)
        row = models.NETWORK_ROWS[at][None]
        pause_s = (number % 5) * 0.0005
        if number % 3 == 0:
            client = self.client()
            client.send(models.http_request("network", row, "y", True))
            time.sleep(pause_s)
            die(client.socket, reset=number % 2 == 0)
        elif number % 3 == 1:
            future = self.channel.unary_unary(INFER).future(
                models.grpc_request("network", row, "y"), timeout=ANSWER_S)
            time.sleep(pause_s)
            future.cancel()
        else:
            stream = self.channel.stream_stream(INFER.replace("ModelInfer", "ModelStreamInfer"))
            answers = stream(iter([models.grpc_request("network", row, "y")] * 8), timeout=ANSWER_S)
            time.sleep(pause_s)
            answers.cancel()
        return "left"

    def half_body(self, number: int) -> str:
        request = models.http_request("fixed", models.ROWS[:1], "probabilities")
        call_bytes = half_grpc_call()
        if number % 2:
            client = Client(self.grpc_port)
            client.send(call_bytes[: 24 + number % (len(call_bytes) - 24)])
        else:
            client = self.client()
            client.send(request[: 20 + number * 7 % (len(request) - 21)])
        time.sleep((number % 5) * 0.01)
        die(client.socket, reset=number % 4 < 2)
        return "left"

    # Hostile ones

    def bad_request(self, number: int) -> int:
        data, message = self.hostile[number % len(self.hostile)]
        answer = serially(self.client, data)
        assert message in answer.error(), f"{answer.error()!r} does not say {message!r}"
        return answer.code

    def slow_loris(self, number: int) -> int:
        client = self.client()
        try:
            client.send(post("/v2/models/fixed/infer", b" " * 1000)[:100])
            begin = time.monotonic()
            while time.monotonic() - begin < READ_TIMEOUT_S - 1:
                client.send(b" ")
                time.sleep(0.2)
            return client.read().code
        finally:
            client.close()

    def chunks(self, number: int) -> int:
        body = models.http_request("fixed", models.ROWS[:1], "probabilities").split(
            b"\r\n\r\n", 1)[1] + b" " * 70_000
        client = self.client()
        try:
            client.send(b"POST /v2/models/fixed/infer HTTP/1.1\r\nHost: h\r\n"
                        b"Transfer-Encoding: chunked\r\n\r\n")
            client.send(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
            return client.read().code
        finally:
            client.close()

    def idle(self, number: int) -> int:
        clients = [self.client() for _ in range(200)]
        try:
            time.sleep(3)
            codes = {client.ask(get("/v2/health/live")).code for client in clients[::20]}
            assert codes == {200}, codes
            return 200
        finally:
            for client in clients:
                client.close()

    # Those who look

    def read(self, number: int) -> int:
        if number % 3 == 0:
            text = self.server.metrics()
            assert text.endswith("\n") and "nv_inference_request_success" in text
            return 200
        targets = ("/v2/health/ready", "/v2/models/stats", "/v2/models/fraud", "/v2/models/step/config",
                   "/v2/systemsharedmemory/status", "/v2", "/v2/health/live")
        if number % 3 == 1:
            return self.kept.ask(get(targets[number // 3 % len(targets)])).code
        index = self.kept.ask(post("/v2/repository/index", ""))
        states = {entry["state"] for entry in index.json() if entry["name"] == "fixed"}
        assert states == {"READY"}, states
        return index.code

    def shared_memory(self, number: int) -> int:
        """A region of its own: registered, used for input and output, unregistered."""
        at = number % len(models.ROWS)
        name = f"soak-{uuid.uuid4().hex}"
        path = pathlib.Path("/dev/shm") / name
        region = f"/v2/systemsharedmemory/region/{name}"
        try:
            path.write_bytes(models.ROWS[at].tobytes() + bytes(4096))
            body = {"key": f"/{name}", "offset": 0, "byte_size": 4096}
            code = self.kept.ask(post(f"{region}/register", body)).code
            assert code == 200, code
            where = {"shared_memory_region": name}
            answer = self.kept.ask(post("/v2/models/fixed/infer", {
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 10],
                            "parameters": {**where, "shared_memory_byte_size": 40}}],
                "outputs": [{"name": "probabilities", "parameters": {
                    **where, "shared_memory_byte_size": 8, "shared_memory_offset": 1024}}]}))
            assert answer.code == 200, answer.body
            got = np.frombuffer(path.read_bytes()[1024:1032], np.float32)
            models.near(got, models.PROBABILITIES["skl_lr_binary"][at], "by shared memory")
            if number % 3 == 0:
                os.truncate(path, 0)  # while it is registered
            return self.kept.ask(post(f"{region}/unregister", "")).code
        finally:
            path.unlink(missing_ok=True)

    # The operator

    def _change(self, target: str, body: dict | str = "") -> tuple[int, str]:
        port = int(self.server.admin_address.rsplit(":", 1)[1])

        def connect() -> Client:
            made = Client(port)
            made.socket.settimeout(ANSWER_S)
            return made

        answer = serially(connect, post(target, body))
        return answer.code, answer.body.decode()

    def swap(self, number: int) -> int:
        """The next version of fraud, which answers from then on."""
        following = self.version + 1
        put(self.root, "fraud", following, self.engines[models.kind_of(following)])
        code, body = self._change("/v2/repository/models/fraud/load")
        assert code == 200, body
        answer = self.kept.ask(models.http_request("fraud", models.ROWS[:1], "probabilities"))
        got = answer.json()["model_version"]
        assert got == str(following), f"version {got} answers after {following} was loaded"
        shutil.rmtree(self.root / "fraud" / str(self.version))
        self.version = following
        return code

    def failed_load(self, number: int) -> int:
        put(self.root, "fragile", 2, self.broken[number % len(self.broken)])
        code, body = self._change("/v2/repository/models/fragile/load")
        assert "version 2: " in body, body
        answer = self.kept.ask(models.http_request("fragile", models.ROWS[:1], "probabilities"))
        assert answer.code == 200 and answer.json()["model_version"] == "1", answer.body
        return code

    def load_unload(self, number: int) -> int:
        for verb in ("load", "unload"):
            code, body = self._change(f"/v2/repository/models/other/{verb}")
            assert code == 200, body
            time.sleep(0.2)
        return code

    def other(self, number: int) -> int:
        at = number % len(models.ROWS)
        answer = self.kept.ask(models.http_request("other", models.ROWS[at][None], "probabilities"))
        if answer.code == 200:
            models.near(models.http_values(answer)[1], models.PROBABILITIES["skl_rf_binary"][at], "other")
        return answer.code

    def settings(self, number: int) -> int:
        code, body = self._change("/v2/logging", {"log_verbose_level": number % 2})
        assert code == 200, body
        return self._change("/v2/trace/setting", {"trace_rate": str(1 + number % 9)})[0]
