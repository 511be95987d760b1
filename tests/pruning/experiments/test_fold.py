"""Dead units fold away: counts by hand, outputs as before."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pruning.experiments._fold import fold_dead_units
from synaptax.nets import models


def chain(layers, x):
    for index, (kernel, bias) in enumerate(layers):
        x = x @ kernel + bias
        x = np.maximum(x, 0) if index + 1 < len(layers) else x
    return x


def test_constants_move_on_and_what_nobody_hears_goes():
    # unit 0: constant 2; unit 1: heard by nobody; unit 2: lives; unit 3: constant 0
    first = np.array([[0, 1.0, 3, 0], [0, 1, 0, 0]]), np.array([2.0, 1, -1, -5])
    second = np.array([[1.0, 0], [0, 0], [4, 0], [7, 7]]), np.array([0.5, 0.25])
    third = np.array([[1.0, 2], [10, 20]]), np.array([0.0, 1])
    folded = fold_dead_units([first, second, third])
    (k1, b1), (k2, b2), (k3, b3) = folded.layers
    np.testing.assert_array_equal(k1, [[0, 0, 3, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(b1, [0, 0, -1, 0])
    np.testing.assert_array_equal(k2, [[0, 0], [0, 0], [4, 0], [0, 0]])
    np.testing.assert_array_equal(b2, [2.5, 0])  # its second unit is 0.25 for ever
    np.testing.assert_array_equal(k3, [[1, 2], [0, 0]])
    np.testing.assert_array_equal(b3, [2.5, 6])
    assert [one.tolist() for one in folded.alive] == [
        [False, False, True, False],
        [True, False],
        [True, True],
    ]
    assert folded.kept == 4 + (1 + 1 + 2)
    x = np.random.default_rng(0).normal(size=(20, 2))
    whole = chain([first, second, third], x)
    np.testing.assert_allclose(chain(folded.layers, x), whole)
    assert first[0].any() and b3[0] != third[1][0]  # the argument is left alone


def test_dead_ends_go_through_two_layers():
    first = np.ones((2, 2)), np.ones(2)
    second = np.array([[1.0, 0], [0, 1]]), np.ones(2)
    third = np.array([[1.0], [0]]), np.zeros(1)
    folded = fold_dead_units([first, second, third])
    assert folded.kept == 2 + 1 + 1 + 3
    assert [one.tolist() for one in folded.alive] == [[True, False]] * 2 + [[True]]


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("lenet300", ("Dense_0", "Dense_1", "Dense_2")),
        ("lenet5", ("Conv_0", "Conv_1", "Dense_0", "Dense_1")),
    ],
)
def test_a_sparse_lenet_gives_the_same_outputs(name, names):
    net = models.network(name, 10, (20, 20, 1))
    params, _ = net.init(jax.random.key(0))
    rng = np.random.default_rng(1)
    for layer in names:
        kernel = np.array(params[layer]["kernel"])
        kernel *= rng.random(kernel.shape) < 0.5
        gone = rng.random(kernel.shape[-1]) < 0.5
        if layer != names[-1]:
            kernel[..., gone] = 0
        kernel[..., rng.random(kernel.shape[-2]) < 0.3, :] = 0
        params[layer] = {
            "kernel": jnp.asarray(kernel),
            "bias": params[layer]["bias"] + 0.5,
        }
    folded = fold_dead_units([(params[n]["kernel"], params[n]["bias"]) for n in names])
    small = {
        n: {"kernel": jnp.float32(k), "bias": jnp.float32(b)}
        for n, (k, b) in zip(names, folded.layers, strict=True)
    }
    x = jax.random.uniform(jax.random.key(2), (8, 20, 20, 1))
    before, after = net.apply(params, {}, x), net.apply(small, {}, x)
    np.testing.assert_allclose(after, before, atol=1e-5 * float(abs(before).max()))
    total = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))
    nonzero = sum(int(np.count_nonzero(leaf)) for leaf in jax.tree.leaves(params))
    assert folded.kept < nonzero < total


def test_layers_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="layer 1 has 3 inputs, expected a multiple"):
        fold_dead_units([(np.ones((2, 2)), np.ones(2)), (np.ones((3, 1)), np.ones(1))])
