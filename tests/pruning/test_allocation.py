"""One budget divided over leaves, beside numbers worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pruning import _allocation, count, masks_of, polynomial, prune, select
from pruning._allocation import divided, proportions

SHAPES = {"a": (2, 3), "b": (4, 5), "c": (2, 2)}
SIZES = [6, 20, 4]


def scores():
    keys = jax.random.split(jax.random.key(0), 3)
    draws = zip(SHAPES.items(), keys, strict=True)
    return {name: jax.random.uniform(key, shape) for (name, shape), key in draws}


@pytest.mark.parametrize(
    ("scope", "budget", "expected"),
    [
        ("uniform", 15, [3, 10, 2]),
        # 3.2, 10.67, 2.13: the one left goes to the largest remainder
        ("uniform", 16, [3, 11, 2]),
        # proportions 5/6, 9/20, 1: of 18 half is 2.5, 4.5, 2
        ("erk", 9, [3, 4, 2]),
        # c is full at 18; 4 + 16/14 of 5 and 9 is 4, 5.71, 10.29
        ("erk", 20, [6, 10, 4]),
        ({"a": 0.5, "b": 0.1, "c": 1.0}, 9, [3, 2, 4]),
        # twice as much: a is full, b 2 * 0.1 * 20 = 4, c is full
        ({"a": 0.5, "b": 0.1, "c": 1.0}, 14, [6, 4, 4]),
        # 2 * 6, 4 * 20, 2 * 4 of 100: 1.44, 9.6, 0.96
        (lambda name, shape: shape[0], 12, [1, 10, 1]),
    ],
)
def test_a_budget_is_divided_as_by_hand(scope, budget, expected):
    parts = proportions(scope, list(SHAPES), list(SHAPES.values()))
    assert divided(budget, SIZES, parts).tolist() == expected
    mask = select(scores(), budget / 30, scope=scope, min_per_leaf=0)
    assert [leaf.kept for leaf in count(mask).leaves.values()] == expected


@pytest.mark.parametrize("parts", [[1, 1, 1], [5 / 6, 0.45, 1], [0, 2, 1e-3]])
def test_every_budget_is_met_to_the_weight(parts):
    budgets = np.arange(31)
    shares = jax.vmap(lambda n: divided(n, SIZES, np.asarray(parts, float)))
    counts = np.asarray(shares(jnp.asarray(budgets)))
    assert counts.sum(1).tolist() == budgets.tolist()
    assert (counts >= 0).all() and (counts <= np.asarray(SIZES)).all()


def test_a_large_budget_is_met_to_the_weight():
    sizes, parts = [2**30, 2**29, 1000], np.asarray([0.1, 0.3, 0.9])
    for budget in (1, 12345677, 2**28 + 1, sum(sizes) - 1):
        counts = np.asarray(divided(budget, sizes, parts), np.int64)
        assert counts.sum() == budget
        s = counts[0] / (0.1 * sizes[0])
        if budget == 2**28 + 1:  # s < 1.1: no leaf is full
            assert counts[1] == pytest.approx(0.3 * s * sizes[1], rel=1e-5)


def test_each_leaf_keeps_its_best():
    given = scores()
    mask = select(given, 9 / 30, scope={"a": 0.5, "b": 0.1, "c": 1.0})
    for name, kept in (("a", 3), ("b", 2), ("c", 4)):
        least = np.sort(np.ravel(given[name]))[-kept]
        np.testing.assert_array_equal(mask[name], given[name] >= least)


def test_prune_ends_at_the_given_densities():
    scope = {"a": 0.5, "b": 0.1, "c": 0.5}
    tx = optax.chain(
        optax.sgd(0.1), prune(polynomial(0, 4, 7 / 30, every=2), scope=scope)
    )
    params = scores()

    def step(carry, _):
        params, state = carry
        grads = jax.tree.map(jnp.ones_like, params)
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        kept = [jnp.sum(masks_of(state)[name]) for name in SHAPES]
        return (params, state), jnp.stack(kept)

    (params, state), kept = jax.lax.scan(step, (params, tx.init(params)), length=6)
    # at step 2: 30 (7/30 + 23/30 / 8) = 9.875: s = 10/7
    assert kept.tolist() == [[6, 20, 4]] * 2 + [[4, 3, 3]] * 2 + [[3, 2, 2]] * 2
    for name, mask in masks_of(state).items():
        assert not params[name][~mask].any()


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ({"a": 0.5, "b": 0.1}, "scope: no density for leaf c"),
        ({"a": 1, "b": 1, "c": 1, "d": 1}, "scope: no prunable leaf is called d"),
        ({"a": 1, "b": -1, "c": 1}, "scope: expected a density >= 0 for b, got -1"),
        (lambda *_: float("nan"), "scope: expected a density >= 0 for a, got nan"),
        ("model", "scope: expected 'global' or 'layer', got 'model'"),
    ],
)
def test_a_bad_scope_is_named(scope, message):
    with pytest.raises(ValueError, match=message):
        select(scores(), 0.5, scope=scope)


def test_erk_of_a_convolution():
    assert _allocation.erk("", (5, 5, 20, 50)) == 80 / 25000
