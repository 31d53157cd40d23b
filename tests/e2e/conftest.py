"""One server over a repository of golden models, shared by the tests that leave it running."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Iterator

import pytest
from serving import BINARY, Server, build

# Model -> version -> golden model. "fraud" changes its kind between versions.
SERVED = {
    "fraud": {1: "skl_lr_binary", 2: "skl_gb_binary", 10: "skl_rf_binary"},
    "strings": {1: "skl_onehot_ordinal_lr"},
    "labels": {1: "skl_lr_string_labels"},
    "several": {1: "torch_mlp_residual_op13"},
    "missing-values": {1: "lgb_binary_nan"},
    "gru": {7: "torch_gru1_op17"},
    "half-broken": {1: "skl_lr_binary"},
}


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """SERVED, and what a server must pass over or refuse."""
    assert BINARY.is_file(), f"{BINARY} does not exist; build it or set TESTED_BINARY"
    root = tmp_path_factory.mktemp("repository")
    for model, versions in SERVED.items():
        for version, name in versions.items():
            build(name, root / model / str(version) / "model.engine")
    whole = (root / "fraud" / "1" / "model.engine").read_bytes()
    bad = {
        "half-broken/2": whole[: len(whole) // 2],
        "broken/1": whole[:4096] + bytes([whole[4096] ^ 1]) + whole[4097:],
        "broken/2": b"",
        "fraud/latest": whole,
        "fraud/03": whole,
        "not a name/1": whole,
    }
    for folder, contents in bad.items():
        (root / folder).mkdir(parents=True)
        (root / folder / "model.engine").write_bytes(contents)
    (root / "fraud" / "11").mkdir()  # half written: no engine yet
    return root


@pytest.fixture(scope="session")
def server(
    repository: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    running = Server(repository, tmp_path_factory.mktemp("log") / "server.log", "--drain-ms", 0,
                     "--set", "auth.admin_on_inference_port=true")
    yield running
    assert running.stop() == 0, running.log()


@pytest.fixture
def small_repository(repository: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """One model, "fraud" version 1, for tests that start a server of their own."""
    root = tmp_path / "repository"
    shutil.copytree(repository / "fraud" / "1", root / "fraud" / "1")
    return root
