"""Starts `verdict serve`, waits until it is ready, and stops it."""

import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path


class ServerError(RuntimeError):
    """The server did not start; the message ends with the last lines of its log."""


def free_port(preferred: int) -> int:
    """preferred where nobody listens there, another one else."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return probe.getsockname()[1]
    raise ServerError("no free TCP port on 127.0.0.1")


class Server:
    """One running server over a model repository, listening on this machine only."""

    def __init__(self, binary: Path, repository: Path, log_folder: Path):
        self.port, self.metrics_port = free_port(8000), free_port(8002)
        self.address = f"127.0.0.1:{self.port}"
        self.log = log_folder / f"server-{self.port}.log"
        with self.log.open("wb") as out:
            self._process = subprocess.Popen(
                [
                    *(binary, "serve", "--repository", repository, "--host", "127.0.0.1"),
                    *("--http-port", str(self.port), "--metrics-port", str(self.metrics_port)),
                    *("--grpc-port", "0"),
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches us alone, and --keep outlives the terminal
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_ready(self, timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ServerError(self._explain(f"exited with status {self._process.returncode}"))
            try:
                url = f"http://{self.address}/v2/health/ready"
                with urllib.request.urlopen(url, timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise ServerError(self._explain(f"not ready after {timeout_s:.0f} s"))

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _explain(self, what: str) -> str:
        last_lines = self.log.read_text(errors="replace").splitlines()[-15:]
        return "\n  ".join([f"verdict serve: {what}; {self.log} ends:", *last_lines])
