"""MobileNet-v2: the hand count, and one block against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synaptax.nets import mobilenet, models
from tests.synaptax.nets.convolutions import (
    entering_relus,
    random_tree,
    reference_convolve,
    reference_depthwise,
    reference_norm,
)


def test_the_network_has_the_hand_count(key):
    net = models.network("mobilenet_v2", 10, (32, 32, 3))
    params, _ = jax.eval_shape(net.init, key)
    total = 9 * 3 * 32 + 2 * 32
    inputs = 32
    for expansion, filters, blocks, _ in mobilenet.STAGES:
        for _ in range(blocks):
            hidden = expansion * inputs
            expand = inputs * hidden + 2 * hidden if expansion > 1 else 0
            depthwise = 9 * hidden + 2 * hidden
            total += expand + depthwise + hidden * filters + 2 * filters
            inputs = filters
    total += 320 * 1280 + 2 * 1280 + 1280 * 10 + 10
    counted = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert counted == total == 2_236_682


def test_relus_of_the_network_see_the_strides_of_a_small_image(key):
    net = models.network("mobilenet_v2", 10, (32, 32, 3))
    params, stats = jax.eval_shape(net.init, key)
    entering = entering_relus(net.apply, params, stats, jnp.zeros((1, 32, 32, 3)))
    assert len(entering) == 1 + 1 + 2 * 16 + 1  # stem, first block, the others, last
    sides = [shape[1] for shape, _ in entering]
    assert (sides[0], sides[-1]) == (32, 4)


@pytest.mark.parametrize(("filters", "stride"), [(3, 1), (5, 1), (3, 2)])
def test_a_block_equals_the_numpy_reference(key, filters, stride):
    block = mobilenet.InvertedResidual(filters, 2, stride)
    x = jax.random.normal(key, (2, 5, 6, 3))
    shapes = jax.eval_shape(block.init, key, x)
    params = jax.tree.map(lambda a: a - 1.1, random_tree(key, shapes["params"]))
    stats = random_tree(jax.random.key(1), shapes["batch_stats"])
    given = jax.jit(block.apply)({"params": params, "batch_stats": stats}, x)
    p, s, x = jax.tree.map(np.asarray, (params, stats, x))
    norm = lambda y, n: reference_norm(y, p[n], s[n])
    y = reference_convolve(x, p["Expand"]["kernel"])
    y = np.maximum(norm(y, "BatchNorm_0"), 0)
    y = reference_depthwise(y, p["Depthwise"]["kernel"], stride=stride, pad=1)
    y = np.maximum(norm(y, "BatchNorm_1"), 0)
    y = norm(reference_convolve(y, p["Project"]["kernel"]), "BatchNorm_2")
    expected = y + x if (filters, stride) == (3, 1) else y
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)
