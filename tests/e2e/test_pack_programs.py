"""scripts/pack_programs.sh: programs that run where their libraries are not installed."""

from __future__ import annotations

import pathlib
import re
import subprocess

import pytest
from serving import BINARY

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "pack_programs.sh"
OF_THE_MACHINE = r"(ld-linux.*|linux-vdso|lib(c|m|dl|pthread|rt|resolv|gcc_s|stdc\+\+))\.so.*"


def pack(*arguments: object, cwd: pathlib.Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *map(str, arguments)], capture_output=True, text=True, cwd=cwd)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("pack")
    done = pack(BINARY.parent, "packed", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "packed"


def test_the_programs_run_with_the_libraries_beside_them(packed: pathlib.Path) -> None:
    for name in ("verdict", "verdict-device-worker", "libverdict_fake.so"):
        told = subprocess.run(["ldd", packed / name], capture_output=True, text=True, check=True)
        for line in told.stdout.splitlines():
            library, _, place = line.strip().partition(" => ")
            if not re.fullmatch(OF_THE_MACHINE, pathlib.Path(library.split(" ")[0]).name):
                assert place.startswith(f"{packed}/lib/"), line
    version = subprocess.run([packed / "verdict", "--version"], capture_output=True, text=True)
    assert version.stdout.startswith("verdict "), version.stderr


def test_plugins_and_the_worker_are_found_beside_the_program(packed: pathlib.Path,
                                                             tmp_path: pathlib.Path) -> None:
    model = ROOT / "tests" / "golden" / "skl_mlp_binary.onnx"
    built = subprocess.run(
        [packed / "verdict", "build", "--onnx", model, "--saveEngine", tmp_path / "m.engine",
         "--backend", "fake"], capture_output=True, text=True, cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    run = subprocess.run(
        [packed / "verdict", "bench", "--loadEngine", tmp_path / "m.engine", "--duration", "0.05",
         "--backend", "fake"], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0 and "Throughput" in run.stdout, run.stderr


def test_what_is_wrong_is_said(packed: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert pack().returncode == 2
    again = pack(BINARY.parent, packed)
    assert again.returncode == 1 and "is there already" in again.stderr
    empty = pack(tmp_path, tmp_path / "packed")
    assert empty.returncode == 1 and "no verdict in" in empty.stderr
    assert not (tmp_path / "packed").exists()
