"""Reference networks, written node by node as PyTorch exports them, with seeded random weights."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
BATCH = "batch"


class Builder:
    """A graph under construction: adds nodes and weights, hands out tensor names."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, dims: list[int | str], dtype: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, dims))
        return name

    def output(self, value: str, name: str, dims: list[int | str]) -> None:
        """Makes value an output under this name."""
        for node in self.nodes:
            for names in (node.input, node.output):
                for i, old in enumerate(names):
                    if old == value:
                        names[i] = name
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))

    def constant(self, value: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def scalar(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def normal(self, *shape: int, scale: float = 1.0, mean: float = 0.0) -> str:
        return self.constant((mean + scale * self.rng.standard_normal(shape)).astype(np.float32))

    def uniform(self, low: float, high: float, *shape: int) -> str:
        return self.constant(self.rng.uniform(low, high, shape).astype(np.float32))

    def node(self, op_type: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        """Adds a node; returns its first output, the others are that name with .1, .2 added."""
        first = f"{op_type.lower()}_{len(self.nodes)}"
        names = [first] + [f"{first}.{i}" for i in range(1, outputs)]
        self.nodes.append(helper.make_node(op_type, list(inputs), names, first, **attributes))
        return first

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)],
                                 ir_version=IR_VERSION, producer_name="verdict-bench")

    # Layers. Weights keep the signal's variance: He's scale before a Relu, Xavier's elsewhere.

    def linear(self, x: str, inputs: int, outputs: int, relu: bool = False) -> str:
        """[batch, inputs] -> [batch, outputs]."""
        scale = np.sqrt((2.0 if relu else 1.0) / inputs)
        return self.node("Gemm", x, self.normal(outputs, inputs, scale=scale),
                         self.normal(outputs, scale=0.05), transB=1)

    def linear_any_rank(self, x: str, inputs: int, outputs: int) -> str:
        """[..., inputs] -> [..., outputs]."""
        product = self.node("MatMul", x, self.normal(inputs, outputs, scale=inputs ** -0.5))
        return self.node("Add", self.normal(outputs, scale=0.02), product)

    def batch_norm(self, x: str, width: int) -> str:
        return self.node("BatchNormalization", x, self.normal(width, scale=0.1, mean=1.0),
                         self.normal(width, scale=0.1), self.normal(width, scale=0.1),
                         self.uniform(0.5, 1.5, width), epsilon=1e-5)

    def layer_norm(self, x: str, width: int) -> str:
        return self.node("LayerNormalization", x, self.normal(width, scale=0.05, mean=1.0),
                         self.normal(width, scale=0.05), axis=-1, epsilon=1e-5)

    def gelu(self, x: str) -> str:
        erf = self.node("Erf", self.node("Div", x, self.scalar(np.sqrt(2.0))))
        return self.node("Mul", self.node("Mul", x, self.node("Add", erf, self.scalar(1.0))),
                         self.scalar(0.5))

    def score(self, x: str, inputs: int) -> None:
        """The head: one probability a row, the output "score"."""
        self.output(self.node("Sigmoid", self.linear(x, inputs, 1)), "score", [BATCH, 1])

    def embeddings(self, ids: str, tables: int, rows: int, width: int) -> list[str]:
        """A column of ids and a table each -> a list of [batch, width]."""
        return [self.node("Gather", self.normal(rows, width, scale=0.5),
                          self.node("Gather", ids, self.constant(np.array(i, np.int64)), axis=1))
                for i in range(tables)]


def mlp(widths: tuple[int, ...]) -> onnx.ModelProto:
    """Linear, BatchNorm, Relu a hidden layer; a sigmoid at the end."""
    b = Builder("mlp", seed=4)
    h = b.input("x", [BATCH, widths[0]])
    for inputs, outputs in zip(widths, widths[1:-1]):
        h = b.node("Relu", b.batch_norm(b.linear(h, inputs, outputs, relu=True), outputs))
    b.score(h, widths[-2])
    return b.model()


def resnext(blocks: int = 4, branches: int = 8, branch_width: int = 128,
            width: int = 512) -> onnx.ModelProto:
    """Residual blocks of parallel narrow branches over numeric features and embeddings.

    The branches are separate nodes, as a ModuleList exports: merging them is the compiler's work.
    """
    b = Builder("resnext", seed=5)
    x = b.input("x", [BATCH, 1024])
    ids = b.input("ids", [BATCH, 32], TensorProto.INT64)
    h = b.node("Concat", x, *b.embeddings(ids, 32, 100, 16), axis=1)
    h = b.node("Relu", b.batch_norm(b.linear(h, 1024 + 32 * 16, width, relu=True), width))
    for _ in range(blocks):
        total = h
        for _ in range(branches):
            g = b.batch_norm(b.linear(h, width, branch_width, relu=True), branch_width)
            g = b.linear(b.node("Relu", g), branch_width, width)
            total = b.node("Add", total, b.node("Mul", g, b.scalar(branches ** -0.5)))
        h = b.node("Relu", b.batch_norm(total, width))
    b.score(h, width)
    return b.model()


def recurrent_weights(b: Builder, gates: int, inputs: int, hidden: int) -> tuple[str, str, str]:
    """W, R and B of an ONNX recurrent node, forward only, at PyTorch's initial scale."""
    limit = hidden ** -0.5
    return (b.uniform(-limit, limit, 1, gates * hidden, inputs),
            b.uniform(-limit, limit, 1, gates * hidden, hidden),
            b.uniform(-limit, limit, 1, 2 * gates * hidden))


def recurrent(op_type: str, steps: int = 7, inputs: int = 220, hidden: int = 200,
              layers: int = 2) -> onnx.ModelProto:
    """Batch first outside, time first inside; the last step's hidden state is scored."""
    b = Builder(op_type.lower(), seed=6)
    h = b.node("Transpose", b.input("x", [BATCH, steps, inputs]), perm=[1, 0, 2])
    gates, more = (4, {}) if op_type == "LSTM" else (3, {"linear_before_reset": 1})
    for layer in range(layers):
        weights = recurrent_weights(b, gates, inputs if layer == 0 else hidden, hidden)
        h = b.node(op_type, h, *weights, hidden_size=hidden, **more)
        h = b.node("Squeeze", h, b.ints(1))
    last = b.node("Gather", h, b.constant(np.array(-1, np.int64)), axis=0)
    b.score(last, hidden)
    return b.model()


def gru_step(inputs: int = 128, hidden: int = 256) -> onnx.ModelProto:
    """One event and the card's state in, the score and the new state out."""
    b = Builder("gru_step", seed=8)
    x = b.node("Unsqueeze", b.input("x", [BATCH, inputs]), b.ints(0))
    state = b.node("Unsqueeze", b.input("state", [BATCH, hidden]), b.ints(0))
    weights = recurrent_weights(b, 3, inputs, hidden)
    steps = b.node("GRU", x, *weights, "", state, outputs=2, hidden_size=hidden,
                   linear_before_reset=1)
    new_state = b.node("Squeeze", f"{steps}.1", b.ints(0))
    b.score(new_state, hidden)
    b.output(new_state, "new_state", [BATCH, hidden])
    return b.model()


def transformer(features: int = 32, length: int = 128, width: int = 128, layers: int = 4,
                heads: int = 4, feed_forward: int = 512) -> onnx.ModelProto:
    """An encoder over a card's events, pre-normalized, mean over the real events, scored.

    Inputs: x [batch, length, features]; padding [batch, length] bool, True where there is no event.
    length: the most events; the graph takes any number up to it.
    """
    b = Builder("transformer", seed=9)
    x = b.input("x", [BATCH, "length", features])
    padding = b.input("padding", [BATCH, "length"], TensorProto.BOOL)
    head_width = width // heads

    here = b.node("Shape", x, start=1, end=2)
    positions = b.node("Slice", b.normal(length, width, scale=0.1), b.ints(0), here, b.ints(0))
    h = b.node("Add", b.linear_any_rank(x, features, width), positions)
    blocked = b.node("Unsqueeze", padding, b.ints(1, 2))  # [batch, 1, 1, length]
    bias = b.node("Where", blocked, b.scalar(-1e9), b.scalar(0.0))

    def split_heads(y: str, perm: list[int]) -> str:
        y = b.node("Reshape", y, b.ints(0, 0, heads, head_width))
        return b.node("Transpose", y, perm=perm)

    for _ in range(layers):
        y = b.layer_norm(h, width)
        q = split_heads(b.linear_any_rank(y, width, width), [0, 2, 1, 3])
        k = split_heads(b.linear_any_rank(y, width, width), [0, 2, 3, 1])
        v = split_heads(b.linear_any_rank(y, width, width), [0, 2, 1, 3])
        logits = b.node("Mul", b.node("MatMul", q, k), b.scalar(head_width ** -0.5))
        weights = b.node("Softmax", b.node("Add", logits, bias), axis=-1)
        y = b.node("Transpose", b.node("MatMul", weights, v), perm=[0, 2, 1, 3])
        y = b.node("Reshape", y, b.ints(0, 0, width))
        h = b.node("Add", h, b.linear_any_rank(y, width, width))
        y = b.gelu(b.linear_any_rank(b.layer_norm(h, width), width, feed_forward))
        h = b.node("Add", h, b.linear_any_rank(y, feed_forward, width))

    h = b.layer_norm(h, width)
    keep = b.node("Unsqueeze", b.node("Cast", b.node("Not", padding), to=TensorProto.FLOAT),
                  b.ints(2))
    total = b.node("ReduceSum", b.node("Mul", h, keep), b.ints(1), keepdims=0)
    count = b.node("ReduceSum", keep, b.ints(1), keepdims=0)
    b.score(b.node("Div", total, count), width)
    return b.model()


def dcn_v2(numeric: int = 13, categories: int = 26, rows: int = 1_000, width: int = 16,
           crosses: int = 3, deep: tuple[int, ...] = (256, 128)) -> onnx.ModelProto:
    """Cross layers x0 * (W x + b) + x beside a deep tower, joined and scored."""
    b = Builder("dcn_v2", seed=11)
    x = b.input("x", [BATCH, numeric])
    ids = b.input("ids", [BATCH, categories], TensorProto.INT64)
    x0 = b.node("Concat", x, *b.embeddings(ids, categories, rows, width), axis=1)
    total = numeric + categories * width
    cross = x0
    for _ in range(crosses):
        cross = b.node("Add", b.node("Mul", x0, b.linear(cross, total, total)), cross)
    tower, inputs = x0, total
    for outputs in deep:
        tower, inputs = b.node("Relu", b.linear(tower, inputs, outputs, relu=True)), outputs
    b.score(b.node("Concat", cross, tower, axis=1), total + deep[-1])
    return b.model()
