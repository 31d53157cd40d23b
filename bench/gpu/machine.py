"""The card and the versions of what runs on it."""

from __future__ import annotations

import ctypes
import datetime
import importlib.metadata
import os
import pathlib
import re
import subprocess


def ask(fields: str) -> list[str]:
    """Of the card that programs use, as nvidia-smi tells them; ["unknown", …] without it."""
    # CUDA numbers cards as nvidia-smi does where CUDA_DEVICE_ORDER is PCI_BUS_ID.
    card = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0] or "0"
    try:
        done = subprocess.run(["nvidia-smi", f"--query-gpu={fields}", f"--id={card}",
                               "--format=csv,noheader,nounits"],
                              capture_output=True, text=True, timeout=30)
    except OSError:
        return ["unknown"] * len(fields.split(","))
    if done.returncode != 0:
        return ["unknown"] * len(fields.split(","))
    return [text.strip() for text in done.stdout.splitlines()[0].split(",")]


def memory_used_mib() -> float:
    """Of that card, by everybody. Errors: ValueError where nvidia-smi does not tell."""
    return float(ask("memory.used")[0])


def _tensorrt() -> str:
    try:
        number = ctypes.CDLL("libnvinfer.so.8").getInferLibVersion()
    except OSError:
        return "unknown"
    return f"{number // 1000}.{number // 100 % 10}.{number % 100}"


def _package(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def describe(verdict: pathlib.Path) -> dict[str, object]:
    card, driver, memory = ask("name,driver_version,memory.total")
    info = pathlib.Path("/proc/cpuinfo").read_text()
    processor = re.search(r"^model name\s*:\s*(.*)$", info, re.MULTILINE)
    version = subprocess.run([verdict, "--version"], capture_output=True, text=True).stdout.strip()
    return {"date": datetime.date.today().isoformat(), "card": card, "driver": driver,
            "card_mib": memory, "processor": processor[1] if processor else os.uname().machine,
            "cores": len(os.sched_getaffinity(0)), "tensorrt": _tensorrt(),
            "torch": _package("torch"), "onnxruntime": _package("onnxruntime"),
            "aiohttp": _package("aiohttp"), "verdict": version.removeprefix("verdict ")}
