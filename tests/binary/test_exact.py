"""Exhaustive counts, against plain loops and exact means."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import binary
from binary.exact import count_solutions, distance_counts, solutions


def every_weight(size):
    return np.array(list(itertools.product([-1, 1], repeat=size)))


@pytest.mark.parametrize("margin", [0.0, 0.3])
@pytest.mark.parametrize("size", [1, 2, 7, 10])
def test_solutions_by_trying_all(size, margin):
    rng = np.random.default_rng(size)
    inputs = rng.choice([-1, 1], (max(1, size // 2), size))
    if size % 2 == 0 and not margin:
        margin = 0.01
    one = binary.instance(inputs, margin=margin)
    weights = every_weight(size)
    good = np.all(weights @ inputs.T > margin * np.sqrt(size), axis=1)
    assert count_solutions(one) == good.sum()
    found = {tuple(w) for w in solutions(one)}
    assert found == {tuple(w) for w in weights[good]}
    counts = distance_counts(one, weights[0])
    apart = (weights[good] != weights[0]).sum(axis=1)
    np.testing.assert_array_equal(counts, np.bincount(apart, minlength=size + 1))


def test_real_inputs_and_padding():
    one = binary.storage(jax.random.key(0), 8, 0.5, real=True)
    other = binary.storage(jax.random.key(1), 8, 0.75, real=True)
    both = binary.stack([one, other])
    padded = jax.tree.map(lambda leaf: leaf[0], both)
    assert count_solutions(padded) == count_solutions(one) > 0


@pytest.mark.parametrize("count", [3, 6, 9])
def test_mean_number_of_solutions_is_exact(count):
    numbers = np.array(
        [
            count_solutions(binary.storage(key, 15, count / 15))
            for key in jax.random.split(jax.random.key(count), 60)
        ]
    )
    error = numbers.std(ddof=1) / np.sqrt(len(numbers))
    assert abs(numbers.mean() - 2.0 ** (15 - count)) < 4 * error


@pytest.mark.parametrize(("count", "entropy"), [(3, 0.5535), (6, 0.3988)])
def test_typical_entropy_of_an_independent_count(count, entropy):
    """The reference is a mean over 200 instances of another generator."""
    logs = np.array(
        [
            np.log(count_solutions(binary.storage(key, 15, count / 15))) / 15
            for key in jax.random.split(jax.random.key(7), 60)
        ]
    )
    error = logs.std(ddof=1) * np.sqrt(1 / 60 + 1 / 200)
    assert abs(logs.mean() - entropy) < 4 * error


def test_too_many_weights_and_batches_are_refused():
    one = binary.storage(jax.random.key(0), 29, 0.5)
    with pytest.raises(ValueError, match="at most 27 weights to enumerate, got 29"):
        count_solutions(one)
    small = binary.storage(jax.random.key(0), 9, 0.5)
    with pytest.raises(ValueError, match="expected a single instance, got a batch"):
        count_solutions(binary.stack([small, small]))


@pytest.mark.parametrize(
    ("centre", "message"),
    [(jnp.ones(8), r"centre: expected shape \(9,\)"), (jnp.zeros(9), "centre")],
)
def test_a_centre_that_does_not_fit_is_named(centre, message):
    one = binary.storage(jax.random.key(0), 9, 0.5)
    with pytest.raises(ValueError, match=message):
        distance_counts(one, centre)
