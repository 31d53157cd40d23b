#!/usr/bin/env python3
"""Measures TensorRT, Verdict on TensorRT, and PyTorch on one card: docs/gpu.md.

Runs where the card is, with numpy, onnx, onnxruntime, torch, aiohttp, and JAX and optax to train;
TensorRT's libraries in LD_LIBRARY_PATH. Each part keeps what it has measured in OUT/PART.json, goes
on after a cell that fails, and stops when its budget is spent; another run measures what is
missing. The page is written from those files, anywhere; of several runs' folders, with what the
later ones have measured in the place of the earlier ones':

  gpu.py --part all|kernels,models,story,precision --verdict BINARY --out DIR [--budget S]
         [--only R4b,R9] [--build-only | --no-build] [--plan]
  gpu.py --render DIR [DIR ...] [--document docs/gpu.md] [--results docs/gpu.json]

--build-only makes the engines of all parts, which needs no quiet card, and ends. --plan lists what
would be measured and about how long each takes: as in OUT, else as in docs/gpu.json, else as is
known of such builds.

kernels needs bench/gpu/trt_bare.cc compiled (its head says how), and the models of
bench/models/make_reference_models.py in --models; networks that are missing are made, trees are
left out. precision takes R4b-like from --trained (bench/gpu/train.py).
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "python")]

PARTS = ("kernels", "models", "story", "precision")
ALL = "R1,R2a,R3,R4a,R4b,R5,R6,R7,R8,R9,R11"


def parts_of(text: str) -> list[str]:
    names = list(PARTS) if text == "all" else text.split(",")
    if unknown := sorted(set(names) - set(PARTS)):
        raise argparse.ArgumentTypeError(f"no part {', '.join(unknown)}: there are "
                                         f"{', '.join(PARTS)}")
    return names


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", type=parts_of, metavar="all|" + ",".join(PARTS))
    parser.add_argument("--verdict", type=pathlib.Path, default=ROOT / "build" / "verdict")
    parser.add_argument("--trt-bare", type=pathlib.Path, default=ROOT / "build" / "trt_bare")
    parser.add_argument("--models", type=pathlib.Path, default=ROOT / "models" / "bench")
    parser.add_argument("--trained", type=pathlib.Path, help="a folder of bench/gpu/train.py")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "gpu",
                        help="results, engines and logs; default build/gpu")
    parser.add_argument("--only", type=lambda text: text.split(","), default=ALL.split(","))
    parser.add_argument("--what", type=lambda text: set(text.split(",")),
                        default={"bare", "verdict", "served", "torch"},
                        help="of part kernels: bare,verdict,served,torch; default all")
    parser.add_argument("--budget", type=float, default=540,
                        help="seconds for all parts together; default 540")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--no-build", action="store_true",
                        help="measure with the engines that are there; none is tried again")
    parser.add_argument("--build-cap", type=float, default=300, help="seconds a build; default 300")
    parser.add_argument("--compile-cap", type=float, default=120,
                        help="seconds a model for torch.compile; default 120")
    parser.add_argument("--plan", action="store_true", help="measure nothing: list what would be")
    parser.add_argument("--spin-us", type=lambda text: [t for t in text.split(",") if t],
                        default=["0", "200", "4294967295"],
                        help="values of device.spin_us for R4b, beside the default one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="a setting of the server that R9 is asked from, to try it: "
                             "device.spinners=4")
    parser.add_argument("--duration", type=float, default=0.4, help="seconds a cell of kernels")
    parser.add_argument("--seconds", type=float, default=2, help="seconds a load of story")
    parser.add_argument("--story-precision", default="fp16", choices=("tf32", "fp16"))
    parser.add_argument("--jobs", type=int, default=6, help="builds at a time; default 6")
    parser.add_argument("--backend", default="tensorrt", help="Verdict's; cpu to try the script")
    parser.add_argument("--device", default="cuda", help="PyTorch's; cpu to try the script")
    parser.add_argument("--render", type=pathlib.Path, nargs="+", metavar="DIR",
                        help="measure nothing: write the page from the parts' files")
    parser.add_argument("--document", type=pathlib.Path, default=ROOT / "docs" / "gpu.md")
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / "docs" / "gpu.json",
                        help="everything that was measured, beside the page")
    args = parser.parse_args()
    if not args.part and not args.render:
        parser.error("give --part or --render")
    return args


def render(args: argparse.Namespace) -> None:
    from gpu import document, record
    runs = [{part: json.loads((folder / f"{part}.json").read_text()) for part in PARTS
             if (folder / f"{part}.json").exists()} for folder in args.render]
    parts: dict[str, dict] = {}
    for part in PARTS:
        for cells in (run[part] for run in runs if part in run):
            parts[part] = record.merge(parts[part], cells) if part in parts else cells
    if not parts:
        sys.exit(f"{', '.join(map(str, args.render))}: none of "
                 f"{', '.join(f'{p}.json' for p in PARTS)} in there")
    tried = [part for part, cells in parts.items() if cells.get("backend") != "tensorrt"]
    if tried:
        sys.exit(f"{', '.join(tried)}: measured without a card, to try the script: no page of it")
    args.document.write_text(document.write(parts, runs))
    args.results.write_text(document.without_folders(json.dumps(parts, indent=1)) + "\n")
    print(args.document)


def run_part(part: str, args: argparse.Namespace, record: object) -> None:
    import importlib
    importlib.import_module(f"gpu.{part}").run(args, record)


def plan(args: argparse.Namespace) -> None:
    """Prints the stages of all parts with about the seconds of each cell, and what the budget leaves
    out."""
    from gpu.record import Clock, Plan
    earlier = json.loads(args.results.read_text()) if args.results.exists() else {}
    spent, made = 0.0, set()
    for part in args.part:
        record = Plan(args.out / f"{part}.json", Clock(args.budget), earlier.get(part, {}), made,
                      not args.no_build)
        run_part(part, args, record)
        for stage in record.stages:
            if not stage.cells:
                continue
            print(f"{part}, {stage.what}: about {stage.seconds():.0f} s, "
                  f"{stage.jobs} at a time, from {spent:.0f} s on")
            for name, seconds in stage.cells:
                print(f"  {seconds:6.1f}  {name}")
            spent += stage.seconds()
    over = spent - args.budget
    print(f"about {spent:.0f} s of {args.budget:.0f}"
          + (f": the last {over:.0f} s are left out" if over > 0 else ""))


def main() -> None:
    args = parse()
    if args.render:
        render(args)
        return
    from gpu import machine
    from gpu.record import Clock, Record
    for path in ("out", "verdict", "trt_bare", "models"):
        setattr(args, path, getattr(args, path).resolve())
    args.out.mkdir(parents=True, exist_ok=True)
    if args.plan:
        plan(args)
        return
    clock = Clock(args.budget)
    for part in args.part:
        record = Record(args.out / f"{part}.json", clock, not args.no_build)
        record.put("machine", machine.describe(args.verdict))
        record.put("backend", args.backend)
        print(part, flush=True)
        run_part(part, args, record)
        failed = [name for name in record.cells if not record.has(name)]
        print(f"{record.path}: {len(record.cells)} cells, {len(failed)} failed, "
              f"{record.clock.spent():.0f} s", flush=True)


if __name__ == "__main__":
    main()
