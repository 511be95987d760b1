"""Losses by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.train.losses import (
    binary_cross_entropy,
    double_softmax,
    focal,
    loss_function,
    softmax_cross_entropy,
)

LOGITS = jnp.array([[2.0], [-1.0], [0.5]])
LABEL = jnp.array([1, 1, 0])


def test_binary_losses_by_hand():
    p = 1 / (1 + np.exp(-np.array([2.0, -1.0, 0.5])))
    right = np.array([p[0], p[1], 1 - p[2]])
    np.testing.assert_allclose(
        binary_cross_entropy(LOGITS, LABEL), -np.log(right), rtol=1e-6
    )
    np.testing.assert_allclose(
        focal(LOGITS, LABEL), -((1 - right) ** 2) * np.log(right), rtol=1e-5
    )
    np.testing.assert_allclose(
        focal(LOGITS, LABEL, 0.0), binary_cross_entropy(LOGITS, LABEL), rtol=1e-6
    )


def test_focal_and_its_gradient_are_finite_far_out():
    for logit in (-200.0, 200.0):
        value, slope = jax.value_and_grad(
            lambda z: focal(z.reshape(1, 1), jnp.array([1]))[0]
        )(jnp.float32(logit))
        assert bool(jnp.isfinite(value)) and bool(jnp.isfinite(slope))
    assert float(focal(jnp.array([[-200.0]]), jnp.array([1]))[0]) == pytest.approx(200)


def test_double_softmax_by_hand_and_its_floor():
    logits = jnp.array([[1.0, 0.0, -1.0]])
    inner = np.exp([1.0, 0, -1]) / np.exp([1.0, 0, -1]).sum()
    wanted = -math.log(math.exp(inner[1]) / np.exp(inner).sum())
    found = double_softmax(logits, jnp.array([1]))
    assert float(found[0]) == pytest.approx(wanted, rel=1e-6)
    sure = double_softmax(jnp.array([[50.0, 0.0, 0.0]]), jnp.array([0]))
    assert float(sure[0]) == pytest.approx(math.log(1 + 2 / math.e), rel=1e-5)
    # A confident mistake has no gradient left to be mended by.
    wrong = lambda loss: jax.grad(lambda z: loss(z[None], jnp.array([1]))[0])(
        jnp.array([30.0, 0.0, 0.0])
    )
    assert float(jnp.abs(wrong(double_softmax)).max()) < 1e-6
    assert float(jnp.abs(wrong(softmax_cross_entropy)).max()) > 0.9


def test_names():
    assert float(loss_function("focal", 1, 1.0)(LOGITS, LABEL)[0]) == pytest.approx(
        float(focal(LOGITS, LABEL, 1.0)[0])
    )
    with pytest.raises(ValueError, match="loss: expected one of"):
        loss_function("hinge", 1)
    with pytest.raises(ValueError, match="bce needs one output, the network has 3"):
        loss_function("bce", 3)
    with pytest.raises(ValueError, match="softmax needs two outputs or more"):
        loss_function("softmax", 1)
