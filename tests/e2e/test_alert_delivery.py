"""Each alert of deploy/prometheus/alerts.yml fires, is delivered, ends, and its end is delivered: a
`verdict serve` that is brought to it, a Prometheus that watches it, an Alertmanager that sends. An
alert is an entry of ALERTS; one without fails a test.

Rules and routes are the shipped ones, but a minute is a second."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import onnx
import pytest
import yaml
from monitoring import (DEPLOY, DURATION, FASTER, Alertmanager, Message, Prometheus, Receivers,
                        milliseconds, needs_alertmanager, needs_prometheus, rules_of, shortened)
from onnx import TensorProto, helper, numpy_helper
from rig import REQUEST, load, unload
from serving import BINARY, ROOT, Server, build, post, wait_for
from slow_model import build_slow, slow_request
from test_device_serving import PLUGIN, admin, device, engine, inject
from test_device_serving import REQUEST as DEVICE_REQUEST
from test_security import Authority

NVML = ROOT / "build" / "fake_nvml" / "libnvidia-ml.so.1"
RULES = {rule["alert"]: rule for rule in rules_of((DEPLOY / "alerts.yml").read_text())}
LIMIT_S = 60  # of each wait, on a machine that has other things to do


def needs_both(test: Callable) -> Callable:
    return needs_prometheus(needs_alertmanager(test))


def build_jagged(file: pathlib.Path) -> None:
    """A model that fails at run time: its output has rows * (10 - rows) elements, so that more than
    at the shapes that it is planned for (1 and 9 rows) have no room."""
    graph = helper.make_graph(
        [helper.make_node("Shape", ["x"], ["shape"]),
         helper.make_node("Gather", ["shape", "first"], ["rows"]),
         helper.make_node("Sub", ["ten", "rows"], ["rest"]),
         helper.make_node("Mul", ["rows", "rest"], ["elements"]),
         helper.make_node("ReduceSum", ["x", "both"], ["sum"], keepdims=0),
         helper.make_node("Expand", ["sum", "elements"], ["wide"]),
         helper.make_node("Relu", ["wide"], ["y"])],
        "jagged",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["elements"])],
        [numpy_helper.from_array(np.int64(value), name)
         for name, value in (("first", [0]), ("ten", [10]), ("both", [0, 1]))])
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
              file.with_suffix(".onnx"))
    done = subprocess.run(
        [BINARY, "build", "--onnx", file.with_suffix(".onnx"), "--saveEngine", file,
         "--minShapes=x:1x1", "--optShapes=x:1x1", "--maxShapes=x:9x1"],
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def jagged_request(rows: int) -> bytes:
    return post("/v2/models/jagged/infer", {"inputs": [
        {"name": "x", "datatype": "FP32", "shape": [rows, 1], "data": [1] * rows}]})


# What a server can be given as a model.
ENGINES: dict[str, Callable[[pathlib.Path], object]] = {
    "skl_lr_binary": functools.partial(build, "skl_lr_binary"),
    "slow": functools.partial(build_slow, layers=50),
    "jagged": build_jagged,
    "device": lambda file: file.write_bytes(engine()),
}


class Watched:
    """The server of one alert, and its folder: models, server.yaml, log."""

    def __init__(self, folder: pathlib.Path, engines: Mapping[str, pathlib.Path],
                 alert: Alert) -> None:
        self.folder = folder
        self.models = folder / "models"
        self.config = folder / "server.yaml"
        self._alert = alert
        self.models.mkdir(parents=True)
        for name, which in alert.models.items():
            (self.models / name / "1").mkdir(parents=True)
            shutil.copy(engines[which], self.models / name / "1" / "model.engine")
        self.config.write_text("log: {level: info}\n")
        alert.prepare(folder)
        self.server = self.start()

    def start(self, metrics_port: int = 0) -> Server:
        settings = [part for setting in self._alert.settings
                    for part in ("--set", setting.replace("FOLDER", str(self.folder)))]
        environment = {key: value.replace("FOLDER", str(self.folder))
                       for key, value in self._alert.environment.items()}
        self.server = Server(
            self.models, self.folder / f"log.{metrics_port}", "--drain-ms", 0, "--config",
            self.config, *settings, metrics_port=metrics_port,
            environment=os.environ | environment)
        return self.server

    def start_again(self) -> None:
        """Where Prometheus looks for it."""
        self.start(int(self.instance.rsplit(":", 1)[1]))

    @property
    def instance(self) -> str:
        """As Prometheus calls it."""
        return self.server.metrics_url.split("/")[2]


@contextlib.contextmanager
def again_and_again(do: Callable[[], object], pause_s: float = 0.05) -> Iterator[None]:
    """Meanwhile."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(pause_s):
            do()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(loop)
        try:
            yield
        finally:
            stop.set()
            running.result()


# Causes: within each the alert fires, and it ends afterwards.


@contextlib.contextmanager
def killed(watched: Watched) -> Iterator[None]:
    watched.server.process.kill()
    watched.server.process.wait()
    try:
        yield
    finally:
        watched.start_again()


@contextlib.contextmanager
def unloaded(watched: Watched) -> Iterator[None]:
    assert unload(watched.server, "fraud")[0] == 200
    yield
    assert load(watched.server, "fraud")[0] == 200


@contextlib.contextmanager
def damaged_version(watched: Watched) -> Iterator[None]:
    folder = watched.models / "fraud" / "2"
    folder.mkdir()
    (folder / "model.engine").write_bytes(b"no engine")
    yield
    shutil.rmtree(folder)


@contextlib.contextmanager
def large_requests(watched: Watched) -> Iterator[None]:
    """Of so many rows that one takes twice what the alert allows."""
    rows = 8

    def ask() -> None:
        nonlocal rows
        begin = time.monotonic()
        assert watched.server.ask(slow_request("slow", rows)).code == 200
        if time.monotonic() - begin < 0.04:
            rows *= 2

    with again_and_again(ask):
        yield


@contextlib.contextmanager
def failing_runs(watched: Watched) -> Iterator[None]:
    def ask() -> None:
        assert watched.server.ask(jagged_request(1)).code == 200
        assert watched.server.ask(jagged_request(5)).code == 500

    with again_and_again(ask):
        yield


@contextlib.contextmanager
def deadlines_too_near(watched: Watched) -> Iterator[None]:
    hopeless = REQUEST.replace(b"Host: h\r\n", b"Host: h\r\nVerdict-Deadline-Us: 1\r\n")

    def ask() -> None:
        assert watched.server.ask(REQUEST).code == 200
        assert watched.server.ask(hopeless).code in (503, 504)

    with again_and_again(ask):
        yield


@contextlib.contextmanager
def more_than_the_limit(watched: Watched) -> Iterator[None]:
    with again_and_again(lambda: watched.server.ask(REQUEST)):
        yield
    assert watched.server.metric('verdict_requests_refused_total{reason="total_rate"}') > 0


ROUTED = REQUEST.replace(b"/v2/models/fraud/", b"/v2/models/card-risk/")


def order(watched: Watched, kind: str) -> None:
    answer = admin(watched.server, post("/v2/models/fraud/fault", {"kind": kind}))
    assert answer.code == 200, answer.body


@contextlib.contextmanager
def failing_first_rung(watched: Watched) -> Iterator[None]:
    def ask() -> None:
        assert watched.server.ask(ROUTED).code == 200

    with again_and_again(ask):
        order(watched, "error")
        yield
        order(watched, "none")
        wait_for(lambda: watched.server.metric(
            'verdict_breaker_state{route="card-risk",rung="0",model="fraud"}') == 0,
            "the breaker closes", LIMIT_S)


@contextlib.contextmanager
def without_its_device(watched: Watched) -> Iterator[None]:
    """It is lost, and there is none to be had until the plugin is back."""
    plugin = watched.folder / PLUGIN.name
    plugin.unlink()
    assert inject(watched.server, "trap").code == 200
    # A fault is taken note of by the next run.
    with again_and_again(lambda: watched.server.ask(DEVICE_REQUEST)):
        yield
        plugin.symlink_to(PLUGIN)
        wait_for(lambda: device(watched.server)["state"] == "healthy", "it is back", LIMIT_S)


@contextlib.contextmanager
def losses_of_the_device(watched: Watched) -> Iterator[None]:
    def lose() -> None:
        watched.server.ask(DEVICE_REQUEST)
        if device(watched.server)["state"] == "healthy":
            assert inject(watched.server, "trap").code == 200

    with again_and_again(lose):
        yield


@contextlib.contextmanager
def full_memory(watched: Watched) -> Iterator[None]:
    nvml = watched.folder / "nvml"
    nvml.write_text("memory_full")
    yield
    nvml.write_text("")


@contextlib.contextmanager
def memory_error(watched: Watched) -> Iterator[None]:
    (watched.folder / "nvml").write_text("memory_error")  # and it is counted for good
    yield


@contextlib.contextmanager
def certificate_of_two_days(watched: Watched) -> Iterator[None]:
    certify(watched.folder, days=2)
    yield
    certify(watched.folder, days=90)


@contextlib.contextmanager
def broken_configuration(watched: Watched) -> Iterator[None]:
    good = watched.config.read_text()
    watched.config.write_text("no_such_key: 1\n")
    with again_and_again(lambda: watched.server.process.send_signal(signal.SIGHUP), 0.5):
        yield
    watched.config.write_text(good)
    watched.server.process.send_signal(signal.SIGHUP)


# What a server finds in its folder.


def certify(folder: pathlib.Path, days: int = 90) -> None:
    """server.crt and server.key."""
    Authority(folder).issue("server", days=days)


def with_route(folder: pathlib.Path, rungs: str = "{model: fraud}, {model: light}",
               breaker: str = "{}") -> None:
    with (folder / "server.yaml").open("a") as file:
        file.write(f"routes: {{card-risk: {{rungs: [{rungs}], breaker: {breaker}}}}}\n")


def link_plugin(folder: pathlib.Path) -> None:
    (folder / PLUGIN.name).symlink_to(PLUGIN)


def tell_nvml(folder: pathlib.Path) -> None:
    """That it does well."""
    (folder / "nvml").write_text("")


@dataclasses.dataclass(frozen=True)
class Alert:
    """How one is brought about. FOLDER is the server's."""

    source: str  # of the metrics
    cause: Callable[[Watched], contextlib.AbstractContextManager]
    told: str  # pattern of the summary as it is delivered; INSTANCE is the server's
    models: Mapping[str, str] = dataclasses.field(  # name -> one of ENGINES
        default_factory=lambda: {"fraud": "skl_lr_binary"})
    settings: tuple[str, ...] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    prepare: Callable[[pathlib.Path], object] = lambda folder: None
    needs: pathlib.Path | None = None  # skipped without it


ON_DEVICE = {
    "models": {"fraud": "device"},
    "settings": ("device.backend=fake", "device.plugin_dir=FOLDER", "device.fault_injection=true"),
    "prepare": link_plugin,
    "needs": PLUGIN,
}
TWO_MODELS = {"fraud": "skl_lr_binary", "light": "skl_lr_binary"}
WITH_GPUS = {
    "settings": ("metrics.gpu_interval_ms=50",),
    "environment": {"LD_LIBRARY_PATH": str(NVML.parent), "FAKE_NVML": "FOLDER/nvml"},
    "prepare": tell_nvml,
    "needs": NVML,
}

ALERTS = {
    "VerdictDown": Alert(
        "a server that is killed", killed, r"INSTANCE does not answer Prometheus"),
    "VerdictNotReady": Alert(
        "a server whose only model is unloaded", unloaded,
        r"INSTANCE takes no traffic: no model is ready, or it is shutting down",
        settings=("repository.mode=explicit", "repository.load=fraud")),
    "VerdictModelNotReady": Alert(
        "a server that finds a damaged version", damaged_version,
        r"INSTANCE does not serve version 2 of fraud",
        settings=("repository.mode=poll", "repository.poll_interval_s=1")),
    "VerdictSlow": Alert(
        "a server that is asked for many rows", large_requests,
        r"slow on INSTANCE: p99 is \d+\.\d ms, over 20 ms", models={"slow": "slow"}),
    "VerdictErrors": Alert(
        "a server whose plan has no room for some shapes", failing_runs,
        r"jagged on INSTANCE: \d+(\.\d+)?% of the requests fail", models={"jagged": "jagged"}),
    "VerdictRejections": Alert(
        "a server whose clients leave it no time", deadlines_too_near,
        r"fraud on INSTANCE: \d+(\.\d+)?% of the requests are refused for lack of room or time"),
    "VerdictTurnedAway": Alert(
        "a server that is asked more than its limit", more_than_the_limit,
        r"INSTANCE turns \d+(\.\d+)? requests a second away: a limit of the whole server is "
        r"reached",
        settings=("limits.total.requests_per_s=1", "limits.total.burst=1")),
    "VerdictRouteWithoutRung": Alert(
        "a server that has unloaded a route's only model", unloaded,
        r"route card-risk on INSTANCE has nothing left that answers", models=TWO_MODELS,
        settings=("repository.mode=explicit", "repository.load=fraud,light"),
        prepare=functools.partial(with_route, rungs="{model: fraud}")),
    "VerdictBreakerOpen": Alert(
        "a server whose first model fails by order", failing_first_rung,
        r"fraud is shut off in route card-risk on INSTANCE: it keeps failing", models=TWO_MODELS,
        settings=("fault_injection=true",),
        prepare=functools.partial(with_route, breaker="{open_ms: 4000, max_open_ms: 4000}")),
    "VerdictRouteFallback": Alert(
        "a server whose first model fails by order", failing_first_rung,
        r"route card-risk on INSTANCE: 100% of the answers are not its first model's",
        models=TWO_MODELS, settings=("fault_injection=true",),
        prepare=functools.partial(
            with_route, breaker="{failures_in_row: 1000000, min_requests: 1000000}")),
    "VerdictDeviceLost": Alert(
        "a server that loses the tests' device", without_its_device,
        r"INSTANCE has no device: the CPU answers", **ON_DEVICE),
    "VerdictDeviceFaults": Alert(
        "a server whose device, the tests', comes and goes", losses_of_the_device,
        r"INSTANCE has lost its device \d+ times in 15 minutes", **ON_DEVICE),
    "VerdictFallback": Alert(
        "a server that loses the tests' device", without_its_device,
        r"fraud on INSTANCE: the CPU answers \d+(\.\d+)?% of what the device should", **ON_DEVICE),
    "VerdictGpuMemory": Alert(
        "a server with the tests' NVML", full_memory,
        r"GPU-0000 of INSTANCE: 90% of its memory is in use", **WITH_GPUS),
    "VerdictGpuMemoryErrors": Alert(
        "a server with the tests' NVML", memory_error,
        r"GPU-0000 of INSTANCE has memory errors that it could not correct", **WITH_GPUS),
    "VerdictCertificateExpires": Alert(
        "a server that is given a certificate of two days", certificate_of_two_days,
        r"INSTANCE: its certificate \(server\) ends in [12]\.\d days",
        settings=("tls.certificate=FOLDER/server.crt", "tls.key=FOLDER/server.key",
                  "tls.reload_interval_s=1"),
        prepare=certify),
    "VerdictReloadFailed": Alert(
        "a server whose new configuration is wrong", broken_configuration,
        r"INSTANCE could not read new files \(configuration\); the old ones go on"),
}
HERE = {name: alert for name, alert in ALERTS.items()
        if alert.needs is None or alert.needs.is_file()}


def test_each_alert_has_an_entry_here() -> None:
    assert list(ALERTS) == list(RULES)


@pytest.mark.parametrize("file", ["alerts.yml", "alertmanager.yml"])
def test_only_durations_are_other_than_the_shipped_ones(file: str) -> None:
    """Of a rule those of `for` and of ranges, of a route those between messages."""
    found = []

    def compare(before: object, after: object, key: str = "") -> None:
        if isinstance(before, dict):
            assert list(before) == list(after)
            for name in before:
                compare(before[name], after[name], name)
        elif isinstance(before, list):
            assert len(before) == len(after)
            for one, other in zip(before, after, strict=True):
                compare(one, other, key)
        elif key == "expr":
            ranges = re.compile(r"\[[^\]]*\]")
            assert ranges.sub("[]", before) == ranges.sub("[]", after)
            for one, other in zip(ranges.findall(before), ranges.findall(after), strict=True):
                compare(one.strip("[]"), other.strip("[]"), "range")
        elif key in ("range", "for", "group_wait", "group_interval", "repeat_interval"):
            one, other = DURATION.fullmatch(before), DURATION.fullmatch(after)
            assert milliseconds(other) == milliseconds(one) // FASTER, (before, after)
            found.append(before)
        else:
            assert before == after, key

    shipped = (DEPLOY / file).read_text()
    compare(yaml.safe_load(shipped), yaml.safe_load(shortened(shipped)))
    assert len(found) >= 5


class Rig:
    """A server for each alert, and what watches them."""

    def __init__(self, folder: pathlib.Path, stack: contextlib.ExitStack) -> None:
        engines = {}
        for name in {which for alert in HERE.values() for which in alert.models.values()}:
            engines[name] = folder / f"{name}.engine"
            ENGINES[name](engines[name])
        self.watched: dict[str, Watched] = {}
        for name, alert in HERE.items():
            self.watched[name] = Watched(folder / name, engines, alert)
            stack.callback(self._end, self.watched[name])
        self.receivers = Receivers()
        stack.callback(self.receivers.stop)
        self.alertmanager = Alertmanager(folder / "alertmanager", self.receivers)
        stack.callback(self.alertmanager.stop)
        self.prometheus = Prometheus(
            folder / "prometheus", [watched.instance for watched in self.watched.values()],
            shortened((DEPLOY / "alerts.yml").read_text()), self.alertmanager.address,
            interval="400ms")  # which is also how long a scrape may take
        stack.callback(self.prometheus.stop)
        wait_for(lambda: len(self._result('up{job="verdict"} == 1')) == len(self.watched),
                 "all servers are watched", LIMIT_S)
        wait_for(lambda: self.prometheus.get("alertmanagers").get("activeAlertmanagers"),
                 "Alertmanager is told", LIMIT_S)
        wait_for(lambda: self.alertmanager.ask("api/v2/status"), "Alertmanager answers", LIMIT_S)
        # Of a counter that it has seen a few times only, Prometheus makes more than it was.
        wait_for(lambda: len(self._result('count_over_time(up{job="verdict"}[1m]) > 10'))
                 == len(self.watched), "and they were for a while", LIMIT_S)
        wait_for(lambda: self.prometheus.get("alerts") == {"alerts": []}, "all are well", LIMIT_S)

    def _result(self, query: str) -> list[dict]:
        return self.prometheus.get("query", query=query).get("result", [])

    def _end(self, watched: Watched) -> None:
        assert watched.server.stop() == 0, watched.server.log()


@dataclasses.dataclass(frozen=True)
class Outcome:
    firing: Message
    resolved: Message
    began: float
    ended: float

    def row(self, name: str) -> str:
        return (f"{name} | {ALERTS[name].source} | {self.firing.at - self.began:.1f} s | "
                f"{max(self.resolved.at - self.ended, 0):.1f} s")


def bring_about(rig: Rig, name: str) -> Outcome:
    watched = rig.watched[name]
    here = {"alertname": name, "instance": watched.instance}

    def wait(status: str) -> Message:
        """For the last message to be of that status, and Alertmanager to hold it for that."""
        def told() -> bool:
            messages = rig.receivers.told(**here)
            return (bool(messages) and messages[-1].status == status
                    and bool(rig.alertmanager.alerts(**here)) == (status == "firing"))

        wait_for(told, f"{name} of {watched.instance} is delivered as {status}", LIMIT_S)
        return rig.receivers.told(**here)[-1]

    began = time.monotonic()
    with ALERTS[name].cause(watched):
        firing = wait("firing")
    ended = time.monotonic()
    return Outcome(firing, wait("resolved"), began, ended)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with contextlib.ExitStack() as stack:
        yield Rig(tmp_path_factory.mktemp("alerts"), stack)


@pytest.fixture(scope="module")
def outcomes(rig: Rig) -> dict[str, concurrent.futures.Future[Outcome]]:
    """All at a time: most of it is waiting."""
    with concurrent.futures.ThreadPoolExecutor(len(HERE)) as pool:
        found = {name: pool.submit(bring_about, rig, name) for name in HERE}
    print("\nalert | source | fired after | resolved after")
    for name, outcome in found.items():
        error = outcome.exception()
        print(outcome.result().row(name) if error is None else f"{name} | {error}")
    return found


@needs_both
@pytest.mark.parametrize("name", ALERTS)
def test_it_is_delivered_and_so_is_its_end(
    name: str, rig: Rig, outcomes: dict[str, concurrent.futures.Future[Outcome]]
) -> None:
    if name not in HERE:
        pytest.skip(f"no {ALERTS[name].needs}")
    outcome = outcomes[name].result()
    instance = rig.watched[name].instance
    severity = RULES[name]["labels"]["severity"]
    for message in (outcome.firing, outcome.resolved):
        assert message.receiver == message.labels["severity"] == severity
        pattern = ALERTS[name].told.replace("INSTANCE", re.escape(instance))
        assert re.fullmatch(pattern, message.summary), message.summary


@needs_both
def test_of_a_server_that_is_gone_nothing_else_is_told(
    rig: Rig, outcomes: dict[str, concurrent.futures.Future[Outcome]]
) -> None:
    watched = rig.watched["VerdictDown"]
    since = time.monotonic()

    def told(name: str) -> bool:
        return any(message.status == "firing" and message.at >= since for message
                   in rig.receivers.told(alertname=name, instance=watched.instance))

    def known(name: str) -> list[dict]:
        return rig.alertmanager.alerts(alertname=name, instance=watched.instance)

    with broken_configuration(watched):
        wait_for(lambda: told("VerdictReloadFailed"), "a reload fails", LIMIT_S)
    with killed(watched):
        wait_for(lambda: told("VerdictDown"), "it is gone", LIMIT_S)
        (down,) = known("VerdictDown")
        wait_for(lambda: [alert["status"]["inhibitedBy"] for alert in known("VerdictReloadFailed")]
                 == [[down["fingerprint"]]], "the rest is silent", LIMIT_S)
        assert down["status"]["state"] == "active"


@needs_both
def test_the_files_command_sends_a_trial(rig: Rig) -> None:
    file = (DEPLOY / "alertmanager.yml").read_text()
    (command,) = re.findall(r"^# +(amtool alert add .*)$", file, re.MULTILINE)
    done = subprocess.run(
        command.replace("localhost:9093", rig.alertmanager.address).split(), capture_output=True,
        text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    wait_for(lambda: rig.receivers.told(alertname="Trial"), "it comes", LIMIT_S)
    (message,) = rig.receivers.told(alertname="Trial")
    assert (message.status, message.receiver) == ("firing", "ticket")
