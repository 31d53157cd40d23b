"""The metrics that a running server gives, and the page that explains them."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import time
from collections.abc import Iterator

import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from serving import ROOT, Server, build, get, golden, post, wait_for

X = golden("torch_mlp_ln_gelu_op13")[0]["x"]
SAMPLE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="[^"\\]*",?)*)\})? (\S+)')


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("metrics")
    build("torch_mlp_ln_gelu_op13", folder / "models" / "m" / "1" / "model.engine")
    (folder / "models" / "m" / "config.yaml").write_text(
        "max_batch_size: 8\ndynamic_batching: {max_queue_delay_microseconds: 300000}\n")
    (folder / "server.yaml").write_text("log: {level: info}\n")
    running = Server(folder / "models", folder / "log", "--drain-ms", 0, "--config",
                     folder / "server.yaml")
    running.config = folder / "server.yaml"
    yield running
    assert running.stop() == 0, running.log()


def pinned() -> dict[str, tuple[str, list[str]]]:
    """Name -> type, labels."""
    found = {}
    for line in (ROOT / "tests" / "golden" / "metrics.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, kind, *labels = line.split()
            found[name] = (kind, sorted(labels[0].split(",")) if labels else [])
    return found


def of_gpus(name: str) -> bool:
    return "_gpu_" in name or name == "nv_energy_consumption"


def of_devices(name: str) -> bool:
    return "_device_" in name or name == "verdict_requests_served_total"


def of_routes(name: str) -> bool:
    return "_route_" in name or "_breaker_" in name


def documented() -> dict[str, tuple[str, list[str]]]:
    found: dict[str, tuple[str, list[str]]] = {}
    for line in (ROOT / "docs" / "reference" / "metrics.md").read_text().splitlines():
        if not line.startswith("| `"):
            continue
        name, kind, labels, unit, meaning = (cell.strip() for cell in line.strip("|").split("|"))
        assert unit and meaning, line
        assert name.strip("`") not in found, f"{name} is there twice"
        found[name.strip("`")] = (kind, sorted(re.findall(r"`(\w+)`", labels)))
    return found


def test_the_page_has_every_metric_and_no_other() -> None:
    assert documented() == pinned()


def families(text: str) -> dict[str, dict]:
    """The scrape by the rules of the text format: HELP and TYPE once and first, samples of one
    family together and none twice, buckets that rise and end in the count."""
    found: dict[str, dict] = {}
    name = None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, help_text = line[7:].split(" ", 1)
            assert name not in found and help_text, line
            found[name] = {"samples": {}}
        elif line.startswith("# TYPE "):
            assert line.split()[2] == name and "type" not in found[name], line
            found[name]["type"] = line.split()[3]
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            suffixes = ("_bucket", "_sum", "_count") if found[name]["type"] == "histogram" else ("",)
            assert match[1] in [name + suffix for suffix in suffixes], line
            assert (match[1], match[2]) not in found[name]["samples"], line
            found[name]["samples"][match[1], match[2]] = float(match[3])
    for name, family in found.items():
        last: dict[str, float] = {}
        for (sample, labels), value in family["samples"].items():
            assert value >= 0, (sample, labels)
            if sample == name + "_bucket" and family["type"] == "histogram":
                rest, bound = re.fullmatch(r'(.*?),?le="(.*)"', labels).groups()
                assert value >= last.get(rest, 0), (sample, labels)
                last[rest] = value
                if bound == "+Inf":
                    assert value == family["samples"][name + "_count", rest], (sample, labels)
    return found


def test_the_scrape_is_well_formed_and_as_pinned(server: Server) -> None:
    found = families(server.metrics())
    wanted = {name: kind for name, (kind, _) in pinned().items() if not ("_tls_" in name or of_devices(name) or of_routes(name))}
    here = {name: kind for name, kind in wanted.items() if not of_gpus(name)}
    types = {name: family["type"] for name, family in found.items()}
    assert {name: kind for name, kind in types.items() if not of_gpus(name)} == here
    assert types.items() <= wanted.items(), "of a GPU, where there is one"
    for name, kind in wanted.items():
        assert name.startswith("nv_") or (kind == "counter") == name.endswith("_total"), name


def infer(kind, client, rows: int) -> None:
    tensor = kind.InferInput("x", [rows, 12], "FP32")
    tensor.set_data_from_numpy(X[:rows])
    client.infer("m", [tensor])


def test_runs_are_counted_by_their_rows(server: Server) -> None:
    """In the histogram and in batch_stats, over both transports: executions, not requests."""
    labels = '{model="m",version="1"}'

    def counts() -> tuple[int, int]:
        return (int(server.metric("verdict_batch_rows_count" + labels)),
                int(server.metric("verdict_batch_rows_sum" + labels)))

    def over_http(client: triton_http.InferenceServerClient) -> list[dict]:
        return client.get_inference_statistics("m")["model_stats"][0]["batch_stats"]

    runs, rows = counts()
    with triton_http.InferenceServerClient(server.address) as http, \
            triton_grpc.InferenceServerClient(server.grpc_address) as grpc:
        before = {size["batch_size"]: size for size in over_http(http)}
        infer(triton_http, http, 3)
        # Two of four rows go together: they fill a batch, for which nobody waits.
        four = post("/v2/models/m/infer", {"inputs": [{
            "name": "x", "datatype": "FP32", "shape": [4, 12], "data": X[:4].ravel().tolist()}]})
        clients = [server.client() for _ in range(2)]
        for client in clients:
            client.send(four)
        assert [client.read().code for client in clients] == [200, 200]
        wait_for(lambda: counts() == (runs + 2, rows + 11), "both runs are counted")
        sizes = {size["batch_size"]: size for size in over_http(http)}
        assert list(sizes) == sorted(sizes)
        for size in (3, 8):
            for part in ("compute_input", "compute_infer", "compute_output"):
                earlier = before.get(size, {}).get(part, {"count": 0, "ns": 0})
                assert sizes[size][part]["count"] == earlier["count"] + 1
                assert sizes[size][part]["ns"] > earlier["ns"]
        said = grpc.get_inference_statistics("m").model_stats[0].batch_stats
        assert {size.batch_size: (size.compute_infer.count, size.compute_infer.ns,
                                  size.compute_input.ns, size.compute_output.ns)
                for size in said} == {
            size: (of["compute_infer"]["count"], of["compute_infer"]["ns"],
                   of["compute_input"]["ns"], of["compute_output"]["ns"])
            for size, of in sizes.items()}


def test_what_the_queue_rejects_is_counted_by_reason(server: Server) -> None:
    def rejected(reason: str) -> int:
        return int(server.metric(
            f'verdict_queue_rejections_total{{model="m",version="1",reason="{reason}"}}'))

    reasons = ("full", "deadline_unreachable", "expired", "timeout", "cancelled")
    before = {reason: rejected(reason) for reason in reasons}
    client = server.client()
    request = post("/v2/models/m/infer", {"inputs": [{
        "name": "x", "datatype": "FP32", "shape": [1, 12], "data": X[0].tolist()}]})
    client.send(request)
    pending = 'nv_inference_pending_request_count{model="m",version="1"}'
    wait_for(lambda: server.metric(pending) == 1, "it waits for others")
    client.close()
    wait_for(lambda: rejected("cancelled") == before["cancelled"] + 1, "it is taken out")
    assert server.ask(request.replace(
        b"Host: h\r\n", b"Host: h\r\nVerdict-Deadline-Us: 1\r\n")).code in (503, 504)
    assert rejected("deadline_unreachable") == before["deadline_unreachable"] + 1
    for reason in ("full", "expired", "timeout"):
        assert rejected(reason) == before[reason]


def test_refusals_at_the_door_are_counted(tmp_path: pathlib.Path) -> None:
    (tmp_path / "models").mkdir()
    running = Server(tmp_path / "models", tmp_path / "log", "--drain-ms", 0, "--set",
                     "limits.total.requests_per_s=0.01", "--set", "limits.total.burst=1")
    try:
        codes = [running.ask(post("/v2/models/m/infer", {})).code for _ in range(4)]
        refused = running.metric('verdict_requests_refused_total{reason="total_rate"}')
        assert refused == sum(code == 503 for code in codes) > 0
        assert running.metric('verdict_requests_refused_total{reason="permission"}') == 0
    finally:
        assert running.stop() == 0, running.log()


def test_reloads_are_counted_with_their_results(server: Server) -> None:
    def count(result: str) -> int:
        return int(server.metric(
            f'verdict_reloads_total{{files="configuration",result="{result}"}}'))

    last = 'verdict_reload_last_success_timestamp_seconds{files="configuration"}'
    good = server.config.read_text()
    success, failure, since = count("success"), count("failure"), server.metric(last)
    assert abs(since - time.time()) < 600
    server.config.write_text("no_such_key: 1\n")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: count("failure") == failure + 1, "a broken file is counted")
    assert (count("success"), server.metric(last)) == (success, since)
    server.config.write_text(good)
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: count("success") == success + 1, "and one that is good again")
    assert server.metric(last) >= since
    assert server.ask(get("/v2/health/live")).code == 200


@pytest.fixture
def nvml(tmp_path: pathlib.Path) -> Iterator[tuple[Server, pathlib.Path]]:
    """A server with the tests' NVML, which does what is written in the file."""
    behaviour = tmp_path / "nvml"
    behaviour.write_text("")
    (tmp_path / "models").mkdir()
    library = ROOT / "build" / "fake_nvml"
    assert (library / "libnvidia-ml.so.1").exists(), "ninja -C build fake_nvml"
    running = Server(tmp_path / "models", tmp_path / "log", "--drain-ms", 0, "--set",
                     "metrics.gpu_interval_ms=20",
                     environment={**os.environ, "LD_LIBRARY_PATH": str(library),
                                  "FAKE_NVML": str(behaviour)})
    yield running, behaviour
    assert running.stop() == 0, running.log()


def test_gpus_are_told_as_pinned(nvml: tuple[Server, pathlib.Path]) -> None:
    server, behaviour = nvml
    wait_for(lambda: "nv_gpu_utilization" in server.metrics(), "the GPUs are asked")
    found = families(server.metrics())
    wanted = {name: value for name, value in pinned().items() if of_gpus(name)}
    assert {name: family["type"] for name, family in found.items() if of_gpus(name)} == {
        name: kind for name, (kind, _) in wanted.items()}
    assert server.metric('nv_gpu_utilization{gpu_uuid="GPU-0000"}') == 0.42
    assert server.metric('nv_gpu_memory_used_bytes{gpu_uuid="GPU-1111"}') == 1e9
    behaviour.write_text("lost")
    wait_for(lambda: not any(map(of_gpus, families(server.metrics()))), "no empty families")
    behaviour.write_text("")
    wait_for(lambda: "nv_gpu_utilization" in server.metrics(), "they are back")


def test_nvml_that_hangs_stalls_no_scrape_and_no_end(nvml: tuple[Server, pathlib.Path]) -> None:
    server, behaviour = nvml
    wait_for(lambda: "nv_gpu_utilization" in server.metrics(), "the GPUs are asked")
    behaviour.write_text("hang")
    time.sleep(0.1)
    begin = time.monotonic()
    for _ in range(20):
        assert server.metric('nv_gpu_utilization{gpu_uuid="GPU-0000"}') == 0.42
    assert time.monotonic() - begin < 5
    begin = time.monotonic()
    assert server.stop() == 0, server.log()
    assert time.monotonic() - begin < 10
    assert "NVML has not answered" in server.log()
