"""The Python half of quickstart.sh: from a seed to a report of what the server answered.

Simulates, trains, exports to ONNX (kept under build/quickstart until the seed, this package or the
locked requirements change), builds engines, serves them, and scores the later weeks over HTTP.
"""

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from . import INPUT, client, features, report, simulator, training
from .server import Server, ServerError

ROOT = Path(__file__).resolve().parents[2]
MAX_BATCH = 512
ONE_BY_ONE = 6_000  # requests a model, one transaction each
MIN_CUSTOMERS = 100  # fewer leave too little fraud to learn from
SCORE_TOLERANCE = 1e-5
AUC_TOLERANCE = 1e-6


class QuickstartError(RuntimeError):
    """Something that the user must know, in words that need no traceback."""


@dataclass(frozen=True)
class Prepared:
    """What does not depend on the server: stream, features, models and the libraries' scores."""

    stream: simulator.Stream
    test_rows: np.ndarray
    test_features: np.ndarray
    models: dict[str, Path]  # ONNX files
    library_scores: dict[str, np.ndarray]


def say(message: str) -> None:
    started = float(os.environ.get("PROGRESS_STARTED", _STARTED))
    print(f"[{time.time() - started:4.0f} s] {message}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m verdict_lab")
    parser.add_argument("--verdict", type=Path, default=ROOT / "build/verdict", help="the binary")
    parser.add_argument("--seed", type=int, default=1, help="another world (default 1)")
    parser.add_argument("--keep", action="store_true", help="leave the server running")
    usual = simulator.Config.customers
    parser.add_argument(
        "--customers", type=int, default=usual, help=f"the world's size (default {usual})"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=ROOT / "build/quickstart",
        help="for models, engines and logs",
    )
    arguments = parser.parse_args()
    if arguments.customers < MIN_CUSTOMERS:
        parser.error(f"--customers must be at least {MIN_CUSTOMERS}")
    config = simulator.Config(seed=arguments.seed, customers=arguments.customers)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _run(arguments.verdict, config, arguments.folder.resolve(), arguments.keep)
    except (QuickstartError, ServerError) as error:
        print(f"quickstart: error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("quickstart: interrupted", file=sys.stderr)
    return 1


def _run(verdict: Path, config: simulator.Config, base: Path, keep: bool) -> int:
    if not os.access(verdict, os.X_OK):
        raise QuickstartError(f"{verdict} is missing; ./quickstart.sh builds it")
    world = f"seed{config.seed}"
    if config.customers != simulator.Config.customers:
        world += f"-customers{config.customers}"
    folder = base / f"{_fingerprint()}-{world}"
    prepared = _prepare(folder, config)
    repository = folder / "repository"
    _build_engines(verdict, prepared, repository)

    server = Server(verdict, repository, folder)
    try:
        say(f"starting the server on {server.address}")
        server.wait_until_ready()
        matches = _score_and_report(server, prepared)
        if keep and matches:
            _say_what_next(server, prepared, repository)
            server = None
        return 0 if matches else 1
    finally:
        if server:
            server.stop()


def _fingerprint() -> str:
    """Changes when anything does that the data or the models depend on."""
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for name in ("simulator", "fraud", "features", "training", "export"):
        digest.update((package / f"{name}.py").read_bytes())
    digest.update((ROOT / "python/requirements/quickstart.txt").read_bytes())
    return digest.hexdigest()[:12]


def _prepare(folder: Path, config: simulator.Config) -> Prepared:
    say("simulating customers, terminals and thieves")
    stream = simulator.simulate(config)
    frauds = np.bincount(stream.pattern, minlength=len(simulator.PATTERNS))[1:]
    named = zip(frauds, simulator.PATTERNS[1:], strict=True)
    say(
        f"  {len(stream):,} transactions in {config.days} days, {frauds.sum():,} of them fraud: "
        + ", ".join(f"{n} {name}" for n, name in named)
    )
    split = training.split_by_week(stream.time_s)
    models = {name: folder / f"{name}.onnx" for name in training.TRAINERS}
    cache = folder / "prepared.npz"  # written last, so it stands for a whole folder
    if cache.exists():
        say("features and models are those of an earlier run")
        with np.load(cache) as saved:
            scores = {name: saved[name] for name in models}
            return Prepared(stream, split.test, saved["test_features"], models, scores)

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    say("computing features, each from the past alone")
    x, names = features.compute(stream)
    say(
        f"  {len(names)} features, {len(split.train):,} rows to train on,"
        f" {len(split.test):,} later ones to score"
    )
    test_features = np.ascontiguousarray(x[split.test])
    labels = training.training_labels(split, stream.is_fraud, stream.reported_s)
    scores = {}
    for name, train in training.TRAINERS.items():
        say(f"training and exporting: {name}")
        # One thread: the matrices are small, and spinning threads are slow on a busy machine.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")  # "not converged": a fixed number of epochs is meant
            model = train(x[split.train], labels, config.seed)
        scores[name] = training.library_scores(model, test_features)
        from . import export  # slow to import, and needed on a first run only

        models[name].write_bytes(export.to_onnx(model, name, len(names)).SerializeToString())
    partial = folder / "partial.npz"
    np.savez(partial, test_features=test_features, **scores)
    partial.rename(cache)
    return Prepared(stream, split.test, test_features, models, scores)


def _build_engines(verdict: Path, prepared: Prepared, repository: Path) -> None:
    features_n = prepared.test_features.shape[1]
    for name, model in prepared.models.items():
        say(f"building the engine: {name}")
        engine = repository / name / "1" / "model.engine"
        engine.parent.mkdir(parents=True, exist_ok=True)
        shape = f"{INPUT}:{{}}x{features_n}"
        _command(
            *(verdict, "build", "--onnx", model, "--saveEngine", engine),
            *("--minShapes", shape.format(1), "--optShapes", shape.format(1)),
            *("--maxShapes", shape.format(MAX_BATCH)),
        )


def _command(*words: str | Path) -> None:
    done = subprocess.run(words, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        line = " ".join(map(str, words))
        output = (done.stderr + done.stdout).strip()
        raise QuickstartError(f"exit status {done.returncode} of\n  {line}\n{output}")


def _score_and_report(server: Server, prepared: Prepared) -> bool:
    """Prints the report. Returns whether every score is the library's."""
    is_fraud = prepared.stream.is_fraud[prepared.test_rows]
    rows = prepared.test_features
    connections = max(2, min(4, (os.cpu_count() or 2) // 2))
    batched, single, ours, theirs, gap = {}, {}, {}, {}, {}
    try:
        for name in prepared.models:
            say(f"scoring over HTTP: {name}")
            batched[name] = client.score_in_batches(server.address, name, rows, MAX_BATCH)
            some = rows[:: max(1, len(rows) // ONE_BY_ONE)][:ONE_BY_ONE]
            single[name] = client.score_one_by_one(server.address, name, some, connections)
    except Exception as error:
        raise QuickstartError(
            f"scoring with {name} failed: {error}; the server's log: {server.log}"
        ) from error
    for name, library in prepared.library_scores.items():
        ours[name] = training.quality(is_fraud, batched[name].scores)
        theirs[name] = training.quality(is_fraud, library)
        alone = library[:: max(1, len(rows) // ONE_BY_ONE)][:ONE_BY_ONE]
        gap[name] = max(
            float(np.abs(batched[name].scores - library).max()),
            float(np.abs(single[name].scores - alone).max()),
        )
    best = max(ours, key=lambda name: ours[name].roc_auc)

    sent = sum(len(t.scores) for t in (*batched.values(), *single.values()))
    print(
        f"\nScored {sent:,} transactions over HTTP: the last 7 weeks ({len(rows):,}, of which "
        f"{is_fraud.sum():,} are fraud)\nwith each of three models that had learnt from the weeks "
        f"before, and {len(some):,} of them once more one by one.\n"
        "\nAs good as the libraries that trained the models (scikit-learn, LightGBM)\n"
        f"{report.quality_table(ours, theirs, gap)}\n"
        f"\nAs the clients saw it: {connections} connections with one transaction a request, "
        f"then one with batches of {MAX_BATCH};\nclients and server shared {os.cpu_count()} cores\n"
        f"{report.speed_table(batched, single)}\n"
        f"\nThe ten riskiest transactions by {report.TITLES[best]}, and what they were\n"
        f"{report.riskiest_table(prepared.stream, prepared.test_rows, batched[best].scores)}\n"
    )
    wrong = [
        name
        for name in gap
        if not gap[name] <= SCORE_TOLERANCE
        or abs(ours[name].roc_auc - theirs[name].roc_auc) > AUC_TOLERANCE
    ]
    for name in wrong:
        print(
            f"quickstart: error: {name}: the server's scores differ from the library's by up to "
            f"{gap[name]:.1e} (allowed: {SCORE_TOLERANCE:.0e})",
            file=sys.stderr,
        )
    return not wrong


def _say_what_next(server: Server, prepared: Prepared, repository: Path) -> None:
    request = repository.parent.parent / "request.json"
    riskiest = int(np.argmax(prepared.library_scores["gbm"]))
    row = prepared.test_features[riskiest]
    request.write_text(
        f'{{"inputs": [{{"name": "{INPUT}", "shape": [1, {len(row)}], "datatype": "FP32",'
        f' "data": [{", ".join(repr(float(v)) for v in row)}]}}]}}\n'
    )
    url = f"http://{server.address}"
    print(
        f"The server goes on: process {server.pid}. Try\n"
        f"  curl {url}/v2/models/gbm\n"
        f"  curl -d @{_from_root(request)} {url}/v2/models/gbm/infer\n"
        f"  curl http://127.0.0.1:{server.metrics_port}/metrics\n"
        f"  build/verdict inspect {_from_root(repository)}/gbm/1/model.engine\n"
        f"and stop it with\n"
        f"  kill {server.pid}"
    )


def _from_root(path: Path) -> Path:
    """As one types it in the project's root."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


_STARTED = time.time()
