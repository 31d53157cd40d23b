"""Golden models of PyTorch, through the TorchScript exporter and the dynamo exporter."""

from __future__ import annotations

import contextlib
import inspect
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


EXTERNAL = ("mlp_bn_relu", "op13")  # Written a second time, its weights in a file of their own.


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
        # A forward(*arguments) has one parameter, whose shapes are all of them.
        variadic = "arguments" in inspect.signature(network.module.forward).parameters
        names["dynamic_shapes"] = (tuple(shapes),) if variadic else tuple(shapes)
    else:
        names["dynamic_axes"] = dynamic_axes(network, dynamo)
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as void, \
            contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(void), \
            warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = os.path.join(folder, "m.onnx")
        extra = {"external_data": False} if dynamo else {}
        torch.onnx.export(network.module, arguments, path, opset_version=opset, dynamo=dynamo,
                          **names, **extra)
        return onnx.load(path)


def dynamic_axes(network: Network, dynamo: bool) -> dict[str, dict[int, str]]:
    fixed = "" if dynamo else network.fixed_in_legacy
    return {name: {axis: symbol for axis, symbol in axes.items() if symbol != fixed}
            for name, axes in network.dynamic.items()}


def grown(network: Network, dynamo: bool) -> dict[str, torch.Tensor]:
    """The example inputs, two longer on each dynamic axis: a size the export never saw."""
    arguments = {}
    dynamic = dynamic_axes(network, dynamo)
    for name, tensor in network.arguments.items():
        for axis in dynamic.get(name, {}):
            tensor = torch.cat([tensor, tensor.flip(axis).narrow(axis, 0, 2)], axis)
        arguments[name] = tensor
    return arguments


def cases() -> Iterator[Case]:
    """Every network with every exporter and opset it asks for; what cannot be exported is said."""
    torch.backends.mha.set_fastpath_enabled(False)  # The fused encoder layer has no ONNX form.
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name, make in NETWORKS.items():
        torch.manual_seed(zlib.crc32(name.encode()))
        network = make()
        network.module.eval()
        for dynamo, opset in [(False, o) for o in network.legacy] + [
                (True, o) for o in network.dynamo]:
            arguments = grown(network, dynamo)
            with torch.no_grad():
                result = network.module(*arguments.values())
            result = result if isinstance(result, tuple) else (result,)
            exporter = "torch dynamo" if dynamo else "torch torchscript"
            suffix = f"dyn{opset}" if dynamo else f"op{opset}"
            inputs = {k: v.numpy() for k, v in arguments.items()}
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
            if (name, suffix) == EXTERNAL:
                yield Case(f"torch_{name}_external", model, inputs, exporter, external=True)
