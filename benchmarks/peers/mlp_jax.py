"""JAX: a whole epoch as one compiled lax.scan, optax Adam; the last, incomplete batch is left out (0.2 %).

On a card its products are TF32 unless it is asked for others; with the argument ``float32`` they are float32.
"""

import os
from typing import Any

os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # other peers live on the same card

import jax
import jax.numpy as jnp
import optax

from benchmarks.turns import Turn

turn = Turn()
jax.config.update("jax_platforms", "cpu" if turn.device == "cpu" else None)
if turn.device != "cpu" and jax.default_backend() == "cpu":
    raise SystemExit("JAX is installed without its part for this card")
if "float32" in turn.arguments:
    jax.config.update("jax_default_matmul_precision", "highest")
x = jnp.asarray(turn.images)
batches = len(x) // 128
SIZES = {"enc1": (784, 400), "mu": (400, 20), "log_var": (400, 20), "dec1": (20, 400), "dec2": (400, 784)}


def initial(key: jax.Array) -> dict[str, jax.Array]:
    """As torch initializes nn.Linear: U(-1/sqrt(inputs), 1/sqrt(inputs))."""
    weights = {}
    for name, (inputs, outputs) in SIZES.items():
        key, for_w, for_b = jax.random.split(key, 3)
        bound = inputs**-0.5
        weights[f"{name}_w"] = jax.random.uniform(for_w, (inputs, outputs), minval=-bound, maxval=bound)
        weights[f"{name}_b"] = jax.random.uniform(for_b, (outputs,), minval=-bound, maxval=bound)
    return weights


def nelbo(weights: dict[str, jax.Array], batch: jax.Array, key: jax.Array) -> jax.Array:
    def dense(name: str, h: jax.Array) -> jax.Array:
        return h @ weights[f"{name}_w"] + weights[f"{name}_b"]

    h = jax.nn.relu(dense("enc1", batch))
    mu, log_var = dense("mu", h), dense("log_var", h)
    z = mu + jnp.exp(0.5 * log_var) * jax.random.normal(key, mu.shape)
    logits = dense("dec2", jax.nn.relu(dense("dec1", z)))
    error = jnp.sum(jax.nn.softplus(logits) - batch * logits)
    kl = -0.5 * jnp.sum(1 + log_var - mu**2 - jnp.exp(log_var))
    return (error + kl) / len(batch)


optimizer = optax.adam(1e-3)


@jax.jit
def epoch(weights: Any, state: Any, key: jax.Array) -> tuple[Any, Any, jax.Array]:
    for_order, for_noise = jax.random.split(key)
    rows = jax.random.permutation(for_order, len(x))[: batches * 128].reshape(batches, 128)

    def step(carry: Any, given: Any) -> tuple[Any, jax.Array]:
        weights, state = carry
        rows, key = given
        loss, gradient = jax.value_and_grad(nelbo)(weights, x[rows].astype(jnp.float32) / 255, key)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(weights, updates), state), loss

    (weights, state), losses = jax.lax.scan(step, (weights, state), (rows, jax.random.split(for_noise, batches)))
    return weights, state, losses.mean()


weights = initial(jax.random.key(0))
state = optimizer.init(weights)
for number in range(turn.epochs):
    turn.begin()
    weights, state, loss = epoch(weights, state, jax.random.key(1 + number))
    assert jnp.isfinite(loss)  # waits for the result
    turn.end()
found = {name: jax.device_get(value) for name, value in weights.items()}
for end in "wb":
    found[f"log_sigma_{end}"] = 0.5 * found.pop(f"log_var_{end}")
turn.save(**found)
