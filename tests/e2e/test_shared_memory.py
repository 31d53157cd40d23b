"""Tensors in system shared memory, with tritonclient's own helpers for it."""

from __future__ import annotations

import multiprocessing.shared_memory as mpshm
import os
import pathlib
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.utils.shared_memory as shm
from serving import Server, get, golden, post
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def allowing(
    repository: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    running = Server(repository, tmp_path_factory.mktemp("log") / "server.log", "--drain-ms", 0,
                     "--set", "shared_memory.allow=true")
    yield running
    assert running.stop() == 0, running.log()


@pytest.fixture
def client(allowing: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(allowing.address) as made:
        yield made
        made.unregister_system_shared_memory()


class Region:
    """A shared memory object of this process, registered under its name."""

    def __init__(self, client: triton.InferenceServerClient, name: str, size: int) -> None:
        self.name, self.size = name, size
        self.key = f"/verdict_e2e_{name}_{os.getpid()}"
        self.handle = shm.create_shared_memory_region(name, self.key, size, create_only=True)
        client.register_system_shared_memory(name, self.key, size)

    def __enter__(self) -> Region:
        return self

    def __exit__(self, *_: object) -> None:
        shm.destroy_shared_memory_region(self.handle)

    def shrink(self, size: int) -> None:
        os.truncate("/dev/shm" + self.key, size)


def shared_input(region: Region, values: np.ndarray, offset: int = 0) -> triton.InferInput:
    shm.set_shared_memory_region(region.handle, [values], offset)
    tensor = triton.InferInput("x", list(values.shape), "FP32")
    tensor.set_shared_memory(region.name, values.nbytes, offset)
    return tensor


def shared_output(name: str, region: Region, size: int,
                  offset: int = 0) -> triton.InferRequestedOutput:
    output = triton.InferRequestedOutput(name)
    output.set_shared_memory(region.name, size, offset)
    return output


def infer(client: triton.InferenceServerClient, tensor: triton.InferInput,
          outputs: list | None = None) -> triton.InferResult:
    return client.infer("fraud", [tensor], model_version="1", outputs=outputs)


def refusal(*arguments: object, **named: object) -> str:
    with pytest.raises(InferenceServerException) as refused:
        infer(*arguments, **named)
    return str(refused.value)


def test_in_and_out(client) -> None:
    inputs, expected = golden("skl_lr_binary")
    x, probabilities = inputs["x"], expected["probabilities"]
    with Region(client, "in", x.nbytes + 64) as source, \
            Region(client, "out", probabilities.nbytes + 128) as target:
        result = infer(client, shared_input(source, x, 64),
                       [shared_output("probabilities", target, probabilities.nbytes, 128)])
        output = result.get_output("probabilities")
        # Triton's C++ client takes any parameters for those of a raw tensor.
        assert output.keys() == {"name", "datatype", "shape"}
        got = shm.get_contents_as_numpy(target.handle, np.float32, probabilities.shape, 128)
        np.testing.assert_allclose(got, probabilities, TOLERANCE, TOLERANCE)
        # One tensor in shared memory, the other not.
        both = infer(client, shared_input(source, x), [
            shared_output("probabilities", target, probabilities.nbytes),
            triton.InferRequestedOutput("label")])
        np.testing.assert_array_equal(both.as_numpy("label"), expected["label"])


def test_registration_is_listed_and_ends(client) -> None:
    with Region(client, "a", 100) as a, Region(client, "b", 200) as b:
        assert client.get_system_shared_memory_status() == [
            {"name": "a", "key": a.key, "offset": 0, "byte_size": 100},
            {"name": "b", "key": b.key, "offset": 0, "byte_size": 200}]
        assert client.get_system_shared_memory_status("b")[0]["byte_size"] == 200
        with pytest.raises(InferenceServerException, match="registered already"):
            client.register_system_shared_memory("a", a.key, 100)
        client.unregister_system_shared_memory("a")
        with pytest.raises(InferenceServerException, match="'a' is not registered"):
            client.get_system_shared_memory_status("a")
        client.unregister_system_shared_memory()
        assert client.get_system_shared_memory_status() == []


def test_wrong_sizes_and_regions_are_refused(client) -> None:
    inputs, expected = golden("skl_lr_binary")
    x = inputs["x"]
    with Region(client, "in", x.nbytes) as source:
        tensor = shared_input(source, x)
        tensor.set_shared_memory("none", x.nbytes)
        assert "'none' is not registered" in refusal(client, tensor)
        tensor.set_shared_memory("in", x.nbytes - 4)
        assert f"shared_memory_byte_size is {x.nbytes - 4}" in refusal(client, tensor)
        tensor.set_shared_memory("in", x.nbytes, 4)
        assert "are not in it" in refusal(client, tensor)
        tensor = shared_input(source, x)
        small = shared_output("probabilities", source, 8)
        needed = expected["probabilities"].nbytes
        assert f"the output needs {needed} bytes" in refusal(client, tensor, [small])
        with pytest.raises(InferenceServerException, match="needs 4096 bytes"):
            client.register_system_shared_memory("large", source.key, 4096)
        with pytest.raises(InferenceServerException, match="No such file"):
            client.register_system_shared_memory("missing", "/verdict_no_such_object", 8)


def test_a_region_that_its_owner_shrinks_does_not_stop_the_server(allowing, client) -> None:
    inputs, expected = golden("skl_lr_binary")
    x, probabilities = inputs["x"], expected["probabilities"]
    with Region(client, "in", 8192) as source, Region(client, "out", 8192) as target:
        tensor = shared_input(source, x)
        output = shared_output("probabilities", target, probabilities.nbytes)
        infer(client, tensor, [output])
        target.shrink(0)
        assert "has 0 bytes; region 'out' needs 8192" in refusal(client, tensor, [output])
        source.shrink(16)
        assert "has 16 bytes; region 'in' needs 8192" in refusal(client, tensor)
    assert allowing.ask(get("/v2/health/ready")).code == 200


def test_unregistered_while_requests_use_it(client, allowing) -> None:
    """Every answer is right, or says that the region is not registered."""
    inputs, expected = golden("skl_lr_binary")
    x, probabilities = inputs["x"], expected["probabilities"]
    answers = {"right": 0, "refused": 0}
    with Region(client, "in", x.nbytes) as source, \
            Region(client, "out", probabilities.nbytes) as target:
        stop = threading.Event()

        def toggle() -> None:
            with triton.InferenceServerClient(allowing.address) as other:
                while not stop.is_set():
                    for region in (source, target):
                        other.unregister_system_shared_memory(region.name)
                        other.register_system_shared_memory(region.name, region.key, region.size)

        thread = threading.Thread(target=toggle)
        thread.start()
        try:
            tensor = shared_input(source, x)
            output = shared_output("probabilities", target, probabilities.nbytes)
            for _ in range(2000):
                try:
                    infer(client, tensor, [output])
                except InferenceServerException as error:
                    assert "is not registered" in str(error)
                    answers["refused"] += 1
                    continue
                got = shm.get_contents_as_numpy(target.handle, np.float32, probabilities.shape)
                np.testing.assert_allclose(got, probabilities, TOLERANCE, TOLERANCE)
                got[:] = 0
                answers["right"] += 1
                if min(answers.values()) > 20:
                    break
        finally:
            stop.set()
            thread.join()
    assert answers["right"] > 0


def test_strings(client) -> None:
    inputs, expected = golden("skl_onehot_ordinal_lr")
    name, values = next((n, v) for n, v in inputs.items() if v.dtype.kind == "U")
    serialised = triton.InferInput(name, list(values.shape), "BYTES")
    serialised.set_data_from_numpy(values.astype(np.object_), binary_data=True)
    raw = serialised._get_binary_data()
    with Region(client, "strings", len(raw)) as region:
        region.handle._mpsm_handle.buf[: len(raw)] = raw
        tensors = []
        for other, content in inputs.items():
            if other == name:
                tensor = triton.InferInput(name, list(values.shape), "BYTES")
                tensor.set_shared_memory("strings", len(raw))
            else:
                sent = content.astype(np.object_) if content.dtype.kind == "U" else content
                tensor = triton.InferInput(other, list(sent.shape), np_to_triton_dtype(sent.dtype))
                tensor.set_data_from_numpy(sent)
            tensors.append(tensor)
        result = client.infer("strings", tensors)
        for output, want in expected.items():
            if want.dtype.kind == "f":
                np.testing.assert_allclose(result.as_numpy(output), want, TOLERANCE, TOLERANCE)
        # Its owner writes a length that reaches far beyond the region.
        region.handle._mpsm_handle.buf[:4] = b"\xff\xff\xff\x7f"
        with pytest.raises(InferenceServerException, match="says it has 2147483647 bytes"):
            client.infer("strings", tensors)


def test_not_allowed_unless_asked_for(server: Server) -> None:
    inputs, _ = golden("skl_lr_binary")
    memory = mpshm.SharedMemory(create=True, size=64)
    try:
        with triton.InferenceServerClient(server.address) as client:
            with pytest.raises(InferenceServerException, match="shared_memory.allow") as refused:
                client.register_system_shared_memory("r", memory.name, 64)
            assert refused.value.status() == "403"
            assert client.get_system_shared_memory_status() == []
            tensor = triton.InferInput("x", list(inputs["x"].shape), "FP32")
            tensor.set_shared_memory("r", inputs["x"].nbytes)
            assert "shared_memory.allow" in refusal(client, tensor)
            assert "system_shared_memory" not in client.get_server_metadata()["extensions"]
    finally:
        memory.close()
        memory.unlink()


def test_cuda_shared_memory_is_not_offered(server: Server) -> None:
    with triton.InferenceServerClient(server.address) as client:
        assert client.get_cuda_shared_memory_status() == []
        with pytest.raises(InferenceServerException, match="CUDA shared memory is not offered"):
            client.register_cuda_shared_memory("c", b"handle", 0, 64)
        client.unregister_cuda_shared_memory()


def test_paths_answer_to_their_own_verb(server: Server) -> None:
    status = server.ask(post("/v2/systemsharedmemory/status", ""))
    assert status.code == 405 and status.fields["allow"] == "GET, HEAD"
    assert server.ask(get("/v2/systemsharedmemory/region//status")).code == 404
