"""A real Prometheus and a real Alertmanager with what deploy/prometheus ships, and where the latter
sends its messages."""

from __future__ import annotations

import dataclasses
import http.server
import json
import pathlib
import re
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import pytest
import yaml
from serving import ROOT, free_ports

DEPLOY = ROOT / "deploy" / "prometheus"
DURATION = re.compile(r"\b(\d+)(ms|s|m|h|d)\b")
MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
FASTER = 60  # a minute is a second

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="Prometheus is not installed")
needs_alertmanager = pytest.mark.skipif(
    not (shutil.which("prometheus-alertmanager") and shutil.which("amtool")),
    reason="Alertmanager is not installed")


def milliseconds(duration: re.Match) -> int:
    return int(duration[1]) * MILLISECONDS[duration[2]]


def shortened(text: str) -> str:
    """With each duration (2m, 30s) a sixtieth of it."""
    return DURATION.sub(lambda found: f"{max(milliseconds(found) // FASTER, 1)}ms", text)


def rules_of(text: str) -> list[dict]:
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


class Program:
    """Serves HTTP on a free port of loopback."""

    def __init__(self, log: pathlib.Path, *command: object) -> None:
        self.address = f"127.0.0.1:{free_ports(1)[0]}"
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*map(str, command), f"--web.listen-address={self.address}"], stdout=output,
                stderr=subprocess.STDOUT)

    def ask(self, path: str, **query: str) -> object:
        """{} while it does not answer."""
        assert self.process.poll() is None, self.log.read_text()
        url = f"http://{self.address}/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return json.load(response)
        except OSError:
            return {}

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


class Prometheus(Program):
    """Watches the targets, often, by these rules."""

    def __init__(self, folder: pathlib.Path, targets: list[str], rules: str,
                 alertmanager: str | None = None, interval: str = "200ms",
                 labels: dict[str, str] | None = None) -> None:
        """labels: of all that the targets tell."""
        folder.mkdir(exist_ok=True)
        config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": interval, "evaluation_interval": interval}
        config["scrape_configs"][0]["static_configs"] = [
            {"targets": targets, "labels": labels or {}}]
        if alertmanager is not None:
            (told,) = config["alerting"]["alertmanagers"]
            told["static_configs"] = [{"targets": [alertmanager]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        (folder / "alerts.yml").write_text(rules)
        super().__init__(folder / "prometheus.log", "prometheus",
                         f"--config.file={folder / 'prometheus.yml'}",
                         f"--storage.tsdb.path={folder / 'data'}")

    def get(self, path: str, **query: str) -> dict:
        """{} while it does not answer."""
        return self.ask(f"api/v1/{path}", **query).get("data", {})

    def alerts(self) -> list[dict]:
        """Those that fire."""
        return [alert for alert in self.get("alerts").get("alerts", [])
                if alert["state"] == "firing"]

    def firing(self) -> set[str]:
        return {alert["labels"]["alertname"] for alert in self.alerts()}


@dataclasses.dataclass(frozen=True)
class Message:
    """What a receiver is told of one alert."""

    at: float  # time.monotonic()
    receiver: str
    status: str  # "firing" or "resolved"
    labels: dict[str, str]
    summary: str


class Receivers:
    """Take what Alertmanager posts: each at a path of its own."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        messages = self.messages

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for alert in body["alerts"]:
                    messages.append(Message(
                        time.monotonic(), self.path.strip("/"), alert["status"], alert["labels"],
                        alert["annotations"].get("summary", "")))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def told(self, **labels: str) -> list[Message]:
        """What came of such alerts, in its order."""
        return [message for message in list(self.messages)
                if labels.items() <= message.labels.items()]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Alertmanager(Program):
    """With the shipped configuration, sixty times as fast; each receiver is told where `receivers`
    takes it."""

    def __init__(self, folder: pathlib.Path, receivers: Receivers) -> None:
        folder.mkdir(exist_ok=True)
        self.config = yaml.safe_load(shortened((DEPLOY / "alertmanager.yml").read_text()))
        for receiver in self.config["receivers"]:
            name = receiver.pop("name")
            (ways,) = receiver.values()
            receiver.clear()
            receiver["name"] = name
            receiver["webhook_configs"] = [{
                "url": f"{receivers.url}/{name}",
                # What is not said there, kinds of receivers take in different ways.
                "send_resolved": way["send_resolved"]} for way in ways]
        path = folder / "alertmanager.yml"
        path.write_text(yaml.safe_dump(self.config))
        super().__init__(folder / "alertmanager.log", "prometheus-alertmanager",
                         f"--config.file={path}", f"--storage.path={folder / 'data'}",
                         "--cluster.listen-address=")

    def alerts(self, **labels: str) -> list[dict]:
        """Those that it knows as firing."""
        return [alert for alert in self.ask("api/v2/alerts") or []
                if labels.items() <= alert["labels"].items()]
