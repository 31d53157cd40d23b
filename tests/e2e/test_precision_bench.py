"""The precision bench: what it writes. What trains and the peers are not installed for this."""

from __future__ import annotations

import pathlib
import re
import sys

import numpy as np
import onnx

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "python")]

from accuracy import build_output, case, document

REPORT = {
    "precision": "int8", "auc_drop": 0.0004, "decisions_flipped": 7,
    "roc_auc": {"float32": 0.98, "int8": 0.9796, "difference_95": [-0.0009, 0.0002]},
    "layers": [{"precision": "int8"}, {"precision": "float32"}, {"precision": "int8"}]}
PEERS = {"ONNX Runtime": [12.0, 40.0], "OpenVINO f32": None, "OpenVINO bf16": None}


def row(**changes: object) -> case.Row:
    values = {"name": "R4b", "what": "network", "asked": "best", "auc": 0.98, "report": REPORT,
              "note": "", "bytes": (2_000_000, 540_000), "speeds": [[4.0, 1.5], [48.0, 22.0]],
              "peers": PEERS}
    return case.Row(**values | changes)


def table(*rows: case.Row) -> list[list[str]]:
    text = document.write(list(rows), {"card transactions": (11_567, 62)})
    assert "11,567 card transactions, 62 of them frauds" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert len({len(line) for line in cells}) == 1
    return cells[2:]


def test_a_reduced_model_shows_what_it_lost_and_won() -> None:
    cells = table(row())[0]
    assert cells[2:11] == ["best: int8", "0.98000", "0.97960", "0.00040", "-0.00020 to 0.00090",
                           "7", "2 of 3", "0.27 of 2 MB", "4 → 1.5"]
    assert cells[12:15] == ["12 / 40", "–", "–"]


def test_where_float32_is_kept_the_reason_stands_and_no_gain() -> None:
    kept = row(report=None, note="int8 takes 2.7 times as long", bytes=(2_000_000, 2_000_000))
    cells = table(kept)[0]
    assert cells[3:10] == ["0.98000", *["–"] * 5, "2 MB"]
    assert cells[-1] == "int8 takes 2.7 times as long"


def test_without_an_engine_float32_is_timed_alone() -> None:
    cells = table(row(asked="int8", report=None, note="no engine: a | b", bytes=(9_000, None),
                      speeds=[[4.0], [48.0]]))[0]
    assert cells[2] == "int8" and cells[10:12] == ["4", "48"]
    assert cells[-1] == r"no engine: a \| b"


def test_what_is_asked_is_met_or_missed() -> None:
    peers = PEERS | {"OpenVINO bf16": [1.0, 40.0]}
    text = document.write([row(asked="int8", name="R4b-like", peers=peers)], {"rows": (9, 1)})
    assert ("- R4b-like: ROC-AUC loses 0.00040 (0.001 allowed): met; size 0.270 (0.28): met; 2.67 "
            "and 2.18 times as fast as float32 (2): met; 0.67 and 1.82 times as fast as OpenVINO in "
            "bfloat16 (1): **missed**.") in text
    text = document.write([row(asked="int8", name="R3")], {"rows": (9, 1)})
    assert "- R3: ROC-AUC loses 0.00040 (0.001 allowed): met; size 0.270 (0.28): met.\n" in text


def test_one_precision_is_named_alone() -> None:
    assert table(row(asked="int8"))[0][2] == "int8"
    assert table(row(asked="bf16", report=None))[0][2] == "bfloat16"


def test_nothing_lost_has_no_sign() -> None:
    cells = table(row(report=REPORT | {"auc_drop": -1e-9}))[0]
    assert cells[5] == "0.00000"


def test_of_several_precisions_the_times_of_the_one_that_is_told() -> None:
    printed = ("  [1,30]: float32 4.5 us, int8 1.5 us: 3.09 times as fast\n"
               "  [32,30]: float32 4.8e+01 us, int8 22 us: 2.22 times as fast\n"
               "  [1,30]: float32 4.6 us, bfloat16 2 us: 2.14 times as fast\n")
    assert build_output.speeds(printed, "int8") == [[4.5, 1.5], [48, 22]]
    assert build_output.speeds(printed, "bfloat16 takes 2.08 times as long") == [[4.6, 2]]
    assert build_output.speeds("", "int8") == []


def test_the_reason_is_told_without_the_path() -> None:
    kept = "verdict build: note: float32 is kept: int8 takes 2.7 times as long\n"
    assert build_output.reason(kept, True) == "int8 takes 2.7 times as long"
    assert build_output.reason("", True) == ""
    refused = "verdict build: error: /a/b/R3.onnx: the model has no layer; take --best\n"
    assert build_output.reason(refused, False) == "no engine: the model has no layer"


def test_cases_are_found_again(tmp_path: pathlib.Path) -> None:
    graph = onnx.helper.make_graph([], "g", [], [])
    rows = {"x": np.zeros((5, 7, 220), np.float32), "ids": np.zeros((5, 8), np.int64)}
    for name in ("R6", "R7", "R6"):
        case.remember(case.write(tmp_path, name, "LSTM", onnx.helper.make_model(graph),
                                 ("simulated ones", "a.npz", "b.npz"), rows, "score"))
    found = case.recall(tmp_path)
    assert [c.name for c in found] == ["R6", "R7"]
    assert found[0].shapes(32) == "x:32x7x220,ids:32x8"
    assert found[0].onnx.exists()


def test_nothing_is_found_in_a_new_folder(tmp_path: pathlib.Path) -> None:
    assert case.recall(tmp_path) == []
