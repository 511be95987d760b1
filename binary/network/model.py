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

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from binary.network import initial, moments
from synaptax.typing import Array, Float, Key, PyTree


@dataclasses.dataclass(frozen=True)
class Dense:
    """A fully connected layer.

    Attributes:
        units: outputs.
    """

    units: int


@dataclasses.dataclass(frozen=True)
class Conv:
    """A convolution with square windows.

    Attributes:
        filters: output channels.
        size: side of the window.
        stride: along both axes.
        padding: ``"VALID"`` or ``"SAME"``.
    """

    filters: int
    size: int
    stride: int = 1
    padding: str = "VALID"


Layer = Dense | Conv


class StochasticLayer(nn.Module):
    """The field of one layer, as moments; a Flax layer for networks of one's own.

    Attributes:
        layer: its kind and size.
        signs: whether its inputs are means of signs.
        second_moment: of the initial magnetisations.
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
    """

    layers: tuple[Layer, ...]
    second_moment: float = 0.5

    @nn.compact
    def __call__(self, x: Array) -> moments.Moments:
        """Return the moments of the last field by mean and variance propagation."""
        field = moments.Moments(x, jnp.ones_like(x))
        for index, layer in enumerate(self.layers):
            inputs = moments.sign_mean(field) if index else x
            field = StochasticLayer(
                layer, index > 0, self.second_moment, name=f"layer_{index}"
            )(inputs)
        return field


def kernel_shape(layer: Layer, inputs: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a layer's weights for inputs of a shape."""
    if isinstance(layer, Dense):
        return (math.prod(inputs[1:]), layer.units)
    return (layer.size, layer.size, inputs[-1], layer.filters)


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
    """
    if len(layers) < 2:
        raise ValueError(f"layers: expected at least two, got {len(layers)}")
    moment = initial.second_moment(len(layers) - 1, wanted)
    model = BinaryNetwork(layers, moment)
    return model.init(key, jnp.zeros((1, *input_shape)))["params"]


def propagate(
    layers: tuple[Layer, ...], params: PyTree, x: Float[Array, "B ..."]
) -> moments.Moments:
    """Return the moments of the last field, signs replaced by their means.

    Args:
        layers: as :func:`init` took.
        params: as :func:`init` gave.
        x: inputs, given numbers.

    Raises:
        ValueError: if the parameters are not those of these layers, or leave [-1, 1].
    """
    check(layers, params)
    return BinaryNetwork(layers).apply({"params": params}, x)  # pyright: ignore


def sampled(
    layers: tuple[Layer, ...],
    params: PyTree,
    x: Float[Array, "B ..."],
    key: Key[Array, ""],
) -> moments.Moments:
    """Return the moments of the last field with every hidden sign drawn.

    A sign is +1 with probability (1 + a) / 2; its gradient is handed on to a.

    Args:
        layers: as :func:`init` took.
        params: as :func:`init` gave.
        x: inputs, given numbers.
        key: typed PRNG key of the draws.
    """
    inputs, last = x, len(layers) - 1
    for index, layer in enumerate(layers):
        field = field_of(layer, params[f"layer_{index}"], inputs, signs=False)
        if index == last:
            break
        mean = moments.sign_mean(field)
        drawn = jax.random.uniform(jax.random.fold_in(key, index), mean.shape)
        sign = jnp.where(2 * drawn - 1 < mean, 1.0, -1.0).astype(mean.dtype)
        inputs = mean + lax.stop_gradient(sign - mean)
    return field


def logits(field: moments.Moments, inputs: int) -> Array:
    """Return a field as logits, in units of its standard deviation.

    A term of ``inputs / 20`` is added to the variance, so that logits stay of order
    one to ten when the weights have become certain.

    Args:
        field: of the last layer.
        inputs: of that layer.
    """
    return field.mean / jnp.sqrt(field.variance + 0.05 * inputs)


def run_signs(
    layers: tuple[Layer, ...], weights: PyTree, x: Float[Array, "B ..."]
) -> Array:
    """Return the last field of the network with given weights and sign activations.

    Args:
        layers: as :func:`init` took.
        weights: like the parameters, each ``m`` of +-1.
        x: inputs.
    """
    inputs = x
    for index, layer in enumerate(layers):
        if index:
            inputs = jnp.where(inputs > 0, 1.0, -1.0).astype(x.dtype)
        own = weights[f"layer_{index}"]
        inputs = field_of(layer, own, inputs, signs=False).mean
    return inputs


def mode(params: PyTree) -> PyTree:
    """Return the most probable weights: m -> sign(m), +1 at zero; biases kept."""
    return _over_m(lambda m: jnp.where(m >= 0, 1.0, -1.0).astype(m.dtype), params)


def draw(params: PyTree, key: Key[Array, ""]) -> PyTree:
    """Return weights drawn from Q_m; biases kept."""
    keys = iter(jax.random.split(key, len(params)))

    def one(m: Array) -> Array:
        uniform = jax.random.uniform(next(keys), m.shape, m.dtype, -1, 1)
        return jnp.where(uniform < m, 1.0, -1.0).astype(m.dtype)

    return _over_m(one, params)


def self_overlaps(params: PyTree) -> dict[str, Array]:
    """Return q* = mean m^2 of each layer."""
    return {name: jnp.mean(jnp.square(own["m"])) for name, own in params.items()}


def pull(params: PyTree) -> Array:
    r"""Return the sum over layers of the mean of 1 - m^2, zero for certain weights."""
    return sum((1 - q for q in self_overlaps(params).values()), jnp.zeros(()))


def check(layers: tuple[Layer, ...], params: PyTree) -> None:
    """Raise unless parameters are those of the layers.

    Raises:
        ValueError: naming the layer and what was expected.
    """
    expected = {f"layer_{index}" for index in range(len(layers))}
    if not isinstance(params, dict) or set(params) != expected:
        raise ValueError(
            f"params: expected {len(layers)} layers {sorted(expected)}, got "
            f"{sorted(params) if isinstance(params, dict) else type(params).__name__}"
        )
    for name, own in params.items():
        if set(own) != {"m", "bias"}:
            raise ValueError(f"params: {name}: expected m and bias, got {sorted(own)}")


def field_of(
    layer: Layer, own: PyTree, inputs: Array, *, signs: bool
) -> moments.Moments:
    """Return the moments of a layer's field, its bias included."""
    m = own["m"]
    if isinstance(layer, Dense):
        inputs = inputs.reshape(inputs.shape[0], math.prod(inputs.shape[1:]))
        field = moments.dense(m, inputs, signs=signs)
    else:
        field = moments.convolution(
            m, inputs, signs=signs, stride=layer.stride, padding=layer.padding
        )
    bias = jnp.broadcast_to(fan_in(own) ** 0.5 * own["bias"], field.mean.shape)
    return field._replace(mean=field.mean + bias)


def fan_in(own: PyTree) -> int:
    """Return the number of inputs of one unit of a layer."""
    return math.prod(own["m"].shape[:-1])


def _over_m(function: Any, params: PyTree) -> PyTree:
    return {
        name: {"m": function(own["m"]), "bias": own["bias"]}
        for name, own in params.items()
    }
