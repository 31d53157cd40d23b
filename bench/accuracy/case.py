"""A trained model with the rows that it is calibrated on and held to."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import onnx

INDEX = "cases.json"


@dataclasses.dataclass(frozen=True)
class Case:
    """In `folder`: NAME.onnx, and the .npz files of its samples. The batch is every first axis."""

    name: str
    what: str
    source: str  # of its rows
    samples: str
    held_out: str
    inputs: dict[str, list[int]]  # name -> shape of one row
    output: str  # the scores
    folder: pathlib.Path

    @property
    def onnx(self) -> pathlib.Path:
        return self.folder / f"{self.name}.onnx"

    def shapes(self, batch: int) -> str:
        """As --shapes takes them."""
        return ",".join(f"{name}:{'x'.join(map(str, [batch, *row]))}"
                        for name, row in self.inputs.items())

    def read_held_out(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Inputs by name, and the labels."""
        with np.load(self.folder / self.held_out) as file:
            return {name: file[name] for name in self.inputs}, file["label"]


@dataclasses.dataclass(frozen=True)
class Row:
    """A model in one precision."""

    name: str
    what: str
    asked: str  # the precision
    auc: float  # of float32
    report: dict | None  # what the engine says of its accuracy; None where float32 was kept
    note: str
    bytes: tuple[int, int | None]  # of the engines: float32, and this one where there is one
    speeds: list[list[float]]  # per batch: float32 and this precision, us; or float32 alone
    peers: dict[str, list[float] | None]  # per batch, us


def write(folder: pathlib.Path, name: str, what: str, model: onnx.ModelProto,
          data: tuple[str, str, str], rows: dict[str, np.ndarray], output: str) -> Case:
    """Writes the model. data: the rows' source, and the files of samples and of held-out rows."""
    onnx.save(model, folder / f"{name}.onnx")
    inputs = {key: list(value.shape[1:]) for key, value in rows.items()}
    return Case(name, what, *data, inputs, output, folder)


def remember(case: Case) -> None:
    """So that another run can take the model as it is."""
    cases = {c.name: c for c in recall(case.folder)} | {case.name: case}
    rows = [{k: v for k, v in dataclasses.asdict(c).items() if k != "folder"}
            for c in cases.values()]
    (case.folder / INDEX).write_text(json.dumps(rows, indent=1) + "\n")


def recall(folder: pathlib.Path) -> list[Case]:
    """Those of an earlier run; none if there was none."""
    index = folder / INDEX
    rows = json.loads(index.read_text()) if index.exists() else []
    return [Case(**row, folder=folder) for row in rows]
