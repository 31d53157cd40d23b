"""Every public method of tritonclient's four clients, against one server: it works, or it is refused
with a status that is stated here. A method that a later tritonclient adds fails until it is listed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import inspect
import os
import pathlib
import queue
import urllib.request
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import tritonclient.grpc as grpc_sync
import tritonclient.grpc.aio as grpc_aio
import tritonclient.grpc.auth as grpc_auth
import tritonclient.http as http_sync
import tritonclient.http.aio as http_aio
import tritonclient.http.auth as http_auth
import tritonclient.utils.shared_memory as shm
from serving import ANSWER_TIMEOUT_S, Server, build, golden
from test_server import check
from tritonclient._plugin import InferenceServerClientPlugin
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

CLIENTS = {"http": http_sync, "http.aio": http_aio, "grpc": grpc_sync, "grpc.aio": grpc_aio}
# Model -> golden model, config.yaml.
MODELS = {
    "fraud": ("skl_lr_binary", None),
    "spare": ("skl_lr_binary", None),
    "strings": ("skl_onehot_ordinal_lr", None),
    "labels": ("skl_lr_string_labels", None),
    "batched": ("torch_mlp_ln_gelu_op13", "max_batch_size: 8\ndynamic_batching:\n"
                "  priority_levels: 2\n  default_priority_level: 1\n"
                "  default_queue_policy: {allow_timeout_override: true}\n"),
    "step": ("torch_gru_step_op17", "max_batch_size: 8\nsequence_batching:\n"
             "  max_sequence_idle_microseconds: 600000000\n"
             "  state: [{input_name: state, output_name: new_state}]\n"),
}
TOKEN = "vdt_hush_of_triton"
# Status over HTTP -> over gRPC.
STATUSES = {"400": "INVALID_ARGUMENT", "401": "UNAUTHENTICATED", "404": "NOT_FOUND",
            "409": "ALREADY_EXISTS", "501": "UNIMPLEMENTED", "503": "UNAVAILABLE"}


class Client:
    """One of the four as if it were synchronous, with answers as dictionaries."""

    def __init__(self, kind: str, server: Server) -> None:
        self.kind, self.module, self.server = kind, CLIENTS[kind], server
        self.is_grpc = kind.startswith("grpc")
        self._loop = asyncio.new_event_loop()
        self.raw = self._loop.run_until_complete(self._make())

    async def _make(self) -> object:  # the asyncio clients want a running loop
        address = self.server.grpc_address if self.is_grpc else self.server.address
        return self.module.InferenceServerClient(address)

    def wait(self, result: object) -> object:
        return self._loop.run_until_complete(result) if inspect.isawaitable(result) else result

    def __getattr__(self, method: str) -> Callable:
        return lambda *arguments, **named: self.wait(getattr(self.raw, method)(*arguments, **named))

    def view(self, method: str, *arguments: object, **named: object) -> dict:
        if self.is_grpc:
            named["as_json"] = True
        return getattr(self, method)(*arguments, **named)

    def close(self) -> None:
        self.wait(self.raw.close())
        self._loop.close()

    def refusal(self, status: str, method: str, *arguments: object, **named: object) -> str:
        """The message of a call that is refused. status: over HTTP."""
        with pytest.raises(InferenceServerException) as refused:
            getattr(self, method)(*arguments, **named)
        assert refused.value.status() == (
            f"StatusCode.{STATUSES[status]}" if self.is_grpc else status), refused.value
        return refused.value.message()

    def inputs(self, values: dict[str, np.ndarray], **binary: bool) -> list:
        """binary: binary_data=False for JSON; over gRPC there is but one form."""
        made = []
        for name, array in values.items():
            array = array.astype(np.object_) if array.dtype.kind == "U" else array
            made.append(self.module.InferInput(name, list(array.shape),
                                               np_to_triton_dtype(array.dtype)))
            made[-1].set_data_from_numpy(array, **({} if self.is_grpc else binary))
        return made

    def infer_golden(self, model: str = "fraud", binary: bool = True, **named: object) -> object:
        """Answers as the model does."""
        inputs, wanted = golden(MODELS[model][0])
        result = self.infer(model, self.inputs(inputs, binary_data=binary), **named)
        check(result, wanted)
        return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    made = tmp_path_factory.mktemp("triton")
    for model, (name, config) in MODELS.items():
        build(name, made / "models" / model / "1" / "model.engine")
        if config is not None:
            (made / "models" / model / "config.yaml").write_text(config)
    return made


@pytest.fixture(scope="module")
def served(folder: pathlib.Path) -> Iterator[Server]:
    running = Server(folder / "models", folder / "log", "--drain-ms", 0,
                     "--set", "auth.admin_on_inference_port=true",
                     "--set", "shared_memory.allow=true", "--set", "repository.mode=explicit",
                     "--set", f"repository.load={','.join(MODELS)}",
                     "--set", "tracing.endpoint=http://127.0.0.1:9/")
    yield running
    assert running.stop() == 0, running.log()


@pytest.fixture(scope="module")
def guarded(folder: pathlib.Path) -> Iterator[Server]:
    """Wants a token."""
    clients = folder / "clients.yaml"
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    clients.write_text(f"tokens:\n  - name: triton\n    sha256: {digest}\n    roles: [infer]\n")
    running = Server(folder / "models", folder / "guarded.log", "--drain-ms", 0,
                     "--set", f"auth.clients_file={clients}")
    yield running
    assert running.stop() == 0, running.log()


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, served: Server) -> Iterator[Client]:
    made = Client(request.param, served)
    yield made
    made.close()


# What is expected of each method. `c` is the client; `guarded`, where it is taken, the server that
# wants a token.


def server_live(c: Client) -> None:
    assert c.is_server_live() is True
    assert c.is_server_live(headers={"x-any": "1"}) is True


def server_ready(c: Client) -> None:
    assert c.is_server_ready() is True


def model_ready(c: Client) -> None:
    assert c.is_model_ready("fraud") is True
    assert c.is_model_ready("fraud", "1") is True
    assert c.is_model_ready("fraud", "2") is False
    assert c.is_model_ready("none") is False


def server_metadata(c: Client) -> None:
    metadata = c.view("get_server_metadata")
    assert metadata["name"] == "verdict"
    assert set(metadata["extensions"]) == {
        "binary_tensor_data", "model_configuration", "model_repository", "statistics", "trace",
        "logging", "system_shared_memory"}
    if c.is_grpc:
        assert c.get_server_metadata(client_timeout=20).name == "verdict"
    else:
        assert c.get_server_metadata(query_params={"a": 1, "b": ["x", "y"]}) == metadata


def model_metadata(c: Client) -> None:
    metadata = c.view("get_model_metadata", "fraud", "1")
    assert (metadata["name"], metadata["versions"]) == ("fraud", ["1"])
    (tensor,) = metadata["inputs"]
    assert (tensor["name"], tensor["datatype"]) == ("x", "FP32")
    assert [int(extent) for extent in tensor["shape"]] == [-1, 10]
    assert "'none'" in c.refusal("404", "get_model_metadata", "none")
    assert "version" in c.refusal("400", "get_model_metadata", "fraud", "x")


def model_config(c: Client) -> None:
    config = c.view("get_model_config", "batched", "1")
    config = config["config"] if c.is_grpc else config
    assert (config["name"], config["max_batch_size"]) == ("batched", 8)
    assert int(config["dynamic_batching"]["priority_levels"]) == 2
    c.refusal("404", "get_model_config", "none")


def repository_index(c: Client) -> None:
    index = c.view("get_model_repository_index")
    models = index["models"] if c.is_grpc else index
    assert {m["name"]: m["state"] for m in models} == dict.fromkeys(MODELS, "READY")


def statistics(c: Client) -> None:
    def counted() -> int:
        (one,) = c.view("get_inference_statistics", "fraud", "1")["model_stats"]
        return int(one["inference_stats"]["success"].get("count", 0))

    before = counted()
    c.infer_golden()
    assert counted() == before + 1
    assert len(c.view("get_inference_statistics")["model_stats"]) == len(MODELS)
    c.refusal("404", "get_inference_statistics", "none")


def load_model(c: Client) -> None:
    c.load_model("spare")
    c.load_model("spare", config='{"max_batch_size": 0}', headers={"x-any": "1"})
    assert c.is_model_ready("spare")
    c.refusal("404", "load_model", "none")
    c.refusal("400", "load_model", "spare", config="no json")
    assert "repository" in c.refusal("400", "load_model", "spare", config="{}",
                                     files={"file:1/model.engine": b"\0"})
    c.infer_golden("spare")


def unload_model(c: Client) -> None:
    c.unload_model("spare")
    assert not c.is_model_ready("spare")
    inputs = c.inputs(golden("skl_lr_binary")[0])
    assert "not served" in c.refusal("503", "infer", "spare", inputs)
    c.unload_model("spare", unload_dependents=True)
    c.load_model("spare")
    c.infer_golden("spare")


def log_settings(c: Client) -> None:
    settings = c.view("get_log_settings")
    values = settings["settings"] if c.is_grpc else settings
    assert {"log_file", "log_info", "log_warning", "log_error", "log_verbose_level",
            "log_format"} == set(values)


def update_log_settings(c: Client) -> None:
    def level(answer: dict) -> int:
        if not c.is_grpc:
            return answer["log_verbose_level"]
        return answer["settings"]["log_verbose_level"].get("uint32_param", 0)

    assert level(c.view("update_log_settings", {"log_verbose_level": 1, "log_info": True})) == 1
    assert level(c.view("get_log_settings")) == 1
    assert level(c.view("update_log_settings", {"log_verbose_level": 0})) == 0
    c.refusal("400", "update_log_settings", {"log_what": True})
    c.refusal("501", "update_log_settings", {"log_file": "/tmp/x"})


def rate(c: Client, answer: dict) -> str:
    return answer["settings"]["trace_rate"]["value"][0] if c.is_grpc else answer["trace_rate"]


def trace_settings(c: Client) -> None:
    assert int(rate(c, c.view("get_trace_settings"))) > 0
    assert int(rate(c, c.view("get_trace_settings", model_name="fraud"))) > 0
    c.refusal("404", "get_trace_settings", model_name="none")


def update_trace_settings(c: Client) -> None:
    first = rate(c, c.view("get_trace_settings"))
    changed = c.view("update_trace_settings", model_name="fraud", settings={"trace_rate": "7"})
    assert rate(c, changed) == "7"
    assert rate(c, c.view("get_trace_settings")) == first
    assert rate(c, c.view("update_trace_settings", settings={"trace_level": ["TIMESTAMPS"],
                                                             "trace_rate": "9"})) == "9"
    c.view("update_trace_settings", settings={"trace_level": "OFF", "trace_rate": None})
    c.view("update_trace_settings", model_name="fraud", settings={"trace_rate": None})
    assert rate(c, c.view("get_trace_settings", model_name="fraud")) == first
    c.refusal("501", "update_trace_settings", settings={"trace_level": ["TENSORS"]})
    c.refusal("400", "update_trace_settings", settings={"trace_rate": "-1"})


def regions(c: Client, name: str = "") -> set[str]:
    status = c.view("get_system_shared_memory_status", name)
    return set(status.get("regions", {})) if c.is_grpc else {r["name"] for r in status}


def system_shared_memory(c: Client) -> None:
    """Register, status, inference in it, unregister: each is of use with the others only."""
    inputs, wanted = golden("skl_lr_binary")
    x, scores = inputs["x"], wanted["probabilities"]
    key = f"/verdict_triton_{c.kind}_{os.getpid()}"
    handle = shm.create_shared_memory_region("both", key, x.nbytes + scores.nbytes)
    try:
        shm.set_shared_memory_region(handle, [x])
        c.register_system_shared_memory("in", key, x.nbytes)
        c.register_system_shared_memory("out", key, scores.nbytes, offset=x.nbytes)
        assert regions(c) == {"in", "out"} and regions(c, "in") == {"in"}
        c.refusal("409", "register_system_shared_memory", "in", key, x.nbytes)
        c.refusal("404", "register_system_shared_memory", "other", key + "_none", 8)
        tensor = c.module.InferInput("x", list(x.shape), "FP32")
        tensor.set_shared_memory("in", x.nbytes)
        output = c.module.InferRequestedOutput("probabilities")
        output.set_shared_memory("out", scores.nbytes)
        c.infer("fraud", [tensor], outputs=[output])
        got = shm.get_contents_as_numpy(handle, np.float32, scores.shape, x.nbytes)
        np.testing.assert_allclose(got, scores, rtol=1e-5, atol=1e-5)
        c.unregister_system_shared_memory("in")
        assert regions(c) == {"out"}
        c.refusal("404", "get_system_shared_memory_status", "in")
        c.unregister_system_shared_memory()
        assert regions(c) == set()
    finally:
        c.unregister_system_shared_memory()
        shm.destroy_shared_memory_region(handle)


def cuda_status(c: Client) -> None:
    status = c.view("get_cuda_shared_memory_status")
    assert (status.get("regions", {}) if c.is_grpc else status) in ({}, [])
    c.refusal("404", "get_cuda_shared_memory_status", "in")


def cuda_register(c: Client) -> None:
    handle = base64.b64encode(b"\0" * 64).decode()
    assert "not offered" in c.refusal("501", "register_cuda_shared_memory", "in", handle, 0, 64)


def cuda_unregister(c: Client) -> None:
    c.unregister_cuda_shared_memory("in")
    c.unregister_cuda_shared_memory()


def infer(c: Client) -> None:
    for model in ("fraud", "strings", "labels", "batched"):
        for binary in (True, False):
            response = c.infer_golden(model, binary, request_id="r-1").get_response()
            response = response if isinstance(response, dict) else {
                "id": response.id, "model_name": response.model_name}
            assert (response["id"], response["model_name"]) == ("r-1", model)


def infer_outputs(c: Client) -> None:
    inputs = c.inputs(golden("skl_lr_binary")[0])
    output = c.module.InferRequestedOutput("probabilities")
    result = c.infer("fraud", inputs, model_version="1", outputs=[output])
    assert result.as_numpy("probabilities") is not None
    assert result.as_numpy("label") is None
    classes = c.module.InferRequestedOutput("probabilities", class_count=1)
    assert "classification" in c.refusal("501", "infer", "fraud", inputs, outputs=[classes])
    none = c.module.InferRequestedOutput("none")
    c.refusal("400", "infer", "fraud", inputs, outputs=[none])
    c.refusal("404", "infer", "none", inputs)


def infer_parameters(c: Client) -> None:
    c.infer_golden("batched", priority=2, timeout=20_000_000)
    c.infer_golden("fraud", parameters={"note": "passed over", "number": 3, "flag": True})
    c.refusal("400", "infer", "batched", c.inputs(golden(MODELS["batched"][0])[0]),
              priority=2**40)
    c.infer_golden("fraud", headers={"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"})
    if c.is_grpc:
        c.infer_golden("fraud", client_timeout=20)
        with pytest.raises(InferenceServerException, match="(?i)deadline"):
            c.infer_golden("fraud", client_timeout=-1)  # over before it begins
    else:
        c.infer_golden("fraud", query_params={"q": "1"})
        c.infer_golden("fraud", headers={"Verdict-Deadline-Us": "20000000"})
        c.refusal("400", "infer", "fraud", c.inputs(golden("skl_lr_binary")[0]),
                  headers={"Verdict-Deadline-Us": "0"})


def infer_compressed(c: Client) -> None:
    for algorithm in ("gzip", "deflate"):
        if c.is_grpc:
            c.infer_golden("fraud", compression_algorithm=algorithm)
            continue
        for binary in (True, False):
            c.infer_golden("fraud", binary, request_compression_algorithm=algorithm,
                           response_compression_algorithm=algorithm)


def infer_sequence(c: Client) -> None:
    inputs, _ = golden("torch_gru_step_op17")
    x = {"x": inputs["x"][:1]}
    answers = []
    for key in (7, f"text-{c.kind}"):
        for start in (True, False, True):  # a start forgets the state
            answers.append(c.infer("step", c.inputs(x), sequence_id=key, sequence_start=start,
                                   sequence_end=False).as_numpy("score"))
        c.infer("step", c.inputs(x), sequence_id=key, sequence_end=True)
    first, second = answers[:3], answers[3:]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[0], first[2])
    assert not np.array_equal(first[0], first[1])
    assert "sequence" in c.refusal("400", "infer", "step", c.inputs(x))


def async_infer(c: Client) -> None:
    inputs, wanted = golden("skl_lr_binary")
    if not c.is_grpc:
        requests = [c.async_infer("fraud", c.inputs(inputs), request_id=str(i)) for i in range(9)]
        for i, request in enumerate(requests):
            result = request.get_result(timeout=20)
            assert result.get_response()["id"] == str(i)
            check(result, wanted)
        with pytest.raises(InferenceServerException, match="none"):
            c.async_infer("none", c.inputs(inputs)).get_result(timeout=20)
        return
    answers: queue.Queue = queue.Queue()

    def put(result, error) -> None:
        answers.put((result, error))

    for i in range(9):
        c.async_infer("fraud", c.inputs(inputs), put, request_id=str(i))
    for _ in range(9):
        result, error = answers.get(timeout=20)
        assert error is None
        check(result, wanted)
    c.async_infer("none", c.inputs(inputs), put)
    _, error = answers.get(timeout=20)
    assert error.status() == "StatusCode.NOT_FOUND"
    c.async_infer("fraud", c.inputs(inputs), put).cancel()  # answered, or cancelled
    result, error = answers.get(timeout=20)
    assert error is None or "CANCELLED" in error.status()


def stream(c: Client) -> None:
    """start_stream, async_stream_infer and stop_stream."""
    inputs, wanted = golden("skl_lr_binary")
    answers: queue.Queue = queue.Queue()
    for options in ({}, {"compression_algorithm": "gzip", "headers": {"x-any": "1"}}):
        c.start_stream(lambda result, error: answers.put((result, error)), stream_timeout=60,
                       **options)
        for i in range(5):
            c.async_stream_infer("fraud", c.inputs(inputs), request_id=str(i))
        for _ in range(5):
            result, error = answers.get(timeout=20)
            assert error is None
            check(result, wanted)
        c.async_stream_infer("none", c.inputs(inputs))
        assert "'none'" in answers.get(timeout=20)[1].message()
        c.stop_stream()
    c.start_stream(lambda result, error: answers.put((result, error)))
    c.stop_stream(cancel_requests=True)


def stream_infer(c: Client) -> None:
    inputs, wanted = golden("skl_lr_binary")

    async def requests():
        for model in ("fraud", "none", "fraud"):
            yield {"model_name": model, "inputs": c.inputs(inputs)}

    async def ask(**options: object) -> list:
        return [answer async for answer in c.raw.stream_infer(requests(), **options)]

    for options in ({}, {"stream_timeout": 60, "compression_algorithm": "deflate",
                         "headers": {"x-any": "1"}}):
        answers = c.wait(ask(**options))
        assert [error is None for _, error in answers].count(False) == 1
        for result, error in answers:
            if error is None:
                check(result, wanted)


def raw_body(c: Client) -> None:
    """generate_request_body and parse_response_body, with another client between them."""
    inputs, wanted = golden("skl_lr_binary")
    kind = c.module.InferenceServerClient
    for binary in (True, False):
        outputs = [c.module.InferRequestedOutput(name, binary_data=binary) for name in wanted]
        body, json_size = kind.generate_request_body(c.inputs(inputs, binary_data=binary),
                                                     outputs=outputs)
        headers = {"Content-Type": "application/octet-stream"}
        if json_size is not None:
            headers["Inference-Header-Content-Length"] = str(json_size)
        request = urllib.request.Request(f"http://{c.server.address}/v2/models/fraud/infer", body,
                                         headers)
        with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as response:
            size = response.headers.get("Inference-Header-Content-Length")
            assert (size is not None) == binary
            result = kind.parse_response_body(
                response.read(), header_length=None if size is None else int(size))
        check(result, wanted)


def plugins(c: Client, guarded: Server) -> None:
    """register_plugin, plugin, unregister_plugin."""

    class Bearer(InferenceServerClientPlugin):
        def __call__(self, request: object) -> None:
            request.headers["authorization"] = f"Bearer {TOKEN}"

    other = Client(c.kind, guarded)
    try:
        assert other.is_server_live()
        other.refusal("401", "get_server_metadata")
        bearer = Bearer()
        other.register_plugin(bearer)
        assert other.plugin() is bearer
        assert other.view("get_server_metadata")["name"] == "verdict"
        other.infer_golden()
        other.unregister_plugin()
        other.refusal("401", "get_server_metadata")
        # Names and passwords are not what this server knows its clients by.
        auth = grpc_auth if c.is_grpc else http_auth
        other.register_plugin(auth.BasicAuth("name", "password"))
        other.refusal("401", "get_server_metadata")
    finally:
        other.close()


def close(c: Client) -> None:
    other = Client(c.kind, c.server)
    assert other.is_server_live()
    other.close()


COMMON = {
    "close": [close],
    "get_cuda_shared_memory_status": [cuda_status],
    "get_inference_statistics": [statistics],
    "get_log_settings": [log_settings],
    "get_model_config": [model_config],
    "get_model_metadata": [model_metadata],
    "get_model_repository_index": [repository_index],
    "get_server_metadata": [server_metadata],
    "get_system_shared_memory_status": [system_shared_memory],
    "get_trace_settings": [trace_settings],
    "infer": [infer, infer_outputs, infer_parameters, infer_compressed, infer_sequence],
    "is_model_ready": [model_ready],
    "is_server_live": [server_live],
    "is_server_ready": [server_ready],
    "load_model": [load_model],
    "plugin": [plugins],
    "register_cuda_shared_memory": [cuda_register],
    "register_plugin": [plugins],
    "register_system_shared_memory": [system_shared_memory],
    "unload_model": [unload_model],
    "unregister_cuda_shared_memory": [cuda_unregister],
    "unregister_plugin": [plugins],
    "unregister_system_shared_memory": [system_shared_memory],
    "update_log_settings": [update_log_settings],
    "update_trace_settings": [update_trace_settings],
}
RAW = {"generate_request_body": [raw_body], "parse_response_body": [raw_body]}
METHODS = {
    "http": COMMON | RAW | {"async_infer": [async_infer]},
    "http.aio": COMMON | RAW,
    "grpc": COMMON | {"async_infer": [async_infer], "start_stream": [stream],
                      "async_stream_infer": [stream], "stop_stream": [stream]},
    "grpc.aio": COMMON | {"stream_infer": [stream_infer]},
}
CASES = [(kind, expectation) for kind, methods in METHODS.items()
         for expectation in dict.fromkeys(e for listed in methods.values() for e in listed)]


@pytest.mark.parametrize("kind", CLIENTS)
def test_every_method_is_listed(kind: str) -> None:
    client = CLIENTS[kind].InferenceServerClient
    public = {name for name, member in inspect.getmembers(client)
              if callable(member) and not name.startswith("_")}
    assert public == METHODS[kind].keys()


@pytest.mark.parametrize("client, expectation", CASES, indirect=["client"],
                         ids=[f"{kind}-{expectation.__name__}" for kind, expectation in CASES])
def test_method(client: Client, expectation: Callable, request: pytest.FixtureRequest) -> None:
    more = {name: request.getfixturevalue(name)
            for name in inspect.signature(expectation).parameters if name != "c"}
    expectation(client, **more)
