"""Real card transactions: what a server scores equals what the training library scores.

The data and IBM's published LSTM lie beside the project, in ../shared; without them these tests are
skipped.
"""

from __future__ import annotations

import pathlib
import re
import subprocess
from dataclasses import dataclass

import numpy as np
import pytest
import tritonclient.http as triton
from serving import BINARY, ROOT, Server
from verdict_lab.export import to_onnx

CARDS = ROOT.parent / "shared" / "data" / "creditcard.csv.gz"
IBM_LSTM = ROOT.parent / "shared" / "models" / "ibm_ccf_lstm_static.onnx"
FIRST_TEST_SECOND = 103_129  # time-ordered split
BATCH = 128


@dataclass
class Cards:
    """Features [rows, 30] float32: Time, V1 to V28, log1p(Amount). Labels: 1 is fraud."""

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


@pytest.fixture(scope="module")
def cards() -> Cards:
    if not CARDS.is_file():
        pytest.skip(f"no card data: {CARDS} does not exist")
    rows = np.genfromtxt(CARDS, delimiter=",", skip_header=1, converters={30: _label})
    x = rows[:, :30].copy()
    x[:, 29] = np.log1p(x[:, 29])
    # What the server gets is float32, so the libraries get the same numbers.
    x = x.astype(np.float32)
    y = rows[:, 30].astype(int)
    test = rows[:, 0] >= FIRST_TEST_SECOND
    return Cards(x[~test], y[~test], x[test], y[test])


def _label(text: str | bytes) -> float:
    return float((text.decode() if isinstance(text, bytes) else text).strip('"'))


def _logistic(cards: Cards):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(cards.train_x.astype(np.float64), cards.train_y)
    return model, model.predict_proba(cards.test_x.astype(np.float64))[:, 1]


def _trees(cards: Cards):
    import lightgbm

    parameters = {"objective": "binary", "num_leaves": 15, "learning_rate": 0.05, "seed": 1,
                  "num_threads": 1, "deterministic": True, "verbosity": -1}
    data = lightgbm.Dataset(cards.train_x, cards.train_y)
    model = lightgbm.train(parameters, data, num_boost_round=150)
    return model, model.predict(cards.test_x)


def _mlp(cards: Cards):
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = MLPClassifier((64, 32), alpha=1e-3, early_stopping=True, random_state=1)
    model = make_pipeline(StandardScaler(), network)
    model.fit(cards.train_x.astype(np.float64), cards.train_y)
    return model, model.predict_proba(cards.test_x.astype(np.float64))[:, 1]


TRAINERS = {"logistic": _logistic, "trees": _trees, "mlp": _mlp}


@dataclass
class Trained:
    """NAME.onnx in a folder, and the scores of the libraries that trained them."""

    folder: pathlib.Path
    expected: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def trained(cards: Cards, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    trained = Trained(tmp_path_factory.mktemp("cards"), {})
    for name, train in TRAINERS.items():
        model, trained.expected[name] = train(cards)
        (trained.folder / f"{name}.onnx").write_bytes(
            to_onnx(model, name, 30).SerializeToString())
    return trained


@pytest.fixture(scope="module")
def served(trained: Trained):
    """A server of the three models, and the scores of the libraries that trained them."""
    root = trained.folder
    for name in TRAINERS:
        onnx_path = root / f"{name}.onnx"
        engine = root / "repository" / name / "1" / "model.engine"
        engine.parent.mkdir(parents=True)
        command = [BINARY, "build", "--onnx", onnx_path, "--saveEngine", engine,
                   "--minShapes", "float_input:1x30", "--optShapes", "float_input:8x30",
                   "--maxShapes", f"float_input:{BATCH}x30"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    server = Server(root / "repository", root / "server.log", "--drain-ms", 0)
    yield server, trained.expected
    assert server.stop() == 0, server.log()


def _score(server: Server, model: str, rows: np.ndarray) -> np.ndarray:
    """Fraud scores of all rows, through tritonclient, in batches."""
    client = triton.InferenceServerClient(server.address)
    scores = []
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        tensor = triton.InferInput("float_input", list(batch.shape), "FP32")
        tensor.set_data_from_numpy(batch)
        scores.append(client.infer(model, [tensor]).as_numpy("probabilities")[:, 1])
    client.close()
    return np.concatenate(scores)


@pytest.mark.parametrize("model", TRAINERS)
def test_scores_equal_the_library(cards: Cards, served, model: str) -> None:
    from sklearn.metrics import roc_auc_score

    server, expected = served
    assert len(cards.test_x) == 11_567 and cards.test_y.sum() == 142
    scores = _score(server, model, cards.test_x)
    difference = np.abs(scores - expected[model])
    auc, library_auc = (roc_auc_score(cards.test_y, s) for s in (scores, expected[model]))
    print(f"{model}: ROC-AUC {auc:.7f}, library {library_auc:.7f}, "
          f"largest score difference {difference.max():.2e}")
    assert difference.max() <= 1e-5
    assert abs(auc - library_auc) <= 1e-6
    assert library_auc > 0.95  # it learned something


def test_int8_keeps_the_auc_on_transactions_it_has_not_seen(cards: Cards, trained: Trained,
                                                            tmp_path: pathlib.Path) -> None:
    from sklearn.metrics import roc_auc_score

    # Every 50th transaction, and so frauds as they come.
    np.savez(tmp_path / "samples.npz", float_input=cards.train_x[::50])
    np.savez(tmp_path / "held-out.npz", float_input=cards.test_x, label=cards.test_y)
    engine = tmp_path / "mlp.engine"
    done = subprocess.run(
        [BINARY, "build", "--onnx", trained.folder / "mlp.onnx", "--saveEngine", engine, "--int8",
         "--calib", tmp_path / "samples.npz", "--evaluate", tmp_path / "held-out.npz",
         "--minShapes", "float_input:1x30", "--optShapes", "float_input:8x30", "--maxShapes",
         "float_input:16384x30", "--precisionConstraints", "obey"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr + done.stdout
    print(done.stdout)
    np.savez(tmp_path / "in.npz", float_input=cards.test_x)
    subprocess.run([BINARY, "run", engine, "--inputs", tmp_path / "in.npz", "--outputs",
                    tmp_path / "out.npz"], check=True, timeout=120)
    scores = np.load(tmp_path / "out.npz")["probabilities"][:, 1]
    drop = roc_auc_score(cards.test_y, trained.expected["mlp"]) - roc_auc_score(cards.test_y, scores)
    assert drop <= 0.001
    assert not np.array_equal(scores, trained.expected["mlp"].astype(np.float32))
    shown = float(re.search(r"falls by (-?[\d.]+)", done.stdout)[1])
    assert shown == pytest.approx(drop, abs=2e-5)


def test_one_row_scores_as_in_a_batch(cards: Cards, served) -> None:
    server, _ = served
    rows = cards.test_x[:BATCH]
    for model in TRAINERS:
        whole = _score(server, model, rows)
        alone = np.concatenate([_score(server, model, rows[i : i + 1]) for i in range(16)])
        assert np.array_equal(whole[:16], alone), model


@pytest.mark.parametrize("seed", range(4))
def test_ibm_lstm_equals_onnx_runtime(tmp_path: pathlib.Path, seed: int) -> None:
    """Inputs in [0, 1), like scaled and one-hot features. The network amplifies rounding: on inputs
    of a wider range ONNX Runtime itself is further than 1e-5 from the exact result."""
    if not IBM_LSTM.is_file():
        pytest.skip(f"no IBM model: {IBM_LSTM} does not exist")
    import onnxruntime

    session = onnxruntime.InferenceSession(IBM_LSTM)
    name = session.get_inputs()[0].name
    x = np.random.default_rng(seed).random((7, 16, 220), dtype=np.float32)
    expected = dict(zip((o.name for o in session.get_outputs()), session.run(None, {name: x})))
    np.savez(tmp_path / "in.npz", **{name: x})
    engine = tmp_path / "ibm.engine"
    for command in (["build", "--onnx", IBM_LSTM, "--saveEngine", engine],
                    ["run", engine, "--inputs", tmp_path / "in.npz",
                     "--outputs", tmp_path / "out.npz"]):
        done = subprocess.run([BINARY, *command], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as got:
        assert set(got) == set(expected)
        for output, value in expected.items():
            np.testing.assert_allclose(got[output], value, rtol=1e-5, atol=1e-5)
