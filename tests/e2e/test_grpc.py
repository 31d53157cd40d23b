"""The gRPC transport, as tritonclient and gRPC's own tools use it."""

from __future__ import annotations

import asyncio
import pathlib
import queue
import threading
import time

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from serving import Server, golden
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

CASES = {"fraud/1": "skl_lr_binary", "fraud/10": "skl_rf_binary", "strings/1":
         "skl_onehot_ordinal_lr", "labels/1": "skl_lr_string_labels",
         "several/1": "torch_mlp_residual_op13", "gru/7": "torch_gru1_op17"}
INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture
def client(server: Server):
    with triton.InferenceServerClient(server.grpc_address) as made:
        yield made


@pytest.fixture
def channel(server: Server):
    with grpc.insecure_channel(server.grpc_address) as made:
        yield made


def inputs_of(values: dict[str, np.ndarray]) -> list:
    made = []
    for name, array in values.items():
        array = array.astype(np.object_) if array.dtype.kind == "U" else array
        tensor = triton.InferInput(name, array.shape, triton_type(array))
        tensor.set_data_from_numpy(array)
        made.append(tensor)
    return made


def triton_type(array: np.ndarray) -> str:
    from tritonclient.utils import np_to_triton_dtype

    return np_to_triton_dtype(array.dtype)


def check(result, wanted: dict[str, np.ndarray]) -> None:
    for name, want in wanted.items():
        got = result.as_numpy(name)
        assert got.shape == want.shape, name
        if want.dtype.kind == "f":
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5, err_msg=name)
        elif want.dtype.kind == "U":
            assert [text.decode() for text in got.ravel()] == want.ravel().tolist(), name
        else:
            np.testing.assert_array_equal(got, want, err_msg=name)


def fraud_request(**fields: object) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name="fraud", **fields)
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 10])
    tensor.contents.fp32_contents.extend([0.5] * 10)
    return request


def call(channel: grpc.Channel, request: bytes | service_pb2.ModelInferRequest, **options):
    sent = request if isinstance(request, bytes) else request.SerializeToString()
    return channel.unary_unary(INFER)(sent, timeout=options.pop("timeout", 20), **options)


def refusal(channel: grpc.Channel, request, **options) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as raised:
        call(channel, request, **options)
    return raised.value


def test_health_and_metadata(client) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("fraud")
    assert client.is_model_ready("fraud", "2")
    assert not client.is_model_ready("fraud", "11")
    assert not client.is_model_ready("none")
    assert not client.is_model_ready("broken")
    with pytest.raises(InferenceServerException, match="INVALID_ARGUMENT"):
        client.is_model_ready("fraud", "two")
    assert client.get_server_metadata().name == "verdict"
    metadata = client.get_model_metadata("fraud")
    assert metadata.versions == ["1", "2", "10"]
    assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [
        ("x", "FP32", [-1, 10])]
    config = client.get_model_config("fraud").config
    assert config.name == "fraud"
    assert [(t.name, t.data_type, list(t.dims)) for t in config.input] == [("x", 11, [-1, 10])]


def test_statistics_and_index(client) -> None:
    client.infer("fraud", inputs_of(golden("skl_rf_binary")[0]), model_version="10")
    statistics = client.get_inference_statistics("fraud", "10").model_stats
    assert [(s.name, s.version) for s in statistics] == [("fraud", "10")]
    assert statistics[0].inference_stats.success.count >= 1
    assert statistics[0].last_inference > 1_700_000_000_000
    assert len(client.get_inference_statistics().model_stats) > 1
    index = {(m.name, m.version): m for m in client.get_model_repository_index().models}
    assert index["half-broken", "1"].state == "READY"
    assert index["half-broken", "2"].reason


@pytest.mark.parametrize("served", CASES)
def test_results_are_the_models(client, served: str) -> None:
    model, version = served.split("/")
    inputs, outputs = golden(CASES[served])
    result = client.infer(model, inputs_of(inputs), model_version=version, request_id="r-1")
    response = result.get_response()
    assert (response.model_name, response.model_version, response.id) == (model, version, "r-1")
    assert len(response.raw_output_contents) == len(response.outputs) == len(outputs)
    check(result, outputs)


def test_typed_contents_and_chosen_outputs(channel) -> None:
    request = fraud_request(id="typed")
    request.outputs.add(name="probabilities")
    response = service_pb2.ModelInferResponse.FromString(call(channel, request))
    assert response.id == "typed"
    assert [o.name for o in response.outputs] == ["probabilities"]
    assert len(response.raw_output_contents[0]) == 8


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests(client, algorithm: str) -> None:
    inputs, outputs = golden("skl_rf_binary")
    check(client.infer("fraud", inputs_of(inputs), compression_algorithm=algorithm), outputs)


def test_asyncio(server: Server) -> None:
    inputs, outputs = golden("skl_rf_binary")

    async def ask() -> None:
        async with triton_aio.InferenceServerClient(server.grpc_address) as client:
            assert await client.is_server_ready()
            results = await asyncio.gather(
                *(client.infer("fraud", inputs_of(inputs), request_id=str(i)) for i in range(50)))
            for i, result in enumerate(results):
                assert result.get_response().id == str(i)
                check(result, outputs)

            async def requests():
                for i in range(100):
                    yield {"model_name": "fraud", "inputs": inputs_of(inputs),
                           "request_id": str(i)}

            ids = []
            async for result, error in client.stream_infer(requests()):
                assert error is None
                check(result, outputs)
                ids.append(result.get_response().id)
            assert sorted(map(int, ids)) == list(range(100))

    asyncio.run(ask())


def test_stream_goes_on_after_an_error(client) -> None:
    inputs, outputs = golden("skl_rf_binary")
    answers: queue.Queue = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    client.async_stream_infer("none", inputs_of(inputs), request_id="bad")
    _, error = answers.get(timeout=20)
    assert "'none'" in error.message()
    for i in range(300):
        client.async_stream_infer("fraud", inputs_of(inputs), request_id=str(i),
                                  enable_empty_final_response=i == 299)
    for _ in range(300):
        result, error = answers.get(timeout=20)
        assert error is None
        check(result, outputs)
    assert result.get_response().parameters["triton_final_response"].bool_param
    client.stop_stream()


def test_half_close_answers_what_is_under_way(channel) -> None:
    def requests():
        for i in range(1000):
            yield fraud_request(id=str(i)).SerializeToString()

    stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    answers = [service_pb2.ModelStreamInferResponse.FromString(a)
               for a in stream(requests(), timeout=30)]
    assert sorted(int(a.infer_response.id) for a in answers) == list(range(1000))
    assert not any(a.error_message for a in answers)


def test_errors_of_a_stream_name_the_request(channel) -> None:
    bad = fraud_request(id="7")
    bad.inputs[0].shape[1] = 9
    stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    first, second = (service_pb2.ModelStreamInferResponse.FromString(a) for a in stream(
        iter([bad.SerializeToString(), b"\xff\xff"]), timeout=20))
    assert first.infer_response.id == "7" and "shape" in first.error_message
    assert "ModelInferRequest" in second.error_message


def test_health_service(server: Server, channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    for name in ("", "inference.GRPCInferenceService", "fraud"):
        assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == serving, name
    broken = health.Check(health_pb2.HealthCheckRequest(service="broken"))
    assert broken.status == health_pb2.HealthCheckResponse.NOT_SERVING
    with pytest.raises(grpc.RpcError) as raised:
        health.Check(health_pb2.HealthCheckRequest(service="none"))
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND
    watch = health.Watch(health_pb2.HealthCheckRequest(service="none"), timeout=20)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def test_reflection(channel) -> None:
    from google.protobuf.descriptor_pool import DescriptorPool

    database = ProtoReflectionDescriptorDatabase(channel)
    assert set(database.get_services()) == {
        "inference.GRPCInferenceService", "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection"}
    service = DescriptorPool(database).FindServiceByName("inference.GRPCInferenceService")
    ours = {m.name: (m.input_type.full_name, m.output_type.full_name) for m in service.methods}
    triton_service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert ours == {m.name: (m.input_type.full_name, m.output_type.full_name)
                    for m in triton_service.methods}
    with pytest.raises(KeyError):
        database.FindFileContainingSymbol("verdict.engine.Engine")


def test_wrong_requests_are_told_what_is_wrong(channel) -> None:
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    request = fraud_request()
    request.inputs[0].name = "y"
    error = refusal(channel, request)
    assert error.code() == invalid
    assert error.details() == "field inputs[0]: the model has no input 'y'; it has 'x'"
    request = fraud_request()
    request.inputs[0].datatype = "FP64"
    error = refusal(channel, request)
    assert (error.code(), error.details()) == (
        invalid, "input 'x': datatype is 'FP64', the model takes FP32")
    request = fraud_request()
    request.raw_input_contents.append(b"\0" * 40)
    assert "both" in refusal(channel, request).details()
    request = fraud_request()
    request.model_name = "none"
    assert refusal(channel, request).code() == grpc.StatusCode.NOT_FOUND
    request.model_name = "broken"
    assert refusal(channel, request).code() == grpc.StatusCode.UNAVAILABLE
    assert refusal(channel, b"\xff\xff\xff").code() == invalid
    request = fraud_request()
    request.inputs[0].parameters["shared_memory_region"].string_param = "r"
    request.inputs[0].parameters["shared_memory_byte_size"].int64_param = 40
    request.inputs[0].ClearField("contents")
    assert refusal(channel, request).code() == grpc.StatusCode.PERMISSION_DENIED
    request = fraud_request()
    request.parameters["priority"].string_param = "high"
    assert "parameters.priority" in refusal(channel, request).details()
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary("/inference.GRPCInferenceService/Other")(b"", timeout=20)
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_message_over_the_limit_is_refused(
    small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    running = Server(small_repository, tmp_path / "log", "--drain-ms", 0,
                     "--set", "grpc.max_message_bytes=100000")
    try:
        with grpc.insecure_channel(running.grpc_address) as channel:
            assert call(channel, fraud_request())
            request = fraud_request(id="x" * 200_000)
            assert refusal(channel, request).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            running.reset_peak_resident_bytes()
            before = running.resident_bytes()
            for algorithm in (grpc.Compression.Gzip, grpc.Compression.Deflate):
                bomb = fraud_request(id="x" * 60_000_000)
                code = refusal(channel, bomb, compression=algorithm).code()
                assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert running.peak_resident_bytes() - before < 20_000_000
            assert call(channel, fraud_request())
    finally:
        assert running.stop() == 0


def test_the_deadline_ends_a_stream(channel) -> None:
    requests: queue.Queue = queue.Queue()
    stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    answers = stream(iter(requests.get, None), timeout=0.5)
    requests.put(fraud_request().SerializeToString())
    assert b"fraud" in next(answers)
    with pytest.raises(grpc.RpcError) as raised:
        next(answers)
    requests.put(None)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_clients_that_cancel_leave_nothing_behind(server: Server) -> None:
    def churn() -> None:
        with grpc.insecure_channel(server.grpc_address) as channel:
            stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
            for _ in range(50):
                future = channel.unary_unary(INFER).future(fraud_request().SerializeToString())
                future.cancel()
                answers = stream(iter(lambda: fraud_request().SerializeToString(), None))
                next(answers)
                answers.cancel()

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with grpc.insecure_channel(server.grpc_address) as channel:
        assert call(channel, fraud_request())


def test_calls_are_counted_by_code(server: Server, channel) -> None:
    def counted(code: str) -> float:
        try:
            return server.metric(f'verdict_grpc_responses_total{{code="{code}"}}')
        except KeyError:
            return 0

    ok, missing = counted("OK"), counted("NOT_FOUND")
    call(channel, fraud_request())
    request = fraud_request()
    request.model_name = "none"
    refusal(channel, request)
    deadline = time.monotonic() + 10
    while counted("OK") < ok + 1 or counted("NOT_FOUND") < missing + 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_shutdown_tells_watchers_first_and_answers_what_is_under_way(
    small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    running = Server(small_repository, tmp_path / "log", "--drain-ms", 1500)
    with grpc.insecure_channel(running.grpc_address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service="fraud"), timeout=30)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        requests: queue.Queue = queue.Queue()
        stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        answers = stream(iter(requests.get, None), timeout=30)
        requests.put(fraud_request(id="1").SerializeToString())
        assert b"fraud" in next(answers)
        running.process.terminate()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert call(channel, fraud_request())  # still answered while it drains
        requests.put(fraud_request(id="2").SerializeToString())
        assert b"fraud" in next(answers)
        with pytest.raises(grpc.RpcError) as raised:
            next(answers)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
        requests.put(None)
    assert running.process.wait(30) == 0  # a second signal would end it at once


def test_a_taken_port_is_named(
    server: Server, small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    import subprocess

    from serving import BINARY

    port = server.grpc_address.rsplit(":", 1)[1]
    done = subprocess.run(
        [str(BINARY), "serve", "--repository", str(small_repository), "--host", "127.0.0.1",
         "--http-port", "0", "--metrics-port", "0", "--grpc-port", port],
        capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert server.grpc_address in done.stderr and "--grpc-port" in done.stderr
