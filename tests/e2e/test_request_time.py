"""A request's time: deadlines of HTTP clients, phases in the answer, long runs off the I/O threads."""

from __future__ import annotations

import gzip
import json
import pathlib
import re
import select
import time
import zlib

import numpy as np
import pytest
import tritonclient.http as triton
from serving import Server, build, golden, post
from slow_model import build_slow, slow_request

PHASES = ["parse", "queue", "compute", "serialise"]


@pytest.fixture(scope="module")
def model(server: Server) -> tuple[str, dict]:
    """The target and the body of a request that the shared server answers."""
    inputs, _ = golden("skl_lr_binary")
    (name, values), = inputs.items()
    row = values[:1]
    body = {"inputs": [{"name": name, "datatype": "FP32", "shape": list(row.shape),
                        "data": row.ravel().tolist()}]}
    return "/v2/models/fraud/versions/1/infer", body


def test_a_deadline_that_cannot_be_met_is_504_and_nothing_runs(server: Server, model) -> None:
    target, body = model
    runs = 'nv_inference_exec_count{model="fraud",version="1"}'
    rejected = 'nv_inference_request_failure{model="fraud",version="1",reason="REJECTED"}'
    before = server.metric(runs), server.metric(rejected)
    answer = server.ask(post(target, body, Verdict_Deadline_Us=1))
    assert answer.code == 504
    assert "deadline" in answer.error()
    assert (server.metric(runs), server.metric(rejected)) == (before[0], before[1] + 1)


@pytest.mark.parametrize("field, value", [
    ("Verdict_Deadline_Us", "10000000"),
    ("x_envoy_expected_rq_timeout_ms", "10000"),
    ("x_envoy_expected_rq_timeout_ms", "0"),
])
def test_a_deadline_that_is_far_changes_nothing(
    server: Server, model, field: str, value: str
) -> None:
    assert server.ask(post(*model, **{field: value})).code == 200


@pytest.mark.parametrize("field, value", [
    ("Verdict_Deadline_Us", "0"),
    ("Verdict_Deadline_Us", "soon"),
    ("Verdict_Deadline_Us", "-5"),
    ("x_envoy_expected_rq_timeout_ms", "1.5"),
])
def test_a_deadline_that_is_none_is_400_and_names_the_field(
    server: Server, model, field: str, value: str
) -> None:
    answer = server.ask(post(*model, **{field: value}))
    assert answer.code == 400
    assert answer.error().startswith(field.replace("_", "-"))


def test_phases_are_in_the_answer_if_asked(server: Server, model) -> None:
    assert "server-timing" not in server.ask(post(*model)).fields
    text = server.ask(post(*model, Verdict_Timing="1")).fields["server-timing"]
    entries = re.findall(r"(\w+);dur=([0-9.e-]+)(?:, |$)", text)
    assert [name for name, _ in entries] == PHASES, text
    durations = {name: float(ms) for name, ms in entries}
    assert all(0 <= ms < 1000 for ms in durations.values()), text
    assert durations["parse"] > 0 and durations["compute"] > 0, text


@pytest.mark.parametrize("accepted, used, open_body", [
    ("gzip", "gzip", gzip.decompress),
    ("deflate", "deflate", zlib.decompress),
    ("gzip;q=0.1, deflate", "deflate", zlib.decompress),
    ("br", None, bytes),
    ("gzip;q=0", None, bytes),
])
def test_answers_are_compressed_for_clients_that_like_it(
    server: Server, model, accepted: str, used: str | None, open_body
) -> None:
    target, body = model
    tensor = body["inputs"][0]
    many = {"inputs": [{**tensor, "shape": [64, tensor["shape"][1]], "data": tensor["data"] * 64}]}
    plain = server.ask(post(target, many))
    answer = server.ask(post(target, many, Accept_Encoding=accepted))
    assert answer.fields.get("content-encoding") == used
    assert open_body(answer.body) == plain.body
    if used:
        assert len(answer.body) < len(plain.body) / 2


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient_asks_for_compressed_answers(
    server: Server, model, algorithm: str, binary: bool
) -> None:
    _, body = model
    inputs, expected = golden("skl_lr_binary")
    (name, values), = inputs.items()
    values = np.resize(values, (128, values.shape[1]))
    tensor = triton.InferInput(name, list(values.shape), "FP32")
    tensor.set_data_from_numpy(values)
    with triton.InferenceServerClient(server.address) as client:
        result = client.infer("fraud", [tensor], model_version="1",
                              outputs=[triton.InferRequestedOutput("probabilities", binary)],
                              response_compression_algorithm=algorithm)
    want = np.resize(expected["probabilities"], (128, 2))
    np.testing.assert_allclose(result.as_numpy("probabilities"), want, 1e-5, 1e-5)


def test_a_long_run_leaves_its_io_thread_to_others(tmp_path: pathlib.Path) -> None:
    """One I/O thread, and a run of some 70 ms."""
    repository = tmp_path / "repository"
    build_slow(repository / "slow" / "1" / "model.engine")
    build("skl_lr_binary", repository / "quick" / "1" / "model.engine")
    quick_inputs, _ = golden("skl_lr_binary")
    (quick_name, quick), = quick_inputs.items()
    server = Server(repository, tmp_path / "log", "--drain-ms", 0, "--io-threads", 1)
    try:
        quick_body = {"inputs": [{"name": quick_name, "datatype": "FP32",
                                  "shape": [1, quick.shape[1]],
                                  "data": quick[0].tolist()}]}
        client, other = server.client(), server.client()
        overtaken = 0
        for _ in range(20):
            client.send(slow_request("slow", 500))
            client.send(post("/v2/models/quick/infer", quick_body))  # behind it, on one connection
            time.sleep(0.01)  # until it has been read
            assert other.ask(post("/v2/models/quick/infer", quick_body)).code == 200
            overtaken += not select.select([client.socket], [], [], 0)[0]
            first, second = client.read(), client.read()
            assert (first.code, second.code) == (200, 200), (first.body, second.body)
            assert json.loads(first.body)["model_name"] == "slow"
            assert json.loads(second.body)["model_name"] == "quick"
            if overtaken:
                break
        assert overtaken, "no request was ever answered while the long one ran"
    finally:
        assert server.stop() == 0, server.log()
