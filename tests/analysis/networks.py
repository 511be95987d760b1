"""Small networks for this package's tests: plain, Linen, NNX, with batch-norm."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import nnx

CLASSES = 3


def data(count=40, features=4, seed=0):
    """Return separable (x, labels) with every class in it."""
    random = np.random.default_rng(seed)
    label = np.arange(count) % CLASSES
    centre = random.normal(size=(CLASSES, features)) * 2
    x = centre[label] + random.normal(size=(count, features))
    return jnp.asarray(x, jnp.float32), jnp.asarray(label, jnp.int32)


def linen(seed=0):
    """Return (apply_fn, params) of a two-layer Linen network."""

    class Small(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(CLASSES)(nn.relu(nn.Dense(5)(x)))

    model = Small()
    params = model.init(jax.random.key(seed), jnp.zeros((1, 4)))["params"]
    return lambda p, x: model.apply({"params": p}, x), params


def nnx_network(seed=0):
    """Return (apply_fn, state) of the same network in NNX."""
    rngs = nnx.Rngs(seed)
    model = nnx.Sequential(
        nnx.Linear(4, 5, rngs=rngs), nnx.relu, nnx.Linear(5, CLASSES, rngs=rngs)
    )
    graph, state = nnx.split(model, nnx.Param)
    return lambda s, x: nnx.merge(graph, s)(x), state


NETWORKS = {"linen": linen, "nnx": nnx_network}


class Normalised(nn.Module):
    """A dense layer, batch-norm, ReLU and a head."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(5)(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.75)(x)
        return nn.Dense(CLASSES)(nn.relu(x))


def normalised_apply(params, stats, x):
    """Return the outputs in evaluation mode."""
    return Normalised().apply({"params": params, "batch_stats": stats}, x)


def normalised_update(params, stats, x):
    """Return the running statistics after one batch in training mode."""
    _, changed = Normalised().apply(
        {"params": params, "batch_stats": stats}, x, train=True, mutable="batch_stats"
    )
    return changed["batch_stats"]


def normalised(seed=0):
    """Return (params, stats) of a network with batch-norm."""
    state = Normalised().init(jax.random.key(seed), jnp.zeros((1, 4)))
    return state["params"], state["batch_stats"]
