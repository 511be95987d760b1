"""Sensitivity, pre-activations and PSP of many kinds of networks, by definition.

All of them under ``-m slow``; by default a sample that the seed draws.
"""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pruning
from tests.pruning.zoo import ZOO

SAMPLE = random.Random(15).sample(ZOO, 2)
with_each = pytest.mark.parametrize(
    "make",
    [
        pytest.param(
            make, marks=() if make in SAMPLE else pytest.mark.slow, id=make.__name__
        )
        for make in ZOO
    ],
)


def close(found, wanted):
    # Beside the whole, too: a bias that batch-norm takes out is felt by rounding alone.
    whole = max(float(jnp.abs(w).max()) for w in jax.tree.leaves(wanted))
    for f, w in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        scale = float(jnp.abs(w).max()) + 0.05 * whole
        np.testing.assert_allclose(f, w, atol=2e-5 * scale, rtol=1e-4)


@with_each
def test_sensitivity_is_its_definition_or_refused(make):
    net = make()
    alpha = pruning.unspecific(net.classes)
    reductions = ["abs_mean", "mean_abs"]
    if "training" in make.__name__:
        reductions.remove("mean_abs")
        with pytest.raises(ValueError, match="mixes the examples"):
            pruning.sensitivity(net.apply, net.params, net.x, alpha)
    found, wanted = jax.jit(
        lambda p, x: [
            [
                pruning.sensitivity(
                    net.apply, p, x, alpha, method=method, reduction=reduction
                )
                for reduction in reductions
            ]
            for method in ("taps", "reference")
        ]
    )(net.params, net.x)
    close(found, wanted)


@with_each
def test_pre_activations_and_the_slope_of_psp_are_the_networks_own(make):
    net = make()
    tapped = pruning.preactivations(net.apply, logits=False)
    if isinstance(net.own, str):
        with pytest.raises(ValueError, match=net.own):
            jax.eval_shape(tapped, net.params, net.x)
        return
    both = jax.jit(
        lambda p, x: (
            list(tapped(p, x)[1].values()),
            net.own(p, x),
            jax.grad(lambda p: pruning.psp_penalty(tapped(p, x)[1]))(p),
            jax.grad(lambda p: pruning.psp_penalty(net.own(p, x)))(p),
        )
    )
    found, own, slope, own_slope = both(net.params, net.x)
    assert len(found) == len(own)
    close(found, own)
    close(slope, own_slope)
