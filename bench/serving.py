#!/usr/bin/env python3
"""Measures inference servers side by side and writes docs/serving.md.

Installs the peers (FastAPI, MLServer, PyTriton, Triton) into .venv-bench, makes the models R1, R4b
and R6, checks every server's answers against ONNX Runtime's, then measures: server on one core and
load on the other, then both unpinned. Takes under 30 minutes, with --quick under 5.

Usage: serving.py [--quick] [--verdict BINARY] [--out DIR] [--document FILE] [--only NAMES]
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import time

from comparison import environment

ROOT = environment.ROOT


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--verdict", type=pathlib.Path, default=ROOT / "build" / "verdict",
                        help="the server; default build/verdict")
    parser.add_argument("--generator", type=pathlib.Path,
                        help="whose `verdict load` makes the load; default: the server's")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "serving",
                        help="results, logs and plots; default build/serving")
    parser.add_argument("--document", type=pathlib.Path,
                        help="default docs/serving.md, with --quick DIR/serving.md")
    parser.add_argument("--only", default="", help="servers, comma-separated: Triton,Verdict")
    parser.add_argument("--models", default="R1,R4b,R6")
    parser.add_argument("--quick", action="store_true",
                        help="one core each only, one turn, fewer loads")
    parser.add_argument("--from-results", type=pathlib.Path, metavar="results.json",
                        help="measure nothing: write the document again")
    return parser.parse_args()


def machine() -> dict[str, object]:
    text = pathlib.Path("/proc/cpuinfo").read_text()
    name = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    return {"processor": name[1] if name else os.uname().machine,
            "cpus": len(os.sched_getaffinity(0)), "kernel": os.uname().release}


def peer_version(name: str, verdict: pathlib.Path) -> str:
    from comparison.servers import version
    if name.startswith("Verdict"):
        return subprocess.run([verdict, "--version"], capture_output=True,
                              text=True).stdout.strip().removeprefix("verdict ")
    runtime = f"ONNX Runtime {version('onnxruntime')}"
    return {"FastAPI": f"FastAPI {version('fastapi')}, uvicorn {version('uvicorn')}, {runtime}",
            "MLServer": f"{version('mlserver')}, {runtime}",
            "PyTriton": f"{version('nvidia-pytriton')}, {runtime}",
            "Triton": f"of nvidia-pytriton {version('nvidia-pytriton')}, {runtime}",
            "Triton Python": f"of nvidia-pytriton {version('nvidia-pytriton')}, {runtime}"}[name]


def measure(args: argparse.Namespace) -> dict:
    from comparison import measuring, servers
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        sys.exit("two cores are needed: one for the server, one for the load")
    models = tuple(args.models.split(","))
    environment.prepare_models(list(models))
    peers = servers.all_peers(args.verdict, args.out / "backends")
    wanted = [name for name in args.only.split(",") if name]
    peers = [peer for peer in peers if not wanted or peer.name in wanted]
    absent = {peer.name: peer.absent for peer in peers if peer.absent}
    for name, why in absent.items():
        environment.say(f"{name} is left out: {why}")
    peers = [peer for peer in peers if not peer.absent]
    extent = measuring.Extent(models, (1, 64), (0.3, 0.7), 1, 0.5, 1.0, 1) if args.quick else (
        measuring.Extent(models, (1, 16, 64), measuring.SHARES, 3, 0.5, 1.0, 3))
    environment.say("time to ready and idle memory")
    starts = measuring.measure_starts(peers, args.verdict, args.out, cpus[:1], extent.starts,
                                      absent)
    peers = [peer for peer in peers if peer.name not in absent]
    if any(peer.name == "Verdict" and "grpc" not in peer.protocols for peer in peers):
        absent["Verdict over gRPC"] = "this build has none"
    results = {
        "date": datetime.date.today().isoformat(), "machine": machine(),
        "extent": dataclasses.asdict(extent), "absent": absent, "starts": starts,
        "peers": [{"name": p.name, "what": p.what, "version": peer_version(p.name, args.verdict)}
                  for p in peers]}
    pinned = measuring.Placement("pinned", cpus[:1], cpus[1:2])
    results["pinned"] = measuring.measure_placement(peers, args.verdict, args.generator, pinned,
                                                    extent, args.out, goodput=True)
    if not args.quick:
        both = measuring.Placement("unpinned", cpus, cpus)
        results["unpinned"] = measuring.measure_placement(
            peers, args.verdict, args.generator, both, dataclasses.replace(extent, repeats=1),
            args.out)
    return results


def write_plots(results: dict, folder: pathlib.Path) -> list[str]:
    """CPU a request of each model at 64 connections, one core each."""
    from comparison import plot
    from comparison.servers import PROTOCOLS
    written = []
    for model in results["extent"]["models"]:
        rows = [(f"{c['peer']}, {PROTOCOLS[c['protocol']]}", c["user"], c["kernel"])
                for c in results["pinned"]["cells"]
                if c["model"] == model and c["load"] == "closed 64"]
        if rows:
            name = "serving-cpu.svg" if model == "R1" else f"serving-cpu-{model}.svg"
            (folder / name).write_text(plot.stacked_bars(
                f"{model}: the server's CPU time a request, us", ("user", "kernel"), rows))
            written.append(name)
    return written


def main() -> int:
    args = parse()
    python = environment.prepare_venv()
    if pathlib.Path(sys.prefix).resolve() != environment.VENV.resolve():
        os.execv(python, [str(python), *sys.argv])
    begin = time.monotonic()
    args.verdict = args.verdict.resolve()
    args.generator = (args.generator or args.verdict).resolve()
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.from_results:
        results = json.loads(args.from_results.read_text())
    else:
        results = measure(args)
    results["plots"] = write_plots(results, args.out)
    (args.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")

    from comparison import document
    target = args.document or (args.out if args.quick else ROOT / "docs") / "serving.md"
    images = target.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    if "serving-cpu.svg" in results["plots"]:
        (images / "serving-cpu.svg").write_text((args.out / "serving-cpu.svg").read_text())
    target.write_text(document.write(results))
    environment.say(f"{target} and {args.out}/results.json, after "
                    f"{(time.monotonic() - begin) / 60:.1f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
