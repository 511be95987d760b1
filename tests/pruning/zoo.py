"""Small networks of many kinds, each with the pre-activations that it defines.

A member is ``Net(apply, params, x, classes, own)``: ``own(params, x)`` hands over the
values that enter its non-linearities in order, or is a text that the refusal must hold.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx
from jax import lax

from tests.pruning.networks import draw


class Net(NamedTuple):
    """A network, a batch for it, and its own pre-activations."""

    apply: Callable[[Any, Any], Any]
    params: Any
    x: Any
    classes: int
    own: Callable[[Any, Any], list[Any]] | str


def handed(function, params, x, classes) -> Net:
    """Return a network given as ``(params, x) -> (y, zs)``."""
    return Net(
        lambda p, x: function(p, x)[0],
        params,
        x,
        classes,
        lambda p, x: function(p, x)[1],
    )


def _norm(x, scale):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(variance + 1e-5) * scale


def transformer() -> Net:
    """One block over 5 tokens; the embedding is the output layer too."""

    def net(p, x):
        h = p["embedding"][x]
        n = _norm(h, p["scale"])
        q, k, v = (jnp.einsum("btd,dhe->bthe", n, p[name]) for name in "qkv")
        weights = jax.nn.softmax(jnp.einsum("bthe,bshe->bhts", q, k))
        h = h + jnp.einsum("bhts,bshe,hed->btd", weights, v, p["out"])
        z = _norm(h, p["scale"]) @ p["up"]
        h = h + jax.nn.gelu(z) @ p["down"]
        return h.mean(1) @ p["embedding"].T, [z]

    params = {name: draw(i, 4, 2, 2) for i, name in enumerate("qkv")} | {
        "embedding": draw(4, 7, 4),
        "out": draw(5, 2, 2, 4),
        "up": draw(6, 4, 6),
        "down": draw(7, 6, 4),
        "scale": jnp.ones((1, 1, 4)),
    }
    return handed(net, params, jnp.arange(15).reshape(3, 5) % 7, 7)


def _conv(x, w, groups=1):
    return lax.conv_general_dilated(
        x,
        w,
        (1, 1),
        "SAME",
        feature_group_count=groups,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def convnext() -> Net:
    """Depthwise convolution, norm, inverted bottleneck, layer scale."""

    def net(p, x):
        h = _norm(_conv(x, p["depthwise"], 4), 1.0)
        z = h @ p["up"]
        x = x + p["gamma"] * (jax.nn.gelu(z, approximate=False) @ p["down"])
        return x.mean((1, 2)) @ p["head"], [z]

    params = {
        "depthwise": draw(1, 3, 3, 1, 4),
        "up": draw(2, 4, 8),
        "down": draw(3, 8, 4),
        "gamma": draw(4, 1, 1, 1, 4),
        "head": draw(5, 4, 3),
    }
    return handed(net, params, draw(6, 2, 4, 4, 4), 3)


def mobilenet_v3() -> Net:
    """Expansion, depthwise, squeeze and excitation, projection."""

    def net(p, x):
        first = x @ p["expand"]
        second = _conv(jax.nn.hard_swish(first), p["depthwise"], 6)
        h = jax.nn.hard_swish(second)
        squeezed = h.mean((1, 2)) @ p["squeeze"]
        gate = jax.nn.relu(squeezed) @ p["excite"]
        h = h * jax.nn.hard_sigmoid(gate)[:, None, None]
        return (x + h @ p["project"]).mean((1, 2)) @ p["head"], [
            first,
            second,
            squeezed,
            gate,
        ]

    params = {
        "expand": draw(1, 4, 6),
        "depthwise": draw(2, 3, 3, 1, 6),
        "squeeze": draw(3, 6, 2),
        "excite": draw(4, 2, 6),
        "project": draw(5, 6, 4),
        "head": draw(6, 4, 3),
    }
    return handed(net, params, draw(7, 2, 4, 4, 4), 3)


def linen_lstm() -> Net:
    """An LSTM by ``nn.RNN``: its gates are inside a scan."""

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(nn.RNN(nn.LSTMCell(4))(x)[:, -1])

    x = draw(1, 2, 3, 3)
    params = Model().init(jax.random.key(0), x)
    return Net(Model().apply, params, x, 3, "is inside scan")


def lstm_by_scan() -> Net:
    """The same by hand."""

    def apply(p, x):
        def step(carry, xt):
            h, c = carry
            i, f, g, o = jnp.split(xt @ p["w"] + h @ p["u"], 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), None

        zero = jnp.zeros((x.shape[0], 4), x.dtype)
        return lax.scan(step, (zero, zero), x.swapaxes(0, 1))[0][0] @ p["v"]

    params = {"w": draw(1, 3, 16), "u": draw(2, 4, 16), "v": draw(3, 4, 3)}
    return Net(apply, params, draw(4, 2, 3, 3), 3, "is inside scan")


def linen_scan() -> Net:
    """A scanned stack of blocks in Linen."""

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return x + nn.Dense(4)(nn.relu(nn.LayerNorm()(x))), None

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            axes = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
            x = nn.scan(Block, **axes, length=2)()(nn.Dense(4)(x), None)[0]
            return nn.Dense(3)(x)

    x = draw(1, 3, 5)
    params = Model().init(jax.random.key(0), x)
    return Net(Model().apply, params, x, 3, "is inside scan")


def nnx_scan() -> Net:
    """A scanned stack of layers in NNX."""

    @nnx.split_rngs(splits=2)
    @nnx.vmap(in_axes=0, out_axes=0)
    def make(rngs):
        return nnx.Linear(4, 4, rngs=rngs)

    graph, params, rest = nnx.split(make(nnx.Rngs(0)), nnx.Param, ...)

    def apply(p, x):
        @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
        def through(layer, h):
            return jnp.tanh(layer(h))

        return through(nnx.merge(graph, p, rest), x)

    return Net(apply, params, draw(1, 3, 4), 4, "is inside scan")


def experts() -> Net:
    """Two experts, mixed softly by a gate."""

    def net(p, x):
        gate = jax.nn.softmax(x @ p["gate"])
        z = jnp.einsum("bi,eio->beo", x, p["up"])
        y = jnp.einsum("beo,eoc->bec", jax.nn.silu(z), p["down"])
        return jnp.einsum("be,bec->bc", gate, y), [z]

    params = {"gate": draw(1, 4, 2), "up": draw(2, 2, 4, 5), "down": draw(3, 2, 5, 3)}
    return handed(net, params, draw(4, 3, 4), 3)


def normed_weights() -> Net:
    """Weight norm and spectral norm in Linen."""

    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            z = nn.WeightNorm(nn.Dense(5))(x)
            other = nn.SpectralNorm(nn.Dense(4))(nn.relu(z), update_stats=False)
            return nn.Dense(3)(jnp.tanh(other)), [z, other]

    x = draw(1, 3, 4)
    held = Model().init(jax.random.key(0), x)
    rest = {name: held[name] for name in held if name != "params"}
    apply = lambda p, x: Model().apply({"params": p, **rest}, x)
    return handed(apply, held["params"], x, 3)


def state_space() -> Net:
    """A diagonal complex state-space layer, unrolled."""

    def net(p, x):
        state = jnp.zeros((x.shape[0], 4), jnp.complex64)
        for t in range(x.shape[1]):
            entering = lax.complex(x[:, t], jnp.zeros_like(x[:, t])) @ p["b"]
            state = state * p["lam"][None] + entering
        z = jnp.real(state @ p["c"])
        return jax.nn.gelu(z) @ p["v"], [z]

    pair = lambda seed, *shape: lax.complex(draw(seed, *shape), draw(seed + 9, *shape))
    params = {
        "lam": pair(1, 4) / 2,
        "b": pair(2, 3, 4),
        "c": pair(3, 4, 5),
        "v": draw(4, 5, 3),
    }
    return handed(net, params, draw(5, 2, 3, 3), 3)


def unet() -> Net:
    """Down, up, and the skip between."""

    def net(p, x):
        first = _conv(x, p["in"])
        kept = jax.nn.relu(first)
        small = kept[:, ::2, ::2]
        second = _conv(small, p["middle"])
        h = jnp.repeat(jnp.repeat(jax.nn.relu(second), 2, 1), 2, 2)
        third = _conv(jnp.concatenate([kept, h], -1), p["out"])
        return jax.nn.leaky_relu(third).mean((1, 2)), [first, second, third]

    params = {
        "in": draw(1, 3, 3, 2, 3),
        "middle": draw(2, 3, 3, 3, 4),
        "out": draw(3, 3, 3, 7, 2),
    }
    return handed(net, params, draw(4, 2, 4, 4, 2), 2)


class _Normed(nn.Module):
    average: bool

    @nn.compact
    def __call__(self, x):
        z = nn.BatchNorm(use_running_average=self.average)(nn.Dense(4)(x))
        return nn.Dense(3)(nn.relu(z)), [z]


def batch_norm() -> Net:
    """Batch-norm in evaluation mode."""
    x = draw(1, 5, 4)
    held = _Normed(True).init(jax.random.key(0), x)
    stats = {"batch_stats": held["batch_stats"]}
    apply = lambda p, x: _Normed(True).apply({"params": p, **stats}, x)
    return handed(apply, held["params"], x, 3)


def batch_norm_in_training() -> Net:
    """Batch-norm that mixes the examples."""
    x = draw(1, 5, 4)
    params = _Normed(False).init(jax.random.key(0), x)["params"]

    def apply(p, x):
        stats = {"batch_stats": {"BatchNorm_0": {"mean": _ZERO, "var": _ZERO + 1}}}
        held = {"params": p, **stats}
        return _Normed(False).apply(held, x, mutable="batch_stats")[0]

    return handed(apply, params, x, 3)


_ZERO = jnp.zeros(4)


def equinox_mlp() -> Net:
    """An Equinox MLP, mapped over the batch."""
    model = eqx.nn.MLP(4, 3, 5, 2, activation=jax.nn.relu, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def own(p, x):
        zs = []
        for layer in eqx.combine(p, static).layers[:-1]:
            zs.append(jax.vmap(layer)(x))
            x = jax.nn.relu(zs[-1])
        return zs

    apply = lambda p, x: jax.vmap(eqx.combine(p, static))(x)
    return Net(apply, params, draw(1, 3, 4), 3, own)


ZOO = [
    transformer,
    convnext,
    mobilenet_v3,
    linen_lstm,
    lstm_by_scan,
    linen_scan,
    nnx_scan,
    experts,
    normed_weights,
    state_space,
    unet,
    batch_norm,
    batch_norm_in_training,
    equinox_mlp,
]
