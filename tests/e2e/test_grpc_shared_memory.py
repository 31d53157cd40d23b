"""Tensors in system shared memory over gRPC, unary and in a stream."""

from __future__ import annotations

import os
import pathlib
import queue
import threading
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.utils.shared_memory as shm
from serving import Server, golden
from test_grpc import INFER, fraud_request, inputs_of
from test_shared_memory import TOLERANCE, Region, allowing  # noqa: F401  a fixture
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

MODEL = "skl_lr_binary"
MOST = 2**63 - 1


@pytest.fixture
def client(allowing: Server) -> Iterator[triton.InferenceServerClient]:  # noqa: F811
    with triton.InferenceServerClient(allowing.grpc_address) as made:
        yield made
        made.unregister_system_shared_memory()


@pytest.fixture
def channel(allowing: Server) -> Iterator[grpc.Channel]:  # noqa: F811
    with grpc.insecure_channel(allowing.grpc_address) as made:
        yield made


def shared_input(region: Region, values: np.ndarray, offset: int = 0) -> triton.InferInput:
    shm.set_shared_memory_region(region.handle, [values], offset)
    tensor = triton.InferInput("x", list(values.shape), "FP32")
    tensor.set_shared_memory(region.name, values.nbytes, offset)
    return tensor


def shared_output(region: Region, size: int, offset: int = 0) -> triton.InferRequestedOutput:
    output = triton.InferRequestedOutput("probabilities")
    output.set_shared_memory(region.name, size, offset)
    return output


def written(region: Region, wanted: np.ndarray, offset: int = 0) -> None:
    got = shm.get_contents_as_numpy(region.handle, wanted.dtype, wanted.shape, offset)
    np.testing.assert_allclose(got, wanted, TOLERANCE, TOLERANCE)


def refusal(channel: grpc.Channel, request: service_pb2.ModelInferRequest) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(INFER)(request.SerializeToString(), timeout=20)
    return raised.value


def shared_request(of: str, region: str, size: int, offset: int) -> service_pb2.ModelInferRequest:
    """Names a region for its input or its output, with numbers that a client can choose."""
    request = fraud_request()
    request.model_version = "1"
    tensor = request.inputs[0]
    if of == "output":
        tensor = request.outputs.add(name="probabilities")
    else:
        tensor.ClearField("contents")
    tensor.parameters["shared_memory_region"].string_param = region
    for key, value in (("byte_size", size), ("offset", offset)):
        parameter = tensor.parameters[f"shared_memory_{key}"]
        if value > MOST:
            parameter.uint64_param = value
        else:
            parameter.int64_param = value
    return request


def test_in_and_out(client) -> None:
    inputs, expected = golden(MODEL)
    x, probabilities = inputs["x"], expected["probabilities"]
    with Region(client, "in", x.nbytes + 64) as source, \
            Region(client, "out", probabilities.nbytes + 128) as target:
        result = client.infer("fraud", [shared_input(source, x, 64)], "1", [
            shared_output(target, probabilities.nbytes, 128), triton.InferRequestedOutput("label")])
        written(target, probabilities, 128)
        np.testing.assert_array_equal(result.as_numpy("label"), expected["label"])
        assert not result.get_output("probabilities").parameters  # as with HTTP, and Triton
        response = result.get_response()
        assert len(response.raw_output_contents) == len(response.outputs) == 2
        # Input in shared memory alone; then output alone.
        result = client.infer("fraud", [shared_input(source, x)], "1")
        np.testing.assert_allclose(result.as_numpy("probabilities"), probabilities, 1e-5, 1e-5)
        client.infer("fraud", inputs_of(inputs), "1", [shared_output(target, probabilities.nbytes)])
        written(target, probabilities)


def test_in_and_out_of_a_stream(client) -> None:
    inputs, expected = golden(MODEL)
    x, probabilities = inputs["x"], expected["probabilities"]
    slots, size = 40, probabilities.nbytes
    answers: queue.Queue = queue.Queue()
    with Region(client, "in", x.nbytes) as source, Region(client, "out", size * slots) as target:
        tensor = shared_input(source, x)
        client.start_stream(lambda result, error: answers.put((result, error)))
        for slot in range(slots):
            client.async_stream_infer("fraud", [tensor], "1", [
                shared_output(target, size, slot * size)], request_id=str(slot))
        for _ in range(slots):
            result, error = answers.get(timeout=20)
            assert error is None, error
            written(target, probabilities, int(result.get_response().id) * size)
        client.async_stream_infer("fraud", [tensor], "1", [shared_output(target, 8, MOST - 7)])
        assert "are not in it" in str(answers.get(timeout=20)[1])
        client.stop_stream()


def test_strings(client) -> None:
    inputs, expected = golden("skl_onehot_ordinal_lr")
    size = 4096
    with Region(client, "in", size * len(inputs)) as source:
        tensors = []
        for place, (name, values) in enumerate(inputs.items()):
            tensor = inputs_of({name: values})[0]
            raw = tensor._get_content()
            handle = np.frombuffer(raw, np.uint8)
            shm.set_shared_memory_region(source.handle, [handle], place * size)
            tensor.set_shared_memory("in", len(raw), place * size)
            tensors.append(tensor)
        result = client.infer("strings", tensors)
        for name, wanted in expected.items():
            got = result.as_numpy(name)
            if wanted.dtype.kind == "f":
                np.testing.assert_allclose(got, wanted, TOLERANCE, TOLERANCE)
            elif wanted.dtype.kind == "i":
                np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("of", ["input", "output"])
@pytest.mark.parametrize("size,offset,code", [
    (40, 4096 - 39, "OUT_OF_RANGE"), (40, 4097, "OUT_OF_RANGE"), (40, MOST, "OUT_OF_RANGE"),
    (40, 2**64 - 40, "OUT_OF_RANGE"), (40, 2**64 - 1, "OUT_OF_RANGE"), (MOST, 0, "OUT_OF_RANGE"),
    (MOST, MOST, "OUT_OF_RANGE"), (2**64 - 1, 1, "OUT_OF_RANGE"), (2**64 - 8, 8, "OUT_OF_RANGE"),
    (7, 0, "INVALID_ARGUMENT"), (0, 0, "INVALID_ARGUMENT"), (-1, 0, "INVALID_ARGUMENT"),
    (40, -1, "INVALID_ARGUMENT"), (-(2**63), -(2**63), "INVALID_ARGUMENT")])
def test_hostile_numbers(client, channel, of: str, size: int, offset: int, code: str) -> None:
    with Region(client, "r", 4096):
        error = refusal(channel, shared_request(of, "r", size, offset))
        assert error.code() == grpc.StatusCode[code], error.details()
        assert "shared" in error.details()


def test_wrong_uses_are_refused(client, channel) -> None:
    with Region(client, "r", 4096) as region:
        error = refusal(channel, shared_request("input", "none", 40, 0))
        assert error.code() == grpc.StatusCode.NOT_FOUND
        assert "input 'x': shared memory region 'none' is not registered" in error.details()
        request = shared_request("input", "r", 40, 0)
        request.inputs[0].contents.fp32_contents.append(1)
        assert "both data and a shared memory region" in refusal(channel, request).details()
        request = shared_request("input", "r", 40, 0)
        request.raw_input_contents.append(b"\0" * 40)
        assert "raw_input_contents has 1 tensors" in refusal(channel, request).details()
        for key in ("region", "byte_size"):
            request = shared_request("input", "r", 40, 0)
            del request.inputs[0].parameters[f"shared_memory_{key}"]
            assert f"shared_memory_{key} is missing" in refusal(channel, request).details()
        request = shared_request("output", "r", 40, 0)
        request.outputs[0].parameters["shared_memory_region"].int64_param = 1
        assert "must be a string" in refusal(channel, request).details()
        region.shrink(16)
        error = refusal(channel, shared_request("input", "r", 40, 0))
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "has 16 bytes" in error.details()


def test_it_is_off_unless_allowed(server: Server) -> None:
    with triton.InferenceServerClient(server.grpc_address) as client, \
            grpc.insecure_channel(server.grpc_address) as channel:
        with pytest.raises(InferenceServerException, match="PERMISSION_DENIED"):
            client.register_system_shared_memory("r", "/verdict_absent", 40)
        for of in ("input", "output"):
            error = refusal(channel, shared_request(of, "r", 40, 0))
            assert error.code() == grpc.StatusCode.PERMISSION_DENIED


def test_regions_that_come_and_go_under_requests(allowing, client) -> None:  # noqa: F811
    """An answer is right, or an error that names the region; the server keeps nothing open."""
    inputs, expected = golden(MODEL)
    x, probabilities = inputs["x"], expected["probabilities"]
    files = pathlib.Path(f"/proc/{allowing.process.pid}/fd")
    wrong: list[str] = []
    over = threading.Event()
    with Region(client, "in", x.nbytes) as source, \
            Region(client, "out", probabilities.nbytes) as target:
        tensor = shared_input(source, x)
        output = shared_output(target, probabilities.nbytes)

        def ask() -> None:
            with triton.InferenceServerClient(allowing.grpc_address) as own:
                while not over.is_set():
                    try:
                        own.infer("fraud", [tensor], "1", [output])
                    except InferenceServerException as error:
                        if "is not registered" not in str(error):
                            wrong.append(str(error))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(150):
            for region in (source, target):
                client.unregister_system_shared_memory(region.name)
                client.register_system_shared_memory(region.name, region.key, region.size)
        over.set()
        for thread in threads:
            thread.join(30)
        assert not wrong
        written(target, probabilities)
        client.unregister_system_shared_memory()
        held = [os.readlink(file) for file in files.iterdir() if file.exists()]
        assert not [name for name in held if "verdict_e2e" in name]
