"""Small networks that meet their parameters in every way taps must know."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx
from jax import lax


class Case(NamedTuple):
    """A network with its parameters and a batch of inputs."""

    apply_fn: Callable[[Any, Any], Any]
    params: Any
    x: Any
    classes: int


def draw(seed: int, *shape: int, dtype=jnp.float32):
    """Return standard normal values."""
    return jax.random.normal(jax.random.key(seed), shape, dtype)


def _conv(x, w, strides=(1, 1), padding="VALID", **options):
    return lax.conv_general_dilated(
        x, w, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options
    )


def mlp(dtype) -> Case:
    """Two dense layers by hand."""

    def apply(p, x):
        return jax.nn.relu(x @ p["w"] + p["b"][None]) @ p["v"] + p["c"][None]

    params = {
        "w": draw(1, 4, 6, dtype=dtype),
        "b": draw(2, 6, dtype=dtype),
        "v": draw(3, 6, 3, dtype=dtype),
        "c": draw(4, 3, dtype=dtype),
    }
    return Case(apply, params, draw(5, 7, 4, dtype=dtype), 3)


def transposed(dtype) -> Case:
    """Kernels seen through transpose and reshape, activation on either side."""

    def apply(p, x):
        h = jnp.tanh(x @ p["w"].T.reshape(4, 6))
        return lax.dot_general(p["v"], h, (((1,), (1,)), ((), ()))).T

    params = {"w": draw(1, 3, 8, dtype=dtype), "v": draw(2, 3, 6, dtype=dtype)}
    return Case(apply, params, draw(5, 5, 4, dtype=dtype), 3)


def tokens(dtype) -> Case:
    """A dense layer over positions: the derivative is no outer product."""

    def apply(p, x):
        h = jax.nn.gelu(x @ p["w"] + p["b"][None, None])
        return jnp.einsum("bth,thc->bc", h, p["v"])

    params = {
        "w": draw(1, 4, 5, dtype=dtype),
        "b": draw(2, 5, dtype=dtype),
        "v": draw(3, 6, 5, 3, dtype=dtype),
    }
    return Case(apply, params, draw(5, 7, 6, 4, dtype=dtype), 3)


def convolutions(dtype) -> Case:
    """Strided, padded, dilated (both sides) and grouped convolutions, scale, remat."""

    def features(p, x):
        h = _conv(x, p["k1"], (2, 1), ((1, 0), (2, 1)), rhs_dilation=(1, 2))
        h = jax.nn.relu(h + p["b1"].reshape(1, 1, 1, 4))
        h = jax.nn.relu(_conv(h, p["k2"], padding="SAME", feature_group_count=2))
        h = h * p["s"].reshape(1, 1, 1, 6)
        h = _conv(h, p["k3"], (1, 2), ((1, 1), (1, 1)), lhs_dilation=(2, 1))
        return h.reshape(h.shape[0], -1)

    @jax.checkpoint
    def head(h, v):
        return jnp.sin(h) @ v

    x = draw(5, 5, 7, 6, 2, dtype=dtype)
    params = {
        "k1": draw(1, 3, 3, 2, 4, dtype=dtype),
        "b1": draw(2, 4, dtype=dtype),
        "k2": draw(3, 3, 3, 2, 6, dtype=dtype),
        "s": draw(4, 6, dtype=dtype),
        "k3": draw(6, 2, 2, 6, 2, dtype=dtype),
    }
    width = jax.eval_shape(features, params, x).shape[1]
    params["v"] = draw(7, width, 3, dtype=dtype)
    return Case(lambda p, x: head(features(p, x), p["v"]), params, x, 3)


def depthwise_1d(dtype) -> Case:
    """A depthwise convolution over one spatial axis in NCH layout."""

    def apply(p, x):
        h = lax.conv_general_dilated(
            x,
            p["k"],
            (2,),
            ((1, 1),),
            feature_group_count=3,
            dimension_numbers=("NCH", "OIH", "NCH"),
        )
        return jnp.tanh(h).sum(2) @ p["v"]

    params = {"k": draw(1, 6, 1, 3, dtype=dtype), "v": draw(2, 6, 4, dtype=dtype)}
    return Case(apply, params, draw(5, 4, 3, 9, dtype=dtype), 4)


def twice(dtype) -> Case:
    """One kernel used three times, once only in part."""

    def apply(p, x):
        h = jnp.tanh(x @ p["w"])
        return jnp.tanh(h @ p["w"]) @ p["w"][:, :3]

    return Case(apply, {"w": draw(1, 4, 4, dtype=dtype)}, draw(5, 7, 4, dtype=dtype), 3)


def scanned(dtype) -> Case:
    """A parameter inside ``lax.scan``."""

    def apply(p, x):
        h = x @ p["w"]
        return lax.scan(lambda c, _: (jnp.tanh(c @ p["u"]), None), h, length=3)[0]

    params = {"w": draw(1, 4, 3, dtype=dtype), "u": draw(2, 3, 3, dtype=dtype)}
    return Case(apply, params, draw(5, 7, 4, dtype=dtype), 3)


def jitted(dtype) -> Case:
    """Parameters inside nested ``jit`` and a weight normalisation."""

    @jax.jit
    def layer(w, g, x):
        return jnp.tanh(x @ (w * g[None] / jnp.linalg.norm(w, axis=0, keepdims=True)))

    def apply(p, x):
        return jax.jit(lambda h: h @ p["v"])(layer(p["w"], p["g"], x))

    params = {
        "w": draw(1, 4, 6, dtype=dtype),
        "g": draw(2, 6, dtype=dtype),
        "v": draw(3, 6, 3, dtype=dtype),
    }
    return Case(apply, params, draw(5, 7, 4, dtype=dtype), 3)


def custom_rule(dtype) -> Case:
    """A ``custom_jvp`` that holds a parameter and whose rule is not its derivative."""

    @jax.custom_jvp
    def odd(w, x):
        return jnp.sin(x @ w)

    @odd.defjvp
    def _(primals, tangents):
        w, x = primals
        inner = jnp.cos(x @ w) * (x @ tangents[0] + tangents[1] @ w)
        return odd(w, x), inner * jnp.asarray(1.5, inner.dtype)

    params = {"w": draw(1, 4, 3, dtype=dtype), "z": draw(2, 4, 4, dtype=dtype)}
    return Case(
        lambda p, x: odd(p["w"], jnp.tanh(x @ p["z"])),
        params,
        draw(5, 7, 4, dtype=dtype),
        3,
    )


class _Residual(nn.Module):
    """Two residual blocks with batch-norm in evaluation mode."""

    dtype: Any

    @nn.compact
    def __call__(self, x):
        options = {"param_dtype": self.dtype, "dtype": self.dtype}
        x = nn.Conv(4, (3, 3), use_bias=False, **options)(x)
        for _ in range(2):
            h = nn.BatchNorm(use_running_average=True, **options)(x)
            h = nn.Conv(4, (3, 3), use_bias=False, **options)(nn.relu(h))
            h = nn.relu(nn.BatchNorm(use_running_average=True, **options)(h))
            x = nn.relu(x + nn.Conv(4, (3, 3), **options)(h))
        return nn.Dense(3, **options)(x.mean((1, 2)))


def residual(dtype) -> Case:
    """A Flax Linen residual net; statistics away from their initial values."""
    x = draw(5, 5, 6, 6, 2)
    # Flax makes the statistics in float32 whatever the dtype of the rest.
    variables = _Residual(jnp.float32).init(jax.random.key(0), x)
    variables = jax.tree.map(lambda leaf: leaf.astype(dtype), variables)
    moved = jax.tree.map(
        lambda s: s + jnp.full((), 0.3, s.dtype), variables["batch_stats"]
    )
    model = _Residual(dtype)

    def apply(p, x):
        return model.apply({"params": p, "batch_stats": moved}, x)

    return Case(apply, variables["params"], x.astype(dtype), 3)


def nnx_net(dtype) -> Case:
    """A Flax NNX network by split and merge."""

    class Net(nnx.Module):
        def __init__(self, rngs):
            options = {"rngs": rngs, "param_dtype": dtype, "dtype": dtype}
            self.conv = nnx.Conv(2, 5, (3, 3), strides=2, **options)
            self.norm = nnx.BatchNorm(5, use_running_average=True, **options)
            self.out = nnx.Linear(45, 3, **options)

        def __call__(self, x):
            h = nnx.relu(self.norm(self.conv(x)))
            return self.out(h.reshape(h.shape[0], -1))

    graph, params, rest = nnx.split(Net(nnx.Rngs(0)), nnx.Param, ...)

    def apply(p, x):
        return nnx.merge(graph, p, rest)(x)

    return Case(apply, params, draw(5, 5, 6, 6, 2, dtype=dtype), 3)


CASES = {
    case.__name__: case
    for case in (
        mlp,
        transposed,
        tokens,
        convolutions,
        depthwise_1d,
        twice,
        scanned,
        jitted,
        custom_rule,
        residual,
        nnx_net,
    )
}
