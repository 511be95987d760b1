"""Dead units folded away: what a sparse chain of layers computes without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np


class Folded(NamedTuple):
    """A chain of layers without its dead units.

    Attributes:
        layers: for each layer (kernel, bias), float64, zero where nothing is left.
        alive: for each layer, bool: units that some input reaches and some output
            hears; all of the last.
        kept: parameters left: weights that are not zero, and the biases of alive
            units, also where such a bias is 0.
    """

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    alive: tuple[np.ndarray, ...]
    kept: int


def fold_dead_units(
    layers: Sequence[tuple[Any, Any]],
    activation: Callable[[Any], Any] = lambda z: jnp.maximum(z, 0),
) -> Folded:
    """Push constant units into the next bias and drop those that nobody hears.

    A unit whose incoming weights are all 0 puts out the constant f(b); the next layer
    gets it as b' += f(b) w for each of the unit's outgoing weights w, which then go. A
    unit without outgoing weights goes with all that leads to it. What the chain
    computes is the same to rounding.

    Args:
        layers: (kernel, bias) in order; kernels are (..., inputs, units), dense or of
            convolutions without padding. Between a convolution and a dense layer the
            channels must vary fastest. The activation follows every layer but the last,
            and pooling may, if the pool of a constant is that constant.
        activation: f.

    Raises:
        ValueError: naming the layer whose inputs are no multiple of the units before.
    """
    kernels = [np.array(kernel, np.float64) for kernel, _ in layers]
    biases = [np.array(bias, np.float64) for _, bias in layers]
    heard = []  # each kernel as (window or place, unit before, unit): views of it
    for index, kernel in enumerate(kernels):
        before = kernel.shape[-2] if index == 0 else kernels[index - 1].shape[-1]
        if kernel.shape[-2] % before:
            raise ValueError(
                f"layers: layer {index} has {kernel.shape[-2]} inputs, expected a "
                f"multiple of {before}"
            )
        heard.append(kernel.reshape(-1, before, kernel.shape[-1]))
    alive = [np.ones(kernel.shape[-1], bool) for kernel in kernels]
    for index in range(len(kernels) - 1):
        alive[index] = heard[index].any((0, 1))
        dead = ~alive[index]
        constants = np.asarray(activation(jnp.asarray(biases[index])), np.float64)
        # b'_o <- b'_o + sum_{p,i} f(b_i) w[p, i, o] over places p
        # and dead units i, in float64.
        biases[index + 1] += np.einsum(
            "pio,i->o", heard[index + 1][:, dead], constants[dead]
        )
        heard[index + 1][:, dead] = 0
        biases[index][dead] = 0
    for index in reversed(range(len(kernels) - 1)):
        unheard = ~heard[index + 1].any((0, 2))
        heard[index][:, :, unheard] = 0
        biases[index][unheard] = 0
        alive[index] &= ~unheard
    weights = sum(int(np.count_nonzero(kernel)) for kernel in kernels)
    units = sum(int(one.sum()) for one in alive)
    return Folded(
        tuple(zip(kernels, biases, strict=True)), tuple(alive), weights + units
    )
