"""The server as clients of the v2 inference protocol see it: tritonclient, sync and asyncio."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import tempfile

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from conftest import SERVED
from serving import BINARY, Server, get, golden, post
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

TOLERANCE = 1e-5
SERVED_VERSIONS = [
    (model, str(version), name)
    for model, versions in SERVED.items()
    for version, name in versions.items()
]


@pytest.fixture
def client(server: Server):
    with triton.InferenceServerClient(server.address) as made:
        yield made


def wire(values: np.ndarray) -> np.ndarray:
    """As the client wants it: strings are objects."""
    return values.astype(np.object_) if values.dtype.kind == "U" else values


def infer_inputs(inputs: dict[str, np.ndarray], binary: bool, module=triton) -> list:
    made = []
    for name, values in inputs.items():
        values = wire(values)
        tensor = module.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
        tensor.set_data_from_numpy(values, binary_data=binary)
        made.append(tensor)
    return made


def check(result, expected: dict[str, np.ndarray]) -> None:
    for name, want in expected.items():
        got = result.as_numpy(name)
        assert got.shape == want.shape, name
        if want.dtype.kind == "f":
            np.testing.assert_allclose(got, want, TOLERANCE, TOLERANCE, err_msg=name)
        elif want.dtype.kind == "U":
            text = [v.decode() if isinstance(v, bytes) else v for v in got.ravel()]
            assert text == want.ravel().tolist(), name
        else:
            np.testing.assert_array_equal(got, want, err_msg=name)


def test_health_and_metadata(server: Server, client) -> None:
    assert client.is_server_live()  # 200
    assert client.is_server_ready()  # 200
    assert client.get_server_metadata()["name"] == "verdict"
    metadata = client.get_model_metadata("fraud")
    assert metadata["versions"] == ["1", "2", "10"]
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 10]}]
    assert {o["name"]: o["datatype"] for o in metadata["outputs"]} == {
        "label": "INT64", "probabilities": "FP32"}
    assert client.get_model_metadata("labels", "1")["outputs"][0]["datatype"] == "BYTES"
    config = client.get_model_config("fraud")
    assert config["max_batch_size"] == 0 and config["version_policy"] == {"all": {}}
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 10]}]


def test_readiness_is_per_model_and_truthful(server: Server, client) -> None:
    for model, version, _ in SERVED_VERSIONS:
        assert client.is_model_ready(model)  # 200
        assert client.is_model_ready(model, version)  # 200
    assert server.ask(get("/v2/models/none/ready")).code == 404
    assert server.ask(get("/v2/models/fraud/versions/11/ready")).code == 404
    broken = server.ask(get("/v2/models/broken/ready"))
    assert broken.code == 503
    assert server.ask(get("/v2/models/broken/versions/1/ready")).code == 503


def test_versions_that_fail_to_load_leave_the_others(server: Server, client) -> None:
    refused = server.ask(get("/v2/models/half-broken/versions/2/ready"))
    assert refused.code == 503
    assert "model.engine" in refused.error()
    assert client.get_model_metadata("half-broken")["versions"] == ["1"]
    index = {(e["name"], e["version"]): e for e in client.get_model_repository_index()}
    assert index["half-broken", "1"]["state"] == "READY"
    assert index["half-broken", "2"]["state"] == "UNAVAILABLE"
    assert index["half-broken", "2"]["reason"]
    assert ("fraud", "11") not in index
    log = server.log()
    assert "model half-broken version 2 is not served" in log
    for ignored in ("fraud/latest", "fraud/03", "not a name", "fraud/11: no model.engine"):
        assert ignored in log
    assert server.metric('verdict_model_ready{model="half-broken",version="2"}') == 0
    assert server.metric('verdict_model_ready{model="half-broken",version="1"}') == 1


def test_loading_and_unloading_say_what_to_do(client) -> None:
    for change in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="repository.mode explicit"):
            change("fraud")


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize(("model", "version", "name"), SERVED_VERSIONS)
def test_golden_outputs(client, model: str, version: str, name: str, binary: bool) -> None:
    inputs, expected = golden(name)
    has_nan = any(v.dtype.kind == "f" and np.isnan(v).any() for v in inputs.values())
    if has_nan and not binary:
        pytest.skip("JSON has no NaN")
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in expected]
    result = client.infer(model, infer_inputs(inputs, binary), model_version=version,
                          outputs=outputs, request_id="r-1")  # 200
    check(result, expected)
    response = result.get_response()
    assert response["id"] == "r-1"
    assert (response["model_name"], response["model_version"]) == (model, version)
    # Without a list of outputs all come, in the binary form.
    check(client.infer(model, infer_inputs(inputs, binary), model_version=version), expected)


def test_highest_version_answers_where_none_is_named(client) -> None:
    inputs, expected = golden("skl_rf_binary")
    result = client.infer("fraud", infer_inputs(inputs, True))
    assert result.get_response()["model_version"] == "10"
    check(result, expected)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_compressed_requests(client, algorithm: str, binary: bool) -> None:
    inputs, expected = golden("skl_lr_binary")
    check(client.infer("fraud", infer_inputs(inputs, binary), model_version="1",
                       request_compression_algorithm=algorithm,
                       response_compression_algorithm=algorithm), expected)


def test_errors_reach_the_client_with_their_message(client) -> None:
    inputs, _ = golden("skl_lr_binary")
    with pytest.raises(InferenceServerException, match="unknown model 'none'") as unknown:
        client.infer("none", infer_inputs(inputs, True))
    assert unknown.value.status() == "404"
    too_wide = {"x": np.zeros((1, 11), np.float32)}
    with pytest.raises(InferenceServerException, match="input 'x': shape") as shape:
        client.infer("fraud", infer_inputs(too_wide, True), model_version="1")
    assert shape.value.status() == "400"
    too_many = {"x": np.zeros((129, 10), np.float32)}
    with pytest.raises(InferenceServerException, match="'x'.*128") as rows:
        client.infer("fraud", infer_inputs(too_many, True), model_version="1")
    assert rows.value.status() == "400"


def test_asyncio_client(server: Server) -> None:
    inputs, expected = golden("skl_lr_binary")

    async def run() -> None:
        async with triton_aio.InferenceServerClient(server.address) as client:
            assert await client.is_server_ready()
            assert (await client.get_model_metadata("fraud", "1"))["versions"][0] == "1"
            results = await asyncio.gather(*(
                client.infer("fraud", infer_inputs(inputs, i % 2 == 0, triton_aio),
                             model_version="1")
                for i in range(40)))
            for result in results:
                check(result, expected)

    asyncio.run(run())


def test_many_clients_at_once_get_their_own_answers(server: Server) -> None:
    """Each client asks for rows of its own; none may get another's."""
    cases = [(model, version, *golden(name)) for model, version, name in SERVED_VERSIONS
             if model in ("fraud", "missing-values", "gru")]
    requests_each = 60
    before = sum(server.metric(f'nv_inference_request_success{{model="{m}",version="{v}"}}')
                 for m, v, *_ in cases)

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        with triton.InferenceServerClient(server.address) as client:
            for _ in range(requests_each):
                model, version, inputs, expected = cases[rng.integers(len(cases))]
                rows = np.sort(rng.choice(len(next(iter(inputs.values()))), 3, replace=False))
                result = client.infer(
                    model, infer_inputs({k: v[rows] for k, v in inputs.items()}, True),
                    model_version=version)
                check(result, {k: v[rows] for k, v in expected.items()})

    clients = 8
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(work, seed) for seed in range(clients)]:
            done.result()
    after = sum(server.metric(f'nv_inference_request_success{{model="{m}",version="{v}"}}')
                for m, v, *_ in cases)
    assert after - before == clients * requests_each


def test_statistics_and_metrics_agree(server: Server, client) -> None:
    inputs, _ = golden("skl_gb_binary")
    rows = len(inputs["x"])

    def statistics() -> dict:
        return client.get_inference_statistics("fraud", "2")["model_stats"][0]

    before = statistics()
    client.infer("fraud", infer_inputs(inputs, True), model_version="2")
    with pytest.raises(InferenceServerException):
        client.infer("fraud", infer_inputs({"x": inputs["x"][:, :3].copy()}, True),
                     model_version="2")
    after = statistics()
    assert after["inference_count"] - before["inference_count"] == rows
    assert after["execution_count"] - before["execution_count"] == 1
    for key in ("success", "fail"):
        moved = after["inference_stats"][key]["count"] - before["inference_stats"][key]["count"]
        assert moved == 1, key
    labels = '{model="fraud",version="2"}'
    assert server.metric("nv_inference_count" + labels) == after["inference_count"]
    assert server.metric("verdict_request_duration_us_count" + labels) == (
        after["inference_stats"]["success"]["count"])
    every = client.get_inference_statistics()["model_stats"]
    assert {s["name"] for s in every} == set(SERVED)


def test_json_floats_are_shortest_and_exact(server: Server) -> None:
    inputs, _ = golden("skl_lr_binary")
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": list(inputs["x"].shape),
                        "data": inputs["x"].tolist()}],
            "outputs": [{"name": "probabilities"}]}
    answer = server.ask(post("/v2/models/fraud/versions/1/infer", body))
    assert answer.code == 200
    numbers = answer.json()["outputs"][0]["data"]
    assert any(len(repr(n)) <= 11 for n in numbers)
    binary = dict(body, parameters={"binary_data_output": True})
    raw = server.ask(post("/v2/models/fraud/versions/1/infer", binary))
    assert raw.code == 200
    at = int(raw.fields["inference-header-content-length"])
    assert json.loads(raw.body[:at])["outputs"][0]["parameters"] == {"binary_data_size": 192}
    exact = np.frombuffer(raw.body[at:], np.float32)
    np.testing.assert_array_equal(np.array(numbers, np.float32), exact)


def test_start_up_errors_are_one_line_and_exit_1(
    server: Server, repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    import subprocess

    def run(*flags: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(BINARY), "serve", *map(str, flags)], capture_output=True,
                              text=True, timeout=30)

    missing = run("--repository", tmp_path / "none")
    assert missing.returncode == 1
    assert str(tmp_path / "none") in missing.stderr and missing.stderr.count("\n") == 1
    taken = run("--repository", repository, "--host", "127.0.0.1", "--http-port", server.port,
                "--metrics-port", 0, "--grpc-port", 0)
    assert taken.returncode == 1
    assert f"127.0.0.1:{server.port}" in taken.stderr and taken.stderr.count("\n") == 1
    assert run().returncode == 2
    assert run("--repository", repository, "--http-port", 70000).returncode == 2


def test_nothing_loads_live_but_not_ready(tmp_path: pathlib.Path) -> None:
    bad = tmp_path / "repository" / "m" / "1"
    bad.mkdir(parents=True)
    (bad / "model.engine").write_bytes(b"VERDICT")
    running = Server(tmp_path / "repository", tmp_path / "log", "--drain-ms", 0)
    try:
        assert running.ask(get("/v2/health/live")).code == 200
        assert running.ask(get("/v2/health/ready")).code == 503
        assert running.ask(get("/v2/models/m/ready")).code == 503
        assert running.ask(post("/v2/models/m/infer", {})).code == 503
        assert "not ready" in running.log()
    finally:
        assert running.stop() == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can run the server as a user of its own, "
                    "whose processes are counted")
@pytest.mark.parametrize("processes, io_threads", [(40, 64), *((n, 1) for n in range(1, 6))])
def test_threads_that_cannot_be_started_end_the_start(processes: int, io_threads: int) -> None:
    """Exit status 1 and what to do, whichever thread is refused."""
    nobody = 65534
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        binary = shutil.copy(BINARY, folder)  # to where anybody may read it
        try:
            subprocess.run([binary, "--version"], user=nobody, check=True, capture_output=True)
        except PermissionError as error:
            pytest.skip(f"root's limits are no limits, and nobody cannot run it: {error}")
        done = subprocess.run(
            [binary, "serve", "--repository", folder, "--http-port", "0", "--metrics-port", "0",
             "--grpc-port", "0", "--io-threads", str(io_threads)],
            capture_output=True, text=True, timeout=20, user=nobody, group=nobody, extra_groups=[],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes)))
    assert done.returncode == 1
    assert re.search(r"cannot start .*thread.*; lower (--io-threads|compute\.threads)", done.stderr), (
        done.stderr)
