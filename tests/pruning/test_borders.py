"""What cannot be refused by value, and what is no argument or state of ours."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pruning
from tests import unchecked
from tests.pruning.networks import draw

PARAMS = {"kernel": draw(1, 4, 4)}
KEY = jax.random.key(0)
AT = {
    "one_shot": lambda d: pruning.prune(pruning.one_shot(0, d)),
    "polynomial": lambda d: pruning.prune(pruning.polynomial(0, 1, d)),
    "alternating": lambda d: pruning.prune(
        pruning.alternating(0, 1, 1, d), regrow=True
    ),
    "pruned": lambda d: pruning.pruned(optax.sgd(1.0), pruning.one_shot(0, d)),
    "straight": lambda d: pruning.straight_through_masks(pruning.one_shot(0, d)),
    "rewired": lambda d: pruning.rewired(optax.sgd(1.0), d, key=KEY, end=9),
    "drop": lambda d: pruning.rewired(optax.sgd(1.0), 0.5, key=KEY, end=9, drop=d),
    "periodic": lambda d: pruning.prune(pruning.periodic(1, d)),
}


def some(names, default):
    """Let what is not default run in the full suite alone."""
    return [
        name if name in default else pytest.param(name, marks=pytest.mark.slow)
        for name in names
    ]


@pytest.mark.parametrize("name", some(AT, ("one_shot", "rewired")))
def test_a_traced_density_that_is_none_makes_the_updates_nan(name):
    """The other replicas of the same vmap go on."""

    def updates(density):
        tx = AT[name](density)
        return tx.update(PARAMS, tx.init(PARAMS), PARAMS)[0]["kernel"]

    densities = jnp.array([0.5, jnp.nan, 1.5, -0.5], jnp.float32)
    bad = jnp.isnan(jax.vmap(updates)(densities)).all((1, 2))
    assert bad.tolist() == [False, True, True, True]


def test_a_traced_density_that_is_none_is_nan_in_each_schedule():
    makes = [
        lambda d: pruning.one_shot(0, d),
        lambda d: pruning.polynomial(0, 4, d),
        lambda d: pruning.alternating(0, 4, 2, d),
        lambda d: pruning.periodic(1, d),
    ]
    densities = jnp.array([0.5, jnp.nan, 1.5, -0.5], jnp.float32)
    for make in makes:
        found = jax.vmap(lambda d, make=make: make(d)(5))(densities)
        assert jnp.isnan(found).tolist() == [False, True, True, True]


def test_a_schedule_of_ones_own_that_breaks_is_seen_and_may_recover():
    class Broken(pruning.schedules.Schedule):
        def __call__(self, step):
            return jnp.where(step == 1, jnp.nan, jnp.where(step > 1, 0.5, 1.0))

        def update(self, step):
            return jnp.asarray(step) < 3

    tx = pruning.prune(Broken())
    step, state = jax.jit(tx.update), tx.init(PARAMS)
    zeros = {"kernel": jnp.zeros((4, 4))}
    seen = []
    for _ in range(3):
        updates, state = step(zeros, state, PARAMS)
        seen.append(bool(jnp.isnan(updates["kernel"]).all()))
    assert seen == [False, True, False]
    assert pruning.count(pruning.masks_of(state)).kept == 8


@pytest.mark.parametrize("grow", some(["gradient", "random", "none"], ["gradient"]))
def test_rewired_goes_on_under_another_density(grow):
    params = {"a": {"kernel": draw(1, 6, 4)}, "b": {"kernel": draw(2, 4, 4)}}
    make = optax.inject_hyperparams(pruning.rewired)
    tx = make(optax.sgd(0.0), 0.5, key=KEY, end=9, grow=grow, scope="uniform")
    step, state = jax.jit(tx.update), tx.init(params)
    assert set(state.hyperparams) == {"density", "drop"}
    grads = {"a": {"kernel": draw(3, 6, 4)}, "b": {"kernel": draw(4, 4, 4)}}
    for density, kept in ((0.5, 20), (0.25, 10), (0.8, 32)):
        before = pruning.masks_of(state)
        state.hyperparams["density"] = jnp.float32(density)
        updates, state = step(grads, state, params)
        new = optax.apply_updates(params, updates)
        masks = pruning.masks_of(state)
        assert pruning.count(masks).kept == kept
        info = state.inner_state.rewired_prune.prune_info
        assert float(info.prune_density) == np.float32(kept / 40)
        for name in "ab":
            old, mask = before[name]["kernel"], masks[name]["kernel"]
            weight, slope = params[name]["kernel"], jnp.abs(grads[name]["kernel"])
            assert not bool((new[name]["kernel"] != 0)[~(mask & old)].any())
            if density == 0.25:  # the smallest go
                assert bool((mask <= old).all())
                least = jnp.abs(weight)[mask].min()
                assert bool(jnp.abs(weight)[old & ~mask].max() <= least)
            elif density == 0.8:
                assert bool((old <= mask).all())
                if grow == "gradient":
                    assert bool(slope[mask & ~old].min() >= slope[~mask].max())
        params = new


def test_static_arguments_that_are_injected_are_named():
    for name in ("every", "end"):
        make = lambda inner, value, name=name: pruning.rewired(
            inner, 0.5, key=KEY, **{"end": 9, name: value}
        )
        with pytest.raises(ValueError, match=r"among its static_args"):
            optax.inject_hyperparams(make)(optax.sgd(0.1), 5).init(PARAMS)


def test_counts_that_no_step_reaches_are_named():
    for options in ({"every": 10**12, "end": 9}, {"end": 2**31}):
        with pytest.raises(ValueError, match=r"every, end: .* below 2\*\*31"):
            pruning.rewired(optax.sgd(0.1), 0.5, key=KEY, **options)


@pytest.mark.parametrize("key", [0, None, jnp.ones(2), jax.random.split(KEY, 2)])
def test_what_is_no_prng_key_is_named(key):
    with pytest.raises(ValueError, match="key: expected one PRNG key"):
        pruning.rewired(optax.sgd(0.1), 0.5, key=key, end=9)
    tx = pruning.prune(pruning.one_shot(0, 0.5), score="random")
    with pytest.raises(ValueError, match="key: expected one PRNG key"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS, key=key)


def test_a_key_of_either_kind_is_taken():
    for key in (KEY, jax.random.PRNGKey(0)):
        pruning.rewired(optax.sgd(0.1), 0.5, key=key, end=9).init(PARAMS)


INNER = {"one_shot": None, "pruned": "pruned_prune", "rewired": "rewired_prune"}
CHANGES = [
    (name, change)
    for name, inner in INNER.items()
    for change in ("none", "empty", "info", "other", *(["field"] if inner else []))
]


@pytest.mark.parametrize(("name", "change"), CHANGES)
def test_a_state_of_another_kind_is_named(name, change):
    tx = AT[name](0.5)
    state, inner = tx.init(PARAMS), INNER[name]
    held = getattr(state, inner) if inner else state
    if change == "field":
        state = state._replace(**{inner: held._asdict()})
    elif change == "info":
        held = held._replace(prune_info=held.prune_info._asdict())
        state = state._replace(**{inner: held}) if inner else held
    else:
        state = {"none": None, "empty": (), "other": optax.EmptyState()}[change]
    with pytest.raises(ValueError, match=r"expected Prune\w*|expected Rewired\w*"):
        tx.update(PARAMS, state, PARAMS)


def test_a_label_without_leaves_has_nothing_to_rewire():
    tx = optax.partition(
        {"none": AT["rewired"](0.5), "all": optax.sgd(0.1)}, {"kernel": "all"}
    )
    state = tx.init(PARAMS)
    for step in (tx.update, jax.jit(tx.update)):
        updates, state = step(PARAMS, state, PARAMS)
    np.testing.assert_allclose(updates["kernel"], -0.1 * PARAMS["kernel"], rtol=1e-6)


def test_rewired_refuses_two_views_of_one_network():
    params = optax.LookaheadParams.init_synced(PARAMS)
    with pytest.raises(ValueError, match=r"chain\(lookahead\(...\), prune\(...\)\)"):
        AT["rewired"](0.5).init(params)


def test_what_is_below_zero_is_seen_where_it_cannot_be_refused():
    zeros, felt = {"kernel": jnp.zeros((4, 4))}, {"kernel": jnp.full((4, 4), 0.5)}

    def decayed(rate, felt):
        tx = pruning.sensitivity_decay(rate)
        state = tx.init(PARAMS)
        return tx.update(zeros, state, PARAMS, sensitivity=felt)[0]["kernel"]

    assert bool(jnp.isfinite(decayed(lambda count: 0.1, felt)).all())
    assert bool(jnp.isnan(decayed(lambda count: -0.1, felt)).all())
    signed = {"kernel": PARAMS["kernel"]}  # slopes with their sign are no S
    lost = jnp.isnan(decayed(0.1, signed))
    np.testing.assert_array_equal(lost, PARAMS["kernel"] < 0)
    with pytest.raises(ValueError, match="sensitivity: leaf kernel is complex64"):
        decayed(0.1, {"kernel": jnp.ones((4, 4), jnp.complex64)})
    for make in (pruning.sensitivity_decay, lambda d: pruning.one_shot(0, d)):
        with pytest.raises(ValueError, match="expected a scalar, got an array of sh"):
            make(jnp.ones(2))


@pytest.mark.parametrize("name", ["one_shot", "pruned", "rewired"])
def test_updates_of_another_tree_are_named(name):
    tx = AT[name](0.5)
    with pytest.raises(ValueError, match="updates: leaf kernel is missing"):
        tx.update({}, tx.init(PARAMS), PARAMS)


ODD = (None, "0.5", "x", 0.5 + 0j, np.ones(2), [0.5], {"w": 0.5}, (0.5,))
NUMBERS = {
    "density": lambda v: pruning.select(PARAMS, v),
    "threshold": lambda v: pruning.threshold_mask(PARAMS, v),
    "bound": lambda v: pruning.search_threshold(lambda p: 0.0, PARAMS, v),
    "rtol": lambda v: pruning.search_threshold(lambda p: 0.0, PARAMS, 1.0, rtol=v),
    "margin": lambda v: pruning.plateau(1, margin=v),
    "density:": lambda v: pruning.one_shot(1, v),
    "power": lambda v: pruning.polynomial(0, 4, 0.5, power=v),
    "factor": lambda v: pruning.periodic(1, v),
    "rate": pruning.sensitivity_decay,
    "rate:": pruning.loss_sensitivity_decay,
    "drop": AT["drop"],
    "density: ": AT["rewired"],
    "scope": lambda v: pruning.select(PARAMS, 0.5, scope={"kernel": v}),
    "score": lambda v: pruning.prune(pruning.manual(), score=v),
    "reduction": pruning.neuron,
    "inner": lambda v: pruning.pruned(v, pruning.manual()),
    "stacked": lambda v: pruning.select(PARAMS, 0.5, stacked=0 if v is None else v),
    "sensitivity_fn": lambda v: pruning.sensitivity_decay(
        0.1, sensitivity_fn=0 if v is None else v
    ),
    "state_dtype": lambda v: pruning.sensitivity_decay(
        0.1, state_dtype="int8" if v is None else v
    ),
}
WHOLE = {
    "max_iterations": lambda v: pruning.search_threshold(
        lambda p: 0.0, PARAMS, 1.0, max_iterations=v
    ),
    "patience": pruning.plateau,
    "min_per_leaf": lambda v: pruning.select(PARAMS, 0.5, min_per_leaf=v),
    "stacked": lambda v: pruning.select(PARAMS, 0.5, stacked=lambda path, leaf: v),
    "n_m: n": lambda v: pruning.n_m(v, 4),
    "n_m: m": lambda v: pruning.n_m(2, v),
    "axis": pruning.along,
    "block": lambda v: pruning.block((1, v)),
    "step": lambda v: pruning.one_shot(v, 0.5),
    "batch": lambda v: pruning.sampled(KEY, v, 4),
    "draws": lambda v: pruning.sampled(KEY, 4, 4, v),
    "classes": pruning.unspecific,
    "labels": lambda v: pruning.specific(v, 2),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_number_is_refused_by_the_name_of_its_argument(name):
    """Nor is a text that reads as one, which float() takes."""
    for value in ODD:
        with unchecked(), pytest.raises(ValueError, match=name.strip(": ")):
            NUMBERS[name](value)


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_no_whole_number_is_refused_by_the_name_of_its_argument(name):
    for value in (*ODD, 2.5, True, np.float32(2)):
        with unchecked(), pytest.raises(ValueError, match=name):
            WHOLE[name](value)


def test_a_text_is_no_flag():
    """ "False" counted as true."""
    schedule = pruning.one_shot(0, 0.5)
    for name in ("regrow", "packed"):
        with unchecked(), pytest.raises(ValueError, match=f"{name}: expected True or"):
            pruning.prune(schedule, **{name: "False"})
    for name in ("local", "has_aux"):
        with unchecked(), pytest.raises(ValueError, match=f"{name}: expected True or"):
            pruning.with_psp(lambda w: w.sum(), 0.1, **{name: "False"})


def test_whole_numbers_of_numpy_and_jax_are_taken():
    for two in (np.int64(2), np.uint8(2), jnp.int32(2), np.asarray(2)):
        with unchecked():
            assert pruning.n_m(two, 4, two - two) == pruning.n_m(2, 4, 0)
            assert pruning.block((two, 1)) == pruning.block((2, 1))
            mask = pruning.magnitude_mask(PARAMS, 0.0, min_per_leaf=two)
        assert int(mask["kernel"].sum()) == 2
    everything = pruning.select(PARAMS, 1.0, structure=pruning.n_m(1, 1))
    assert bool(everything["kernel"].all())
    assert pruning.specific([1, 0], 2).tolist() == [[0, 1], [1, 0]]


def test_a_support_that_alpha_breaks_is_refused():
    """It was promised; the entries beyond it went without a word."""
    apply_fn, x = lambda p, x: x @ p["kernel"], jnp.ones((2, 4))
    with pytest.raises(ValueError, match="support: 1, but a row of alpha has 4 non-z"):
        pruning.sensitivity(apply_fn, PARAMS, x, pruning.unspecific(4), support=1)
    with pytest.raises(ValueError, match="alpha: expected real numbers"):
        pruning.sensitivity(apply_fn, PARAMS, x, jnp.ones(4, jnp.complex64))
    rows = pruning.specific(jnp.array([0, 3]), 4)
    found = pruning.sensitivity(apply_fn, PARAMS, x, rows, support=1)
    whole = pruning.sensitivity(apply_fn, PARAMS, x, rows)
    np.testing.assert_allclose(found["kernel"], whole["kernel"], rtol=1e-6)


def test_masks_and_counts_of_another_kind_are_named():
    mask = pruning.magnitude_mask(PARAMS, 0.5)
    with pytest.raises(ValueError, match="masks: leaf kernel is int32, expected bool"):
        pruning.straight_through(PARAMS, {"kernel": mask["kernel"].astype(jnp.int32)})
    with pytest.raises(ValueError, match="mask: expected concrete masks"):
        jax.jit(pruning.mask_metrics)(mask)
    listed = {"kernel": [[True, False]]}
    with pytest.raises(ValueError, match=r"kernel/0/0 is a Python bool, expected bool"):
        pruning.count(listed)
    apply_fn, x = lambda p, x: x @ p["kernel"], jnp.ones((2, 4))
    for batches in (1, (0,), (1.5,)):
        with unchecked(), pytest.raises(ValueError, match="batches: expected"):
            pruning.report(PARAMS, mask, apply_fn=apply_fn, x=x, batches=batches)
    for tolerance in ("1", -1.0, np.nan):
        with unchecked(), pytest.raises(ValueError, match="tolerance: expected a num"):
            pruning.compact(apply_fn, PARAMS, x, tolerance=tolerance)
    assert pruning.insensitivity({"t": 0.25})["t"] == 0.75
