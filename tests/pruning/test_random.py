"""Random small networks: every measure equals its definition, or is refused.

500 of them under ``-m slow``; by default a seeded sample.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from jax import lax

import pruning
from tests.pruning.networks import draw

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "leaky": lambda z: jnp.where(z > 0, z, jnp.asarray(0.1, z.dtype) * z),
    "gelu": jax.nn.gelu,
    "silu": lambda z: z * jax.nn.sigmoid(z),
    "elu": jax.nn.elu,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "mish": jax.nn.mish,
    "hard_swish": jax.nn.hard_swish,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_tanh": lambda z: jnp.clip(z, -1, 1),
}
LAYERS = ("dense", "bias", "scale", "residual", "tied", "mixer", "conv", "part")
TOLERANCE = {"float32": 3e-5, "float64": 1e-10, "bfloat16": 0.05, "complex64": 1e-4}
WIDTH, TOKENS, CLASSES = 4, 3, 3


@st.composite
def networks(draws):
    """Draw (layers, activations, dtype, wrapper): what ``built`` makes a network of."""
    depth = draws(st.integers(1, 4))
    layers = [draws(st.sampled_from(LAYERS)) for _ in range(depth)]
    names = [draws(st.sampled_from([*ACTIVATIONS, "none"])) for _ in range(depth)]
    dtype = draws(st.sampled_from(list(TOLERANCE)))
    return layers, names, dtype, draws(st.sampled_from(["none", "jit", "remat"]))


def drawn(number, shape, dtype):
    if dtype == "complex64":
        return lax.complex(draw(number, *shape), draw(number + 99, *shape)) / 2
    return draw(number, *shape).astype(dtype)


SHAPES = {
    "dense": (WIDTH, WIDTH),
    "tied": (WIDTH, WIDTH),
    "residual": (WIDTH, WIDTH),
    "part": (WIDTH + 2, WIDTH),
    "bias": (1, 1, WIDTH),
    "scale": (1, 1, WIDTH),
    "mixer": (TOKENS, TOKENS),
    "conv": (2, WIDTH, WIDTH),
}


def layer(kind, w, h):
    """Return one layer's output: h and the result have shape (B, tokens, width)."""
    if kind == "bias":
        return h + w
    if kind == "scale":
        return h * w
    if kind == "mixer":
        return jnp.einsum("btf,ts->bsf", h, w)
    if kind == "conv":
        numbers = ("NHC", "HIO", "NHC")
        return lax.conv_general_dilated(h, w, (1,), "SAME", dimension_numbers=numbers)
    if kind == "part":
        return h @ w[1:-1]
    return h + h @ w if kind == "residual" else h @ w


def built(spec):
    """Return (function with z's handed over, params, x) of a drawn network."""
    layers, names, dtype, wrapper = spec
    keys = ["tied" if kind == "tied" else f"{i}" for i, kind in enumerate(layers)]
    params = {
        key: drawn(i + 1, SHAPES[kind], dtype)
        for i, (key, kind) in enumerate(zip(keys, layers, strict=True))
    }
    params["head"] = drawn(9, (WIDTH, CLASSES), dtype)

    def net(p, x):
        h, zs = x.astype(dtype), []
        for key, kind, name in zip(keys, layers, names, strict=True):
            step = lambda w, h, kind=kind: layer(kind, w, h)
            step = {"jit": jax.jit, "remat": jax.checkpoint}.get(
                wrapper, lambda function: function
            )(step)
            h = step(p[key], h)
            if name != "none":
                # Neurons of a complex network act on its real part, as most do.
                z = jnp.real(h)
                zs.append(z)
                h = ACTIVATIONS[name](z).astype(h.dtype)
        return jnp.real(h.mean(1) @ p["head"]), zs

    real = {"float64": "float64", "bfloat16": "bfloat16"}.get(dtype, "float32")
    return net, params, draw(20, 3, TOKENS, WIDTH).astype(real)


def close(found, wanted, tolerance):
    for f, w in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        f, w = (np.asarray(v, np.float64) for v in (f, w))
        assert np.abs(f - w).max() <= tolerance * (np.abs(w).max() + 1e-6)


def check(spec):
    """Assert that all three measures of a network are their definitions, or refused.

    Returns:
        Whether its pre-activations were refused: it has none.
    """
    dtype = spec[2]
    with jax.enable_x64(dtype == "float64"):
        net, params, x = built(spec)
        apply = lambda p, x: net(p, x)[0]
        alpha = pruning.unspecific(CLASSES)
        tapped = pruning.preactivations(apply, logits=False)
        refused = not jax.eval_shape(net, params, x)[1]
        if refused:
            with pytest.raises(ValueError, match="found no"):
                jax.eval_shape(tapped, params, x)

        def measured(p, x):
            felt = [
                pruning.sensitivity(
                    apply, p, x, alpha, method=method, reduction=reduction
                )
                for method in ("taps", "reference")
                for reduction in ("mean_abs", "abs_mean")
            ]
            if refused:
                return felt, []
            # A value that enters two non-linearities is one pre-activation.
            both = [list(tapped(p, x)[1].values()), net(p, x)[1]]
            return felt, [(zs, pruning.psp_penalty(zs)) for zs in both]

        felt, received = jax.jit(measured)(params, x)
        close(felt[:2], felt[2:], TOLERANCE[dtype])
        if received:
            close(*received, TOLERANCE[dtype])
    return refused


@seed(15)
@settings(max_examples=5, deadline=None, database=None)
@given(spec=networks())
def test_a_sample_of_random_networks(spec):
    check(spec)


@pytest.mark.slow
@seed(0)
@settings(max_examples=500, deadline=None, database=None)
@given(spec=networks())
def test_500_random_networks(spec):
    check(spec)
