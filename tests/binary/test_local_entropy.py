"""Belief propagation around a centre, against exhaustive counts and replica theory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_ndtr

import binary
from binary._local_entropy import _half_log_ratio, local_entropy
from binary.exact import distance_counts, solutions
from binary.theory import gardner

SIZE, COUNT = 21, 5
GAMMAS = np.array([0.0, 0.3, 0.6])


@pytest.fixture(scope="module")
def instances():
    keys = jax.random.split(jax.random.key(0), 6)
    return [binary.storage(key, SIZE, COUNT / SIZE) for key in keys]


@pytest.fixture(scope="module")
def centres(instances):
    return np.stack([solutions(one)[0] for one in instances])


@pytest.fixture(scope="module")
def around(instances, centres):
    return local_entropy(binary.stack(instances), centres, GAMMAS)


def exact(one, centre, gamma):
    counts = distance_counts(one, centre)
    overlap = 1 - 2 * np.arange(SIZE + 1) / SIZE
    weights = counts * np.exp(gamma * SIZE * overlap)
    phi = np.log(weights.sum()) / SIZE
    p = weights @ overlap / weights.sum()
    return phi, (1 - p) / 2, phi - gamma * p


def test_tiny_instances_against_exhaustive_counts(instances, centres, around):
    """Each to the error of the Gaussian field at N = 21, and the mean better."""
    for i, gamma in enumerate(GAMMAS):
        truth = np.array(
            [exact(*pair, gamma) for pair in zip(instances, centres, strict=True)]
        )
        found = np.stack(
            [around.free_entropy, around.distance, around.entropy], axis=-1
        )[:, i]
        np.testing.assert_allclose(found, truth, atol=0.025)
        np.testing.assert_allclose(found.mean(axis=0), truth.mean(axis=0), atol=0.008)
    assert around.converged.all()
    assert around.entropy.dtype == np.float64


def test_entropy_is_the_legendre_transform(around):
    gap = around.free_entropy - around.coupling * (1 - 2 * around.distance)
    np.testing.assert_allclose(around.entropy, gap, atol=1e-12)


def test_overlap_is_the_slope_of_the_free_entropy(instances, centres):
    """Holds exactly at a Bethe fixed point if the Gaussian step were exact."""
    step = 1e-3
    found = local_entropy(
        instances[0], centres[0], [0.3 - step, 0.3, 0.3 + step], tolerance=1e-10
    )
    slope = (found.free_entropy[2] - found.free_entropy[0]) / (2 * step)
    np.testing.assert_allclose(slope, 1 - 2 * found.distance[1], atol=0.02)


def test_half_log_ratio_over_its_range():
    with jax.enable_x64(True):
        centre = jnp.linspace(-60, 20, 401)
        found = np.asarray(_half_log_ratio(centre + 0.1, centre - 0.1))
    x = np.linspace(-60, 20, 401)
    exact = 0.5 * (log_ndtr(x + 0.1) - log_ndtr(x - 0.1))
    near = x > -34.5
    np.testing.assert_allclose(found[near], exact[near], rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-15)


def test_messages_by_plain_loops(instances, centres):
    one = binary.instance(instances[0].patterns[:2])
    x, centre, gamma = np.asarray(one.patterns), centres[0], 0.4
    m = np.tile(np.tanh(gamma * centre), (2, 1))
    u = np.zeros_like(m)
    for _ in range(200):
        for a in range(2):
            for i in range(SIZE):
                rest = [j for j in range(SIZE) if j != i]
                omega = x[a, rest] @ m[a, rest] / np.sqrt(SIZE)
                root = np.sqrt(np.sum(1 - m[a, rest] ** 2) / SIZE)
                jump = x[a, i] / np.sqrt(SIZE)
                up = log_ndtr((omega + jump) / root)
                u[a, i] = 0.5 * (up - log_ndtr((omega - jump) / root))
        m = np.tanh(gamma * centre + u.sum(axis=0) - u)
    p = np.mean(centre * np.tanh(gamma * centre + u.sum(axis=0)))
    found = local_entropy(one, centre, [gamma], tolerance=1e-11)
    np.testing.assert_allclose(found.distance, (1 - p) / 2, rtol=1e-8)


def test_padding_changes_nothing(instances, centres, around):
    longer = binary.storage(jax.random.key(9), SIZE, 9 / SIZE)
    both = binary.stack([instances[0], longer])
    found = local_entropy(both, np.stack([centres[0], centres[0]]), GAMMAS)
    np.testing.assert_allclose(found.entropy[0], around.entropy[0], atol=1e-6)


def test_without_patterns_in_the_way_the_gardner_entropy():
    keys = jax.random.split(jax.random.key(2), 4)
    many = binary.stack([binary.storage(key, 201, 0.3) for key in keys])
    ones = np.ones((4, 201), np.int8)
    found = local_entropy(many, ones, [0.0], width=2)
    assert found.converged.all()
    error = found.entropy.std(ddof=1) / 2
    gap = abs(found.entropy.mean() - gardner(0.3).entropy)
    assert gap < 4 * error + 2 / 201


def test_what_has_not_converged_says_so(instances, centres):
    found = local_entropy(instances[0], centres[0], GAMMAS, sweeps=2)
    assert not found.converged.any()
    assert (found.sweeps == 2).all()
    assert (found.residual > 1e-6).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"couplings": [-0.1]}, "couplings: expected at least one number"),
        ({"couplings": []}, "couplings: expected at least one number"),
        ({"damping": 1.0}, "damping: expected a number in"),
        ({"sweeps": 0}, "sweeps: expected an integer >= 1"),
        ({"weights": np.ones(20, np.int8)}, "weights: expected one vector"),
        ({"weights": np.zeros(SIZE, np.int8)}, "weights"),
    ],
)
def test_bad_arguments_are_named(instances, centres, change, message):
    arguments = {"weights": centres[0], "couplings": [0.1], **change}
    with pytest.raises(ValueError, match=message):
        local_entropy(instances[0], **arguments)
