"""The U-Net's shapes, its blindness to exposure, and its layers by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.segmentation.unet import (
    UNet,
    UNetConfig,
    centred,
    doubled,
    halved,
    parameters,
)


def test_layers_by_hand():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(halved(x)[0, ..., 0], [[5, 7], [13, 15]])
    np.testing.assert_array_equal(
        doubled(halved(x))[0, :3, :3, 0], [[5, 5, 7], [5, 5, 7], [13, 13, 15]]
    )
    y = centred(jnp.asarray(np.random.default_rng(0).random((2, 8, 8)), jnp.float32))
    np.testing.assert_allclose(y.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(1, 2)), 1, rtol=0.02)


def test_shapes_and_exposure():
    net = UNet(UNetConfig(depth=2, width=2, outputs=2), method="lax")
    x = jax.random.uniform(jax.random.key(0), (2, 8, 12))
    variables = jax.jit(net.init)(jax.random.key(1), x)
    assert set(variables) == {"params"}
    apply = jax.jit(net.apply)
    y = apply(variables, x)
    assert y.shape == (2, 8, 12, 2)
    np.testing.assert_allclose(apply(variables, 0.5 * x + 0.2), y, atol=0.05)
    bent = jnp.asarray(x).at[0].set(0)
    np.testing.assert_allclose(apply(variables, bent)[1], y[1], rtol=1e-4, atol=1e-5)


def test_bad_configs():
    with pytest.raises(ValueError, match="depth: expected at least 1"):
        UNetConfig(depth=0)
    with pytest.raises(ValueError, match="width: expected an even number"):
        UNetConfig(width=3)
    with pytest.raises(ValueError, match="multiples of 8"):
        UNetConfig(depth=3).check_side(64, 60)
    assert parameters(UNetConfig(1, 2)) < parameters(UNetConfig(2, 2))
