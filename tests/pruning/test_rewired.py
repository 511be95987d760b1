"""Masks that move at constant density, straight-through gradients, AC/DC."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pruning
from pruning import schedules

PARAMS = {
    "a": {"kernel": np.linspace(-1, 1, 12 * 7).reshape(12, 7), "bias": np.ones(7)},
    "b": {"kernel": np.linspace(2, -1, 7 * 5).reshape(7, 5)},
}


def params():
    return jax.tree.map(lambda w: jnp.asarray(w, jnp.float32), PARAMS)


def slopes(params, step):
    key = jax.random.fold_in(jax.random.key(3), step)
    keys = dict(zip("ab", jax.random.split(key), strict=True))
    return {
        k: {n: jax.random.normal(keys[k], w.shape) for n, w in v.items()}
        for k, v in params.items()
    }


@pytest.mark.parametrize("grow", ["gradient", "random", "none"])
def test_the_density_is_constant_to_the_weight_over_1000_steps(grow, key):
    tx = pruning.rewired(
        optax.sgd(0.05, momentum=0.9),
        0.3,
        key=key,
        grow=grow,
        every=10,
        end=900,
        drop=0.5,
    )
    state = tx.init(params())
    first = pruning.masks_of(state)
    number = lambda mask: jax.tree.map(lambda m: m.sum(), mask)

    def step(carry, index):
        weights, state = carry
        updates, state = tx.update(slopes(weights, index), state, weights)
        weights = optax.apply_updates(weights, updates)
        mask = pruning.masks_of(state)
        leaks = sum(
            jnp.sum(~m & (w != 0))
            for m, w in zip(
                jax.tree.leaves(mask), jax.tree.leaves(weights), strict=True
            )
        )
        moved = state.rewired_prune.prune_info.prune_flips
        return (weights, state), (number(mask), leaks, moved)

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, jnp.arange(1000)))
    (_, state), (counts, leaks, moved) = run((params(), state))
    for now, then in zip(
        jax.tree.leaves(counts), jax.tree.leaves(number(first)), strict=True
    ):
        assert (now == then).all()
    assert sum(int(n) for n in jax.tree.leaves(number(first))) == 7 + round(0.3 * 119)
    assert not leaks.any()
    last = pruning.masks_of(state)
    flips = pruning.flips(first, last)
    assert (flips.pruned > 0) == (grow != "none") and flips.pruned == flips.regrown
    assert bool(moved[850] < moved[20]) == (grow != "none")  # fewer and fewer


def test_a_change_by_hand(key):
    weights = {"kernel": jnp.asarray([[0.1, 4.0, 3.0, 0.2], [0, 0, 0, 0]])}
    mask = {"kernel": jnp.asarray([[True] * 4, [False] * 4])}
    grads = {"kernel": jnp.asarray([[0.0, 0, 0, 2], [1, -9, 5, 3]])}
    tx = pruning.rewired(
        optax.sgd(0.0, momentum=0.9), 0.5, key=key, every=1, end=10, drop=0.6
    )
    state = tx.init(weights)
    _, state = tx.update(grads, state, weights)  # at update 0 nothing moves
    state = pruning.with_masks(state, mask)
    updates, state = tx.update(grads, state, weights)
    # k = floor(4 * 0.3 * (1 + cos(0.1 pi))) = 2: the two small go, -9 and 5 come.
    expected = [[False, True, True, False], [False, True, True, False]]
    assert pruning.masks_of(state)["kernel"].tolist() == expected
    after = optax.apply_updates(weights, updates)["kernel"]
    np.testing.assert_array_equal(after, np.float32([[0, 4, 3, 0], [0, 0, 0, 0]]))
    (moment,) = jax.tree.leaves(state.rewired_inner)
    np.testing.assert_array_equal(moment, np.zeros((2, 4)))
    assert state.rewired_prune.prune_info.prune_flips == 4


def test_straight_through_masks_the_value_and_not_the_gradient():
    weights = {"w": jnp.asarray([1e-8, 3.0, -1e8])}
    mask = {"w": jnp.asarray([False, True, False])}
    masked = pruning.straight_through(weights, mask)
    np.testing.assert_array_equal(masked["w"], [0.0, 3.0, 0.0])
    loss = lambda w: jnp.sum(pruning.straight_through(w, mask)["w"] * 5)
    np.testing.assert_array_equal(jax.grad(loss)(weights)["w"], [5.0, 5.0, 5.0])
    tx = pruning.straight_through_masks(pruning.one_shot(0, 1 / 3), prunable=_every)
    updates, state = tx.update({"w": -weights["w"] / 2}, tx.init(weights), weights)
    np.testing.assert_array_equal(updates["w"], -weights["w"] / 2)
    assert pruning.masks_of(state)["w"].tolist() == [False, False, True]


def _every(name, leaf):
    return True


def test_alternating_phases_end_sparse():
    schedule = pruning.alternating(2, 11, 3, 0.25)
    found = [float(schedule(t)) for t in range(14)]
    sparse, dense = [0.25] * 3, [1.0] * 3
    assert found == [1.0, 1.0, *sparse, *dense, *sparse, *sparse]
    updates = [t for t in range(14) if bool(schedule.update(t))]
    assert updates == [2, 5, 8, 11]
    assert int(schedule.kept(3, 10)) == 2 and int(schedule.kept(6, 10)) == 10
    tx = pruning.pruned(optax.sgd(1.0, momentum=0.5), schedule, regrow=True)
    weights, state, kept = params(), None, []
    state = tx.init(weights)
    update = jax.jit(tx.update)
    for _ in range(13):
        updates, state = update(slopes(weights, 0), state, weights)
        weights = optax.apply_updates(weights, updates)
        kept.append(int(pruning.count(pruning.masks_of(state)).kept))
    assert kept == [119] * 2 + [30] * 3 + [119] * 3 + [30] * 5
    with pytest.raises(ValueError, match="end: expected an integer >= 2"):
        schedules.alternating(2, 1, 3, 0.25)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grow": "weights"}, "grow: expected one of gradient, random, none"),
        ({"density": 1.5}, r"density: expected a number in \[0, 1\]"),
        ({"drop": -0.1}, "drop: expected a number"),
        ({"every": 0}, "every, end: expected"),
        ({"scope": "some"}, "scope: expected"),
    ],
)
def test_bad_options_are_named(change, message, key):
    options = {"density": 0.5, "key": key, "end": 10} | change
    with pytest.raises(ValueError, match=message):
        pruning.rewired(optax.sgd(0.1), **options)


def test_rewired_under_inject_hyperparams_traced_densities_and_a_mesh():
    params = {"kernel": jnp.ones((4, 4))}
    options = {"key": jax.random.key(0), "end": 9, "every": 1, "scope": "layer"}
    make = optax.inject_hyperparams(pruning.rewired)
    injected = make(optax.sgd(0.1), 0.5, **options).init(params)
    assert pruning.count(pruning.masks_of(injected)).kept == 8
    kept = jax.vmap(
        lambda d: (
            pruning.count(
                pruning.masks_of(
                    pruning.rewired(optax.sgd(0.1), d, **options).init(params)
                )
            ).kept
        )
    )(jnp.array([0.25, 0.5]))
    assert kept.tolist() == [4, 8]
    tx = pruning.rewired(optax.sgd(0.1), 0.5, **options)
    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec
    step = jax.shard_map(
        lambda p, s, x: tx.update(jax.tree.map(lambda w: w * x.sum(), p), s, p)[0],
        mesh=mesh,
        in_specs=(spec(), spec(), spec()),
        out_specs=spec(),
    )
    state = tx.init(params)  # outside: bound to no device, as the weights are
    updates = jax.jit(step)(params, state, jnp.ones(2))
    left = optax.apply_updates(params, updates)["kernel"]
    assert int((left != 0).sum()) == 8
    with pytest.raises((ValueError, TypeError), match="every"):
        pruning.rewired(optax.sgd(0.1), 0.5, key=options["key"], end=9, every=1.5)


def test_straight_through_of_weights_that_are_not_finite():
    weights = {"w": jnp.array([jnp.inf, jnp.nan, 2.0])}
    masks = {"w": jnp.array([True, False, True])}
    masked, slope = jax.value_and_grad(
        lambda w: pruning.straight_through(w, masks)["w"].sum()
    )(weights)
    assert float(masked) == jnp.inf and slope["w"].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: pruning.prune(pruning.one_shot(0, 0.5)),
        lambda: pruning.pruned(optax.sgd(0.1), pruning.one_shot(0, 0.5)),
        lambda: pruning.rewired(optax.sgd(0.1), 0.5, key=jax.random.key(0), end=9),
        lambda: pruning.straight_through_masks(pruning.one_shot(0, 0.5)),
        lambda: pruning.sensitivity_decay(0.1),
        lambda: pruning.loss_sensitivity_decay(0.1),
    ],
    ids=["prune", "pruned", "rewired", "straight_through", "decay", "lobster"],
)
def test_a_state_restored_without_a_template_is_named(make):
    params, tx = {"kernel": jnp.ones((4, 4))}, make()
    state = tx.init(params)._asdict()
    with pytest.raises(ValueError, match=r"restore it into tx.init\(params\)"):
        tx.update(params, state, params, sensitivity=params, grads=params)
