"""Surveys against one point at a time; batch-norm statistics at every point."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import landscape, paths, planes
from tests.analysis import networks as nets

X, LABEL = nets.data()


def by_hand(outputs, label):
    """Return the mean cross-entropy and the error in float64."""
    z = np.asarray(outputs, np.float64)
    z -= z.max(1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    error = np.mean(z.argmax(1) != np.asarray(label))
    return -log_p[np.arange(len(label)), label].mean(), error


def squared_norm(params, data):
    """Stand in for an eigenvalue."""
    del data
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize(("kind", "lanes"), [("linen", 1), ("nnx", 2)])
def test_a_survey_equals_one_point_at_a_time(kind, lanes):
    apply_fn, first = nets.NETWORKS[kind](0)
    _, second = nets.NETWORKS[kind](1)
    direction = planes.random_direction(jax.random.key(2), first)
    plane = planes.plane_along(first, second, direction)
    places = planes.grid([-0.5, 0.0, 1.0], [0.0, 2.0])[:5]
    found = landscape.survey(
        apply_fn,
        plane,
        places,
        (X, LABEL),
        eigenvalue=squared_norm,
        batch=16,
        lanes=lanes,
    )
    for i, place in enumerate(np.asarray(places)):
        here = plane.at(place)
        loss, error = by_hand(apply_fn(here, X), LABEL)
        assert float(found.loss[i]) == pytest.approx(loss, rel=1e-5)
        assert float(found.error[i]) == pytest.approx(error, abs=1e-6)
        wanted = float(squared_norm(here, None))
        assert float(found.eigenvalue[i]) == pytest.approx(wanted, rel=1e-5)
    np.testing.assert_array_equal(found.places, places)


def test_a_second_survey_of_the_same_kind_compiles_nothing():
    apply_fn, first = nets.linen(0)
    _, second = nets.linen(1)
    apply = jax.jit(apply_fn)
    traced = []

    def counted(params, x):
        traced.append(1)
        return apply(params, x)

    t = jnp.linspace(0, 1, 3)
    one = landscape.survey(counted, paths.line(first, second), t, (X, LABEL))
    seen = len(traced)
    two = landscape.survey(counted, paths.line(second, first), t, (X, LABEL))
    assert len(traced) == seen
    assert one.eigenvalue is None
    np.testing.assert_allclose(one.loss, two.loss[::-1], rtol=1e-5)


def test_the_top_eigenvalue_is_the_dense_hessians():
    apply_fn, params = nets.linen(0)
    loss_fn = landscape.mean_loss(apply_fn)
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    whole = jax.jit(jax.hessian(lambda v: loss_fn(unravel(v), (X, LABEL))))(flat)
    wanted = np.linalg.eigvalsh(np.asarray(whole, np.float64))[-1]
    top = landscape.top_eigenvalue(loss_fn, steps=25, batch=16)
    assert float(jax.jit(top)(params, (X, LABEL))) == pytest.approx(wanted, rel=1e-4)


def test_explore_maps_any_function():
    _, first = nets.linen(0)
    _, second = nets.linen(1)
    way = paths.line(first, second)
    found = landscape.explore(lambda p: squared_norm(p, None), way, [0.0, 0.5, 1.0])
    wanted = [float(squared_norm(way.at(t), None)) for t in (0, 0.5, 1)]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.fixture(scope="module")
def pair():
    """Two networks with batch-norm, each with its own running statistics."""
    made = []
    for seed in (0, 1):
        params, stats = nets.normalised(seed)
        for _ in range(20):
            stats = nets.normalised_update(params, stats, X)
        made.append((params, stats))
    return made


def losses(pair, t, statistics):
    (first, _), (second, _) = pair
    way = paths.line(first, second)
    data = (X, LABEL)
    found = landscape.survey(
        nets.normalised_apply, way, t, data, statistics=statistics, batch=64
    )
    return np.asarray(found.loss)


def test_statistics_are_fixed_interpolated_or_recomputed(pair):
    (first, ours), (second, theirs) = pair
    t = [0.0, 0.5, 1.5]
    zeros = jax.tree.map(jnp.zeros_like, ours)
    found = {
        "fixed": losses(pair, t, landscape.Fixed(ours)),
        "interpolated": losses(pair, t, landscape.Interpolated(ours, theirs)),
        "recomputed": losses(
            pair,
            t,
            landscape.Recomputed(nets.normalised_update, zeros, X, momentum=0.75),
        ),
    }
    half = jax.tree.map(lambda a, b: (a + b) / 2, ours, theirs)
    for i, (place, between) in enumerate(zip(t, (ours, half, theirs), strict=True)):
        here = paths.line(first, second).at(place)
        # Of one batch of all examples the running mean is exact: no momentum left.
        exact = nets.normalised_update(here, zeros, X)
        exact = jax.tree.map(lambda a: a / 0.25, exact)
        for name, stats in (
            ("fixed", ours),
            ("interpolated", between),
            ("recomputed", exact),
        ):
            wanted, _ = by_hand(nets.normalised_apply(here, stats, X), LABEL)
            assert found[name][i] == pytest.approx(wanted, rel=1e-4), (name, place)
    assert abs(found["fixed"][1] - found["recomputed"][1]) > 1e-3


def test_recomputed_statistics_average_over_whole_batches(pair):
    (params, stats), _ = pair
    zeros = jax.tree.map(jnp.zeros_like, stats)
    rule = landscape.Recomputed(nets.normalised_update, zeros, X, 0.75, batch=16)
    found = rule.at(jnp.float32(0), params)
    parts = [nets.normalised_update(params, zeros, X[i : i + 16]) for i in (0, 16)]
    wanted = jax.tree.map(lambda a, b: (a + b) / 2 / 0.25, *parts)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, found, wanted)


def test_bad_surveys(pair):
    apply_fn, first = nets.linen(0)
    way = paths.line(first, first)
    with pytest.raises(ValueError, match="data: expected integer labels"):
        landscape.survey(apply_fn, way, [0.0], (X, LABEL.astype(jnp.float32)))
    with pytest.raises(ValueError, match="data: expected arrays with one leading"):
        landscape.survey(apply_fn, way, [0.0], (X, LABEL[:-1]))
    with pytest.raises(ValueError, match=r"places: expected shape \(n,\) or \(n, 2\)"):
        landscape.survey(apply_fn, way, jnp.zeros((2, 3)), (X, LABEL))
    with pytest.raises(ValueError, match="lanes: expected at least 1"):
        landscape.explore(lambda p: 0, way, [0.0], lanes=0)
    far = jax.tree.map(lambda a: a * jnp.inf, first)
    with pytest.raises(ValueError, match=r"loss: the value at 1.0 is not finite"):
        landscape.survey(apply_fn, paths.line(first, far), [1.0], (X, LABEL))
    (_, stats), _ = pair
    with pytest.raises(ValueError, match="second: leaf BatchNorm_0/mean is missing"):
        losses(pair, [0.5], landscape.Interpolated(stats, {}))
    with pytest.raises(ValueError, match=r"momentum: expected a number in \[0, 1\)"):
        landscape.Recomputed(nets.normalised_update, stats, X, momentum=1.0)
    with pytest.raises(ValueError, match="batch: expected at least 1"):
        landscape.Recomputed(nets.normalised_update, stats, X, batch=0)
