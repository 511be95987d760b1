"""Counting, applying and combining masks, by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pruning import masks
from tests.pruning.references import every, oracle, same


def test_count_and_density_name_their_denominator():
    mask = {"w": jnp.array([[True, False], [True, True]]), "b": jnp.array([False])}
    counts = masks.count(mask)
    assert counts == masks.Counts(3, 4, {"w": masks.LeafCount(3, 4)})
    assert all(type(n) is int for n in (counts.kept, counts.total))
    assert masks.count(mask, prunable=every).total == 5
    assert masks.density(mask) == 0.75
    assert masks.density(mask, prunable=every) == 0.6
    traced = jax.jit(lambda m: masks.count(m).kept)(mask)
    assert traced.dtype == jnp.int32 and int(traced) == 3
    assert float(jax.jit(masks.density)(mask)) == 0.75


# Application and algebra.


def test_apply_mask_clears_what_is_not_finite():
    params = {"w": jnp.array([[jnp.nan, jnp.inf], [-0.0, 3.0]]), "b": jnp.ones(2)}
    mask = {"w": jnp.array([[False, False], [False, True]]), "b": jnp.ones(2, bool)}
    found = masks.apply_mask(params, mask)
    np.testing.assert_array_equal(found["w"], [[0, 0], [0, 3]])
    assert not np.signbit(np.asarray(found["w"])).any()
    np.testing.assert_array_equal(found["b"], [1, 1])


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_threshold_mask_keeps_the_threshold_itself(dtype):
    params = {"w": jnp.array([[0.5, -0.5], [0.25, jnp.nan]], dtype), "b": jnp.zeros(2)}
    found = jax.jit(masks.threshold_mask)(params, 0.5)
    np.testing.assert_array_equal(found["w"], [[True, True], [False, False]])
    assert found["b"].dtype == bool and bool(found["b"].all())
    everywhere = masks.threshold_mask(params, 0.5, prunable=every)
    assert not bool(everywhere["b"].any())


def test_magnitude_mask_is_selection_by_absolute_value(key):
    params = {"w": jax.random.normal(key, (5, 6)), "b": jnp.ones(6)}
    found = masks.magnitude_mask(params, 0.2)
    assert jax.tree.structure(found) == jax.tree.structure(params)
    same(found, oracle({"w": np.abs(params["w"])}, 0.2))
    assert bool(found["b"].all())


def test_mask_algebra():
    first = {"w": jnp.array([True, True, False, False])}
    second = {"w": jnp.array([True, False, True, False])}
    both, either = masks.intersect(first, second), masks.union(first, second)
    np.testing.assert_array_equal(both["w"], [1, 0, 0, 0])
    np.testing.assert_array_equal(either["w"], [1, 1, 1, 0])
    assert masks.flips(first, second) == masks.Flips(pruned=1, regrown=1)
    assert masks.flips(first, both) == masks.Flips(pruned=1, regrown=0)
    assert bool(masks.full_mask(first)["w"].all())
    shapes = {"w": jax.ShapeDtypeStruct((2, 3), jnp.float32)}
    assert masks.full_mask(shapes)["w"].shape == (2, 3)


def test_other_bad_input():
    mask = {"layer": {"kernel": jnp.ones((2, 2), bool)}}
    params = {"layer": {"kernel": jnp.ones((2, 3))}}
    with pytest.raises(ValueError, match=r"mask: leaf layer/kernel has shape \(2, 2\)"):
        masks.apply_mask(params, mask)
    with pytest.raises(ValueError, match="mask: leaf layer/kernel is float32"):
        masks.apply_mask(params, params)
    with pytest.raises(ValueError, match="mask: unexpected leaf other"):
        masks.apply_mask(params, {"layer": params["layer"], "other": mask})
    with pytest.raises(ValueError, match="threshold: expected a number >= 0"):
        masks.threshold_mask(params, -1e-3)
    with pytest.raises(ValueError, match="threshold: expected a number >= 0"):
        masks.threshold_mask(params, math.nan)
    with pytest.raises(ValueError, match="mask: no leaf is prunable"):
        masks.density({"b": jnp.ones(2, bool)})
    with pytest.raises(ValueError, match="scores: leaf w is int32"):
        masks.select({"w": jnp.ones((2, 2), jnp.int32)}, 0.5)
    with pytest.raises(ValueError, match="2147483648 prunable weights"):
        jax.eval_shape(
            lambda x: masks.select(x, 0.5),
            jax.ShapeDtypeStruct((2**16, 2**15), jnp.float32),
        )
    with pytest.raises(ValueError, match="second: leaf w is missing"):
        masks.union({"w": jnp.ones(2, bool)}, {})
    with pytest.raises(ValueError, match="after: leaf w is int32"):
        masks.flips({"w": jnp.ones(2, bool)}, {"w": jnp.ones(2, jnp.int32)})
    with pytest.raises(ValueError, match="block: expected positive sides"):
        masks.block((0, 2))
    with pytest.raises(ValueError, match="n_m: expected 1 <= n <= m"):
        masks.n_m(5, 4)
    with pytest.raises(ValueError, match="reduction: expected 'mean' or 'sum'"):
        masks.neuron("median")


def test_the_metrics_of_a_mask_are_its_counts_leaf_by_leaf():
    rng = np.random.default_rng(0)
    draw = lambda: {
        "a": {"kernel": jnp.asarray(rng.random((4, 5)) < 0.5)},
        "b": {"kernel": jnp.asarray(rng.random((3, 2)) < 0.5)},
        "bias": jnp.ones(3, bool),
    }
    before, after = draw(), draw()
    metrics = masks.mask_metrics(after, before)
    old, new = (np.asarray(tree["a"]["kernel"]) for tree in (before, after))
    assert metrics["density/a/kernel"] == new.mean()
    assert metrics["pruned/a/kernel"] == (old & ~new).sum()
    assert metrics["regrown/a/kernel"] == (new & ~old).sum()
    assert metrics["density"] == masks.density(after)
    assert (metrics["pruned"], metrics["regrown"]) == masks.flips(before, after)
    assert set(masks.mask_metrics(after)) == {
        *("density", "density/a/kernel", "density/b/kernel")
    }
    assert all(type(value) is float for value in metrics.values())
    with pytest.raises(ValueError, match="mask"):
        masks.mask_metrics(after, {"a": before["a"]})
