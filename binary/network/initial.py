r"""How large magnetisations must start for a signal to get through a deep network.

With independent means of second moment s, the mean activations of a wide layer have
second moment (2 / pi) arcsin(s q), q that of the layer before; of the first layer it
is (2 / pi) arcsin(s), whatever the scale of its inputs. For s < 1 the only fixed point
is q = 0: the signal decays by about 2 s / pi a layer, and stays only as s -> 1.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from binary._checks import number
from synaptax.checks import check_integer
from synaptax.typing import Array


def signal(second_moment: float, depth: int) -> float:
    """Return the second moment of the mean activations of the last hidden layer.

    Args:
        second_moment: s, of the magnetisations, in [0, 1].
        depth: hidden layers, at least 1.
    """
    q = 1.0
    for _ in range(depth):
        # q_l = (2 / pi) arcsin(s q_{l-1}), with q_0 = 1 whatever the inputs are
        q = 2 / math.pi * math.asin(second_moment * q)
    return q


def second_moment(depth: int, wanted: float) -> float:
    """Return the s at which :func:`signal` is ``wanted``, by bisection.

    Args:
        depth: hidden layers, at least 1.
        wanted: in (0, 1).

    Raises:
        ValueError: naming the argument out of range.
    """
    depth = check_integer("depth", depth, 1, expected="at least 1 hidden layer")
    wanted = number("wanted", wanted, "a signal in (0, 1)", lambda q: 0 < q < 1)
    low, high = 0.0, 1.0
    # The signal rises with s; 60 halvings are below a float64's last digit.
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if signal(middle, depth) < wanted else (low, middle)
    # The end whose signal is not below the one asked for.
    return high


def magnetisations(
    key: Array, shape: tuple[int, ...], second_moment: float, dtype: Any = jnp.float32
) -> Array:
    """Draw magnetisations of random sign and a second moment.

    Sizes are uniform on [0, sqrt(3 s)] for s up to 1/3, else on [a, 1] with the a
    that gives s.

    Args:
        key: typed PRNG key.
        shape: of the result.
        second_moment: s, in (0, 1].
        dtype: of the result.
    """
    if not 0 < second_moment <= 1:
        raise ValueError(
            f"second_moment: expected a number in (0, 1], got {second_moment}"
        )
    # Uniform on [0, b]: b^2 / 3 = s. On [a, 1]: (1 + a + a^2) / 3 = s.
    low, high = 0.0, math.sqrt(3 * second_moment)
    if second_moment > 1 / 3:
        low, high = (math.sqrt(12 * second_moment - 3) - 1) / 2, 1.0
    sizes, signs = jax.random.split(key)
    size = jax.random.uniform(sizes, shape, dtype, low, high)
    return size * jax.random.rademacher(signs, shape, dtype)
