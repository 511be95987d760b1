"""Straight-through: signs forward, gradients handed on, norms folded exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from binary.network import model, straight

LAYERS = (model.Dense(31), model.Dense(21), model.Dense(3))
# One program each; op by op, every operation is compiled by itself.
RUN = jax.jit(straight.run, static_argnums=0)


@pytest.fixture(scope="module")
def network():
    init = jax.jit(lambda key: model.init(key, LAYERS, (11,), wanted=0.3))
    params = init(jax.random.key(0))
    for key, own in zip(
        jax.random.split(jax.random.key(2), 3), params.values(), strict=True
    ):
        own["bias"] = 0.3 * jax.random.normal(key, own["bias"].shape)
    return params, jax.random.normal(jax.random.key(1), (64, 11))


def test_straight_signs_hand_the_gradient_on():
    x = jnp.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    np.testing.assert_array_equal(straight.straight_sign(x), [-1, -1, 1, 1, 1])
    slope = jax.vmap(jax.grad(straight.straight_sign))(x)
    np.testing.assert_array_equal(slope[jnp.array([0, 1, 3, 4])], [0, 1, 1, 0])


def test_the_run_is_batch_normalisation_and_signs_by_hand(network):
    params, x = network
    values = np.asarray(x, np.float64)
    for index in range(3):
        own = params[f"layer_{index}"]
        w = np.where(np.asarray(own["m"]) >= 0, 1.0, -1.0)
        z = values @ w / np.sqrt(w.shape[0])
        if index < 2:
            z = (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-4)
            values = np.where(z + np.asarray(own["bias"]) >= 0, 1.0, -1.0)
    found, norms = RUN(LAYERS, params, x)
    assert len(norms) == 2
    np.testing.assert_allclose(found, z + np.asarray(own["bias"]), atol=1e-4)


def test_folding_gives_the_same_network_without_norms(network):
    params, x = network
    folded = jax.jit(straight.fold, static_argnums=0)(LAYERS, params, x)
    hard = model.run_signs(LAYERS, model.mode(folded), x)
    field, _ = RUN(LAYERS, params, x)
    np.testing.assert_allclose(hard, field * np.sqrt(21), atol=1e-3)
    np.testing.assert_array_equal(folded["layer_2"]["bias"], params["layer_2"]["bias"])


def test_every_parameter_gets_a_gradient(network):
    params, x = network
    loss = lambda p: jnp.square(straight.logits(LAYERS, p, x)).mean()
    for own in jax.jit(jax.grad(loss))(params).values():
        assert all(float(jnp.abs(g).max()) > 0 for g in own.values())
