"""Planes: right angles, equal scales, and filters by an explicit loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from analysis import planes
from tests import unchecked


def drawn(seed):
    keys = jax.random.split(jax.random.key(seed), 3)
    return {
        "conv": jax.random.normal(keys[0], (3, 3, 2, 4)),
        "dense": jax.random.normal(keys[1], (5, 3)),
        "bias": jax.random.normal(keys[2], (3,)),
    }


A, B, C = drawn(0), drawn(1), drawn(2)


def norm(tree):
    return float(optax.tree.norm(tree))


def test_the_axes_are_orthogonal_and_of_one_length():
    plane = planes.plane_along(A, B, C)
    length = norm(plane.right)
    assert abs(float(optax.tree.vdot(plane.right, plane.up))) < 1e-5 * length**2
    assert norm(plane.up) == pytest.approx(length, rel=1e-6)
    jax.tree.map(np.testing.assert_array_equal, plane.at((0, 0)), A)
    close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6)
    jax.tree.map(close, plane.at((1, 0)), B)


def test_a_plane_through_three_solutions_holds_them_all():
    plane = planes.plane_through(A, B, C)
    for solution, wanted in ((A, (0, 0)), (B, (1, 0)), (C, None)):
        place = planes.locate(plane, solution)
        if wanted is not None:
            np.testing.assert_allclose(place, wanted, atol=1e-5)
        close = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4)
        jax.tree.map(close, plane.at(place), solution)


def test_a_filter_gets_the_norm_of_the_networks_own():
    weights = {**A, "conv": A["conv"].at[..., 1].set(0)}
    steps = {**B, "dense": B["dense"].at[:, 2].set(0)}
    found = planes.filter_normalised(steps, weights)
    np.testing.assert_array_equal(found["bias"], np.zeros(3))
    for name in ("conv", "dense"):
        for unit in range(weights[name].shape[-1]):
            own, step = np.asarray(weights[name][..., unit]), steps[name][..., unit]
            size = np.linalg.norm(step)
            wanted = 0 if size == 0 else step * np.linalg.norm(own) / size
            np.testing.assert_allclose(
                found[name][..., unit], np.broadcast_to(wanted, own.shape), rtol=1e-5
            )
    plane = planes.plane_along(weights, B, steps, normalisation="filter")
    # Within the plane's program and alone: equal to rounding.
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    jax.tree.map(close, plane.up, found)


def test_random_directions_keep_to_their_mask():
    mask = jax.tree.map(lambda a: a > 0, A)
    key = jax.random.key(7)
    found = planes.random_direction(key, A, mask=mask)
    same = planes.random_direction(key, A, mask=mask)
    jax.tree.map(np.testing.assert_array_equal, found, same)
    jax.tree.map(lambda d, m: np.testing.assert_array_equal(d != 0, m), found, mask)
    whole = planes.random_direction(key, {"w": jnp.zeros((100, 100))})["w"]
    assert abs(float(whole.mean())) < 0.03 and abs(float(whole.std()) - 1) < 0.03


def test_the_grid_runs_along_its_first_coordinate():
    found = planes.grid([0.0, 1.0, 2.0], [5.0, 6.0])
    np.testing.assert_array_equal(
        found, [[0, 5], [1, 5], [2, 5], [0, 6], [1, 6], [2, 6]]
    )


def test_bad_planes():
    with pytest.raises(ValueError, match="second: equal to first"):
        planes.plane_along(A, A, C)
    along = jax.tree.map(lambda a, b: 2 * (b - a), A, B)
    with pytest.raises(ValueError, match="direction: lies along the line"):
        planes.plane_along(A, B, along)
    with pytest.raises(ValueError, match="normalisation: expected 'orthogonal' or"):
        planes.plane_along(A, B, C, normalisation="unit")
    with pytest.raises(ValueError, match="direction: leaf bias is missing"):
        planes.plane_along(A, B, {k: v for k, v in C.items() if k != "bias"})
    with pytest.raises(ValueError, match="third: leaf dense has shape"):
        planes.plane_through(A, B, {**C, "dense": jnp.zeros((3, 5))})
    with pytest.raises(ValueError, match="mask: leaf bias is float32, expected bool"):
        planes.random_direction(jax.random.key(0), A, mask=A)


def test_filters_of_stacked_layers_complex_weights_and_numbers():
    stacked = {
        "kernel": jnp.arange(24.0).reshape(3, 2, 4),  # three layers
        "bias": jnp.ones((3, 4)),
        "attention": {"bias": jnp.ones((2, 2))},
    }
    ones = jax.tree.map(jnp.ones_like, stacked)
    scan = {"layers": {n: stacked[n] for n in ("kernel", "bias")}}
    found = planes.filter_normalised({"layers": {**ones, **{}}}, {"layers": stacked})
    assert not found["layers"]["attention"]["bias"].any()
    found = planes.filter_normalised(jax.tree.map(jnp.ones_like, scan), scan)["layers"]
    assert not found["bias"].any()
    own = np.linalg.norm(stacked["kernel"], axis=1)
    np.testing.assert_allclose(np.linalg.norm(found["kernel"], axis=1), own, rtol=1e-6)
    wave = {"w": jnp.array([[3 + 4j, 1], [0, 1]], jnp.complex64), "t": 2.0}
    step = {"w": jnp.ones((2, 2), jnp.complex64), "t": 1.0}
    found = planes.filter_normalised(step, wave)
    np.testing.assert_allclose(np.linalg.norm(found["w"], axis=0), [5, 2**0.5], 1e-6)
    assert float(found["t"]) == 0


def test_planes_of_halves_and_complex_weights():
    key = jax.random.key(0)
    for dtype in (jnp.float16, jnp.complex64):
        first = {"w": jnp.zeros((200, 200), dtype)}
        second = {"w": jnp.full((200, 200), 3, dtype)}
        drawn = planes.random_direction(key, second)
        plane = planes.plane_along(first, second, drawn)
        a, b = planes.locate(plane, second)
        assert (a, b) == pytest.approx((1, 0), abs=1e-3)
        assert plane.at((0.5, 0.5))["w"].dtype == dtype


def test_more_bad_planes():
    with unchecked(), pytest.raises(ValueError, match="key: expected one PRNG key"):
        planes.random_direction(0, jnp.ones(3))
    whole = planes.random_direction(jax.random.key(0), {"n": jnp.arange(3), "t": 1.0})
    assert not whole["n"].any() and whole["t"] != 0
    flat = planes.Plane(jnp.zeros(2), jnp.ones(2), jnp.ones(2))
    with pytest.raises(ValueError, match="plane: its axes are parallel or zero"):
        planes.locate(flat, jnp.ones(2))
    with pytest.raises(ValueError, match=r"place: expected two .* got shape \(\)"):
        flat.at(0.5)
