"""The reference networks as PyTorch modules, with the weights of their ONNX files.

Written as a PyTorch user would: nn.Linear, nn.LSTM, scaled_dot_product_attention. Weights are taken
in the order in which bench/models/neural_models.py makes them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import nn


class Weights:
    """The initializers of a model, one after the other; integers and scalars left out."""

    def __init__(self, model: onnx.ModelProto) -> None:
        arrays = (numpy_helper.to_array(t) for t in model.graph.initializer)
        self._rest: Iterator[np.ndarray] = (a for a in arrays if a.dtype == np.float32 and a.ndim)

    def into(self, *tensors: torch.Tensor) -> None:
        for tensor in tensors:
            tensor.data.copy_(torch.from_numpy(next(self._rest).copy()).reshape(tensor.shape))

    def take(self) -> np.ndarray:
        return next(self._rest)

    def into_transposed(self, layer: nn.Linear) -> None:
        """Of a MatMul and an Add."""
        layer.weight.data.copy_(torch.from_numpy(next(self._rest).T.copy()))
        self.into(layer.bias)

    def done(self) -> None:
        left = sum(1 for _ in self._rest)
        if left:
            raise ValueError(f"{left} weights are left over")


def _batch_norm(weights: Weights, layer: nn.BatchNorm1d) -> None:
    weights.into(layer.weight, layer.bias, layer.running_mean, layer.running_var)


def _linear(weights: Weights, layer: nn.Linear) -> None:
    weights.into(layer.weight, layer.bias)


class LogisticRegression(nn.Module):
    """R1: the score is the probability of class 1."""

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        scaler, classifier = model.graph.node
        attributes = {a.name: np.array(helper.get_attribute_value(a), np.float32)
                      for a in (*scaler.attribute, *classifier.attribute)
                      if a.name in ("offset", "scale", "coefficients", "intercepts")}
        width = len(attributes["offset"])
        self.register_buffer("offset", torch.from_numpy(attributes["offset"]))
        self.register_buffer("scale", torch.from_numpy(attributes["scale"]))
        self.linear = nn.Linear(width, 1)
        # Both classes have a row; the second is that of class 1.
        self.linear.weight.data[0] = torch.from_numpy(attributes["coefficients"][width:])
        self.linear.bias.data[0] = float(attributes["intercepts"][1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.linear((x - self.offset) * self.scale))


class Mlp(nn.Module):
    """R4a, R4b."""

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        weights = Weights(model)
        shapes = [t.dims for t in model.graph.initializer if len(t.dims) == 2]
        layers: list[nn.Module] = []
        for outputs, inputs in shapes[:-1]:
            layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
            _linear(weights, layers[-3])
            _batch_norm(weights, layers[-2])
        layers.append(nn.Linear(shapes[-1][1], 1))
        _linear(weights, layers[-1])
        weights.done()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.layers(x))


class Branch(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.down, self.norm = nn.Linear(width, inner), nn.BatchNorm1d(inner)
        self.up = nn.Linear(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(F.relu(self.norm(self.down(x))))


class ResNext(nn.Module):
    """R5."""

    def __init__(self, model: onnx.ModelProto, blocks: int = 4, branches: int = 8,
                 inner: int = 128, width: int = 512) -> None:
        super().__init__()
        weights = Weights(model)
        tables = 32
        self.tables = nn.ModuleList(nn.Embedding(100, 16) for _ in range(tables))
        for table in self.tables:
            weights.into(table.weight)
        self.first, self.first_norm = nn.Linear(1024 + tables * 16, width), nn.BatchNorm1d(width)
        _linear(weights, self.first)
        _batch_norm(weights, self.first_norm)
        self.scale = branches ** -0.5
        self.blocks = nn.ModuleList()
        self.norms = nn.ModuleList()
        for _ in range(blocks):
            block = nn.ModuleList(Branch(width, inner) for _ in range(branches))
            for branch in block:
                _linear(weights, branch.down)
                _batch_norm(weights, branch.norm)
                _linear(weights, branch.up)
            self.blocks.append(block)
            self.norms.append(nn.BatchNorm1d(width))
            _batch_norm(weights, self.norms[-1])
        self.score = nn.Linear(width, 1)
        _linear(weights, self.score)
        weights.done()

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        h = torch.cat([x, *(table(ids[:, i]) for i, table in enumerate(self.tables))], dim=1)
        h = F.relu(self.first_norm(self.first(h)))
        for block, norm in zip(self.blocks, self.norms):
            total = h
            for branch in block:
                total = total + branch(h) * self.scale
            h = F.relu(norm(total))
        return torch.sigmoid(self.score(h))


def _gates(array: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """ONNX's gates in PyTorch's order: i, f, g, o of an LSTM; r, z, n of a GRU."""
    parts = np.split(array, len(order), axis=0)
    return np.concatenate([parts[i] for i in order], axis=0)


def _recurrent(weights: Weights, cell: nn.RNNBase, layer: int) -> None:
    order = (0, 2, 3, 1) if isinstance(cell, nn.LSTM) else (1, 0, 2)
    w, r, b = (weights.take()[0] for _ in range(3))
    of_input, of_state = np.split(b, 2)
    for name, array in (("weight_ih", w), ("weight_hh", r), ("bias_ih", of_input),
                        ("bias_hh", of_state)):
        getattr(cell, f"{name}_l{layer}").data.copy_(torch.from_numpy(_gates(array, order)))


class Recurrent(nn.Module):
    """R6, R7."""

    def __init__(self, model: onnx.ModelProto, layers: int = 2) -> None:
        super().__init__()
        weights = Weights(model)
        kind = next(n.op_type for n in model.graph.node if n.op_type in ("LSTM", "GRU"))
        first = next(t for t in model.graph.initializer if len(t.dims) == 3)
        hidden = first.dims[1] // (4 if kind == "LSTM" else 3)
        self.cell = getattr(nn, kind)(first.dims[2], hidden, layers, batch_first=True)
        for layer in range(layers):
            _recurrent(weights, self.cell, layer)
        self.score = nn.Linear(hidden, 1)
        _linear(weights, self.score)
        weights.done()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.score(self.cell(x)[0][:, -1]))


class GruStep(nn.Module):
    """R8: one event and the state in, the score and the new state out."""

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        weights = Weights(model)
        first = next(t for t in model.graph.initializer if len(t.dims) == 3)
        hidden = first.dims[1] // 3
        self.cell = nn.GRU(first.dims[2], hidden)
        _recurrent(weights, self.cell, 0)
        self.score = nn.Linear(hidden, 1)
        _linear(weights, self.score)
        weights.done()

    def forward(self, x: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        new_state = self.cell(x[None], state[None])[1][0]
        return torch.sigmoid(self.score(new_state)), new_state


class EncoderLayer(nn.Module):
    """Pre-normalized."""

    def __init__(self, width: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, feed_forward), nn.Linear(feed_forward, width)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        y = self.norm1(x)
        y = F.scaled_dot_product_attention(
            self._split(self.q(y)), self._split(self.k(y)), self._split(self.v(y)), attended)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """R9."""

    def __init__(self, model: onnx.ModelProto, layers: int = 4, heads: int = 4) -> None:
        super().__init__()
        weights = Weights(model)
        shapes = [t.dims for t in model.graph.initializer if len(t.dims) == 2]
        (length, width), (features, _) = shapes[0], shapes[1]
        feed_forward = next(dims[1] for dims in shapes[2:] if dims[1] != width)
        self.positions = nn.Parameter(torch.empty(length, width))
        self.embed = nn.Linear(features, width)
        weights.into(self.positions)
        weights.into_transposed(self.embed)
        self.layers = nn.ModuleList(EncoderLayer(width, heads, feed_forward)
                                    for _ in range(layers))
        for layer in self.layers:
            weights.into(layer.norm1.weight, layer.norm1.bias)
            for linear in (layer.q, layer.k, layer.v, layer.out):
                weights.into_transposed(linear)
            weights.into(layer.norm2.weight, layer.norm2.bias)
            weights.into_transposed(layer.up)
            weights.into_transposed(layer.down)
        self.norm = nn.LayerNorm(width)
        weights.into(self.norm.weight, self.norm.bias)
        self.score = nn.Linear(width, 1)
        _linear(weights, self.score)
        weights.done()

    def forward(self, x: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        h = self.embed(x) + self.positions[:x.shape[1]]
        attended = ~padding[:, None, None, :]
        for layer in self.layers:
            h = layer(h, attended)
        keep = (~padding).unsqueeze(2).to(h.dtype)
        return torch.sigmoid(self.score((self.norm(h) * keep).sum(1) / keep.sum(1)))


class DcnV2(nn.Module):
    """R11."""

    def __init__(self, model: onnx.ModelProto, crosses: int = 3) -> None:
        super().__init__()
        weights = Weights(model)
        shapes = [t.dims for t in model.graph.initializer if len(t.dims) == 2]
        tables = [dims for dims in shapes if dims == shapes[0]]
        linears = shapes[len(tables):]
        self.tables = nn.ModuleList(nn.Embedding(*dims) for dims in tables)
        layers = [nn.Linear(inputs, outputs) for outputs, inputs in linears]
        for table in self.tables:
            weights.into(table.weight)
        for layer in layers:
            _linear(weights, layer)
        weights.done()
        self.crosses = nn.ModuleList(layers[:crosses])
        self.deep, self.score = nn.ModuleList(layers[crosses:-1]), layers[-1]

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        x0 = torch.cat([x, *(table(ids[:, i]) for i, table in enumerate(self.tables))], dim=1)
        cross, tower = x0, x0
        for layer in self.crosses:
            cross = x0 * layer(cross) + cross
        for layer in self.deep:
            tower = F.relu(layer(tower))
        return torch.sigmoid(self.score(torch.cat([cross, tower], dim=1)))


MODULES: dict[str, type[nn.Module]] = {
    "R1": LogisticRegression, "R4a": Mlp, "R4b": Mlp, "R5": ResNext, "R6": Recurrent,
    "R7": Recurrent, "R8": GruStep, "R9": Transformer, "R11": DcnV2}


def load(name: str, path: str) -> nn.Module:
    """The reference model of this name in inference mode, on the CPU."""
    return MODULES[name](onnx.load(path)).eval()
