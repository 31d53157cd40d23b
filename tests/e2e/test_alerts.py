"""deploy/prometheus and deploy/grafana: promtool's cases for each alert, the metrics that alerts and
dashboards ask for, the guide, and a real Prometheus that watches a real server."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
from collections.abc import Iterator

import pytest
import yaml
from code_blocks import code_blocks
from monitoring import DEPLOY, Prometheus, needs_alertmanager, needs_prometheus, rules_of
from serving import ROOT, Server, wait_for
from test_documents import Reader

GUIDE = (ROOT / "docs" / "guides" / "incidents.md").read_text()
GOLDEN = ROOT / "tests" / "golden" / "metrics.txt"
RULES = rules_of((DEPLOY / "alerts.yml").read_text())
NAMES = [rule["alert"] for rule in RULES]
DASHBOARDS = {path.stem: json.loads(path.read_text())
              for path in sorted((ROOT / "deploy" / "grafana").glob("*.json"))}
SUFFIXES = re.compile(r"_(bucket|count|sum)$")


def blocks(language: str) -> list[str]:
    return [text for _, text in code_blocks(GUIDE, language)]


def dashboard_queries() -> list[str]:
    return sorted({target["expr"] for board in DASHBOARDS.values() for panel in board["panels"]
                   for target in panel["targets"]})


def served_metrics() -> dict[str, set[str]]:
    """Name -> labels, as the golden file pins them."""
    found = {}
    for line in GOLDEN.read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, *labels = line.split()
            found[name] = set(labels[0].split(",")) if labels else set()
    return found


@needs_prometheus
def test_every_case_of_promtool_holds() -> None:
    done = subprocess.run(["promtool", "test", "rules", "alerts_test.yml"], cwd=DEPLOY,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(["promtool", "check", "config", "prometheus.yml"], cwd=DEPLOY,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_alertmanager
def test_alertmanager_takes_its_file_and_sends_by_severity() -> None:
    file = DEPLOY / "alertmanager.yml"
    done = subprocess.run(["amtool", "check-config", file], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    for severity, receiver in (("page", "page"), ("ticket", "ticket"), ("other", "page")):
        done = subprocess.run(
            ["amtool", "config", "routes", "test", f"--config.file={file}",
             f"--verify.receivers={receiver}", f"severity={severity}", "alertname=VerdictDown"],
            capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_where_it_fires_and_a_part_of_the_guide() -> None:
    cases = [case for test in yaml.safe_load((DEPLOY / "alerts_test.yml").read_text())["tests"]
             for case in test["alert_rule_test"]]
    assert len(set(NAMES)) == len(NAMES)
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == set(NAMES)
    assert re.findall(r"^### (\w+)$", GUIDE, re.MULTILINE) == NAMES
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket") and rule["annotations"]["summary"]


@pytest.mark.parametrize(
    "query", [rule["expr"] for rule in RULES] + blocks("promql") + dashboard_queries())
def test_queries_ask_for_what_the_server_has(query: str) -> None:
    known = served_metrics()
    asked = re.findall(r"\b((?:verdict|nv)_\w+)(?:\{([^}]*)\})?", query)
    assert asked or "up{" in query
    for name, selector in asked:
        plain = name if name in known else SUFFIXES.sub("", name)
        assert plain in known, name
        of_prometheus = {"le", "instance", "job"}
        labels = known[plain] | of_prometheus
        assert set(re.findall(r"(\w+)\s*[=!]~?", selector)) <= labels, query
        for by in re.findall(r"\bby \(([^)]*)\)", query):
            assert set(re.split(r",\s*", by)) <= labels, query


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_one_that_grafana_can_show(name: str) -> None:
    """Grafana itself is in no package that the tests may take: what it needs is looked at here."""
    board = DASHBOARDS[name]
    assert board["uid"] == f"verdict-{name}" and board["title"]
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    for variable in variables.values():
        for metric in re.findall(r"label_values\((\w+)", str(variable["query"])):
            assert metric in served_metrics()
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["datasource"]["uid"] == "${datasource}" and panel["title"], panel["id"]
        assert panel["fieldConfig"]["defaults"]["unit"] and panel["targets"]
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                 for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
        for target in panel["targets"]:
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= {*variables, "__rate_interval"}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


@pytest.fixture
def prometheus(own: Server, tmp_path: pathlib.Path) -> Iterator[Prometheus]:
    """Of the shipped rules, which need not hold for a while here."""
    made = Prometheus(tmp_path / "prometheus", [own.metrics_url.split("/")[2]],
                      re.sub(r"\n +for: \w+", "", (DEPLOY / "alerts.yml").read_text()))
    yield made
    made.stop()


@pytest.fixture
def own(small_repository: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[Server]:
    running = Server(small_repository, tmp_path / "log", "--drain-ms", 0, "--set",
                     "repository.mode=poll", "--set", "repository.poll_interval_s=1")
    yield running
    running.process.kill()
    running.process.wait()


@needs_prometheus
def test_a_real_prometheus_takes_all_rules_and_tells_what_happens(
    own: Server, prometheus: Prometheus, small_repository: pathlib.Path
) -> None:
    def rules() -> list[dict]:
        return [rule for group in prometheus.get("rules").get("groups", [])
                for rule in group["rules"]]

    up = 'up{job="verdict"} == 1'
    wait_for(lambda: prometheus.get("query", query=up).get("result"), "it is watched")
    wait_for(lambda: {rule["health"] for rule in rules()} == {"ok"}, "all rules are computed")
    assert [rule["name"] for rule in rules()] == NAMES
    for query in blocks("promql") + dashboard_queries():
        asked = (query.replace("$__rate_interval", "10s").replace("$instance", ".*")
                 .replace("$model", "fraud"))
        assert prometheus.get("query", query=asked).get("resultType") == "vector", query
    ready = "sum by (version) (verdict_model_ready{instance=~\".*\", model=\"fraud\"})"
    assert prometheus.get("query", query=ready)["result"][0]["value"][1] == "1"
    assert not prometheus.firing()

    (small_repository / "fraud" / "2").mkdir()
    (small_repository / "fraud" / "2" / "model.engine").write_bytes(b"no engine")
    wait_for(lambda: prometheus.firing() == {"VerdictModelNotReady"}, "a bad version is told of")
    own.process.kill()
    wait_for(lambda: "VerdictDown" in prometheus.firing(), "that it is gone is told of")


def test_the_guides_commands_work(own: Server, tmp_path: pathlib.Path) -> None:
    reader = Reader(tmp_path)
    reader.server = own
    assert blocks("sh")
    for commands in blocks("sh"):
        assert "verdict_server_ready 1" in reader.run("set -o pipefail\n" + commands)
