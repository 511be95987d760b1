"""The value of the sensitivity's regulariser, beside the integral that it is."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pruning
from tests import unchecked


def test_the_value_by_hand():
    params = {"w": jnp.asarray([[2.0, -4.0]]), "b": jnp.asarray([1.0])}
    felt = {"w": jnp.asarray([[0.25, 3.0]]), "b": jnp.asarray([0.5])}
    # 2 * 0.75 + 8 * 0 + 0.5 * 0.5
    assert float(pruning.sensitivity_penalty(params, felt)) == pytest.approx(1.75)
    weights = pruning.weights_only
    alone = pruning.sensitivity_penalty(params, felt, prunable=weights)
    assert float(alone) == pytest.approx(1.5)


def test_its_slope_with_s_held_is_the_decay():
    params = {"w": jnp.asarray([[2.0, -4.0, 0.5]])}
    felt = {"w": jnp.asarray([[0.25, 3.0, 0.9]])}
    value = lambda p: pruning.sensitivity_penalty(p, felt)
    slope: Any = jax.grad(value)(params)
    tx = pruning.sensitivity_decay(1.0)
    zero = jax.tree.map(jnp.zeros_like, params)
    shrink: Any
    shrink, _ = tx.update(zero, tx.init(params), params, sensitivity=felt)
    np.testing.assert_allclose(-shrink["w"], slope["w"], rtol=1e-6)


def test_a_sum_in_half_precision_is_taken_in_float32():
    params = {"w": jnp.full((64, 64), 1.0, jnp.bfloat16)}
    felt = {"w": jnp.zeros((64, 64), jnp.bfloat16)}
    value = pruning.sensitivity_penalty(params, felt)
    assert value.dtype == jnp.float32 and float(value) == 2048


def test_a_tree_that_does_not_fit_is_named():
    one = jnp.ones(2)
    with pytest.raises(ValueError, match="sensitivity: leaf b is missing"):
        pruning.sensitivity_penalty({"a": one, "b": one}, {"a": one})


# --- smooth activations -----------------------------------------------------------


def smooth(params, x):
    return jnp.tanh(x @ params["a"]) @ params["b"]


@pytest.fixture(scope="module")
def small():
    keys = jax.random.split(jax.random.key(1), 3)
    params = {
        "a": 0.4 * jax.random.normal(keys[0], (2, 3)),
        "b": 0.4 * jax.random.normal(keys[1], (3, 2)),
    }
    return params, jax.random.normal(keys[2], (3, 2))


def test_the_series_is_the_integral_of_the_decay(small):
    """R = sum_i int_0^w_i w (1 - S_i(w)) dw, with dS/dw by autodiff, by Gauss."""
    params, x = small
    alpha = pruning.unspecific(2)
    nodes, shares = np.polynomial.legendre.leggauss(24)

    def integrand(name, place, w):
        moved = {**params, name: params[name].at[place].set(w)}
        return w * (1 - pruning.sensitivity(smooth, moved, x, alpha)[name][place])

    total = 0.0
    for name, leaf in params.items():
        for place in np.ndindex(leaf.shape):
            end = float(leaf[place])
            points = jnp.asarray(end * (nodes + 1) / 2, jnp.float32)
            values = jax.vmap(lambda w, n=name, p=place: integrand(n, p, w))(points)
            total += end / 2 * float(np.dot(shares, np.asarray(values)))
    series = [
        float(pruning.sensitivity_penalty_series(smooth, params, x, alpha, terms=m))
        for m in (1, 5)
    ]
    assert series[1] == pytest.approx(total, rel=2e-4)
    assert abs(series[1] - total) < abs(series[0] - total) / 10


def test_one_term_is_the_value_of_a_relu_network(small):
    params, x = small
    relu = lambda p, x: jax.nn.relu(x @ p["a"]) @ p["b"]
    alpha = pruning.unspecific(2)
    felt = pruning.sensitivity(relu, params, x, alpha)
    value = pruning.sensitivity_penalty(params, felt)
    for terms in (1, 3):  # the higher derivatives vanish
        series = pruning.sensitivity_penalty_series(relu, params, x, alpha, terms=terms)
        np.testing.assert_allclose(series, value, rtol=1e-5)


def test_a_series_has_a_term():
    with pytest.raises(ValueError, match="terms: expected a positive integer, got 0"):
        pruning.sensitivity_penalty_series(smooth, {}, 0, 0, terms=0)
    with unchecked(), pytest.raises(ValueError, match="terms: expected an integer"):
        pruning.sensitivity_penalty_series(smooth, {}, 0, 0, terms=2.5)
