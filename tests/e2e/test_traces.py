"""Traces, read by OpenTelemetry's own message definitions."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterator

import grpc
import pytest
import tritonclient.http as triton
from collector import Collector
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from serving import Server, post, wait_for
from test_grpc import INFER, fraud_request
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TARGET = "/v2/models/fraud/infer"
PHASES = ["parse", "queue", "compute", "serialise"]


def transaction(values: float = 1) -> dict:
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 10],
                        "data": [values] * 20}]}


def tracing(url: str) -> tuple[str, ...]:
    """Flags of a server that traces every request to a collector."""
    return "--set", f"tracing.endpoint={url}", "--set", "tracing.rate=1"


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


@pytest.fixture
def traced(small_repository: pathlib.Path, tmp_path: pathlib.Path,
           collector: Collector) -> Iterator[Server]:
    running = Server(small_repository, tmp_path / "log", "--drain-ms", 0, *tracing(collector.url))
    yield running
    assert running.stop() == 0, running.log()


def attributes(span: Span) -> dict[str, object]:
    return {a.key: a.value.int_value if a.value.HasField("int_value") else a.value.string_value
            for a in span.attributes}


def test_a_request_is_a_span_with_its_phases(traced: Server, collector: Collector) -> None:
    before = time.time_ns()
    answer = traced.ask(post(TARGET, transaction(), traceparent=PARENT, tracestate="vendor=1"))
    after = time.time_ns()
    assert answer.code == 200
    wait_for(lambda: len(collector.spans()) == 5, "five spans")
    root, *phases = collector.spans()
    assert root.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert root.parent_span_id.hex() == "00f067aa0ba902b7"
    assert root.trace_state == "vendor=1"
    assert (root.name, root.kind) == ("infer", Span.SPAN_KIND_SERVER)
    assert answer.fields["traceparent"] == f"00-{root.trace_id.hex()}-{root.span_id.hex()}-01"
    assert attributes(root) == {"verdict.model": "fraud", "verdict.version": "1",
                                "verdict.rows": 2, "verdict.status": "OK"}
    assert before <= root.start_time_unix_nano <= root.end_time_unix_nano <= after
    assert [p.name for p in phases] == PHASES
    assert len({s.span_id for s in (root, *phases)}) == 5
    at = root.start_time_unix_nano
    for phase in phases:  # one after another, without gaps
        assert phase.trace_id == root.trace_id
        assert phase.parent_span_id == root.span_id
        assert phase.start_time_unix_nano == at
        assert phase.end_time_unix_nano >= at
        at = phase.end_time_unix_nano
    assert at <= root.end_time_unix_nano
    resource = collector.requests[0].resource_spans[0].resource
    assert {a.key: a.value.string_value for a in resource.attributes}["service.name"] == "verdict"


def test_no_feature_value_is_in_a_trace(traced: Server, collector: Collector) -> None:
    assert traced.ask(post(TARGET, transaction(31337.5))).code == 200
    wait_for(lambda: len(collector.spans()) == 5, "five spans")
    assert "31337" not in str(collector.requests)


def test_requests_without_a_parent_begin_a_trace_each(
    traced: Server, collector: Collector
) -> None:
    for bad in ("", "nonsense", PARENT.upper(), PARENT[:-1]):
        assert traced.ask(post(TARGET, transaction(), traceparent=bad)).code == 200
    wait_for(lambda: len(collector.spans()) == 20, "twenty spans")
    roots = [s for s in collector.spans() if s.name == "infer"]
    assert all(not s.parent_span_id for s in roots)
    assert len({s.trace_id for s in roots}) == 4


def test_a_caller_that_does_not_record_is_not_recorded(
    traced: Server, collector: Collector
) -> None:
    answer = traced.ask(post(TARGET, transaction(), traceparent=PARENT[:-2] + "00"))
    assert answer.code == 200 and "traceparent" not in answer.fields
    traced.ask(post(TARGET, transaction(), traceparent=PARENT))
    wait_for(lambda: len(collector.spans()) >= 5, "five spans")
    assert len(collector.spans()) == 5


def test_an_error_says_so(traced: Server, collector: Collector) -> None:
    assert traced.ask(post(TARGET, {"inputs": []}, traceparent=PARENT)).code == 400
    wait_for(lambda: len(collector.spans()) == 2, "two spans")
    root, parse = collector.spans()
    assert attributes(root)["verdict.status"] == "INVALID_ARGUMENT"
    assert root.status.code == Status.STATUS_CODE_UNSET  # the client's mistake, not the server's
    assert parse.name == "parse" and parse.end_time_unix_nano == root.end_time_unix_nano


def test_settings_take_effect_while_it_runs(traced: Server, collector: Collector) -> None:
    with triton.InferenceServerClient(traced.admin_address) as client:
        settings = client.get_trace_settings()
        assert settings["trace_level"] == ["TIMESTAMPS"]
        assert (settings["trace_rate"], settings["trace_count"]) == ("1", "-1")
        changed = client.update_trace_settings("fraud", {"trace_level": ["OFF"]})
        assert changed["trace_level"] == ["OFF"]
        assert client.get_trace_settings()["trace_level"] == ["TIMESTAMPS"]
        assert "traceparent" not in traced.ask(post(TARGET, transaction())).fields
        client.update_trace_settings("fraud", {"trace_level": None, "trace_count": "1"})
        assert "traceparent" in traced.ask(post(TARGET, transaction())).fields
        assert "traceparent" not in traced.ask(post(TARGET, transaction())).fields
        assert client.get_trace_settings("fraud")["trace_count"] == "0"
        for setting in ("trace_file", "trace_mode", "log_frequency"):
            with pytest.raises(InferenceServerException, match=setting):
                client.update_trace_settings(settings={setting: "x"})
        with pytest.raises(InferenceServerException, match="unknown model"):
            client.get_trace_settings("none")
    wait_for(lambda: len(collector.spans()) == 5, "five spans")


def test_what_is_left_is_sent_at_the_end(
    small_repository: pathlib.Path, tmp_path: pathlib.Path, collector: Collector
) -> None:
    running = Server(small_repository, tmp_path / "log", "--drain-ms", 0, *tracing(collector.url))
    for _ in range(10):
        running.ask(post(TARGET, transaction()))
    assert running.stop() == 0
    assert len(collector.spans()) == 50


def test_a_collector_that_is_down_costs_spans_only(
    small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    gone = Collector()
    gone.close()
    running = Server(small_repository, tmp_path / "log", "--drain-ms", 0, *tracing(gone.url))
    try:
        client = running.client()
        for _ in range(300):
            assert client.ask(post(TARGET, transaction())).code == 200
        client.close()
        dropped = "verdict_trace_spans_dropped_total"
        wait_for(lambda: running.metric(dropped) > 0, "spans to be dropped", 60)
        assert running.metric("verdict_trace_spans_exported_total") == 0
        assert "the trace collector http://127.0.0.1" in running.log()
    finally:
        assert running.stop() == 0


def test_a_wrong_collector_ends_the_start(
    small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    import subprocess

    from serving import BINARY
    done = subprocess.run(
        [BINARY, "serve", "--repository", small_repository, "--http-port", "0", "--metrics-port",
         "0", "--set", "tracing.endpoint=collector:4318"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "must be like http://collector:4318/v1/traces" in done.stderr


def grpc_answer(traced: Server, request, metadata: list[tuple[str, str]]):
    """The trailing metadata and the code of an inference over gRPC."""
    with grpc.insecure_channel(traced.grpc_address) as channel:
        _, call = channel.unary_unary(INFER).with_call(
            request.SerializeToString(), metadata=metadata, timeout=20)
        return dict(call.trailing_metadata())


def test_a_call_over_grpc_goes_on_with_its_callers_trace(
    traced: Server, collector: Collector
) -> None:
    answer = grpc_answer(traced, fraud_request(), [("traceparent", PARENT),
                                                   ("tracestate", "vendor=1")])
    wait_for(lambda: len(collector.spans()) == 5, "five spans")
    root, *phases = collector.spans()
    assert root.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert root.parent_span_id.hex() == "00f067aa0ba902b7"
    assert root.trace_state == "vendor=1"
    assert answer["traceparent"] == f"00-{root.trace_id.hex()}-{root.span_id.hex()}-01"
    assert all(phase.parent_span_id == root.span_id for phase in phases)
    unsampled = grpc_answer(traced, fraud_request(), [("traceparent", PARENT[:-2] + "00")])
    assert "traceparent" not in unsampled


def test_requests_of_a_stream_share_their_callers_span(
    traced: Server, collector: Collector
) -> None:
    with grpc.insecure_channel(traced.grpc_address) as channel:
        stream = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer
        answers = list(stream(iter([fraud_request(), fraud_request()]),
                              metadata=[("traceparent", PARENT)], timeout=20))
    assert not any(answer.error_message for answer in answers)
    wait_for(lambda: len(collector.spans()) == 10, "ten spans")
    roots = [s for s in collector.spans() if s.name == "infer"]
    assert {s.parent_span_id.hex() for s in roots} == {"00f067aa0ba902b7"}
    assert len({s.span_id for s in roots}) == 2
