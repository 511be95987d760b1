"""Sharpness of losses whose worst and average rise are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import landscape, sharpness
from tests.analysis import networks as nets

CURVES = np.array([4.0, 1.0, 0.25], np.float32)
DATA = jnp.ones((7, 1))
START = {"w": jnp.array([0.5, -1.0, 0.0])}
MASK = {"w": jnp.array([False, True, True])}


def bowl(params, batch):
    """Return 1/2 w' diag(4, 1, 1/4) w."""
    return 0.5 * jnp.sum(jnp.asarray(CURVES) * params["w"] ** 2) * batch.mean()


def slope(params, batch):
    return jnp.array([3.0, 4.0, 0.0]) @ params["w"] * batch.mean()


def worst_rise(radius, kept):
    """Return the largest rise of the bowl on a fine grid of the sphere."""
    random = np.random.default_rng(0).normal(size=(200_000, 3)) * kept
    start = np.asarray(START["w"])
    points = start + radius * random / np.linalg.norm(random, axis=1)[:, None]
    loss = lambda w: 0.5 * np.sum(CURVES * w**2, axis=-1)
    return float(np.max(loss(points)) - loss(start))


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "survivors"])
def test_ascent_finds_the_worst_of_a_bowl(mask):
    kept = np.ones(3) if mask is None else np.asarray(mask["w"])
    wanted = worst_rise(0.7, kept)
    found = sharpness.ascent_sharpness(
        bowl, START, DATA, radius=0.7, steps=12, mask=mask, batch=3
    )
    assert float(found.rise) == pytest.approx(wanted, rel=0.01)
    assert float(found.loss) == pytest.approx(0.5 * (4 * 0.25 + 1))
    assert float(found.rise) == float(found.rises.max())


def test_the_first_step_is_sams():
    found = sharpness.ascent_sharpness(slope, START, DATA, radius=0.5, steps=1)
    assert float(found.rise) == pytest.approx(0.5 * 5, rel=1e-5)
    held = sharpness.ascent_sharpness(slope, START, DATA, radius=0.5, mask=MASK)
    assert float(held.rise) == pytest.approx(0.5 * 4, rel=1e-5)


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "survivors"])
@pytest.mark.parametrize("relative", [False, True])
def test_the_expected_rise_of_a_bowl_is_half_the_trace(mask, relative):
    kept = np.ones(3) if mask is None else np.asarray(mask["w"])
    scale = np.asarray(START["w"]) ** 2 if relative else 1
    wanted = 0.5 * 0.3**2 * np.sum(CURVES * kept * scale)
    found = sharpness.expected_sharpness(
        bowl,
        START,
        DATA,
        jax.random.key(0),
        sigma=0.3,
        draws=400,
        relative=relative,
        mask=mask,
    )
    assert abs(float(found.rise) - wanted) < 3 * float(found.se)
    assert 0 < float(found.se) < 0.3 * wanted
    assert float(found.se) == pytest.approx(float(found.rises.std(ddof=1)) / 20)


@pytest.mark.parametrize("kind", nets.NETWORKS)
def test_networks_are_disturbed_alike(kind):
    apply_fn, params = nets.NETWORKS[kind](0)
    loss_fn = landscape.mean_loss(apply_fn)
    data = nets.data()
    found = sharpness.ascent_sharpness(loss_fn, params, data, radius=0.1, batch=16)
    assert float(found.loss) == pytest.approx(float(loss_fn(params, data)), rel=1e-5)
    average = sharpness.expected_sharpness(
        loss_fn, params, data, jax.random.key(1), sigma=0.01, draws=4, batch=16
    )
    assert float(average.se) > 0 and abs(float(average.rise)) < float(found.rise)


def test_a_slope_alone_is_not_sharp():
    key = jax.random.key(0)
    found = sharpness.expected_sharpness(slope, START, DATA, key, sigma=1.0)
    np.testing.assert_allclose(found.rises, 0, atol=1e-5)


def test_bad_arguments():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="radius: expected a positive number, got 0"):
        sharpness.ascent_sharpness(bowl, START, DATA, radius=0.0)
    with pytest.raises(ValueError, match="steps: expected at least 1"):
        sharpness.ascent_sharpness(bowl, START, DATA, radius=1.0, steps=0)
    with pytest.raises(ValueError, match="mask: leaf w is missing"):
        sharpness.ascent_sharpness(bowl, START, DATA, radius=1.0, mask={})
    with pytest.raises(ValueError, match="mask: leaf w is float32, expected bool"):
        sharpness.expected_sharpness(bowl, START, DATA, key, sigma=1.0, mask=START)
    with pytest.raises(ValueError, match="sigma: expected a positive number, got nan"):
        sharpness.expected_sharpness(bowl, START, DATA, key, sigma=float("nan"))
    with pytest.raises(ValueError, match="draws: expected at least 2"):
        sharpness.expected_sharpness(bowl, START, DATA, key, sigma=1.0, draws=1)
    broken = lambda params, batch: bowl(params, batch) / 0.0
    with pytest.raises(ValueError, match="loss_fn, step: the value at the centre is"):
        sharpness.ascent_sharpness(broken, START, DATA, radius=1.0)
    with pytest.raises(ValueError, match="loss_fn: the value at the centre is not"):
        sharpness.expected_sharpness(broken, START, DATA, key, sigma=1.0)


def test_half_and_complex_weights_rise():
    """A norm of many halves overflows; JAX's complex gradients point elsewhere."""
    halves = {"w": jnp.zeros((300, 300), jnp.float16)}
    bowl = lambda p, d: 5 * (p["w"].astype(jnp.float32) ** 2).sum() + 0 * d.mean()
    found = sharpness.ascent_sharpness(bowl, halves, jnp.ones((4, 1)), radius=0.1)
    assert float(found.rise) == pytest.approx(0.05, rel=0.01)
    well = lambda w, d: jnp.sum(jnp.abs(w - 1j) ** 2) + 0 * d.mean()
    at = jnp.zeros(1, jnp.complex64)
    found = sharpness.ascent_sharpness(
        well, at, jnp.ones((4, 1)), radius=0.1, restarts=0
    )
    assert float(found.rise) == pytest.approx(1.1**2 - 1, rel=1e-3)


def test_a_weighted_loss_has_one_sharpness_whatever_the_batch():
    x = jnp.arange(6.0)
    weigh = lambda part: part.sum()
    loss = lambda w, part: (part * (w[0] * part) ** 2).sum() / part.sum()
    whole, parts = (
        sharpness.ascent_sharpness(
            loss, jnp.ones(1), x, radius=0.1, restarts=0, batch=batch, weight=weigh
        )
        for batch in (6, 2)
    )
    np.testing.assert_allclose(whole.rises, parts.rises, rtol=1e-5)
    whole, parts = (
        sharpness.expected_sharpness(
            loss, jnp.ones(1), x, jax.random.key(0), sigma=0.1, draws=2,
            batch=batch, weight=weigh,
        )
        for batch in (6, 2)
    )  # fmt: skip
    np.testing.assert_allclose(whole.rises, parts.rises, rtol=1e-4)


def test_what_has_no_ascent_is_named():
    each = lambda w, part: (part @ w) ** 2
    with pytest.raises(ValueError, match=r"loss_fn: expected a real scalar.*\(4,\)"):
        sharpness.ascent_sharpness(each, jnp.ones(2), jnp.ones((4, 2)), radius=0.1)
    with pytest.raises(ValueError, match=r"loss_fn: expected a real scalar.*\(4,\)"):
        sharpness.expected_sharpness(
            each, jnp.ones(2), jnp.ones((4, 2)), jax.random.key(0), sigma=0.1
        )
    with pytest.raises(ValueError, match="params: leaf n is int32, expected floats"):
        sharpness.ascent_sharpness(each, {"n": jnp.arange(2)}, jnp.ones(2), radius=0.1)
