"""Residual networks: counts by hand, values against NumPy, the two modes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synaptax.nets import models, resnets
from tests.synaptax.nets.convolutions import (
    entering_relus,
    random_tree,
    reference_convolve,
    reference_norm,
)


def small(project):
    return resnets.ResNet(3, (2, 4), 1, project=project)


def count(name):
    net = models.network(name, 10, (32, 32, 3))
    params, _ = jax.eval_shape(net.init, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def conv_norm(inputs, outputs, size=3):
    return size * size * inputs * outputs + 2 * outputs


def block(inputs, outputs, project=False):
    shortcut = conv_norm(inputs, outputs, 1) if project else 0
    return conv_norm(inputs, outputs) + conv_norm(outputs, outputs) + shortcut


@pytest.mark.parametrize(
    ("name", "blocks", "published"),
    [("resnet20", 3, 269_722), ("resnet32", 5, 464_154)],
)
def test_option_a_networks_have_the_hand_count(name, blocks, published):
    stages = [(16, 16), (16, 32), (32, 64)]
    by_hand = conv_norm(3, 16) + 64 * 10 + 10
    for inputs, outputs in stages:
        by_hand += block(inputs, outputs) + (blocks - 1) * block(outputs, outputs)
    assert count(name) == by_hand == published


def test_resnet18_has_the_hand_count():
    by_hand = conv_norm(3, 64) + 512 * 10 + 10 + 2 * block(64, 64)
    for inputs, outputs in [(64, 128), (128, 256), (256, 512)]:
        by_hand += block(inputs, outputs, True) + block(outputs, outputs)
    assert count("resnet18") == by_hand == 11_173_962


def test_option_a_takes_every_second_pixel_and_adds_empty_channels():
    x = jnp.arange(2 * 3 * 4 * 2, dtype=jnp.float32).reshape(2, 3, 4, 2)
    y = resnets.option_a(x, 5, 2)
    assert y.shape == (2, 2, 2, 5)
    np.testing.assert_array_equal(y[..., 1:3], x[:, ::2, ::2])
    np.testing.assert_array_equal(y[..., [0, 3, 4]], 0)


def reference_block(x, layer, moments, stride):
    norm = lambda y, n: reference_norm(y, layer[n], moments[n])
    y = reference_convolve(x, layer["Conv_0"]["kernel"], stride=stride, pad=1)
    y = np.maximum(norm(y, "BatchNorm_0"), 0)
    y = norm(reference_convolve(y, layer["Conv_1"]["kernel"], pad=1), "BatchNorm_1")
    if "Conv_2" in layer:
        shortcut = reference_convolve(x, layer["Conv_2"]["kernel"], stride=stride)
        return np.maximum(y + norm(shortcut, "BatchNorm_2"), 0)
    if stride == 2:
        shortcut = np.zeros_like(y)
        shortcut[..., 1:3] = x[:, ::2, ::2]
        return np.maximum(y + shortcut, 0)
    return np.maximum(y + x, 0)


def reference_small(params, stats, x):
    x = reference_convolve(x, params["Conv_0"]["kernel"], pad=1)
    x = np.maximum(reference_norm(x, params["BatchNorm_0"], stats["BatchNorm_0"]), 0)
    for name, stride in (("Block_0_0", 1), ("Block_1_0", 2)):
        x = reference_block(x, params[name], stats[name], stride)
    return x.mean((1, 2)) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]


@pytest.mark.parametrize("project", [False, True])
def test_evaluation_equals_the_numpy_reference(key, project):
    model = small(project)
    x = jax.random.normal(key, (2, 6, 6, 3))
    shapes = jax.eval_shape(model.init, key, x)
    params = jax.tree.map(lambda a: a - 1.1, random_tree(key, shapes["params"]))
    stats = random_tree(jax.random.key(1), shapes["batch_stats"])
    variables = {"params": params, "batch_stats": stats}
    host = jax.tree.map(np.asarray, (params, stats, x))
    given = jax.jit(model.apply)(variables, x)
    np.testing.assert_allclose(given, reference_small(*host), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("project", [False, True])
def test_evaluation_by_the_moments_of_a_batch_is_training_on_it(key, project):
    model = small(project)
    x = jax.random.normal(key, (4, 6, 6, 3))
    variables = jax.jit(model.init)(key, x)
    logits, moved = jax.jit(
        lambda v: model.apply(v, x, train=True, mutable=["batch_stats"])
    )(variables)
    # running <- 0.9 running + 0.1 batch, solved for the batch's moments.
    batch = jax.tree.map(
        lambda new, old: (new - 0.9 * old) / 0.1,
        moved["batch_stats"],
        variables["batch_stats"],
    )
    still = jax.jit(model.apply)({**variables, "batch_stats": batch}, x)
    np.testing.assert_allclose(still, logits, rtol=1e-3, atol=1e-4)


def test_what_enters_a_relu_comes_after_norm_and_shortcut(key):
    net = models.network("resnet20", 10, (32, 32, 3))
    params, stats = jax.eval_shape(net.init, key)
    entering = entering_relus(net.apply, params, stats, jnp.zeros((1, 32, 32, 3)))
    assert len(entering) == 1 + 2 * 9
    assert {made for _, made in entering} == {"add"}  # batch-norm ends in one, too
    shapes = [shape for shape, _ in entering]
    assert shapes == [(1, 32, 32, 16)] * 7 + [(1, 16, 16, 32)] * 6 + [(1, 8, 8, 64)] * 6
