"""Triton's own load generator works against the server, in every way that it can send a request.

PERF_ANALYZER names the program where it is not on PATH. It comes as the package perf-analyzer, whose
binary needs glibc 2.38: Debian 13 or Ubuntu 24.04. There it runs as it is; on Debian 12, which has
2.36, only with a newer system's libraries."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from serving import Server, build

BATCHED = "max_batch_size: 8\ndynamic_batching: {preferred_batch_size: [4, 8]}\n"
ONE_ROW = ["-m", "fraud", "--shape", "x:1,10"]
SHARED = [*ONE_ROW, "--shared-memory", "system", "--output-shared-memory-size", "1024"]
WAYS = {
    "http": ["-i", "http", *ONE_ROW],
    "http-json": ["-i", "http", *ONE_ROW, "--input-tensor-format", "json",
                  "--output-tensor-format", "json"],
    "http-async": ["-i", "http", *ONE_ROW, "--async", "--concurrency-range", "4"],
    "http-batch": ["-i", "http", "-m", "batched", "-b", "4"],
    "http-shared-memory": ["-i", "http", *SHARED],
    "grpc": ["-i", "grpc", *ONE_ROW],
    "grpc-gzip": ["-i", "grpc", *ONE_ROW, "--grpc-compression-algorithm", "gzip"],
    "grpc-batch": ["-i", "grpc", "-m", "batched", "-b", "4"],
    "grpc-stream": ["-i", "grpc", *ONE_ROW, "--streaming", "--async", "--concurrency-range", "4"],
    "grpc-shared-memory": ["-i", "grpc", *SHARED],
}


@pytest.fixture(scope="module")
def perf_analyzer() -> str:
    program = shutil.which(os.environ.get("PERF_ANALYZER", "perf_analyzer"))
    if program is None:
        pytest.skip("perf_analyzer is not there; its package needs glibc 2.38")
    started = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60)
    if started.returncode != 0 and "GLIBC" in started.stderr:
        pytest.skip(f"perf_analyzer needs a newer glibc: {started.stderr.splitlines()[0]}")
    return program


@pytest.fixture(scope="module")
def analyzed(perf_analyzer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("analyzed")
    build("skl_mlp_binary", folder / "models" / "fraud" / "1" / "model.engine")
    build("torch_mlp_ln_gelu_op13", folder / "models" / "batched" / "1" / "model.engine")
    (folder / "models" / "batched" / "config.yaml").write_text(BATCHED)
    running = Server(folder / "models", folder / "log", "--drain-ms", 0,
                     "--set", "auth.admin_on_inference_port=true",
                     "--set", "shared_memory.allow=true")
    yield running
    assert running.stop() == 0, running.log()


@pytest.mark.parametrize("way", WAYS)
def test_perf_analyzer(perf_analyzer: str, analyzed: Server, tmp_path: pathlib.Path,
                       way: str) -> None:
    address = analyzed.grpc_address if way.startswith("grpc") else analyzed.address
    done = subprocess.run([perf_analyzer, *WAYS[way], "-u", address, "--request-count", "200"],
                          capture_output=True, text=True, timeout=60, cwd=tmp_path)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    throughput = re.search(r"throughput: ([0-9.]+) infer/sec", output)
    assert throughput is not None and float(throughput[1]) > 0, output
    assert "Avg request latency" in output, output  # what the server's statistics say
