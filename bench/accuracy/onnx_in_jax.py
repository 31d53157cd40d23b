"""Evaluates an ONNX graph in JAX, so that the graph that is exported is the one that is trained.

Covers the operators of the networks in bench/models/neural_models.py that have no BatchNorm. What
depends on shapes alone stays numpy's, so that it is known while JAX traces.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from onnx import helper, numpy_helper

Array = np.ndarray | jax.Array


def trainable(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Name -> initial value: the weights. Scalars are constants of the formula, not weights."""
    found = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    return {name: w for name, w in found.items() if w.dtype == np.float32 and w.ndim > 0}


def with_weights(model: onnx.ModelProto, weights: dict[str, Array]) -> onnx.ModelProto:
    """The same graph with other values for some of its weights."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name in weights:
            value = np.asarray(weights[tensor.name], np.float32)
            assert list(value.shape) == list(tensor.dims), tensor.name
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return changed


def logits(model: onnx.ModelProto, weights: dict[str, Array],
           inputs: dict[str, Array]) -> jax.Array:
    """[batch]: what the model's last Sigmoid takes. weights: replace those in the model."""
    last = model.graph.node[-1]
    assert last.op_type == "Sigmoid", last.op_type
    values: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    values |= weights | inputs | {"": None}
    for node in model.graph.node[:-1]:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        arguments = [values[name] for name in node.input]
        values[node.output[0]] = OPERATORS[node.op_type](*arguments, **attributes)
    return values[last.input[0]][:, 0]


def _of(*arguments: Array):
    """numpy where nothing is traced, else JAX's numpy."""
    return np if all(isinstance(a, np.ndarray | np.generic) for a in arguments) else jnp


def _axes(axes: Array) -> tuple[int, ...]:
    return tuple(int(a) for a in axes)


def _reshape(x: Array, shape: Array) -> Array:
    return x.reshape([x.shape[i] if n == 0 else int(n) for i, n in enumerate(shape)])


def _slice(x: Array, starts: Array, ends: Array, axes: Array) -> Array:
    where = [slice(None)] * x.ndim
    for start, end, axis in zip(starts, ends, axes):
        where[axis] = slice(int(start), int(end))
    return x[tuple(where)]


def _layer_norm(x: Array, scale: Array, bias: Array, axis: int, epsilon: float) -> Array:
    centred = x - x.mean(axis=axis, keepdims=True)
    variance = (centred * centred).mean(axis=axis, keepdims=True)
    return centred * jax.lax.rsqrt(variance + epsilon) * scale + bias


def _lstm(x: Array, w: Array, r: Array, b: Array, hidden_size: int) -> Array:
    """x: [steps, batch, inputs] -> [steps, 1, batch, hidden]. Gates in ONNX's order: i, o, f, c."""
    projected = x @ w[0].T + b[0, : 4 * hidden_size] + b[0, 4 * hidden_size:]
    h = c = jnp.zeros((x.shape[1], hidden_size), x.dtype)
    steps = []
    for step in projected:
        i, o, f, g = jnp.split(step + h @ r[0].T, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        steps.append(h)
    return jnp.stack(steps)[:, None]


def _gru(x: Array, w: Array, r: Array, b: Array, hidden_size: int,
         linear_before_reset: int) -> Array:
    """As _lstm. Gates in ONNX's order: z, r, h."""
    assert linear_before_reset == 1
    projected = x @ w[0].T + b[0, : 3 * hidden_size]
    h = jnp.zeros((x.shape[1], hidden_size), x.dtype)
    steps = []
    for step in projected:
        z, reset, g = jnp.split(step, 3, axis=1)
        hz, hr, hg = jnp.split(h @ r[0].T + b[0, 3 * hidden_size:], 3, axis=1)
        z = jax.nn.sigmoid(z + hz)
        h = (1 - z) * jnp.tanh(g + jax.nn.sigmoid(reset + hr) * hg) + z * h
        steps.append(h)
    return jnp.stack(steps)[:, None]


OPERATORS = {
    "Add": lambda a, b: a + b,
    "Cast": lambda x, to: x.astype(helper.tensor_dtype_to_np_dtype(to)),
    "Concat": lambda *parts, axis: jnp.concatenate(parts, axis=axis),
    "Div": lambda a, b: a / b,
    "Erf": jax.scipy.special.erf,
    "GRU": _gru,
    "Gather": lambda x, i, axis=0: _of(x, i).take(x, i, axis=axis),
    "Gemm": lambda x, w, b, transB: x @ w.T + b,
    "LSTM": _lstm,
    "LayerNormalization": _layer_norm,
    "MatMul": lambda a, b: a @ b,
    "Mul": lambda a, b: a * b,
    "Not": lambda x: ~x,
    "ReduceSum": lambda x, axes, keepdims: x.sum(axis=_axes(axes), keepdims=bool(keepdims)),
    "Relu": jax.nn.relu,
    "Reshape": _reshape,
    "Shape": lambda x, start, end: np.array(x.shape[start:end], np.int64),
    "Slice": _slice,
    "Softmax": lambda x, axis: jax.nn.softmax(x, axis=axis),
    "Squeeze": lambda x, axes: x.squeeze(_axes(axes)),
    "Transpose": lambda x, perm: x.transpose(perm),
    "Unsqueeze": lambda x, axes: _of(x).expand_dims(x, _axes(axes)),
    "Where": lambda c, a, b: _of(c, a, b).where(c, a, b),
}
