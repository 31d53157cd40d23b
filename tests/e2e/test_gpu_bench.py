"""The GPU bench: what it writes and what it counts. All figures here are made up."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from sklearn.metrics import roc_auc_score

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "python")]

from accuracy import case  # noqa: E402
from gpu import models as many  # noqa: E402
from gpu import (  # noqa: E402
    document, machine, parser_onnx, precision, record, reference, served, story, targets)
from models import neural_models  # noqa: E402

# Test data, made up: no such run was made.
MACHINE = {"date": "2000-01-01", "card": "No Card 9000", "driver": "1.2", "tensorrt": "0.0.1",
           "torch": "0.1", "onnxruntime": "0.2", "verdict": "0.3", "processor": "abacus",
           "cores": 3}


def timing(p50: float) -> dict[str, float]:
    return {"p50": p50, "p99": p50 + 5, "mean": p50 + 1, "runs": 100}


def made_up() -> dict[str, dict]:
    streams = {"1": 900.0, "2": 1000.0, "4": 950.0}
    kernels = {
        "machine": MACHINE, "duration_s": 0.4, "notes": {"R1": "R1 is rewritten"},
        "bare/R4b/tf32": [{"case": str(b), "difference": 1e-4, "enqueue": timing(70 + b),
                           "graph": timing(40 + b), "spaced": timing(50 + b), "streams": streams}
                          for b in targets.BATCHES],
        "bare/R9/tf32": [{"case": str(b), "difference": 1e-4, "graph": timing(140),
                          "enqueue": timing(200), "streams": streams,
                          "fed": {"1": 800.0, "2": 990.0}} for b in targets.BATCHES],
        "bare/R5/tf32": {"error": "ProgramFailed: the parser says no\nmore of it"},
        "served/R4b/phases": {"compute": {"p50": 45.9, "p99": 60.0},
                              "queue": {"p50": 10.004, "p99": 20.0}},
        "served/R9/phases": {"compute": {"p50": 145.0, "p99": 160.0}},
        "served/setup": {"in_flight": "2 a stream", "streams": [4, 8, 16], "settings": ["device.spinners=4"]}}
    for spin, queue in (("0", 33.0), ("4294967295", 5.0)):
        kernels[f"served/R4b/phases spin_us {spin}"] = {"compute": timing(50),
                                                        "queue": timing(queue)}
    for batch in targets.BATCHES:
        kernels[f"verdict/R4b/tf32/{batch}"] = timing(43 + batch) | {"per_s": 1e4}
        kernels[f"torch eager/R4b/{batch}"] = timing(400)
        kernels[f"verdict/R3/tf32/{batch}"] = timing(50) | {"per_s": 1e4}
        kernels[f"served/R9/grpc/{batch}/4"] = {"per_s": 899.99}
        kernels[f"served/R9/grpc/{batch}/8"] = {"per_s": 700.0}
        kernels[f"served/R9/http-shm/{batch}/8"] = {"error": "ProgramFailed: status 400"}
    measured = {
        "machine": MACHINE, "precision": "fp16",
        "story/R4b/python closed": {"per_s": 900.0}, "story/R4b/verdict closed": {"per_s": 1e5},
        "story/R4b/python light": {"mean": 4000.0}, "story/R4b/verdict light": {"mean": 400.2},
        "story/R4b/python limit": {"per_s": 500.0}, "story/R4b/verdict limit": {"per_s": 60_000.0},
        "memory/python 2": 1000.0, "memory/python 8": 4000.0, "memory/verdict 8": 490.0,
        "memory/verdict 16": 700.0, "memory/verdict 32": 1000.5}
    reduced = {"auc_exact": 0.98, "auc": 0.9789, "drop": 0.0011, "flipped": 4, "rows": 100,
               "frauds": 9, "largest_difference": 0.02}
    accuracy = {"machine": MACHINE, "cases": {"R6-like": {"what": "LSTM", "source": "rows"}},
                "score/R6-like/int8": reduced, "score/R6-like/fp16": reduced | {"drop": -0.0009},
                "time/R6-like/int8/1": timing(90)}
    device = {"models": [{"name": f"m{i}", "state": "attached" if i else "refused", "reason": "",
                          "memory_bytes": 3 << 20} for i in range(16)],
              "memory_shared_bytes": 5 << 20}
    models = {"machine": MACHINE, "models/devices": device, "models/memory_mib": 612.0,
              "models/answers": {"m1": 2e-4}, "models/figures": {
                  "nv_gpu_utilization": {"metric": 0.5, "field": "utilization.gpu",
                                         "nvidia_smi": None}}}
    return {"kernels": kernels, "models": models, "story": measured, "precision": accuracy}


def outcome(name: str, parts: dict[str, dict]) -> tuple[str, str]:
    found = next(t for t in targets.compare(parts) if t.what.startswith(name))
    return found.figure(), found.outcome()


def test_every_table_has_as_many_cells_as_columns() -> None:
    widths: set[int] = set()
    for line in document.write(made_up()).splitlines():
        if line.startswith("|"):
            widths.add(len(re.split(r"(?<!\\)\|", line)))
            assert len(widths) == 1, line
        else:
            widths.clear()


def test_the_page_tells_the_card_and_what_failed() -> None:
    text = document.write(made_up())
    assert "| kernels | 2000-01-01 | No Card 9000 | 1.2 | 0.0.1 |" in text
    assert "- kernels, bare/R5/tf32: more of it" in text
    assert "- R1 is rewritten." in text


def test_a_kernel_row_has_both_percentiles_and_the_rows_a_second() -> None:
    row = next(line for line in document.write(made_up()).splitlines()
               if line.startswith("| TensorRT bare, CUDA graph | float32 with TF32 | 41.0 (46.0)"))
    assert row.split("|")[7].split(" / ")[0].strip() == "23,800"  # 1e6 / 42


def test_trees_are_the_cpus() -> None:
    assert "| Verdict, on the CPU | float32 | 50.0 (55.0) |" in document.write(made_up())


def test_a_precision_that_was_not_built_is_not_claimed() -> None:
    parts = made_up()
    parts["kernels"]["build verdict/R4b/tf32"] = {"taken": "float32 with TF32"}
    parts["precision"]["build/R6-like/fp16"] = {"taken": "float32"}
    text = document.write(parts)
    assert "| Verdict on TensorRT | float32 with TF32 | 44.0" in text
    assert "| R6-like | LSTM | float16 (built as float32) |" in text


def test_a_near_miss_is_a_miss_and_shown_as_one() -> None:
    parts = made_up()
    assert outcome("R4b served, light load", parts) == ("10.01 us", "**MISSED**")
    assert outcome("R9 served, batch 8", parts) == ("89.99 %", "**MISSED**")
    said = "on 4, 8 or 16 streams, whichever gives more, with device.spinners=4, against"
    assert said in document.write(parts)
    assert ("not batched further, 2 a stream in flight; rows/s" in document.write(parts)
            and "graphs reach on 1, 2 or 4 streams:" in document.write(parts))
    assert outcome("R4b: mean latency", parts) == ("9.99 x", "**MISSED**")


def test_bare_streams_stand_with_the_same_and_with_new_inputs() -> None:
    text = document.write(made_up())
    same, fed = text.index("own, the same inputs again"), text.index("own, inputs written to pinned")
    assert "| R9 | 4 | 950 | 7,600 | 30,400 | 122,000 |" in text[same:fed]
    assert "| R9 | 2 | 990 | 7,920 | 31,700 | 127,000 |" in text[fed:]
    assert "| R4b |" not in text[fed:text.index("##", fed)], "not measured"


def test_phases_stand_beside_each_other_and_beside_a_bare_run_at_their_pace() -> None:
    text = document.write(made_up())
    assert "R4b, R9 in `verdict serve`" in text
    assert "| compute | 45.9 (60.0) | 145 (160) |" in text and "| queue | 10.0 (20.0) | – |" in text
    assert "takes 41.0 us (p50) when one run follows the other" in text
    assert "and 51.0 us when 0.8 ms lie between" in text
    parts = made_up()
    del parts["kernels"]["bare/R4b/tf32"][0]["spaced"]
    assert "0.8 ms lie" not in document.write(parts), "not measured"


def test_what_other_runs_measured_stands_beside_it() -> None:
    other = {"kernels": {"served/R4b/phases": {"queue": {"p50": 7.5}}}}
    parts = made_up()
    text = document.write(parts, [other, {"kernels": parts["kernels"]}])
    (line,) = (line for line in text.splitlines() if line.startswith("| R4b served, light load"))
    assert line.endswith("| 10.01 us | **MISSED** | 7.50 us |")


def test_a_service_that_did_not_keep_up_is_named() -> None:
    parts = made_up()
    for who, rate in (("python", 300.0), ("verdict", 630.0)):
        parts["story"][f"story/R4b/{who} light"]["per_s"] = rate
    assert "answered 300 of 630 requests/s" in document.write(parts)
    assert outcome("R4b: mean latency of the Python service at 70 % of its maximum (it did not",
                   parts)


def test_a_precision_that_tensorrt_left_out_is_named() -> None:
    same = {"score/R4b-like/tf32": {"auc": 0.9, "largest_difference": 1e-4},
            "score/R4b-like/int8": {"auc": 0.9, "largest_difference": 1e-4},
            "score/R4b-like/fp16": {"auc": 0.9, "largest_difference": 2e-4}}
    assert targets.scores_are_tf32(same, "R4b-like", "int8")
    assert not targets.scores_are_tf32(same, "R4b-like", "fp16")
    assert not targets.scores_are_tf32(same, "R4b-like", "tf32")
    assert not targets.scores_are_tf32({}, "R4b-like", "int8")


def test_what_is_reached_is_met() -> None:
    parts = made_up()
    assert outcome("R4b served, batch 1: compute", parts) == ("4.90 us", "met")
    assert outcome("R4b: requests/s", parts) == ("120 x", "met")
    assert outcome("memory of eight", parts) == ("8.16 x", "met")


def test_most_models_are_those_that_fit_not_those_that_were_tried() -> None:
    parts = made_up()
    assert targets.most_models(parts["story"]) == (16, 700.0)
    assert outcome("models within", parts) == ("16.00 models", "met")
    parts["story"]["memory/verdict 16"] = 1001.0
    assert outcome("models within", parts) == ("8.00 models", "**MISSED**")


def test_a_gain_in_auc_beyond_the_gate_is_a_miss_too() -> None:
    parts = made_up()
    assert outcome("R6-like, int8, TensorRT's", parts) == ("0.0011 of ROC-AUC", "**MISSED**")
    assert outcome("R6-like, float16", parts) == ("0.0009 of ROC-AUC", "met")
    assert outcome("R6-like, int8, our", parts) == (document.NONE, "not measured")


def test_without_a_figure_nothing_is_met() -> None:
    assert {t.outcome() for t in targets.compare({"story": {}, "kernels": {}})} == {"not measured"}


def test_parts_that_were_not_run_are_not_in_the_page() -> None:
    text = document.write({"story": made_up()["story"]})
    assert "## Kernels" not in text and "## Against Python services" in text


def test_trained_models_join_those_that_are_there(tmp_path: pathlib.Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        rows = {"x": np.zeros((2, 3), np.float32)}
        for file in ("s.npz", "h.npz"):
            np.savez(tmp_path / name / file, **rows)
        graph = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))
        case.remember(case.write(tmp_path / name, name, "network", graph,
                                 ("rows", "s.npz", "h.npz"), rows, "score"))
    precision.take(tmp_path / "a", tmp_path / "b")
    assert [c.name for c in case.recall(tmp_path / "b")] == ["b", "a"]
    assert (tmp_path / "b" / "a.onnx").exists()


def test_no_page_is_written_of_a_try_without_a_card(tmp_path: pathlib.Path) -> None:
    (tmp_path / "story.json").write_text('{"backend": "cpu"}')
    page = tmp_path / "gpu.md"
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "gpu.py", "--render", tmp_path, "--document", page,
         "--results", tmp_path / "gpu.json"], capture_output=True, text=True)
    assert done.returncode == 1 and "story: measured without a card" in done.stderr
    assert not page.exists()


def test_a_later_runs_cells_replace_an_earlier_ones_but_where_they_failed() -> None:
    earlier = {"machine": {"card": "one"}, "duration_s": 0.4, "notes": {"R1": "a"},
               "bare/R4b/tf32": [{"case": "1"}], "verdict/R9/tf32/1": {"p50": 2}, "build bare/R6/fp16":
               {"error": "old"}}
    later = {"machine": {"card": "two"}, "duration_s": 0.2, "notes": {"R9": "b"},
             "bare/R4b/tf32": [{"case": "8"}], "verdict/R9/tf32/1": {"error": "late"},
             "build bare/R6/fp16": {"seconds": 4}, "verdict/R5/tf32/1": {"error": "new"}}
    both = record.merge(earlier, later)
    assert both["bare/R4b/tf32"] == [{"case": "8"}]
    assert both["verdict/R9/tf32/1"] == {"p50": 2}
    assert both["build bare/R6/fp16"] == {"seconds": 4}
    assert both["verdict/R5/tf32/1"] == {"error": "new"}
    assert both["duration_s"] == 0.2
    assert both["notes"] == {"R1": "a", "R9": "b"}
    assert record.machines(both) == [{"card": "one"}, {"card": "two", "models": ["R4b"]}]
    page = document.write({"kernels": both})
    assert "| kernels: R4b |" in page


def test_the_page_and_its_figures_are_written_side_by_side(tmp_path: pathlib.Path) -> None:
    parts = made_up()
    for part, cells in parts.items():
        (tmp_path / f"{part}.json").write_text(json.dumps(cells | {"backend": "tensorrt"}))
    subprocess.run(
        [sys.executable, ROOT / "bench" / "gpu.py", "--render", tmp_path, "--document",
         tmp_path / "gpu.md", "--results", tmp_path / "gpu.json"], check=True)
    assert (tmp_path / "gpu.md").read_text() == document.write(parts)
    assert json.loads((tmp_path / "gpu.json").read_text())["story"]["precision"] == "fp16"


def test_the_roc_auc_is_sklearns() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(500) < 0.2).astype(int)
    scores = np.round(rng.random(500) + 0.3 * labels, 1)  # with ties
    assert precision.roc_auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))


def test_decisions_are_counted_at_the_exact_scores_threshold() -> None:
    labels = np.array([0] * 100 + [1] * 10)
    exact = np.concatenate([np.linspace(0, 0.5, 100), np.full(10, 0.9)])
    changed = exact.copy()
    changed[-3:] = 0.1
    found = precision.compare(labels, exact, changed)
    assert found["flipped"] == 3 and found["drop"] > 0


def test_scores_that_are_no_numbers_are_a_miss_and_valid_json() -> None:
    labels = np.array([0, 0, 1, 0])
    exact = np.array([0.1, 0.2, 0.9, 0.3], np.float32)
    found = precision.compare(labels, exact, np.full(4, np.nan, np.float32))
    json.dumps(found, allow_nan=False)
    assert found["largest_difference"] is None and found["auc"] == 0.5
    parts = made_up()
    parts["precision"]["score/R6-like/fp16"] |= found
    assert "| not a number |" in document.write(parts)


def test_the_card_that_programs_use_is_the_one_that_is_asked(
        tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nfor word; do case $word in --id=*) echo ${word#--id=}00;; esac; done\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert machine.memory_used_mib() == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    assert machine.memory_used_mib() == 300


def test_a_binary_request_says_its_lengths() -> None:
    body, fields = served.binary_request({"x": np.ones((2, 3), np.float32),
                                          "padding": np.zeros((2, 5), bool)})
    length = int(fields["Inference-Header-Content-Length"])
    assert len(body) - length == 24 + 10
    assert b'"datatype": "BOOL"' in body[:length]


def test_the_parsers_transformer_is_the_same_model(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "R9.onnx"
    onnx.save(neural_models.transformer(length=reference.EVENTS, layers=1), source)
    plain = parser_onnx.write("R9", source, tmp_path)
    inputs = reference.make_inputs(source, 3)
    used = {node.op_type for node in onnx.load(plain).graph.node}
    assert not used & {"LayerNormalization", "Shape", "Slice"}
    off = reference.difference(reference.expected(plain, inputs),
                               reference.expected(source, inputs))
    assert off < 1e-6


def test_outputs_that_are_not_there_are_infinitely_wrong() -> None:
    want = {"score": np.ones((2, 1), np.float32)}
    assert reference.difference({}, want) == float("inf")
    assert reference.difference({"score": np.ones((3, 1), np.float32)}, want) == float("inf")
    assert reference.difference({"score": np.full((2, 1), np.nan)}, want) == float("inf")
    both = {"p": np.array([[0.25, 0.75]], np.float32)}
    assert reference.difference({"p": np.array([[0.75]], np.float32)}, both) == 0


def test_a_failed_cell_is_tried_again_and_a_measured_one_is_not(tmp_path: pathlib.Path) -> None:
    def fail() -> object:
        raise ValueError("why")
    cells = record.Record(tmp_path / "part.json", record.Clock(60))
    assert cells.attempt("a", fail) is None
    again = record.Record(tmp_path / "part.json", record.Clock(60))
    assert again.cells["a"] == {"error": "ValueError: why"}
    assert again.attempt("a", lambda: 7) == 7
    assert again.attempt("a", fail) == 7


def test_what_sets_up_several_cells_runs_until_all_are_there(tmp_path: pathlib.Path) -> None:
    cells = record.Record(tmp_path / "part.json", record.Clock(60))
    runs = []
    for value in ({"error": "no"}, 3, 4):
        cells.guard("server", ["a"], lambda v=value: runs.append(v) or cells.put("a", v) or "up")
    assert runs == [{"error": "no"}, 3]


def test_without_builds_what_failed_is_not_built_again(tmp_path: pathlib.Path) -> None:
    (tmp_path / "part.json").write_text('{"build b": {"error": "why"}}')
    cells = record.Record(tmp_path / "part.json", record.Clock(60), builds=False)
    assert cells.attempt("build b", lambda: 7, 1, tmp_path / "b.engine") == {"error": "why"}
    assert cells.attempt("time b", lambda: 7) == 7


def test_without_time_nothing_is_tried(tmp_path: pathlib.Path) -> None:
    cells = record.Record(tmp_path / "part.json", record.Clock(0))
    assert cells.attempt("a", lambda: 7) is None
    assert cells.cells["a"] == {"error": record.OUT_OF_TIME}


def test_a_rate_that_no_service_reaches_is_none_and_its_ratio_a_bound() -> None:
    parts = made_up()
    parts["story"]["story/R4b/python limit"] = {"per_s": None, "none_at": 14.0, "tried": []}
    assert outcome("R4b: requests/s", parts) == ("over 4,285 x", "met")
    assert "| none: over it from 14.0 on |" in document.write(parts)
    parts["story"]["story/R4b/verdict limit"] = {"per_s": None, "none_at": 900.0, "tried": []}
    assert outcome("R4b: requests/s", parts) == ("over 0.00 x", "**MISSED**")


def test_the_watching_time_is_a_table_with_the_default_first() -> None:
    rows = [line for line in document.write(made_up()).splitlines()
            if line.startswith(("| the default |", "| 0 |", "| for ever |"))]
    assert [row.split("|")[2].strip() for row in rows] == ["10.0 (20.0)", "33.0 (38.0)",
                                                           "5.00 (10.0)"]


def test_models_that_are_not_on_the_card_do_not_count() -> None:
    parts = made_up()
    assert outcome("different reference models", parts) == ("15.00 models", "**MISSED**")
    text = document.write(parts)
    assert "| m1 | attached | 3.0 | 2.0e-04 |" in text and "| m0 | refused | 3.0 | – |" in text
    assert ("Together 48 MiB, and 5 MiB of scratch that they share: 53 MiB; "
            "nvidia-smi sees 612 MiB more") in text
    del parts["models"]["models/devices"]["memory_shared_bytes"]
    assert "Together 48 MiB; nvidia-smi sees 612 MiB more" in document.write(parts)


def test_a_metric_is_found_by_its_own_label() -> None:
    text = ('# HELP clock_hertz Clocks\nclock_hertz{gpu_uuid="a",clock="sm"} 198e7\n'
            'clock_hertz{gpu_uuid="a",clock="memory"} 2\nused{gpu_uuid="a"} 3\n')
    assert many.metric(text, 'clock_hertz{clock="memory"}') == 2
    assert many.metric(text, "used") == 3
    assert many.metric(text, "clock") is None


class Service:
    """Answers within the limit up to a rate; its first stalls are chance."""

    def __init__(self, most: float, stalls: int = 0) -> None:
        self.most, self.stalls, self.rates = most, stalls, []

    def load(self, rate: float) -> dict:
        self.rates.append(rate)
        stalled = self.stalls > 0
        self.stalls -= stalled
        return {"rate": rate, "p99": 9e3 if rate <= self.most and not stalled else 5e4,
                "per_s": rate}


@pytest.mark.parametrize("most", [17, 100, 333, 999])
def test_the_search_comes_near_the_highest_rate_from_below(most: float) -> None:
    service = Service(most)
    found = story.search(service.load, 1000 / 64, 1000)
    assert most / 2 ** 0.25 < found["per_s"] <= most
    assert len(found["tried"]) == len(service.rates) < 18


def test_the_search_ends_at_the_most_that_there_is() -> None:
    service = Service(5000)
    assert story.search(service.load, 100, 1000)["per_s"] == 1000
    assert service.rates == [100, 200, 400, 800, 1000]


def test_one_stall_does_not_end_the_search_and_two_do() -> None:
    assert story.search(Service(500, stalls=1).load, 100, 400)["per_s"] == 400
    found = story.search(Service(500, stalls=2).load, 100, 400)
    assert (found["per_s"], found["none_at"], len(found["tried"])) == (None, 100, 2)


def test_a_plan_measures_nothing_and_builds_upon_what_it_plans(tmp_path: pathlib.Path) -> None:
    def fail() -> object:
        raise AssertionError("measured")
    made: set[pathlib.Path] = set()
    earlier = {"took": {"a": 7.5}, "build b": {"seconds": 30}}
    plan = record.Plan(tmp_path / "part.json", record.Clock(0), earlier, made)
    plan.stage("build", 2)
    plan.attempt("a", fail, 1)
    plan.attempt("build b", fail, 20, tmp_path / "b.engine")
    plan.attempt("build b", fail, 20, tmp_path / "b.engine")
    assert plan.has("a") and plan.exists(tmp_path / "b.engine") and not plan.has("c")
    plan.stage("time")
    plan.guard("server", ["a", "c"], fail, 4)
    assert [(s.what, s.cells, s.seconds()) for s in plan.stages] == [
        ("build", [("a", 7.5), ("build b", 30.0)], 30.0), ("time", [("server", 4.0)], 4.0)]
    assert not (tmp_path / "part.json").exists() and made == {tmp_path / "b.engine"}


def test_what_is_measured_is_not_planned_again_unless_its_file_is_gone(
        tmp_path: pathlib.Path) -> None:
    (tmp_path / "part.json").write_text('{"a": 1, "build b": {"seconds": 3}}')
    plan = record.Plan(tmp_path / "part.json", record.Clock(0), {}, set())
    plan.stage("all")
    plan.attempt("a", int)
    plan.guard("a", ["a"], int)
    plan.attempt("build b", int, 5, tmp_path / "b.engine")
    assert plan.stages[0].cells == [("build b", 5.0)]


def test_the_script_plans_every_part_without_a_card(tmp_path: pathlib.Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "gpu.py", "--part", "all", "--plan", "--out", tmp_path,
         "--models", tmp_path, "--budget", "60"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    for cell in ("build verdict/R9/fp16", "compile torch/R5", "served/R4b spin_us 200",
                 "models build/R4-small", "memory/python 8", "story/R6/verdict", "train"):
        assert any(line.endswith(f"  {cell}") for line in lines), cell
    assert re.fullmatch(r"about \d+ s of 60: the last \d+ s are left out", lines[-1])
    assert [line for line in lines if "story build" in line] == []  # those of the kernels
    assert subprocess.run([sys.executable, ROOT / "bench" / "gpu.py", "--part", "kernel"],
                          capture_output=True).returncode == 2
