r"""Deep networks of stochastic binary weights and sign activations.

A network is a tuple of :class:`Dense` and :class:`Conv` layers. Its parameters hold,
for each layer, the means ``m`` of the binary weights and a real ``bias`` (in units of
the square root of the number of inputs). Hidden layers end in a sign; the last one
gives logits. Three ways to run it:

* :func:`propagate`, means and variances in closed form, the gradient full through the
  variance;
* :func:`sampled`, the same but that each hidden sign is drawn, so that the next layer
  sees the signs that the binarised network will work with;
* :func:`run_signs` of given weights: those of the mode, or a draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from binary._checks import array, check_binary
from binary._checks import magnetisations as cube
from binary._signs import sign
from binary.network import initial, moments
from binary.network.layers import (
    _OWN,
    Conv,
    Dense,
    Layer,
    check_layers,
    check_own,
    kernel_shape,
    pooled,
)
from synaptax.checks import check_integer, check_key, wide_dtype
from synaptax.trees import named_leaves
from synaptax.typing import Array, Key, PyTree, Shaped


class StochasticLayer(nn.Module):
    """The field of one layer, as moments; a Flax layer for networks of one's own.

    Attributes:
        layer: its kind and size.
        signs: whether its inputs are means of signs.
        second_moment: of the initial magnetisations.

    Example:
        >>> layer = binary.network.StochasticLayer(binary.network.Dense(4), signs=False)
        >>> params = layer.init(jax.random.key(0), jnp.ones((2, 9)))
        >>> field = layer.apply(params, jnp.ones((2, 9)))
        >>> field.mean.shape, field.variance.shape
        ((2, 4), (2, 4))
    """

    layer: Layer
    signs: bool
    second_moment: float = 0.5

    @nn.compact
    def __call__(self, inputs: Array) -> moments.Moments:
        """Return the moments of the field; a dense layer flattens its inputs."""
        if isinstance(self.layer, Dense):
            inputs = inputs.reshape(inputs.shape[0], math.prod(inputs.shape[1:]))
        shape = kernel_shape(self.layer, inputs.shape)
        m = self.param("m", initial.magnetisations, shape, self.second_moment)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:], jnp.float32)
        return field_of(self.layer, {"m": m, "bias": bias}, inputs, signs=self.signs)


class BinaryNetwork(nn.Module):
    """A stack of layers with signs between them.

    Attributes:
        layers: hidden layers and, last, that of the logits.
        second_moment: of the initial magnetisations.

    Example:
        >>> layers = binary.network.Dense(5), binary.network.Dense(3)
        >>> net, x = binary.network.BinaryNetwork(layers), jnp.ones((2, 9))
        >>> field = net.apply(net.init(jax.random.key(0), x), x)
        >>> field.mean.shape, field.variance.shape
        ((2, 3), (2, 3))
    """

    layers: tuple[Layer, ...]
    second_moment: float = 0.5

    @nn.compact
    def __call__(self, x: Array) -> moments.Moments:
        """Return the moments of the last field by mean and variance propagation."""
        inputs, field = x, None
        for index, layer in enumerate(self.layers):
            field = StochasticLayer(
                layer, index > 0, self.second_moment, name=f"layer_{index}"
            )(inputs)
            inputs = pooled(layer, moments.sign_mean(field))
        return field  # pyright: ignore


def init(
    key: Key[Array, ""],
    layers: tuple[Layer, ...],
    input_shape: tuple[int, ...],
    *,
    wanted: float = 0.05,
) -> PyTree:
    """Return initial parameters that let a signal through.

    Args:
        key: typed PRNG key.
        layers: hidden layers and, last, that of the logits; two or more.
        input_shape: of one example.
        wanted: second moment of the mean activations of the last hidden layer, see
            :func:`binary.network.initial.second_moment`.

    Returns:
        ``{"layer_0": {"m", "bias"}, ...}``, float32.

    Raises:
        ValueError: for fewer than two layers or a ``wanted`` outside (0, 1).

    Example:
        >>> layers = binary.network.Dense(5), binary.network.Dense(3)
        >>> params = binary.network.init(jax.random.key(0), layers, (9,))
        >>> jax.tree.map(jnp.shape, params)["layer_0"]
        {'bias': (5,), 'm': (9, 5)}
    """
    check_key(key)
    check_layers(layers)
    if isinstance(input_shape, int) or not input_shape:
        raise ValueError(f"input_shape: expected a tuple of sides, got {input_shape}")
    input_shape = tuple(check_integer("input_shape", n, 1) for n in input_shape)
    if len(layers) < 2:
        raise ValueError(f"layers: expected at least two, got {len(layers)}")
    moment = initial.second_moment(len(layers) - 1, wanted)
    model = BinaryNetwork(tuple(layers), moment)
    return model.init(key, jnp.zeros((1, *input_shape)))["params"]


def propagate(
    layers: tuple[Layer, ...], params: PyTree, x: Shaped[Array, "B ..."]
) -> moments.Moments:
    """Return the moments of the last field, signs replaced by their means.

    Args:
        layers: as :func:`init` took.
        params: as :func:`init` gave.
        x: inputs, given numbers of any real dtype.

    Raises:
        ValueError: if the parameters are not those of these layers, or leave [-1, 1],
            or inputs are not finite numbers.

    Example:
        >>> layers = (binary.network.Dense(3),)
        >>> params = {"layer_0": {"m": jnp.zeros((4, 3)), "bias": jnp.zeros(3)}}
        >>> field = binary.network.propagate(layers, params, jnp.ones((2, 4)))
        >>> field.mean.shape, field.variance[0].tolist()  # sum x^2 (1 - m^2)
        ((2, 3), [4.0, 4.0, 4.0])
    """
    check(layers, params)
    x = numbers(x)
    return BinaryNetwork(tuple(layers)).apply({"params": params}, x)  # pyright: ignore


def sampled(
    layers: tuple[Layer, ...],
    params: PyTree,
    x: Shaped[Array, "B ..."],
    key: Key[Array, ""],
) -> moments.Moments:
    """Return the moments of the last field with every hidden sign drawn.

    A sign is +1 with probability (1 + a) / 2; its gradient is handed on to a.

    Args:
        layers: as :func:`init` took.
        params: as :func:`init` gave.
        x: inputs, given numbers.
        key: typed PRNG key of the draws.

    Example:
        >>> layers = binary.network.Dense(5), binary.network.Dense(3)
        >>> params = {
        ...     "layer_0": {"m": jnp.zeros((4, 5)), "bias": jnp.zeros(5)},
        ...     "layer_1": {"m": jnp.ones((5, 3)), "bias": jnp.zeros(3)},
        ... }
        >>> key, x = jax.random.key(0), jnp.ones((2, 4))
        >>> binary.network.sampled(layers, params, x, key).mean.shape
        (2, 3)
    """
    check(layers, params)
    check_key(key)
    inputs, last = numbers(x), len(layers) - 1
    for index, layer in enumerate(layers):
        field = field_of(layer, params[f"layer_{index}"], inputs, signs=False)
        if index == last:
            break
        mean = moments.sign_mean(field)
        # P(s = +1) = P(2u - 1 < a) = (1 + a) / 2; the gradient goes straight to a.
        uniform = jax.random.uniform(jax.random.fold_in(key, index), mean.shape)
        signs = jnp.where(2 * uniform - 1 < mean, 1.0, -1.0).astype(mean.dtype)
        inputs = pooled(layer, mean + lax.stop_gradient(signs - mean))
    return field


def logits(field: moments.Moments, inputs: int) -> Array:
    """Return a field as logits, in units of its standard deviation.

    A term of ``inputs / 20`` is added to the variance, so that logits stay of order
    one to ten when the weights have become certain.

    Args:
        field: of the last layer.
        inputs: of that layer.

    Example:
        >>> layers = (binary.network.Dense(3),)
        >>> params = {"layer_0": {"m": jnp.zeros((4, 3)), "bias": jnp.ones(3)}}
        >>> field = binary.network.propagate(layers, params, jnp.ones((2, 4)))
        >>> binary.network.logits(field, 4).shape
        (2, 3)
    """
    inputs = check_integer("inputs", inputs, 1)
    return field.mean / jnp.sqrt(field.variance + 0.05 * inputs)


def run_signs(
    layers: tuple[Layer, ...], weights: PyTree, x: Shaped[Array, "B ..."]
) -> Array:
    """Return the last field of the network with given weights and sign activations.

    A field of exactly 0 is a sign of +1, as m = 0 is a weight of +1.

    Args:
        layers: as :func:`init` took.
        weights: like the parameters, each ``m`` of +-1.
        x: inputs of any real dtype.

    Raises:
        ValueError: if the weights are not those of these layers, or inputs are not
            finite numbers.

    Example:
        >>> layers = (binary.network.Dense(2),)
        >>> w = jnp.array([[1.0, 1.0], [1.0, -1.0]])
        >>> weights = {"layer_0": {"m": w, "bias": jnp.zeros(2)}}
        >>> binary.network.run_signs(layers, weights, jnp.ones((1, 2))).tolist()
        [[2.0, 0.0]]
    """
    check(layers, weights)
    inputs, field = numbers(x), None
    for index, layer in enumerate(layers):
        own = weights[f"layer_{index}"]
        check_binary(own["m"], f"weights: layer_{index}/m")
        field = field_of(layer, own, inputs, signs=False).mean
        inputs = pooled(layer, sign(field))
    return field  # pyright: ignore


def magnetisations(params: PyTree) -> PyTree:
    """Return a mask of any tree: True at each ``m`` of a :class:`StochasticLayer`.

    Such an ``m`` lies beside a ``bias`` and nothing else; other leaves are left alone
    by all that works on magnetisations.

    Args:
        params: parameters with a stochastic layer anywhere.

    Raises:
        ValueError: if there is none.

    Example:
        >>> params = {"layer_0": {"m": jnp.zeros((4, 3)), "bias": jnp.ones(3)}}
        >>> binary.network.magnetisations(params)
        {'layer_0': {'bias': False, 'm': True}}
    """
    names = [name.removesuffix("/value") for name, _ in named_leaves(params)]
    beside: dict[str, set[str]] = {}
    for name in names:
        layer, _, leaf = name.rpartition("/")
        beside.setdefault(layer, set()).add(leaf)
    here = [
        name.rpartition("/")[2] == "m" and beside[name.rpartition("/")[0]] == _OWN
        for name in names
    ]
    if not any(here):
        raise ValueError(
            "params: expected a stochastic layer, of m and bias, somewhere; got "
            f"leaves {names[:8]}"
        )
    return jax.tree.unflatten(jax.tree.structure(params), here)


def over_magnetisations(function: Callable[[Array], Array], params: PyTree) -> PyTree:
    """Return any tree with a function applied to each of its magnetisations."""

    def one(here: bool, leaf: Any) -> Any:
        if here:
            cube(leaf, name="params: m")
        return function(leaf) if here else leaf

    return jax.tree.map(one, magnetisations(params), params)


def mode(params: PyTree) -> PyTree:
    """Return the most probable weights: m -> sign(m), +1 at zero; the rest is kept.

    Example:
        >>> params = {"layer_0": {"m": jnp.array([[0.3, -0.2]]), "bias": jnp.zeros(2)}}
        >>> binary.network.mode(params)["layer_0"]["m"].tolist()
        [[1.0, -1.0]]
    """
    return over_magnetisations(sign, params)


def draw(params: PyTree, key: Key[Array, ""]) -> PyTree:
    """Return weights drawn from Q_m; what is not a magnetisation is kept.

    Example:
        >>> params = {"layer_0": {"m": jnp.array([[1.0, -1.0]]), "bias": jnp.zeros(2)}}
        >>> binary.network.draw(params, jax.random.key(0))["layer_0"]["m"].tolist()
        [[1.0, -1.0]]
    """
    check_key(key)
    count = sum(jax.tree.leaves(magnetisations(params)))
    keys = iter(jax.random.split(key, count))

    def one(m: Array) -> Array:
        # Uniform numbers of 16 bits are too coarse.
        dtype = wide_dtype(m.dtype, jnp.float32)
        uniform = jax.random.uniform(next(keys), m.shape, dtype, -1, 1)
        return jnp.where(uniform < m.astype(dtype), 1.0, -1.0).astype(m.dtype)

    return over_magnetisations(one, params)


def self_overlaps(params: PyTree) -> dict[str, Array]:
    """Return q* = mean m^2 of each stochastic layer, by its path: ``layer_0``.

    Example:
        >>> params = {"layer_0": {"m": jnp.array([[1.0, 0.0]]), "bias": jnp.zeros(2)}}
        >>> float(binary.network.self_overlaps(params)["layer_0"])
        0.5
    """
    here = jax.tree.leaves(magnetisations(params))
    over_magnetisations(lambda m: m, params)  # which checks them
    return {
        name.removesuffix("/value").rpartition("/")[0]: jnp.mean(jnp.square(leaf))
        for is_m, (name, leaf) in zip(here, named_leaves(params), strict=True)
        if is_m
    }


def pull(params: PyTree) -> Array:
    r"""Return the sum over layers of the mean of 1 - m^2, zero for certain weights.

    Example:
        >>> params = {"layer_0": {"m": jnp.array([[1.0, 0.0]]), "bias": jnp.zeros(2)}}
        >>> float(binary.network.pull(params))
        0.5
    """
    total = jnp.zeros(())
    return sum(
        ((1 - q).astype(total.dtype) for q in self_overlaps(params).values()), total
    )


def check(layers: tuple[Layer, ...], params: PyTree) -> None:
    """Raise unless parameters are those of the layers.

    Raises:
        ValueError: naming the layer and what was expected.
    """
    check_layers(layers)
    expected = [f"layer_{index}" for index in range(len(layers))]
    if not isinstance(params, Mapping) or set(params) != set(expected):
        kind = sorted(params) if isinstance(params, Mapping) else type(params).__name__
        raise ValueError(
            f"params: expected {len(layers)} layers {expected}, got {kind}"
        )
    for name, layer in zip(expected, layers, strict=True):
        check_own(name, layer, params[name])


def numbers(x: Any) -> Array:
    """Return a batch of real, finite inputs as an array; else raise."""
    x = array(x, "x")
    if x.ndim < 2:
        raise ValueError(f"x: expected a batch (B, ...), got shape {x.shape}")
    return x


def field_of(
    layer: Layer, own: PyTree, inputs: Array, *, signs: bool
) -> moments.Moments:
    """Return the moments of a layer's field, its bias included.

    Raises:
        ValueError: for inputs of another shape than the layer's weights want.
    """
    m = own["m"]
    if isinstance(layer, Dense):
        inputs = inputs.reshape(inputs.shape[0], math.prod(inputs.shape[1:]))
    if inputs.ndim != m.ndim or inputs.shape[-1] != m.shape[-2]:
        raise ValueError(
            f"x: {layer} with weights {m.shape} cannot take inputs {inputs.shape}"
        )
    if isinstance(layer, Conv):
        field = moments.convolution(
            m,
            inputs,
            signs=signs,
            stride=layer.stride,
            padding=layer.padding,
            fill=layer.fill,
        )
    else:
        field = moments.dense(m, inputs, signs=signs)
    # In units of sqrt(I), the scale of a sum of I signs.
    shift = fan_in(own) ** 0.5 * moments.widened(own["bias"])
    return field._replace(mean=field.mean + jnp.broadcast_to(shift, field.mean.shape))


def fan_in(own: PyTree) -> int:
    """Return the number of inputs of one unit of a layer."""
    return math.prod(own["m"].shape[:-1])
