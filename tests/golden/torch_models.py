"""Golden models of PyTorch, through the TorchScript exporter and the dynamo exporter."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import warnings
import zlib
from collections.abc import Iterator

import numpy as np
import onnx
import torch

from golden_case import Case, run
from torch_networks import NETWORKS, Network


def export(network: Network, opset: int, dynamo: bool) -> onnx.ModelProto:
    """One export, quiet, through a file, with nothing outside it."""
    arguments = tuple(network.arguments.values())
    names = dict(input_names=list(network.arguments), output_names=list(network.outputs))
    if dynamo:
        symbols: dict[str, torch.export.Dim] = {}
        shapes = []
        for name in network.arguments:
            axes = network.dynamic.get(name, {})
            shapes.append({axis: symbols.setdefault(s, torch.export.Dim(s, min=1, max=4096))
                           for axis, s in axes.items()})
        # forward() takes *arguments, so the shapes come as one tuple for the one parameter.
        names["dynamic_shapes"] = (tuple(shapes),)
    else:
        names["dynamic_axes"] = network.dynamic
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as void, \
            contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(void), \
            warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = os.path.join(folder, "m.onnx")
        extra = {"external_data": False} if dynamo else {}
        torch.onnx.export(network.module, arguments, path, opset_version=opset, dynamo=dynamo,
                          **names, **extra)
        return onnx.load(path)


def cases() -> Iterator[Case]:
    """Every network with every exporter and opset it asks for; what cannot be exported is said."""
    torch.backends.mha.set_fastpath_enabled(False)  # The fused encoder layer has no ONNX form.
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name, make in NETWORKS.items():
        torch.manual_seed(zlib.crc32(name.encode()))
        network = make()
        network.module.eval()
        with torch.no_grad():
            result = network.module(*network.arguments.values())
        result = result if isinstance(result, tuple) else (result,)
        for dynamo, opset in [(False, o) for o in network.legacy] + [
                (True, o) for o in network.dynamo]:
            exporter = "torch dynamo" if dynamo else "torch torchscript"
            suffix = f"dyn{opset}" if dynamo else f"op{opset}"
            inputs = {k: v.numpy() for k, v in network.arguments.items()}
            try:
                model = export(network, opset, dynamo)
                outputs = run(model, inputs)
            except Exception as error:  # An exporter fails in many ways; the others go on.
                lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
                print(f"SKIPPED torch_{name}_{suffix}: {exporter} opset {opset}: {lines[0][:200]}",
                      file=sys.stderr)
                continue
            for output, expected in zip(network.outputs, result):
                np.testing.assert_allclose(outputs[output], expected.numpy(), 1e-4, 1e-5,
                                           err_msg=f"{name} {suffix} {output}")
            yield Case(f"torch_{name}_{suffix}", model, inputs, exporter)
