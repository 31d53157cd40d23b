"""deploy/kubernetes with real servers, that have the pod's very settings, files, user and root file
system and are probed as the kubelet does; and a real Prometheus for the autoscaler's metric."""

from __future__ import annotations

import base64
import http.client
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator

import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
import yaml
from code_blocks import code_blocks
from manifests import (  # noqa: F401  a fixture too
    DEPLOY,
    GUIDE,
    KUBECTL,
    Object,
    all_of,
    base,
    documents,
    expect_known,
    needs_kubectl,
    objects,
    one,
    pod_of,
    settings_of,
)
from pod import Pod, bearer
from serving import ANSWER_TIMEOUT_S, BINARY, ROOT, Server, golden, wait_for
from monitoring import DEPLOY as MONITORING
from monitoring import Prometheus, needs_prometheus
from test_alerts import served_metrics
from test_grpc import inputs_of
from test_security import Authority, entry, serial
from test_server import check, infer_inputs

MODEL = "skl_lr_binary"
TOKENS = {"checkout": "vdt_of_infer", "prometheus": "vdt_of_metrics"}


# Servers


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def certificate(authority: Authority) -> dict[str, bytes]:
    paths = authority.issue("server", "DNS:localhost,DNS:verdict,DNS:verdict-servers")
    return dict(zip(("tls.crt", "tls.key"), (path.read_bytes() for path in paths)))


@pytest.fixture(scope="module")
def secrets(authority: Authority) -> dict[str, dict[str, bytes]]:
    roles = {"checkout": "infer", "prometheus": "metrics"}
    clients = "tokens:\n" + "".join(entry(name, TOKENS[name], roles[name]) for name in TOKENS)
    return {"verdict-tls": certificate(authority),
            "verdict-clients": {"clients.yaml": clients.encode()}}


@pytest.fixture
def start(tmp_path: pathlib.Path, secrets) -> Iterator[Callable[..., Pod]]:
    running: list[Pod] = []

    def begin(objects: list[Object], **more) -> Pod:
        folder = tmp_path / f"pod-{len(running)}"
        folder.mkdir()
        running.append(Pod(objects, folder, more.pop("secrets", secrets), **{
            "VERDICT_REPOSITORY_POLL_INTERVAL_S": "1",
            "VERDICT_TLS_RELOAD_INTERVAL_S": "1"} | more))
        return running[-1]

    yield begin
    for pod in running:
        pod.process.kill()
        pod.process.wait()


def infer(pod: Pod, authority: Authority, token: str = TOKENS["checkout"]) -> None:
    """A new connection, over HTTP and over gRPC."""
    inputs, expected = golden(MODEL)
    trusting = ssl.create_default_context(cafile=str(authority.certificate))
    with triton.InferenceServerClient(f"localhost:{pod.ports['http']}", ssl=True,
                                      ssl_context_factory=lambda: trusting) as client:
        check(client.infer("fraud", infer_inputs(inputs, True), headers=bearer(token)), expected)
    with triton_grpc.InferenceServerClient(
        f"localhost:{pod.ports['grpc']}", ssl=True,
        root_certificates=str(authority.certificate)) as client:
        check(client.infer("fraud", inputs_of(inputs), headers=bearer(token)), expected)


def test_the_probes_tell_what_a_server_can_do(
    objects: list[Object], start, authority: Authority, small_repository: pathlib.Path
) -> None:
    """On no GPU, where the CPU answers, the settings for one too."""
    pod = start(objects)
    assert pod.probe("startupProbe") and pod.probe("livenessProbe")
    assert not pod.probe("readinessProbe"), "there is no model"
    pod.release(small_repository)
    wait_for(lambda: pod.probe("readinessProbe"), "a model came")
    infer(pod, authority)
    assert pod.get("/v2/models/fraud") == 401
    assert pod.get("/v2/repository/models/fraud/load", token=TOKENS["checkout"]) in (403, 404, 405)
    assert pod.get("/metrics", "metrics") == 401
    assert pod.get("/metrics", "metrics", TOKENS["checkout"]) == 403
    assert pod.get("/metrics", "metrics", TOKENS["prometheus"]) == 200
    assert pod.schemes == {"http": "https", "admin": "https", "grpc": None, "metrics": "http"}
    assert "environment variable" not in pod.log()


def test_a_server_ends_within_its_time_and_answers_meanwhile(
    start, authority: Authority, small_repository: pathlib.Path
) -> None:
    pod = start(base())
    pod.release(small_repository)
    wait_for(lambda: pod.probe("readinessProbe"), "a model came")
    drain_s = settings_of(base())["drain_ms"] / 1000
    trusting = ssl.create_default_context(cafile=str(authority.certificate))
    kept = http.client.HTTPSConnection("localhost", pod.ports["http"], context=trusting,
                                       timeout=ANSWER_TIMEOUT_S)

    def told_to_close() -> bool:
        kept.request("GET", "/v2/models/fraud", headers=bearer(TOKENS["checkout"]))
        response = kept.getresponse()
        response.read()
        assert response.status == 200
        return response.getheader("Connection") == "close"

    assert not told_to_close()
    began = time.monotonic()
    pod.pre_stop()
    assert pod.probe("readinessProbe") and not told_to_close(), "it has not been told yet"
    infer(pod, authority)
    pod.process.terminate()
    told = time.monotonic()
    wait_for(lambda: not pod.probe("readinessProbe"), "it is not ready", 3)
    assert told_to_close()
    while time.monotonic() < told + drain_s - 2:
        infer(pod, authority)
        assert pod.probe("livenessProbe")
        time.sleep(0.2)
    assert pod.process.wait(pod.grace_s - (time.monotonic() - began)) == 0, pod.log()
    assert time.monotonic() - told >= drain_s


def test_a_renewed_certificate_is_taken_from_the_secret(start, authority: Authority) -> None:
    pod = start(base())
    trusting = ssl.create_default_context(cafile=str(authority.certificate))
    before = serial(pod.ports["http"], trusting)
    pod.project("tls", certificate(authority), 0o440)
    wait_for(lambda: serial(pod.ports["http"], trusting) != before, "the new certificate")
    clients = "tokens:\n" + entry("other", "vdt_other", "infer")
    pod.project("clients", {"clients.yaml": clients.encode()}, 0o440)
    wait_for(lambda: pod.get("/v2/models/none", token="vdt_other") == 404, "the new client")
    assert pod.end() == 0


def test_the_probes_need_no_certificate_unless_one_is_required(
    start, authority: Authority
) -> None:
    ca = {"VERDICT_TLS_CLIENT_CA": str(authority.certificate)}
    assert start(base(), **ca, VERDICT_TLS_CLIENT_AUTH="optional").probe("livenessProbe")
    with pytest.raises((ssl.SSLError, OSError)):
        start(base(), **ca, VERDICT_TLS_CLIENT_AUTH="required").probe("livenessProbe")


def can_confine() -> bool:
    return os.geteuid() == 0 and shutil.which("setpriv") is not None and subprocess.run(
        ["unshare", "--mount", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_confine(), reason="needs root, unshare and setpriv")
def test_it_serves_as_an_ordinary_user_on_a_root_that_is_not_written_to(
    authority: Authority, secrets, small_repository: pathlib.Path
) -> None:
    user = pod_of(base())["spec"]["securityContext"]
    confined = ["unshare", "--mount", "sh", "-ec",
                'mount --make-rprivate /; for at in $(findmnt -rno TARGET); do '
                'mount -o bind,remount,ro "$at" 2>/dev/null || :; done; exec "$@"', "sh",
                "setpriv", "--reuid", str(user["runAsUser"]), "--regid", str(user["runAsGroup"]),
                "--groups", str(user["fsGroup"]), "--inh-caps", "-all", "--bounding-set", "-all",
                "--no-new-privs"]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        shutil.copy(BINARY, folder / "verdict")
        for place in (folder, "/tmp", "/dev/shm", "/var/tmp"):
            done = subprocess.run([*confined, "touch", f"{place}/x"], capture_output=True)
            assert b"Read-only file system" in done.stderr, (place, done.stderr)
        (folder / "pod").mkdir()
        pod = Pod(base(), folder / "pod", secrets, launcher=confined, binary=folder / "verdict",
                  VERDICT_REPOSITORY_POLL_INTERVAL_S="1")
        try:
            status = pathlib.Path(f"/proc/{pod.process.pid}/status").read_text()
            assert re.search(r"^Uid:\t10001\t10001", status, re.MULTILINE)
            assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)
            pod.release(small_repository)
            wait_for(lambda: pod.probe("readinessProbe"), "a model came")
            infer(pod, authority)
            assert pod.end() == 0, pod.log()
        finally:
            pod.process.kill()
            pod.process.wait()


# Autoscaling


def adapter_rule() -> Object:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "adapter.yaml").read_text())
    assert rules.keys() == {"rules"} and len(rules["rules"]) == 1
    return rules["rules"][0]


def adapter_query(series: str = "", **labels: str) -> str:
    """What prometheus-adapter makes of the rule for some pods."""
    matchers = ",".join(f'{name}=~"{value}"' for name, value in labels.items())
    query = adapter_rule()["metricsQuery"]
    for field, value in (("GroupBy", "pod"), ("LabelMatchers", matchers), ("Series", series)):
        query = query.replace(f"<<.{field}>>", value)
    assert "<<" not in query
    return query


@needs_prometheus
def test_the_autoscaler_asks_for_what_the_adapter_makes(
    objects: list[Object], tmp_path: pathlib.Path
) -> None:
    asked = [metric["pods"] for metric in one(
        objects, "HorizontalPodAutoscaler")["spec"]["metrics"] if metric["type"] == "Pods"]
    rule = adapter_rule()
    assert [metric["metric"]["name"] for metric in asked] == [rule["name"]["as"]]
    assert rule.keys() == {"seriesQuery", "resources", "name", "metricsQuery"}
    overrides = {label: to["resource"] for label, to in rule["resources"]["overrides"].items()}
    assert overrides == {"namespace": "namespace", "pod": "pod"}
    query = adapter_query(namespace="payments", pod="verdict-1|verdict-2")
    known = served_metrics()
    for name in re.findall(r"\b(?:verdict|nv)_\w+", query + rule["seriesQuery"]):
        assert name in known, name
    rules = {"groups": [{"name": "adapter", "rules": [
        {"record": "series", "expr": rule["seriesQuery"]}, {"record": "mean", "expr": query}]}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    done = subprocess.run(["promtool", "check", "rules", tmp_path / "rules.yml"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "2 rules found" in done.stdout, done.stdout + done.stderr


@needs_prometheus
def test_a_real_prometheus_computes_the_queue_time(
    small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    waits_us = 20_000
    (small_repository / "fraud" / "config.yaml").write_text(
        f"max_batch_size: 64\ndynamic_batching: {{max_queue_delay_microseconds: {waits_us}}}\n")
    labels = {"namespace": "payments", "pod": "verdict-1"}
    server = Server(small_repository, tmp_path / "log", "--drain-ms", 0)
    prometheus = Prometheus(tmp_path, [server.metrics_url.split("/")[2]], (MONITORING / "alerts.yml").read_text(),
                            labels=labels)
    try:
        query = adapter_query(namespace="payments", pod="verdict-1|verdict-2")

        def value() -> float | None:
            result = prometheus.get("query", query=query).get("result")
            if not result:
                return None
            assert [each["metric"] for each in result] == [{"pod": "verdict-1"}]
            return float(result[0]["value"][1])

        wait_for(lambda: value() is not None, "it is watched")
        assert value() == 0, "an idle server has no queue"
        series = prometheus.get("query", query=adapter_rule()["seriesQuery"])["result"]
        assert series and all(labels.items() <= each["metric"].items() for each in series)
        inputs, expected = golden(MODEL)
        with triton.InferenceServerClient(server.address) as client:
            def asked_again() -> bool:
                check(client.infer("fraud", infer_inputs(inputs, True)), expected)
                return (value() or 0) > 0.5 * waits_us
            wait_for(asked_again, "requests wait")
            told = value()
        of = '{model="fraud",version="1"}'
        mean = (server.metric("nv_inference_queue_duration_us" + of)
                / server.metric("nv_inference_request_success" + of))
        assert 0.7 * mean < told < 1.3 * mean
        target = one(base(), "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["target"]
        assert 0 < float(target["averageValue"]) < told, "that many waiting would scale"
        nobody = adapter_query(namespace="payments", pod="verdict-2")
        assert prometheus.get("query", query=nobody)["result"] == []
        assert server.stop() == 0
    finally:
        prometheus.stop()
        server.process.kill()
        server.process.wait()


# The guide

WITHOUT_A_CLUSTER = """#!/bin/bash
# What the real one makes and would send to a cluster.
set -euo pipefail
case "$1 $2" in
  "create secret") {kubectl} "$@" --dry-run=client -o yaml >>applied.yaml ;;
  "apply -k") {kubectl} kustomize "$3" >>applied.yaml ;;
  "apply -f") cat "$3" >>applied.yaml ;;
  "kustomize "*) exec {kubectl} "$@" ;;
  *) echo "kubectl $*: not without a cluster" >&2; exit 1 ;;
esac
echo --- >>applied.yaml
"""


@needs_kubectl
def test_the_guides_commands_make_servers_that_answer(
    tmp_path: pathlib.Path, start, authority: Authority, small_repository: pathlib.Path
) -> None:
    folder = tmp_path / "reader"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "kubectl").write_text(WITHOUT_A_CLUSTER.format(kubectl=KUBECTL))
    (folder / "bin" / "kubectl").chmod(0o755)
    (folder / "build").symlink_to(BINARY.parent)
    (folder / "deploy").symlink_to(ROOT / "deploy")
    for source, name in zip(authority.issue("server"), ("server.crt", "server.key")):
        shutil.copy(source, folder / name)
    commands = [text for _, text in code_blocks(GUIDE, "sh")]
    assert len(commands) == 3
    for block in commands:
        done = subprocess.run(
            ["bash", "-euc", block], cwd=folder, capture_output=True, text=True, timeout=60,
            env=os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"})
        assert done.returncode == 0 and not done.stderr, done.stderr
    applied = documents((folder / "applied.yaml").read_text())
    operators = ("ServiceMonitor", "PrometheusRule")
    for each in applied:
        if each["kind"] not in operators:
            expect_known(each)
    rules = one(applied, "PrometheusRule")["spec"]
    assert rules == yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
    made = {each["metadata"]["name"]: {key: base64.b64decode(value)
                                       for key, value in each["data"].items()}
            for each in all_of(applied, "Secret")}
    pod = start(applied, secrets=made)
    pod.release(small_repository)
    wait_for(lambda: pod.probe("readinessProbe"), "a model came")
    infer(pod, authority, (folder / "checkout.txt").read_text().splitlines()[0])
    key = one(applied, "ServiceMonitor")["spec"]["endpoints"][0]["authorization"]["credentials"]
    assert pod.get("/metrics", "metrics", made[key["name"]][key["key"]].decode()) == 200
    assert pod.end() == 0, pod.log()


def test_grpcs_clients_spread_their_calls(
    small_repository: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """As the guide says, here with the addresses that a cluster's DNS would give."""
    [code] = [text for _, text in code_blocks(GUIDE, "python") if "CHANNEL = " in text]
    names: dict = {}
    exec(code[:code.index("with open")], names)
    servers = [Server(small_repository, tmp_path / f"log-{i}", "--drain-ms", 0) for i in range(2)]
    try:
        addresses = ",".join(server.grpc_address for server in servers)
        inputs, _ = golden(MODEL)
        options = [*names["CHANNEL"]]
        with triton_grpc.InferenceServerClient(f"ipv4:{addresses}", channel_args=options) as client:
            def answered() -> list[float]:
                return [server.metric('nv_inference_request_success{model="fraud",version="1"}')
                        for server in servers]

            def asked_again() -> bool:
                client.infer("fraud", inputs_of(inputs))
                return min(answered()) > 10
            wait_for(asked_again, "both answer")
            assert max(answered()) < 4 * min(answered())
    finally:
        for server in servers:
            assert server.stop() == 0
