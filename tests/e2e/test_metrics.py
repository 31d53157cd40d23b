"""What /metrics and the statistics say, against what was sent; and the page that explains it."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from serving import GOLDEN, ROOT, Server, build, golden, post, wait_for
from tritonclient.utils import InferenceServerException

BATCHED = "max_batch_size: 8\ndynamic_batching: {}\n"
STEP = """
max_batch_size: 8
sequence_batching:
  max_candidate_sequences: 2
  state: [{input_name: state, output_name: new_state}]
"""
ROWS = golden("torch_mlp_ln_gelu_op13")[0]["x"]
SAMPLE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (-?[0-9.e+]+|NaN|[+-]Inf)$')


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("repository")
    for model, name, config in (("batched", "torch_mlp_ln_gelu_op13", BATCHED),
                                ("step", "torch_gru_step_op17", STEP)):
        build(name, root / model / "1" / "model.engine")
        (root / model / "config.yaml").write_text(config)
    running = Server(root, tmp_path_factory.mktemp("log") / "log", "--drain-ms", 0)
    yield running
    assert running.stop() == 0, running.log()


def documented() -> dict[str, tuple[str, str]]:
    """Name -> type and labels, of the page's tables."""
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    rows = re.findall(r"^\| `([a-z_]+)` \| ([a-z]+) \| ([a-z_, `]*) \|", page, re.MULTILINE)
    return {name: (kind, labels.replace("`", "").replace(" ", "")) for name, kind, labels in rows}


def test_the_page_lists_what_the_server_has() -> None:
    lines = (GOLDEN / "metrics.txt").read_text().splitlines()
    pinned = {}
    for line in lines:
        if line and not line.startswith("#"):
            name, kind, *labels = line.split(" ")
            pinned[name] = (kind, labels[0] if labels else "")
    assert documented() == pinned


def test_every_line_is_prometheus_text(server: Server) -> None:
    """Each sample belongs to a family with a type and a help before it; counters end as they should."""
    types: dict[str, str] = {}
    helped = set()
    for line in server.metrics().splitlines():
        if line.startswith("# HELP "):
            helped.add(line.split(" ", 3)[2])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name in helped and name not in types, line
            types[name] = kind
        else:
            match = SAMPLE.match(line)
            assert match, line
            name = match[1]
            family = re.sub(r"_(bucket|sum|count)$", "", name)
            assert types.get(family if types.get(family) == "histogram" else name), line
    for name in types:
        assert name in documented(), name


def test_batch_sizes(server: Server) -> None:
    """Five requests of three rows and two of one: the sizes' runs add up to all of them."""
    with triton_http.InferenceServerClient(server.address) as client:
        for rows in (3, 3, 3, 3, 3, 1, 1):
            tensor = triton_http.InferInput("x", [rows, ROWS.shape[1]], "FP32")
            tensor.set_data_from_numpy(np.ascontiguousarray(ROWS[:rows]))
            client.infer("batched", [tensor])
        wait_for(lambda: server.metric('nv_inference_exec_count{model="batched",version="1"}') == 7,
                 "the last run is counted, which is after its answer")
        over_http = client.get_inference_statistics("batched")["model_stats"][0]
    with triton_grpc.InferenceServerClient(server.grpc_address) as client:
        over_grpc = client.get_inference_statistics("batched", as_json=True)["model_stats"][0]
    sizes = {size["batch_size"]: size for size in over_http["batch_stats"]}
    assert {rows: size["compute_infer"]["count"] for rows, size in sizes.items()} == {1: 2, 3: 5}
    for size in sizes.values():
        for phase in ("compute_input", "compute_infer", "compute_output"):
            assert size[phase]["ns"] > 0, phase
    assert over_http["execution_count"] == 7 and over_http["inference_count"] == 17
    assert [(int(size["batch_size"]), int(size["compute_infer"]["count"]))
            for size in over_grpc["batch_stats"]] == [(1, 2), (3, 5)]
    of_model = '{model="batched",version="1"'
    assert server.metric(f"verdict_batch_rows_count{of_model}}}") == 7
    assert server.metric(f"verdict_batch_rows_sum{of_model}}}") == 17
    assert server.metric(f'verdict_batch_rows_bucket{of_model},le="2"}}') == 2
    assert server.metric(f'verdict_batch_rows_bucket{of_model},le="4"}}') == 7


def test_sequences(server: Server) -> None:
    """Three sequences where two have room: one is evicted, and then unknown (400)."""
    x = np.zeros((1, 6), np.float32)
    with triton_http.InferenceServerClient(server.address) as client:
        tensor = triton_http.InferInput("x", x.shape, "FP32")
        tensor.set_data_from_numpy(x)
        for key in (1, 2, 3):
            client.infer("step", [tensor], sequence_id=key, sequence_start=True)
        of_model = '{model="step",version="1"}'
        assert server.metric(f"verdict_sequences{of_model}") == 2
        assert server.metric(f"verdict_sequences_evicted_total{of_model}") == 1
        with pytest.raises(InferenceServerException, match="sequence 1 to model 'step'"):
            client.infer("step", [tensor], sequence_id=1)
        wait_for(lambda: server.metric(f"verdict_sequences_expired_total{of_model}") == 2,
                 "a second without a request ends them")
        assert server.metric(f"verdict_sequences{of_model}") == 0


def test_a_deadline_that_cannot_be_met_is_counted(server: Server) -> None:
    """503 or 504 before its run."""
    name = 'verdict_queue_rejections_total{model="batched",version="1",reason="deadline_unreachable"}'
    before = server.metric(name)
    answer = server.ask(post("/v2/models/batched/infer", {"inputs": [
        {"name": "x", "datatype": "FP32", "shape": [1, ROWS.shape[1]],
         "data": ROWS[0].tolist()}]}, Verdict_Deadline_Us=1))
    assert answer.code in (503, 504)
    assert server.metric(name) == before + 1


def test_refusals_at_the_door_are_counted(tmp_path: pathlib.Path) -> None:
    """429 for what is over a client's rate."""
    build("torch_mlp_ln_gelu_op13", tmp_path / "models" / "fraud" / "1" / "model.engine")
    server = Server(tmp_path / "models", tmp_path / "log", "--drain-ms", 0, "--set",
                    "limits.client.requests_per_s=1", "--set", "limits.client.burst=1")
    request = post("/v2/models/fraud/infer", {"inputs": [
        {"name": "x", "datatype": "FP32", "shape": [1, ROWS.shape[1]], "data": ROWS[0].tolist()}]})
    codes = [server.ask(request).code for _ in range(4)]
    assert codes.count(429) >= 2 and set(codes) <= {200, 429}
    total = sum(float(line.rsplit(" ", 1)[1]) for line in server.metrics().splitlines()
                if line.startswith("verdict_requests_refused_total{"))
    assert total == codes.count(429)
    assert server.stop() == 0, server.log()
