"""Sensitivity from a few classes drawn for each example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pruning

BATCH, CLASSES, DRAWN = 6, 5, 3000


@pytest.fixture(scope="module")
def network():
    keys = jax.random.split(jax.random.key(0), 3)
    params = {
        "a": jax.random.normal(keys[0], (4, 7)),
        "b": jax.random.normal(keys[1], (7, CLASSES)),
    }
    x = jax.random.normal(keys[2], (BATCH, 4))
    return (lambda p, x: jax.nn.relu(x @ p["a"]) @ p["b"]), params, x


@pytest.mark.parametrize("draws", [1, 2, CLASSES])
def test_rows_are_shares_of_different_classes(draws):
    alpha = np.asarray(pruning.sampled(jax.random.key(1), 500, CLASSES, draws))
    assert alpha.shape == (500, CLASSES) and alpha.dtype == np.float32
    np.testing.assert_allclose(alpha.sum(1), 1, rtol=1e-6)
    assert ((alpha > 0).sum(1) == draws).all()
    # each class alike: 500 draws of probability draws/C, 5 standard deviations
    share = (alpha > 0).mean(0)
    p = draws / CLASSES
    assert (abs(share - p) <= 5 * np.sqrt(p * (1 - p) / 500) + 1e-9).all()


@pytest.mark.parametrize("draws", [1, 2])
def test_the_estimate_is_unbiased_with_the_variance_that_is_said(network, draws):
    apply_fn, params, x = network
    exact = pruning.sensitivity(apply_fn, params, x, pruning.unspecific(CLASSES))

    def estimate(params, key):
        alpha = pruning.sampled(key, BATCH, CLASSES, draws)
        return pruning.sensitivity(apply_fn, params, x, alpha, support=draws)

    keys = jax.random.split(jax.random.key(2), DRAWN)
    drawn = jax.jit(jax.vmap(estimate, in_axes=(None, 0)))(params, keys)
    slopes = jax.vmap(lambda e: jax.jacrev(lambda p: apply_fn(p, e[None])[0])(params))
    for name, slope in jax.jit(slopes)(x).items():  # (B, C, ...)
        spread = np.var(np.abs(np.asarray(slope)), axis=1, ddof=1)
        variance = spread.sum(0) * (1 / draws - 1 / CLASSES) / BATCH**2
        got = np.asarray(drawn[name])
        error = np.sqrt(variance / DRAWN)
        assert (abs(got.mean(0) - exact[name]) <= 5 * error + 1e-6).all()
        live = variance > 1e-12
        np.testing.assert_allclose(got.var(0)[live], variance[live], rtol=0.25)


def test_all_classes_are_the_exact_weights():
    alpha = pruning.sampled(jax.random.key(3), BATCH, CLASSES, CLASSES)
    np.testing.assert_allclose(alpha, 1 / CLASSES, rtol=1e-6)


def test_it_drives_the_decay_with_a_key_in_the_batch(network):
    apply_fn, params, x = network

    def felt(params, batch):
        key, image = batch
        alpha = pruning.sampled(key, BATCH, CLASSES)
        return pruning.sensitivity(apply_fn, params, image, alpha, support=1)

    tx = pruning.sensitivity_decay(0.1, sensitivity_fn=felt)
    updates = jax.tree.map(jnp.zeros_like, params)
    key = jax.random.key(4)
    got, _ = jax.jit(tx.update)(updates, tx.init(params), params, batch=(key, x))
    for name, s in felt(params, (key, x)).items():
        want = -0.1 * params[name] * jnp.maximum(1 - s, 0)
        np.testing.assert_allclose(got[name], want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("sizes", "name"),
    [((0, 5, 1), "batch"), ((3, 0, 1), "classes"), ((3, 5, 0), "draws")],
)
def test_sizes_below_one_are_named(sizes, name):
    with pytest.raises(ValueError, match=f"{name}: expected a positive integer, got 0"):
        pruning.sampled(jax.random.key(0), *sizes)
    with pytest.raises(ValueError, match="draws: expected at most classes = 5, got 6"):
        pruning.sampled(jax.random.key(0), 3, 5, 6)
