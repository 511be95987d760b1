"""Scores against one line of NumPy each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pruning import scores

PARAMS = {"w": jnp.array([[1.0, -2.0], [0.0, 4.0]]), "b": jnp.array([-1.0])}
OTHER = {"w": jnp.array([[3.0, 0.5], [-7.0, -1.0]]), "b": jnp.array([2.0])}


def test_magnitude():
    found = scores.magnitude(PARAMS)
    np.testing.assert_array_equal(found["w"], [[1, 2], [0, 4]])
    np.testing.assert_array_equal(found["b"], [1])


def test_saliency_is_weight_times_gradient():
    found = scores.saliency(PARAMS, OTHER)
    np.testing.assert_array_equal(found["w"], [[3, 1], [0, 4]])
    np.testing.assert_array_equal(found["b"], [2])


def test_sensitivity_alone_and_weighted():
    felt = jax.tree.map(jnp.abs, OTHER)
    np.testing.assert_array_equal(scores.sensitivity(PARAMS, felt)["w"], felt["w"])
    weighted = scores.sensitivity(PARAMS, felt, weighted=True)
    np.testing.assert_array_equal(weighted["w"], [[3, 1], [0, 4]])


def test_random_scores_depend_on_the_key_alone(key):
    first = scores.random(PARAMS, key)
    again = scores.random(jax.tree.map(jnp.zeros_like, PARAMS), key)
    other = scores.random(PARAMS, jax.random.key(1))
    np.testing.assert_array_equal(first["w"], again["w"])
    assert bool((first["w"] != other["w"]).all())
    many = scores.random({"w": jnp.zeros((100, 100))}, key)["w"]
    assert float(many.min()) >= 0 and float(many.max()) < 1
    assert abs(float(many.mean()) - 0.5) < 0.02


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_dtypes_are_those_of_the_weights(dtype, key):
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), PARAMS)
    for found in (
        scores.magnitude(params),
        scores.random(params, key),
        scores.saliency(params, OTHER),
        scores.sensitivity(params, OTHER),
        scores.sensitivity(params, OTHER, weighted=True),
    ):
        assert jax.tree.map(lambda leaf: leaf.dtype.name, found) == {
            "w": dtype,
            "b": dtype,
        }


def test_a_product_of_half_floats_is_formed_in_float32():
    params = {"w": jnp.full((1, 1), 2.0**-20, jnp.float16)}
    grads = {"w": jnp.full((1, 1), 2.0**15, jnp.float16)}
    assert float(scores.saliency(params, grads)["w"][0, 0]) == 2.0**-5


def test_bad_trees_are_named():
    with pytest.raises(ValueError, match="grads: leaf b is missing"):
        scores.saliency(PARAMS, {"w": PARAMS["w"]})
    with pytest.raises(ValueError, match=r"sensitivity: leaf w has shape \(1,\)"):
        scores.sensitivity(PARAMS, {"w": jnp.ones(1), "b": jnp.ones(1)})
