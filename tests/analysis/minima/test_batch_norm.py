"""A network that keeps statistics: they go along with the weights, and stay put."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import curvature
from analysis.landscape import mean_loss
from analysis.minima import maps, measures, solutions
from analysis.minima.config import defaults
from analysis.minima.solutions import Setting, Solution
from pruning._preactivations import preactivations
from pruning.gradual.loop import Best
from synaptax import runs
from synaptax.data.images import Batch, Dataset
from synaptax.nets.models import Network
from tests.analysis import networks as nets

pytestmark = pytest.mark.runs

X, LABEL = nets.data()
DATA = Batch(np.asarray(X), np.asarray(LABEL))
NET = Network(nets.normalised, nets.normalised_apply, lambda p, s, x, key: (x, s))


def apply_fn(state, x):
    return nets.normalised_apply(state[0], state[1], x)


@pytest.fixture(scope="module")
def shared():
    data = Dataset("digits", 3, DATA, DATA, DATA, (0.0,), (1.0,))
    setting = Setting(defaults("digits"), data, NET)
    return measures.Meter(
        setting.config,
        setting,
        apply_fn,
        mean_loss(apply_fn),
        preactivations(apply_fn),
        apply_fn,
        apply_fn,
        None,
    )


def solution(arm, seed):
    """Return a network with statistics of its own and half of its kernels cut."""
    params, stats = nets.normalised(seed)
    for _ in range(20):
        stats = nets.normalised_update(params, stats, X)
    masks = jax.tree.map(
        lambda a: (jnp.arange(a.size) % 2 == 0).reshape(a.shape) | (a.ndim < 2), params
    )
    params = jax.tree.map(lambda a, m: jnp.where(m, a, 0), params, masks)
    return Solution(arm, seed, None, params, masks, stats, 0.0)


def test_the_line_ends_at_both_networks_with_their_own_statistics(shared):
    first, second = solution("gradual", 0), solution("one-shot", 1)
    found = maps.pair(shared, first, second)
    for t, one in ((0, first), (-1, second)):
        wanted = shared.loss_fn((one.params, one.stats), (X, LABEL))
        assert float(found["line"]["loss"][t]) == pytest.approx(float(wanted), rel=1e-5)
    assert np.isfinite(found["plane"]["loss"]).all()


@pytest.mark.slow
def test_curvature_leaves_the_statistics_alone(shared):
    one = solution("gradual", 0)
    flat, unravel = jax.flatten_util.ravel_pytree(one.params)
    loss = lambda v: shared.loss_fn((unravel(v), one.stats), (X, LABEL))
    whole = np.asarray(jax.jit(jax.hessian(loss))(flat), np.float64)
    kept = np.asarray(jax.flatten_util.ravel_pytree(one.masks)[0]) > 0
    for every, block in ((True, whole), (False, whole[np.ix_(kept, kept)])):
        operator = measures.hessian_of(shared, one, (X, LABEL), every=every)
        top = curvature.top_eigenpairs(
            operator, 1, jax.random.key(0), steps=20, restarts=0
        )
        wanted = np.linalg.eigvalsh(block)[-1]
        assert float(top.values[0]) == pytest.approx(wanted, rel=1e-4)


def test_a_recorded_solution_comes_back_with_the_statistics_of_its_weights(tmp_path):
    begin, end = solution("one-shot", 0), solution("one-shot", 1)
    best = Best(end.params, np.float32(0.5), np.float32(0.25), end.stats)
    run = runs.RunFolder(tmp_path)
    trained = solutions._record(run, begin, best)
    again = solutions._recorded(run, begin)
    assert again.validation_error == trained.validation_error == 0.25
    for part in ("params", "stats", "masks"):
        ours, expected = getattr(again, part), getattr(trained, part)
        jax.tree.map(np.testing.assert_array_equal, ours, expected)
