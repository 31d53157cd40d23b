"""What a run needs before it starts: packages, models, engines, and a folder for each server."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv-bench"
LOCK = ROOT / "python" / "requirements" / "bench.txt"
PEERS = ROOT / "bench" / "peers"
MODELS = ROOT / "models" / "bench"
SMALL_MODELS = 10
# Packages of one peer each: where one does not install, the others are still measured.
OPTIONAL = ("nvidia-pytriton", "mlserver")


def say(text: str) -> None:
    print(text, flush=True)


def _pip_install(lock: pathlib.Path) -> str:
    """Returns the end of pip's complaint, empty if it installed all."""
    done = subprocess.run([VENV / "bin" / "python", "-m", "pip", "install", "--quiet",
                           "--disable-pip-version-check", "--require-hashes", "-r", lock],
                          capture_output=True, text=True)
    return "" if done.returncode == 0 else (done.stderr.strip() or "pip failed")[-600:]


def prepare_venv() -> pathlib.Path:
    """Makes or updates .venv-bench from the locked requirements. Returns its Python."""
    python = VENV / "bin" / "python"
    stamp = VENV / "bench.sha256"
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == digest:
        return python
    say("installing the peers' packages into .venv-bench")
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([os.environ.get("PYTHON", "python3"), "-m", "venv", VENV], check=True)
    complaint = _pip_install(LOCK)
    lock = LOCK.read_text()
    for package in OPTIONAL:
        if not complaint:
            break
        say(f"  these packages do not install here:\n{complaint}\n  trying without {package}")
        lock = re.sub(rf"^{package}==(?:.*\\\n)*.*\n", "", lock, flags=re.MULTILINE)
        reduced = VENV / "bench-reduced.txt"
        reduced.write_text(lock)
        complaint = _pip_install(reduced)
    if complaint:
        sys.exit(f"the peers' packages do not install:\n{complaint}")
    stamp.write_text(digest)
    return python


def _run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command[:4]))} …: {done.stderr.strip()[-1000:]}")


def prepare_models(names: list[str]) -> None:
    """Makes the reference models that are missing, in the tests' environment."""
    missing = [name for name in names if not (MODELS / f"{name}.onnx").exists()]
    if not missing:
        return
    say(f"making {', '.join(missing)}")
    if not (ROOT / ".venv/bin/python").exists():
        _run(ROOT / "scripts/python-env.sh", "test")
    _run(ROOT / ".venv/bin/python", ROOT / "bench/models/make_reference_models.py",
         "--out", MODELS, "--only", ",".join(missing))


def build_triton_backend(folder: pathlib.Path) -> str:
    """Compiles the ONNX Runtime backend for Triton. Returns why it cannot, or an empty string."""
    import onnxruntime
    library = next((pathlib.Path(onnxruntime.__file__).parent / "capi")
                   .glob("libonnxruntime.so.*"), None)
    if library is None:
        return "the package onnxruntime carries no libonnxruntime.so"
    target = folder / "bench_onnxruntime" / "libtriton_bench_onnxruntime.so"
    target.parent.mkdir(parents=True, exist_ok=True)
    link = target.parent / "libonnxruntime.so.1"  # its SONAME, which the package's file lacks
    link.unlink(missing_ok=True)
    link.symlink_to(library)
    done = subprocess.run(
        [os.environ.get("CXX", "g++"), "-std=c++20", "-O2", "-fPIC", "-shared", "-o", target,
         PEERS / "triton" / "onnxruntime_backend.cc", link, f"-Wl,-rpath,{target.parent}"],
        capture_output=True, text=True)
    return "" if done.returncode == 0 else f"its backend does not compile: {done.stderr[-600:]}"


def copy_python_backend(triton: pathlib.Path, folder: pathlib.Path) -> str:
    """Puts Triton's Python backend together with the stub for this Python. triton: its folder in
    the package. Returns why it cannot, or an empty string."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = triton / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.exists():
        return f"nvidia-pytriton has no stub for Python {version}"
    shutil.copytree(triton / "backends" / "python", folder / "python", dirs_exist_ok=True)
    shutil.copy(stub, folder / "python")
    return ""


@dataclasses.dataclass(frozen=True)
class Folders:
    """One set of models in each server's own layout; names: as clients call them."""

    onnx: pathlib.Path
    verdict: pathlib.Path
    verdict_batching: pathlib.Path
    mlserver: pathlib.Path
    triton: pathlib.Path
    triton_python: pathlib.Path
    names: list[str]


def _triton_config(name: str, path: pathlib.Path, backend: str, instances: int) -> str:
    import onnxruntime
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    types = {"tensor(float)": "TYPE_FP32", "tensor(int64)": "TYPE_INT64"}

    def tensors(values: list) -> str:
        return ", ".join(
            f'{{ name: "{v.name}" data_type: {types[v.type]} dims: {list(v.shape[1:])} }}'
            if v.shape[1:] else
            f'{{ name: "{v.name}" data_type: {types[v.type]} dims: [ 1 ] '
            "reshape: { shape: [ ] } }" for v in values)

    return (f'name: "{name}"\nbackend: "{backend}"\nmax_batch_size: 64\n'
            f"input [ {tensors(session.get_inputs())} ]\n"
            f"output [ {tensors(session.get_outputs())} ]\n"
            f"instance_group [ {{ kind: KIND_CPU count: {instances} }} ]\n"
            "dynamic_batching { }\n")


def lay_out(folder: pathlib.Path, verdict: pathlib.Path, models: dict[str, str],
            instances: int) -> Folders:
    """models: served name -> reference model. instances: of each model in Triton."""
    shutil.rmtree(folder, ignore_errors=True)
    for served, reference in models.items():
        source = MODELS / f"{reference}.onnx"
        engine = folder.parent / "engines" / f"{reference}.engine"
        if not engine.exists():
            engine.parent.mkdir(parents=True, exist_ok=True)
            _run(verdict, "build", "--onnx", source, "--saveEngine", engine)
        for place in (folder / "onnx" / f"{served}.onnx",
                      folder / "triton" / served / "1" / "model.onnx",
                      folder / "triton_python" / served / "1" / "model.onnx"):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)
        for repository, backend in (("triton", "bench_onnxruntime"), ("triton_python", "python")):
            (folder / repository / served / "config.pbtxt").write_text(
                _triton_config(served, source, backend, instances))
        shutil.copy(PEERS / "triton" / "python_model.py",
                    folder / "triton_python" / served / "1" / "model.py")
        for repository in ("verdict", "verdict_batching"):
            place = folder / repository / served / "1" / "model.engine"
            place.parent.mkdir(parents=True)
            shutil.copy(engine, place)
        # As Triton's configuration has it.
        (folder / "verdict_batching" / served / "config.yaml").write_text(
            "max_batch_size: 64\ndynamic_batching: {}\n")
        place = folder / "mlserver" / served / "model-settings.json"
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps({
            "name": served, "implementation": "mlserver_runtime.OnnxRuntime",
            "parameters": {"version": "1", "uri": str(folder / "onnx" / f"{served}.onnx")}}))
    return Folders(folder / "onnx", folder / "verdict", folder / "verdict_batching",
                   folder / "mlserver", folder / "triton",
                   folder / "triton_python", list(models))
