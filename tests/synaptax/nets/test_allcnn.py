"""All-CNN-C: the hand count, values against NumPy, dropout in training alone."""

import jax
import jax.numpy as jnp
import numpy as np

from synaptax.nets import allcnn, models
from tests.synaptax.nets.convolutions import entering_relus, reference_convolve


def test_the_network_has_the_hand_count(key):
    net = models.network("allcnn_c", 10, (32, 32, 3))
    params, stats = jax.eval_shape(net.init, key)
    by_hand = (9 * 3 * 96 + 96) + 2 * (9 * 96 * 96 + 96)
    by_hand += (9 * 96 * 192 + 192) + 3 * (9 * 192 * 192 + 192)
    by_hand += (192 * 192 + 192) + (192 * 10 + 10)
    assert sum(a.size for a in jax.tree.leaves(params)) == by_hand == 1_369_738
    assert stats == {}


def test_a_relu_follows_every_convolution(key):
    net = models.network("allcnn_c", 10, (32, 32, 3))
    params, stats = jax.eval_shape(net.init, key)
    entering = entering_relus(net.apply, params, stats, jnp.zeros((1, 32, 32, 3)))
    shapes = [(shape[1], shape[3]) for shape, _ in entering]
    large, middle, small = (32, 96), (16, 96), (8, 192)
    assert shapes == [
        *[large] * 2,
        middle,
        *[(16, 192)] * 2,
        *[small] * 3,
        (8, 10),
    ]


def test_evaluation_equals_the_numpy_reference_and_training_differs(key):
    net = models.network("allcnn_c", 10, (8, 8, 1))
    params, stats = jax.jit(net.init)(key)
    x = jax.random.normal(jax.random.key(1), (2, 8, 8, 1))
    y = np.asarray(x)
    for index, (_, size, stride) in enumerate(allcnn.LAYERS):
        layer = jax.tree.map(np.asarray, params[f"Conv_{index}"])
        y = reference_convolve(y, layer["kernel"], stride=stride, pad=size // 2)
        y = np.maximum(y + layer["bias"], 0)
    given = jax.jit(net.apply)(params, stats, x)
    np.testing.assert_allclose(given, y.mean((1, 2)), rtol=1e-4, atol=1e-5)
    first, _ = jax.jit(net.train)(params, stats, x, key)
    second, _ = jax.jit(net.train)(params, stats, x, jax.random.key(2))
    assert not np.allclose(first, given) and not np.allclose(first, second)
