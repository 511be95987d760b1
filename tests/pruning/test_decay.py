"""Gated decay, by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pruning import transforms

WEIGHTS = {"w": jnp.array([[2.0, -4.0], [8.0, 0.0]]), "b": jnp.array([-2.0])}
ZEROS = {"w": jnp.zeros((2, 2)), "b": jnp.zeros(1)}
FELT = {"w": jnp.array([[0.0, 0.5], [3.0, 0.25]]), "b": jnp.array([0.75])}


def test_sensitivity_decay_by_hand():
    tx = transforms.sensitivity_decay(0.5)
    start = {"w": jnp.ones((2, 2)), "b": jnp.ones(1)}
    found, state = tx.update(start, tx.init(WEIGHTS), WEIGHTS, sensitivity=FELT)
    # 1 - 0.5 * w * max(0, 1 - S)
    np.testing.assert_array_equal(found["w"], [[0, 2], [1, 1]])
    np.testing.assert_array_equal(found["b"], [1.25])
    assert int(state.sensitivity_decay_count) == 1
    assert state.sensitivity_decay_last is None


def test_loss_sensitivity_decay_uses_the_magnitude_of_the_gradient():
    tx = transforms.loss_sensitivity_decay(0.5)
    grads = {"w": jnp.array([[-0.5, 0.5], [-3.0, 0.0]]), "b": jnp.array([0.0])}
    found, state = tx.update(ZEROS, tx.init(WEIGHTS), WEIGHTS, grads=grads)
    np.testing.assert_array_equal(found["w"], [[-0.5, 1], [0, 0]])
    np.testing.assert_array_equal(found["b"], [1])
    assert int(state.loss_sensitivity_decay_count) == 1
    again, _ = tx.update(ZEROS, tx.init(WEIGHTS), WEIGHTS, raw_grads=grads)
    np.testing.assert_array_equal(again["w"], found["w"])


def test_prunable_says_what_decays():
    tx = transforms.sensitivity_decay(0.5, prunable=lambda name, leaf: leaf.ndim > 1)
    found, _ = tx.update(ZEROS, tx.init(WEIGHTS), WEIGHTS, sensitivity=FELT)
    np.testing.assert_array_equal(found["b"], [0])
    np.testing.assert_array_equal(found["w"], [[-1, 1], [0, 0]])


@pytest.mark.parametrize("make", ["sensitivity_decay", "loss_sensitivity_decay"])
def test_a_rate_may_be_a_schedule_of_the_update_count(make):
    tx = getattr(transforms, make)(lambda count: 0.5 * count.astype(jnp.float32))
    state = tx.init(WEIGHTS)
    for step in range(3):
        found, state = tx.update(ZEROS, state, WEIGHTS, sensitivity=ZEROS, grads=ZEROS)
        np.testing.assert_array_equal(found["b"], [0.5 * step * 2])


def test_decay_in_bfloat16_is_formed_in_float32():
    weights = {"w": jnp.full((1, 1), 3.0, jnp.bfloat16)}
    tx = transforms.sensitivity_decay(1e-3)
    start = {"w": jnp.full((1, 1), 1e-4, jnp.bfloat16)}
    felt = {"w": jnp.full((1, 1), 0.9, jnp.float32)}
    found, _ = tx.update(start, tx.init(weights), weights, sensitivity=felt)
    wanted = np.float32(start["w"][0, 0]) - 1e-3 * 3 * (1 - 0.9)
    assert found["w"].dtype == jnp.bfloat16
    assert float(found["w"][0, 0]) == float(jnp.bfloat16(wanted))


def test_no_gradient_flows_through_the_sensitivity():
    tx = transforms.sensitivity_decay(
        1.0, sensitivity_fn=lambda params, batch: jax.tree.map(jnp.abs, params)
    )

    def moved(weight):
        params = {"w": weight}
        found, _ = tx.update({"w": jnp.zeros((1, 1))}, tx.init(params), params, batch=0)
        return found["w"][0, 0]

    # -w (1 - S) with S held at |w| = 0.25, not -w + w^2.
    slope = jax.grad(moved)(jnp.full((1, 1), 0.25))
    assert float(slope[0, 0]) == -0.75


def test_sensitivity_is_refreshed_every_n_updates():
    calls = []

    def felt(params, batch):
        jax.debug.callback(lambda: calls.append(1))
        return jax.tree.map(lambda w: jnp.full_like(w, batch), params)

    tx = transforms.sensitivity_decay(1.0, sensitivity_fn=felt, refresh=3)
    step = jax.jit(lambda state, batch: tx.update(ZEROS, state, WEIGHTS, batch=batch))
    state = tx.init(WEIGHTS)
    seen = []
    for number in range(7):
        found, state = step(state, jnp.float32(number / 8))
        seen.append(float(found["b"][0]) / 2)
    jax.effects_barrier()
    assert seen == [1.0] * 3 + [1 - 3 / 8] * 3 + [1 - 6 / 8]
    assert len(calls) == 3
    assert float(state.sensitivity_decay_last["w"][0, 0]) == 6 / 8
    eager, _ = tx.update(ZEROS, tx.init(WEIGHTS), WEIGHTS, batch=jnp.float32(0.5))
    np.testing.assert_array_equal(eager["b"], [1.0])


@pytest.mark.parametrize("make", ["sensitivity_decay", "loss_sensitivity_decay"])
@pytest.mark.parametrize("rate", [-0.1, math.nan, math.inf])
def test_bad_rates(make, rate):
    with pytest.raises(ValueError, match="rate: expected a number >= 0"):
        getattr(transforms, make)(rate)


@pytest.mark.parametrize("refresh", [0, -1, 1.5, jnp.float32(2)])
def test_bad_refresh(refresh):
    with pytest.raises(ValueError, match="refresh: expected"):
        transforms.sensitivity_decay(
            0.1, sensitivity_fn=lambda params, batch: params, refresh=refresh
        )


def test_inject_hyperparams_schedules_the_rate():
    inject = optax.inject_hyperparams(
        transforms.sensitivity_decay, static_args=("refresh", "sensitivity_fn")
    )
    tx = inject(lambda count: 0.5 * count.astype(jnp.float32))
    state = tx.init(WEIGHTS)
    for step in range(3):
        found, state = tx.update(ZEROS, state, WEIGHTS, sensitivity=ZEROS)
        np.testing.assert_array_equal(found["b"], [0.5 * step * 2])
    # What is no hyperparameter stays what it is, with no static_args.
    tx = optax.inject_hyperparams(transforms.sensitivity_decay)(
        0.5, sensitivity_fn=lambda params, batch: jax.tree.map(jnp.abs, params)
    )
    state = jax.jit(tx.init)(ZEROS)
    assert list(state.hyperparams) == ["rate"]
    found, _ = tx.update(ZEROS, state, WEIGHTS, batch=0)
    np.testing.assert_array_equal(found["b"], [0.0])
