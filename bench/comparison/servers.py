"""The servers that are compared: how each is started, and what it speaks."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable

from comparison import environment, process_tree

START_TIMEOUT_S = 120
# At its default of 8, Triton 2.51 dies while it deletes the requests of 64 gRPC streams.
TRITON_GRPC_POOL = 1024
STOP_TIMEOUT_S = 20
PYTHON = str(environment.VENV / "bin" / "python")

# How a client speaks to a server; in the document in this order.
PROTOCOLS = {"http-json": "HTTP JSON", "http-binary": "HTTP binary", "grpc": "gRPC",
             "grpc-stream": "gRPC stream"}


@dataclasses.dataclass(frozen=True)
class Ports:
    http: int
    grpc: int
    metrics: int


@dataclasses.dataclass(frozen=True)
class Peer:
    """command: arguments from (folders, ports, CPUs it may use). absent: why it cannot run here."""

    name: str
    what: str
    protocols: tuple[str, ...]
    command: Callable[[environment.Folders, Ports, int], list[str]]
    absent: str = ""


def free_ports() -> Ports:
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(3):
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            ports.append(listener.getsockname()[1])
    return Ports(*ports)


def _fastapi(folders: environment.Folders, ports: Ports, cpus: int) -> list[str]:
    return [PYTHON, str(environment.PEERS / "fastapi_server.py"), "--models", str(folders.onnx),
            "--port", str(ports.http), "--workers", str(cpus)]


def _mlserver(folders: environment.Folders, ports: Ports, cpus: int) -> list[str]:
    # No worker processes: on two cores they made it several times slower.
    (folders.mlserver / "settings.json").write_text(json.dumps({
        "host": "127.0.0.1", "http_port": ports.http, "grpc_port": ports.grpc,
        "metrics_port": ports.metrics, "debug": False, "parallel_workers": 0}))
    return [PYTHON, "-m", "mlserver.cli.main", "start", str(folders.mlserver)]


def _pytriton(folders: environment.Folders, ports: Ports, cpus: int) -> list[str]:
    return [PYTHON, str(environment.PEERS / "pytriton_server.py"), "--models", str(folders.onnx),
            "--http-port", str(ports.http), "--grpc-port", str(ports.grpc),
            "--metrics-port", str(ports.metrics)]


def _package_folder(package: str) -> pathlib.Path | None:
    spec = importlib.util.find_spec(package)
    return pathlib.Path(spec.origin).parent if spec and spec.origin else None


def _triton(backends: pathlib.Path,
            python: bool) -> Callable[[environment.Folders, Ports, int], list[str]]:
    def command(folders: environment.Folders, ports: Ports, cpus: int) -> list[str]:
        package = _package_folder("pytriton")
        assert package is not None
        repository = folders.triton_python if python else folders.triton
        return [str(package / "tritonserver" / "bin" / "tritonserver"),
                "--model-repository", str(repository), "--backend-directory", str(backends),
                "--http-address", "127.0.0.1", "--http-port", str(ports.http),
                "--grpc-address", "127.0.0.1", "--grpc-port", str(ports.grpc),
                "--metrics-port", str(ports.metrics), "--allow-gpu-metrics", "false",
                "--http-thread-count", str(cpus), "--grpc-infer-allocation-pool-size",
                str(TRITON_GRPC_POOL), "--disable-auto-complete-config"]
    return command


def _verdict(binary: pathlib.Path, grpc: bool,
             batching: bool = False) -> Callable[[environment.Folders, Ports, int], list[str]]:
    def command(folders: environment.Folders, ports: Ports, cpus: int) -> list[str]:
        flags = ["--grpc-port", str(ports.grpc)] if grpc else []
        repository = folders.verdict_batching if batching else folders.verdict
        return [str(binary), "serve", "--repository", str(repository), "--host", "127.0.0.1",
                "--http-port", str(ports.http), "--metrics-port", str(ports.metrics), "--set",
                "admin.port=0", *flags]
    return command


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def all_peers(verdict: pathlib.Path, backends: pathlib.Path) -> list[Peer]:
    """Every server, with those that cannot run here."""
    triton_absent = "" if _package_folder("pytriton") else "nvidia-pytriton is not installed"
    mlserver_absent = "" if _package_folder("mlserver") else "mlserver is not installed"
    backend_absent = triton_absent or environment.build_triton_backend(backends)
    python_absent = triton_absent or environment.copy_python_backend(
        _package_folder("pytriton") / "tritonserver", backends)
    help_text = subprocess.run([verdict, "serve", "--help"], capture_output=True, text=True).stdout
    grpc = "--grpc-port" in help_text
    if not grpc:
        environment.say(f"{verdict} has no gRPC: its gRPC rows are left out")
    return [
        Peer("FastAPI", "FastAPI and ONNX Runtime, uvicorn with uvloop, orjson", ("http-json",),
             _fastapi),
        Peer("MLServer", "MLServer with a custom ONNX Runtime runtime", ("http-json",), _mlserver,
             mlserver_absent),
        Peer("PyTriton", "PyTriton with functions that run ONNX Runtime, dynamic batching",
             ("http-binary",), _pytriton, triton_absent),
        Peer("Triton Python", "Triton with its Python backend that runs ONNX Runtime, dynamic "
             "batching", ("http-binary",), _triton(backends, python=True), python_absent),
        Peer("Triton", "Triton with a C++ backend that runs ONNX Runtime, dynamic batching",
             tuple(PROTOCOLS), _triton(backends, python=False), backend_absent),
        Peer("Verdict", "`verdict serve`",
             tuple(PROTOCOLS) if grpc else ("http-json", "http-binary"), _verdict(verdict, grpc)),
        # The other forms of the body differ by their parsing only, as they do without batches.
        Peer("Verdict batching", "`verdict serve` with dynamic batching",
             ("http-binary", "grpc") if grpc else ("http-binary",),
             _verdict(verdict, grpc, batching=True)),
    ]


class StartFailed(Exception):
    pass


class Server:
    """A running server. Its output goes to a file."""

    def __init__(self, peer: Peer, folders: environment.Folders, cpus: list[int],
                 log: pathlib.Path) -> None:
        """Returns when every model is ready. cpus: those it may run on. Errors: StartFailed."""
        self.peer = peer
        self._folders = folders
        self._cpus = cpus
        self._log = log
        self.start()

    def start(self) -> None:
        """Also again, on other ports, after its end. Errors: StartFailed."""
        peer, folders, cpus, log = self.peer, self._folders, self._cpus, self._log
        self.ports = free_ports()
        command = peer.command(folders, self.ports, len(cpus))
        environ = os.environ | {"PYTHONPATH": str(environment.PEERS),
                                "PATH": f"{environment.VENV / 'bin'}:{os.environ['PATH']}"}
        if peer.name in ("PyTriton", "Triton Python"):
            # Triton's Python processes must find the interpreter's own library, not the system's,
            # and those of the package.
            packages = sysconfig.get_path("purelib")
            environ["BENCH_PACKAGES"] = packages
            environ["LD_LIBRARY_PATH"] = (f"{sysconfig.get_config_var('LIBDIR')}:"
                                          f"{packages}/nvidia_pytriton.libs")
        with log.open("ab") as output:
            begin = time.perf_counter()
            self.process = subprocess.Popen(
                ["taskset", "--cpu-list", ",".join(map(str, cpus)), *command], stdout=output,
                stderr=output, env=environ, cwd=log.parent, start_new_session=True)
        try:
            self._wait_until_ready(folders.names, begin + START_TIMEOUT_S)
        except BaseException as error:
            self.stop()
            if isinstance(error, StartFailed):
                raise StartFailed(f"{error}; its output: {log}") from None
            raise
        self.ready_s = time.perf_counter() - begin

    def _wait_until_ready(self, models: list[str], end: float) -> None:
        # FastAPI listens once its models are loaded; the others are asked about each model.
        targets = (["/v2/health/ready"] if self.peer.name == "FastAPI" else
                   [f"/v2/models/{model}/ready" for model in models])
        while targets:
            if self.process.poll() is not None:
                raise StartFailed(f"it ended with {self.process.returncode}")
            if time.perf_counter() > end:
                raise StartFailed(f"it was not ready in {START_TIMEOUT_S} s")
            connection = http.client.HTTPConnection("127.0.0.1", self.ports.http, timeout=5)
            try:
                while targets:
                    connection.request("GET", targets[0])
                    response = connection.getresponse()
                    response.read()
                    if response.status != 200:
                        break
                    targets.pop(0)
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            if targets:
                time.sleep(0.001)

    def alive(self) -> bool:
        return self.process.poll() is None

    def port(self, protocol: str) -> int:
        return self.ports.http if protocol.startswith("http") else self.ports.grpc

    def tree(self) -> list[int]:
        return process_tree.pids(self.process.pid)

    def pss_bytes(self) -> int:
        return process_tree.pss_bytes(self.process.pid)

    def stop(self) -> None:
        """Ends the server and everything that it started."""
        tree = self.tree()
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pass
        for pid in tree:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # children of a server that died
        self.process.wait()
