"""Lines, curves, barriers and the trained way round, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from analysis import paths

A = {"w": jnp.array([[1.0, 2.0]]), "b": jnp.array([0.5])}
B = {"w": jnp.array([[3.0, -2.0]]), "b": jnp.array([0.25])}


def test_a_line_is_exact_at_its_ends_and_straight_between():
    way = paths.line(A, B)
    for t, wanted in ((0, A), (1, B)):
        jax.tree.map(np.testing.assert_array_equal, way.at(t), wanted)
    np.testing.assert_array_equal(way.at(0.25)["w"], [[1.5, 1]])
    np.testing.assert_array_equal(way.at(jnp.float32(-1))["b"], [0.75])


def test_a_curve_bends_half_way_to_its_control_point():
    middle = {"w": jnp.array([[2.0, 8.0]]), "b": jnp.array([1.0])}
    way = paths.Bezier(A, middle, B)
    for t, wanted in ((0, A), (1, B)):
        jax.tree.map(np.testing.assert_array_equal, way.at(t), wanted)
    np.testing.assert_array_equal(way.at(0.5)["w"], [[2, 4]])
    np.testing.assert_array_equal(way.at(0.5)["b"], [0.25 * 0.75 + 0.5])


def test_combinations_keep_the_dtype_and_are_formed_wider():
    first = {"w": jnp.full((1,), 1.0, jnp.bfloat16)}
    second = {"w": jnp.full((1,), 1.0078125, jnp.bfloat16)}  # the next number
    found = paths.Line(first, second).at(jnp.float32(0.4))["w"]
    assert found.dtype == jnp.bfloat16
    assert float(found[0]) == 1.0  # 1.003125, rounded once
    with jax.enable_x64():
        double = {"w": jnp.full((1,), 1.0, jnp.float64)}
        found = paths.combine((1, jnp.float32(0.5)), (double, double))["w"]
        assert found.dtype == jnp.float64


def test_distance_is_over_all_leaves():
    assert float(paths.distance(A, B)) == pytest.approx((4 + 16 + 1 / 16) ** 0.5)


def test_the_barrier_is_the_height_above_the_chord():
    t = [0, 0.25, 0.5, 1]
    assert paths.barrier(t, [1.0, 2.0, 5.0, 3.0]) == 3.0  # 5 - (1 + 3) / 2
    assert paths.barrier(t, [3.0, 1.0, 0.0, 1.0]) == 0.0


@pytest.mark.parametrize(
    ("t", "loss", "message"),
    [
        ([0, 1], [1.0], "loss: expected one for each position"),
        ([0.1, 1], [1.0, 1.0], "t: expected to begin at 0 and end at 1"),
        ([0, 0.5, 1], [1.0, np.nan, 1.0], r"loss: the value at 0.5 is not finite"),
    ],
)
def test_bad_barriers(t, loss, message):
    with pytest.raises(ValueError, match=message):
        paths.barrier(t, loss)


def ring(params, batch):
    """Return a loss that is 0 on the unit circle alone."""
    return ((params["w"] @ params["w"] - 1) ** 2 + 0 * batch).mean()


def on_circle(degrees):
    angle = np.deg2rad(degrees)
    return {"w": jnp.array([np.cos(angle), np.sin(angle)], jnp.float32)}


def heights(way):
    return [float(ring(way.at(t), jnp.zeros(1))) for t in np.linspace(0, 1, 21)]


def test_connecting_bends_round_a_barrier():
    first, second = on_circle(0), on_circle(120)
    t = np.linspace(0, 1, 21)
    straight = paths.barrier(t, heights(paths.line(first, second)))
    assert straight == pytest.approx((0.25 - 1) ** 2, abs=1e-6)  # half way: |w| = 1/2
    data, key = jnp.zeros(7), jax.random.key(0)
    found = paths.connect(
        ring, first, second, data, key, steps=200, batch=2, optimizer=optax.adam(0.03)
    )
    assert found.losses.shape == (200,)
    assert paths.barrier(t, heights(found.path)) < 0.1 * straight
    assert found.path.first is first and found.path.second is second


def test_a_connection_stays_within_its_mask():
    first, second = on_circle(0), on_circle(120)
    mask = {"w": jnp.array([True, False])}
    found = paths.connect(
        ring, first, second, jnp.zeros(3), jax.random.key(0), steps=5, mask=mask
    )
    assert float(found.path.middle["w"][1]) == 0.0
    assert float(found.path.middle["w"][0]) != 0.0


def test_bad_connections():
    first, key = on_circle(0), jax.random.key(0)
    good = (first, on_circle(90), jnp.zeros(3), key)
    with pytest.raises(ValueError, match="second: leaf w is missing"):
        paths.connect(ring, first, {"v": first["w"]}, jnp.zeros(3), key)
    with pytest.raises(ValueError, match="steps: expected at least 1, got 0"):
        paths.connect(ring, *good, steps=0)
    with pytest.raises(ValueError, match="batch: expected at least 1"):
        paths.connect(ring, *good, batch=0)
    with pytest.raises(ValueError, match="mask: leaf w is missing"):
        paths.connect(ring, *good, mask={})
    with pytest.raises(ValueError, match="data: expected arrays"):
        paths.connect(ring, first, on_circle(90), jnp.zeros((0, 2)), key)
    blowing = lambda params, batch: ring(params, batch) / 0.0
    with pytest.raises(ValueError, match="loss_fn, step: the value at 1 is not finite"):
        paths.connect(blowing, *good, steps=2)


def test_distances_and_lines_of_any_leaf():
    """Halves overflow where they are squared, and a number has no dtype of its own."""
    far = {"w": jnp.full((200, 200), 3.0, jnp.float16), "t": 1.0}
    near = {"w": jnp.zeros((200, 200), jnp.float16), "t": 1.0}
    assert float(paths.distance(far, near)) == pytest.approx(600)
    small, large = ({"w": jnp.array([n], jnp.uint8)} for n in (1, 2))
    assert float(paths.distance(small, large)) == 1
    middle = paths.line(far, near).at(0.5)
    assert float(middle["t"]) == 1
    assert middle["w"].dtype == jnp.float16


def test_a_place_of_a_plane_is_none_of_a_line():
    two = {"w": jnp.ones((3, 2))}
    with pytest.raises(ValueError, match=r"t: expected one position, got shape \(2,\)"):
        paths.line(two, two).at(jnp.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="t: the value at 1 is not finite"):
        paths.barrier([0, np.nan, 1], [1.0, 2.0, 1.0])


def test_a_complex_middle_goes_downhill():
    """JAX's gradient of a complex weight is the conjugate of the way up."""
    well = lambda w, batch: jnp.sum(jnp.abs(w - 1j) ** 2) + 0 * batch.mean()
    ends = jnp.zeros(1, jnp.complex64)
    found = paths.connect(
        well, ends, ends, jnp.ones(4), jax.random.key(0), steps=20,
        optimizer=optax.sgd(0.1),
    )  # fmt: skip
    assert float(found.path.middle[0].imag) > 0.3
    with pytest.raises(ValueError, match="first: leaf n is int32, expected floats"):
        whole = {"n": jnp.arange(3)}
        paths.connect(well, whole, whole, jnp.ones(4), jax.random.key(0))
