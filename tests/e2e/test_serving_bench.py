"""The serving bench: what it checks, counts and writes. The peers are not installed for this."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import serving

sys.path.insert(0, str(serving.ROOT / "bench"))

from comparison import answers, document, environment, measuring, process_tree, servers, targets

EXTENT = measuring.Extent(("R1",), (1, 2), (0.5,), 1, 0.2, 0.2, 1)


@pytest.fixture(scope="module")
def verdict() -> servers.Peer:
    command = servers._verdict(serving.BINARY, grpc=True)
    return servers.Peer("Verdict", "`verdict serve`", ("http-json", "http-binary"), command)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, verdict: servers.Peer) -> dict:
    """A run with Verdict alone, as short as one can be."""
    out = tmp_path_factory.mktemp("serving")
    environment.prepare_models(["R1"])
    cpus = sorted(os.sched_getaffinity(0))
    placement = measuring.Placement("pinned", cpus[:1], cpus[-1:])
    absent: dict[str, str] = {}
    broken = servers.Peer("Broken", "does not start", ("http-json",), lambda *_: ["false"])
    starts = measuring.measure_starts([broken, verdict], serving.BINARY, out, cpus[:1], 1, absent)
    assert list(absent) == ["Broken"]
    pinned = measuring.measure_placement([verdict], serving.BINARY, serving.BINARY, placement,
                                         EXTENT, out, goodput=True)
    return {"date": "2026-11-26", "machine": {"processor": "test", "cpus": 2},
            "extent": {"models": ["R1"], "repeats": 1, "closed_s": 0.2, "open_s": 0.2},
            "peers": [{"name": "Verdict", "what": verdict.what, "version": "1"}],
            "absent": absent, "plots": [], "starts": starts, "pinned": pinned}


def test_every_cell_is_measured(results: dict) -> None:
    cells = {(c["protocol"], c["load"]): c for c in results["pinned"]["cells"]}
    assert results["pinned"]["failures"] == []
    assert sorted(cells) == [(p, load) for p in ("http-binary", "http-json")
                             for load in ("closed 1", "closed 2", "open 50")]
    for cell in cells.values():
        assert cell["answers"] > 10
        assert cell["user"] + cell["kernel"] > 0
        assert 0 < cell["p50"] <= cell["p99"] <= cell["p999"]
    most = {row[1]: row[3] for row in results["pinned"]["maxima"]}
    opened = cells["http-json", "open 50"]["throughput"]
    assert opened == pytest.approx(most["http-json"] / 2, rel=0.5)


def test_the_document_has_what_was_measured_and_what_was_not(results: dict) -> None:
    text = document.write(results)
    assert "| Verdict | HTTP JSON |" in text
    assert "- Broken is missing: it ended with 1" in text
    assert "| R1, gRPC: CPU a request | at most 28 us | – | not measured |" in text


def test_goodput_is_measured_at_once_and_twice_the_sustained_rate(results: dict) -> None:
    for peer, protocol, model, rate, once, twice in results["pinned"]["goodput"]:
        assert (peer, model) == ("Verdict", "R1")
        assert 0 < once <= 1.5 * rate
        assert twice >= 0
        assert f"{servers.PROTOCOLS[protocol]}: goodput lost at twice" in document.write(results)


def test_a_wrong_answer_is_found(tmp_path: pathlib.Path, verdict: servers.Peer) -> None:
    environment.prepare_models(["R1"])
    folders = environment.lay_out(tmp_path / "models", serving.BINARY, {"R1": "R1"}, 1)
    server = servers.Server(verdict, folders, sorted(os.sched_getaffinity(0)), tmp_path / "log")
    try:
        inputs = answers.make_inputs("R1", answers.CHECKED_ROWS)
        want = answers.expected("R1", inputs)
        assert answers.check(server, "http-json", "R1", inputs, want) == ""
        assert answers.check(server, "http-binary", "R1", inputs, want) == ""
        want["probabilities"] = want["probabilities"].copy()
        want["probabilities"][3, 1] += np.float32(1e-3)
        assert "row 3: probabilities" in answers.check(server, "http-json", "R1", inputs, want)
        del want["label"]
        assert "row 0: outputs" in answers.check(server, "http-binary", "R1", inputs, want)
    finally:
        server.stop()
    assert not pathlib.Path(f"/proc/{server.process.pid}").exists()


@pytest.mark.parametrize(("measured", "outcome"), [
    (10.0, "met, by 0 %"), (9.99, "met, by 0 %"), (8.0, "met, by 20 %"),
    (10.001, "**not met**, by 1 %"), (15.0, "**not met**, by 50 %"), (None, "not measured")])
def test_an_outcome_is_never_rounded_in_our_favour(measured: float | None, outcome: str) -> None:
    assert targets.Target("x", 10.0, "us", measured).outcome() == outcome


def test_cpu_time_and_memory_are_those_of_the_whole_tree() -> None:
    burn = "b = b'x' * (50 << 20); import time; e = time.process_time() + 0.3\n" \
           "while time.process_time() < e: pass\nprint('done', flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "done\n"
        tree = process_tree.pids(process.pid)
        assert len(tree) == 2
        assert process_tree.cpu_time(tree).total_us >= 0.25e6
        assert process_tree.cpu_time(tree[:1]).total_us < 0.25e6
        assert process_tree.pss_bytes(process.pid) > 50 << 20
    finally:
        for pid in process_tree.pids(process.pid):
            os.kill(pid, 9)
        process.wait()
        process.stdout.close()
