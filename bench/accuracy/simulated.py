"""Networks of sequences and of ids, trained on the simulator's stream of card transactions.

The stream is split by week; of the training weeks and of the later, held-out ones all frauds are
taken and a part of the genuine transactions. The graphs are those of the reference models, with
their seeded weights to begin with.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime

from models import neural_models
from verdict_lab import sequences, simulator, training

from . import case, fit

SOURCE = "simulated ones"
STREAM = simulator.Config(customers=8_000, terminals=4_000)
GENUINE_OF_TRAINING, GENUINE_HELD_OUT = 60_000, 9_000
STEPS, EVENTS = 7, 32  # of the recurrent networks, of the transformer
TABLE_ROWS = 4_000
CALIBRATION_STEP = 100  # every 100th row of the training
TOLERANCE = 1e-5  # JAX against ONNX Runtime, on scores


@dataclasses.dataclass(frozen=True)
class Network:
    what: str
    model: onnx.ModelProto
    recipe: fit.Recipe
    train: dict[str, np.ndarray]
    held_out: dict[str, np.ndarray]
    every: int = 1  # 2: every second row of the training is enough


def _networks(stream: simulator.Stream, train: np.ndarray,
              test: np.ndarray) -> Iterator[tuple[str, Network]]:
    cards = sequences.CardSequences(stream)
    samples = [cards.sample(rows, STEPS) for rows in (train, test)]
    encoder = sequences.Encoder(stream, cards, samples[0])
    one_hot = [{"x": encoder.one_hot(sample)} for sample in samples]
    for name, cell in (("R6-like", "LSTM"), ("R7-like", "GRU")):
        yield name, Network(
            f"{cell}, {STEPS} x {sequences.ONE_HOT_COLUMNS}, two layers of 200",
            neural_models.recurrent(cell), fit.Recipe(epochs=3, learning_rate=2e-3), *one_hot)

    samples = [cards.sample(rows, EVENTS) for rows in (train, test)]
    events = [{"x": encoder.standardized(sample), "padding": sample.padding}
              for sample in samples]
    yield "R9-like", Network(
        f"transformer, up to {EVENTS} events x {sequences.EVENT_FEATURES}, d 128, 4 layers",
        neural_models.transformer(sequences.EVENT_FEATURES, EVENTS),
        fit.Recipe(epochs=2, learning_rate=1e-3), *events, every=2)

    ids = [{"x": np.ascontiguousarray(x["x"][:, -1]),
            "ids": sequences.identifiers(stream, rows, TABLE_ROWS)}
           for x, rows in zip(events, (train, test))]
    yield "R11-like", Network(
        f"DCN-v2, {sequences.EVENT_FEATURES} numeric and {sequences.ID_COLUMNS} tables of "
        f"{TABLE_ROWS:,} x 16",
        neural_models.dcn_v2(sequences.EVENT_FEATURES, sequences.ID_COLUMNS, TABLE_ROWS),
        fit.Recipe(epochs=2, learning_rate=1e-3), *ids)


def _check(name: str, model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> None:
    """That the exported network scores as the trained one does."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    exported = session.run(None, inputs)[0][:, 0]
    off = float(np.abs(exported - fit.scores(model, inputs)).max())
    if not off <= TOLERANCE:
        raise ValueError(f"{name}: ONNX Runtime is off JAX by {off:.1e}")


def train(folder: pathlib.Path, only: set[str]) -> Iterator[case.Case]:
    """only: names, none for all. Writes models and rows into the folder."""
    stream = simulator.simulate(STREAM)
    split = training.split_by_week(stream.time_s)
    known = training.training_labels(split, stream.is_fraud, stream.reported_s).astype(bool)
    rng = np.random.default_rng(1)
    rows = sequences.choose(rng, split.train, known, GENUINE_OF_TRAINING)
    test = sequences.choose(rng, split.test, stream.is_fraud[split.test], GENUINE_HELD_OUT)
    y = known[np.searchsorted(split.train, rows)]
    for name, network in _networks(stream, rows, test):
        if only and name not in only:
            continue
        print(f"{name}: training", flush=True)
        model = fit.fit(network.model, {k: x[::network.every] for k, x in network.train.items()},
                        y[::network.every], network.recipe)
        _check(name, model, network.held_out)
        data = SOURCE, f"{name}-samples.npz", f"{name}-held-out.npz"
        np.savez(folder / data[1], **{k: x[::CALIBRATION_STEP] for k, x in network.train.items()})
        np.savez(folder / data[2], **network.held_out, label=stream.is_fraud[test].astype(int))
        yield case.write(folder, name, network.what, model, data, network.held_out, "score")
