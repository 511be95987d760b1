r"""The usual baseline: real shadows of binary weights, gradients through the signs.

Fields of hidden layers are normalised over the batch before the bias and the sign, as
BinaryNet does; :func:`fold` turns the normalisation into thresholds afterwards, so that
the network has the parameters, and the binarised form, of :mod:`binary.network.model`.

Reference: Courbariaux et al., Binarized neural networks, arXiv 1602.02830.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from binary._signs import sign
from binary.network import model
from synaptax.typing import Array, PyTree

_EPSILON = 1e-4  # of a variance, in units of the number of inputs
_SCALE = 4.0  # of the logits, that at which model.logits ends


class Norm(NamedTuple):
    """The statistics of one layer's field, in units of the root of its inputs.

    Attributes:
        mean: of each unit.
        deviation: its standard deviation, floored.
    """

    mean: Array
    deviation: Array


def straight_sign(x: Array) -> Array:
    """Return sign(x), +1 at zero; the gradient is 1 for |x| <= 1, else 0."""
    clipped = jnp.clip(x, -1, 1)
    # The value is the sign, the derivative that of the clip.
    return clipped + lax.stop_gradient(sign(x) - clipped)


def norm(field: Array) -> Norm:
    """Return the statistics of a field over all its axes but the last."""
    axes = tuple(range(field.ndim - 1))
    deviation = jnp.sqrt(field.var(axis=axes) + _EPSILON)
    return Norm(field.mean(axis=axes), deviation)


def run(
    layers: tuple[model.Layer, ...], params: PyTree, x: Array
) -> tuple[Array, list[Norm]]:
    """Return the last field, in units of its root inputs, and the hidden norms.

    Args:
        layers: see :mod:`binary.network.model`.
        params: the same parameters; each ``m`` is the real shadow of a weight.
        x: inputs; hidden fields are normalised over them.
    """
    inputs, last, norms = model.numbers(x), len(layers) - 1, []
    for index, layer in enumerate(layers):
        own = params[f"layer_{index}"]
        # The bias comes after the normalisation, which would take it out.
        bare = {"m": straight_sign(own["m"]), "bias": jnp.zeros_like(own["bias"])}
        field = model.field_of(layer, bare, inputs, signs=False).mean
        field = field / model.fan_in(own) ** 0.5
        if index == last:
            break
        norms.append(norm(field))
        shift = jnp.broadcast_to(own["bias"], field.shape)
        inputs = model.pooled(
            layer, straight_sign(normalised(field, norms[-1]) + shift)
        )
    return field + jnp.broadcast_to(own["bias"], field.shape), norms


def normalised(field: Array, over: Norm) -> Array:
    """Return (z - mean) / deviation."""
    mean, deviation = (jnp.broadcast_to(part, field.shape) for part in over)
    return (field - mean) / deviation


def logits(layers: tuple[model.Layer, ...], params: PyTree, x: Array) -> Array:
    """Return the logits of a batch, normalised over it."""
    return run(layers, params, x)[0] * _SCALE


def fold(layers: tuple[model.Layer, ...], params: PyTree, x: Array) -> PyTree:
    """Return parameters of a network without normalisation that acts alike.

    (z - mean) / deviation + bias is positive where z + (bias * deviation - mean) is.

    Args:
        layers: see :mod:`binary.network.model`.
        params: of training.
        x: inputs whose statistics are taken; the more the better.
    """
    folded = dict(params)
    for index, over in enumerate(run(layers, params, x)[1]):
        own = params[f"layer_{index}"]
        bias = own["bias"] * over.deviation - over.mean
        folded[f"layer_{index}"] = own | {"bias": bias}
    return folded
