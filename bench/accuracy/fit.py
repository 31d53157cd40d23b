"""Trains the weights of an ONNX network: binary cross-entropy, AdamW, a cosine of rates."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import optax

from . import onnx_in_jax

BATCH = 256


@dataclasses.dataclass(frozen=True)
class Recipe:
    epochs: int
    learning_rate: float
    weight_decay: float = 1e-2


def fit(model: onnx.ModelProto, inputs: dict[str, np.ndarray], y: np.ndarray,
        recipe: Recipe) -> onnx.ModelProto:
    """model: with the weights to begin with. inputs, y: [n, …], 1 for fraud. Seeded."""
    weights = {k: jnp.asarray(w) for k, w in onnx_in_jax.trainable(model).items()}
    steps = recipe.epochs * (len(y) // BATCH)
    schedule = optax.warmup_cosine_decay_schedule(0.0, recipe.learning_rate, steps // 10, steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0),
                            optax.adamw(schedule, weight_decay=recipe.weight_decay))

    def loss(weights: dict, inputs: dict, y: jax.Array) -> jax.Array:
        score = onnx_in_jax.logits(model, weights, inputs)
        return optax.sigmoid_binary_cross_entropy(score, y).mean()

    @jax.jit
    def step(weights: dict, state: optax.OptState, inputs: dict, y: jax.Array):
        value, gradient = jax.value_and_grad(loss)(weights, inputs, y)
        update, state = optimizer.update(gradient, state, weights)
        return optax.apply_updates(weights, update), state, value

    rng = np.random.default_rng(1)
    state = optimizer.init(weights)
    for epoch in range(recipe.epochs):
        order = rng.permutation(len(y))
        total, batches = 0.0, len(y) // BATCH
        for i in range(batches):
            rows = order[i * BATCH:(i + 1) * BATCH]
            weights, state, value = step(weights, state, {k: x[rows] for k, x in inputs.items()},
                                         y[rows].astype(np.float32))
            total += float(value)
        print(f"  epoch {epoch + 1} of {recipe.epochs}: loss {total / batches:.4f}", flush=True)
    return onnx_in_jax.with_weights(model, weights)


def scores(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """[n] float32, as JAX computes them."""
    weights = onnx_in_jax.trainable(model)
    score = jax.jit(lambda x: jax.nn.sigmoid(onnx_in_jax.logits(model, weights, x)))
    n = len(next(iter(inputs.values())))
    return np.concatenate([np.asarray(score({k: x[i:i + BATCH] for k, x in inputs.items()}))
                           for i in range(0, n, BATCH)])
