#!/usr/bin/env python3
"""Writes the golden models, their inputs, ONNX Runtime's outputs, and models.json.

Usage: make_golden.py [--out DIR] [--only PREFIX[,PREFIX...]] [--ops FILE]
"""

from __future__ import annotations

import argparse
import collections
import importlib
import json
import pathlib
import sys
import warnings

import onnx

from golden_case import graphs_of, write

FAMILIES = {"skl": "sklearn_models", "lgb": "sklearn_models", "xgb": "sklearn_models",
            "torch": "torch_models", "ort": "quantized_models"}
# An ONNX IR version every reader of the last years accepts; newer tools stamp newer ones.
MAX_IR_VERSION = 10


def operators_used(folder: pathlib.Path) -> str:
    """Every (domain, op_type, opset) in the folder with the attributes seen and how often."""
    seen: dict[tuple, collections.Counter] = collections.defaultdict(collections.Counter)
    count: collections.Counter = collections.Counter()
    for file in sorted(folder.glob("*.onnx")):
        model = onnx.load(file)
        versions = {o.domain: o.version for o in model.opset_import}
        for graph in graphs_of(model):
            for node in graph.node:
                key = (node.domain or "ai.onnx", node.op_type)
                count[key, versions.get(node.domain, "?")] += 1
                for a in node.attribute:
                    value = onnx.helper.get_attribute_value(a)
                    scalar = a.type in (a.INT, a.FLOAT, a.STRING)
                    seen[key][f"{a.name}={value}" if scalar else f"{a.name}:[]"] += 1
    lines = []
    for key in sorted({k for k, _ in count}):
        opsets = sorted(str(v) for k, v in count if k == key)
        lines.append(f"{key[0]}::{key[1]}  opsets {','.join(opsets)}")
        for attribute, times in sorted(seen[key].items()):
            lines.append(f"    {attribute[:120]}  ({times}x)")
    return "\n".join(lines) + "\n"


def main() -> int:
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=here)
    parser.add_argument("--only", default="", help="prefixes of model names, comma-separated")
    parser.add_argument("--ops", type=pathlib.Path, help="also write the operators used to FILE")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    prefixes = tuple(p for p in args.only.split(",") if p) or ("",)
    warnings.filterwarnings("ignore")

    modules = [m for f, m in FAMILIES.items()
               if any(f.startswith(p) or p.startswith(f) for p in prefixes)]
    index_path = args.out / "models.json"
    entries = json.loads(index_path.read_text()) if index_path.exists() else []
    index = {e["name"]: e for e in entries}
    for module in dict.fromkeys(modules):
        for case in importlib.import_module(module).cases():
            if not case.name.startswith(prefixes):
                continue
            case.model.ir_version = min(case.model.ir_version, MAX_IR_VERSION)
            index[case.name] = write(case, args.out)
            print(f"{case.name}: {', '.join(index[case.name]['ops'])}", flush=True)
    index_path.write_text("[\n" + ",\n".join(
        " " + json.dumps(index[k]) for k in sorted(index)) + "\n]\n")
    if args.ops:
        args.ops.write_text(operators_used(args.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
