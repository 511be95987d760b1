"""Pruning as a transform: exact zeros, what is chosen when, masks in and out."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pruning import masks, schedules, scores, transforms
from tests.pruning.references import same


def kernels(key, dtype="float32"):
    one, two = jax.random.split(key)
    return {
        "a": jax.random.normal(one, (16, 12), dtype),
        "b": jax.random.normal(two, (12, 4), dtype),
        "bias": jnp.ones(4, dtype),
    }


def zeros_like(tree):
    return jax.tree.map(jnp.zeros_like, tree)


def test_under_vmap_nothing_is_computed_between_refreshes_and_prunings():
    calls = []

    def felt(params, batch):
        jax.debug.callback(lambda _: calls.append("felt"), params["w"][0, 0])
        return params

    def score(params):
        jax.debug.callback(lambda _: calls.append("score"), params["w"][0, 0])
        return jax.tree.map(jnp.abs, params)

    tx = optax.chain(
        transforms.sensitivity_decay(0.1, sensitivity_fn=felt, refresh=4),
        transforms.prune(schedules.one_shot(2, 0.5), score=score),
    )
    stack = {"w": jnp.arange(12.0).reshape(3, 2, 2)}
    state = jax.vmap(tx.init)(stack)
    step = jax.jit(
        jax.vmap(lambda p, s: tx.update(zeros_like(p), s, p, batch=jnp.zeros(2)))
    )
    for _ in range(4):
        _, state = step(stack, state)
    jax.effects_barrier()
    assert sorted(calls) == ["felt"] * 3 + ["score"] * 3


# Pruning.

OPTIMIZERS = {
    "sgd with momentum": lambda: optax.sgd(0.05, momentum=0.9),
    "adam": lambda: optax.adam(1e-2),
    "adamw": lambda: optax.adamw(1e-2, weight_decay=0.1),
    "lion": lambda: optax.lion(1e-2),
}


@pytest.mark.parametrize(
    ("form", "name", "dtype"),
    [
        *[("prune", n, d) for n in OPTIMIZERS for d in ("float32", "bfloat16")],
        ("pruned", "sgd with momentum", "float32"),
        ("pruned", "adamw", "bfloat16"),
    ],
)
def test_pruned_weights_are_exactly_zero_over_1000_steps(form, name, dtype, key):
    schedule = schedules.polynomial(20, 700, 0.1, every=40)
    inner = OPTIMIZERS[name]()
    if form == "prune":
        tx = optax.chain(inner, transforms.prune(schedule))
    else:
        tx = transforms.pruned(inner, schedule)
    params = kernels(key, dtype)

    def step(carry, number):
        params, state = carry
        # A moving target, so that no weight would rest at zero by itself.
        phase = number.astype(jnp.float32)
        grads = jax.tree.map(
            lambda w: w + jnp.sin(phase + jnp.arange(w.size)).reshape(w.shape), params
        )
        grads = jax.tree.map(lambda g, w: g.astype(w.dtype), grads, params)
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        held = transforms.masks_of(state)
        wrong = sum(
            jnp.sum(~m & (w != 0), dtype=jnp.int32)
            for m, w in zip(jax.tree.leaves(held), jax.tree.leaves(params), strict=True)
        )
        return (params, state), (wrong, masks.count(held).kept)

    with jax.numpy_dtype_promotion("standard"):
        run = jax.jit(lambda carry: jax.lax.scan(step, carry, jnp.arange(1000)))
        (params, state), (wrong, kept) = run((params, tx.init(params)))
    total = 16 * 12 + 12 * 4
    assert int(wrong.sum()) == 0
    assert kept[0] == total and kept[-1] == round(0.1 * total)
    assert (np.diff(np.asarray(kept)) <= 0).all()
    assert all(bool(jnp.isfinite(w).all()) for w in jax.tree.leaves(params))
    assert bool((params["bias"] != 0).all())
    density = optax.tree.get(state, "prune_density")
    assert float(density) == pytest.approx(0.1)


def test_one_shot_prunes_at_its_step_what_the_update_leaves_smallest(key):
    params = kernels(key)
    tx = transforms.prune(schedules.one_shot(2, 0.3))
    state = tx.init(params)
    step = jnp.float32(0.01)
    for number in range(4):
        before = params
        moves = jax.tree.map(lambda w: step * jnp.ones_like(w), params)
        updates, state = tx.update(moves, state, params)
        params = optax.apply_updates(params, updates)
        kept = masks.count(transforms.masks_of(state)).kept
        assert kept == (240 if number < 2 else round(0.3 * 240))
        if number == 2:
            reached = jax.tree.map(lambda w: w + step, before)
            wanted = masks.magnitude_mask(reached, 0.3)
            info = state.prune_info
            assert int(info.prune_flips) == 240 - 72
            assert float(info.prune_density) == pytest.approx(0.3)
            sizes = np.sort(
                np.abs(np.concatenate([np.ravel(reached[n]) for n in ("a", "b")]))
            )
            assert float(info.prune_threshold) == sizes[-72]
            assert int(info.prune_floored) == 0
    for name in params:
        np.testing.assert_array_equal(transforms.masks_of(state)[name], wanted[name])
        np.testing.assert_array_equal(params[name] != 0, wanted[name])


def test_pruned_weights_never_return_unless_asked():
    tx = transforms.prune(
        schedules.periodic(1, 0.5, end=1),
        score=lambda params, worth: worth,
        regrow=False,
    )
    free = transforms.prune(
        schedules.periodic(1, 0.5, end=1),
        score=lambda params, worth: worth,
        regrow=True,
    )
    params = {"w": jnp.arange(1.0, 9.0).reshape(2, 4)}
    up = {"w": jnp.arange(8.0).reshape(2, 4)}
    down = {"w": -up["w"]}
    for transform, wanted in ((tx, [4, 5]), (free, [0, 1])):
        state = transform.init(params)
        _, state = transform.update(zeros_like(params), state, params, worth=up)
        kept = np.flatnonzero(transforms.masks_of(state)["w"])
        np.testing.assert_array_equal(kept, [4, 5, 6, 7])
        _, state = transform.update(zeros_like(params), state, params, worth=down)
        kept = np.flatnonzero(transforms.masks_of(state)["w"])
        np.testing.assert_array_equal(kept, wanted)
    assert int(state.prune_info.prune_flips) == 6


@pytest.mark.parametrize(
    ("weight", "update"), [("bfloat16", "float32"), ("float32", "bfloat16")]
)
def test_mixed_precision_is_exact_too(weight, update, key):
    params = kernels(key, weight)
    tx = transforms.prune(schedules.one_shot(0, 0.2))
    moves = jax.tree.map(lambda w: jnp.full_like(w, 0.1, dtype=update), params)
    updates, state = tx.update(moves, tx.init(params), params)
    with jax.numpy_dtype_promotion("standard"):
        params = optax.apply_updates(params, updates)
    held = transforms.masks_of(state)
    for name in ("a", "b"):
        assert params[name].dtype == weight
        np.testing.assert_array_equal(params[name] != 0, held[name])


def test_updates_that_are_not_finite_do_not_reach_pruned_weights(key):
    params = kernels(key)
    tx = transforms.prune(schedules.manual())
    mask = masks.magnitude_mask(params, 0.5)
    state = transforms.with_masks(tx.init(params), mask)
    broken = jax.tree.map(lambda w: jnp.full_like(w, jnp.nan), params)
    updates, _ = tx.update(broken, state, params)
    found = optax.apply_updates(params, updates)
    np.testing.assert_array_equal(found["a"] == 0, ~mask["a"])
    assert bool(jnp.isnan(found["a"][mask["a"]]).all())


def test_scores_get_the_extra_arguments_that_they_name(key):
    params = kernels(key)
    grads = jax.tree.map(lambda w: 1 / (1 + w**2), params)
    felt = jax.tree.map(lambda w: jnp.cos(w) ** 2, params)
    extra = {"grads": grads, "sensitivity": felt, "key": key, "value": 1.0}
    wanted = {
        "magnitude": scores.magnitude(params),
        "saliency": scores.saliency(params, grads),
        "sensitivity": scores.sensitivity(params, felt),
        "random": scores.random(params, key),
    }
    for name, score in wanted.items():
        tx = transforms.prune(schedules.one_shot(0, 0.25), score=name)
        _, state = tx.update(zeros_like(params), tx.init(params), params, **extra)
        same = masks.flips(transforms.masks_of(state), masks.select(score, 0.25))
        assert same == (0, 0)
    for name, missing in (
        ("saliency", "grads"),
        ("sensitivity", "sensitivity"),
        ("random", "key"),
    ):
        tx = transforms.prune(schedules.one_shot(0, 0.25), score=name)
        with pytest.raises(ValueError, match=f"prune: the argument {missing} is miss"):
            tx.update(zeros_like(params), tx.init(params), params)
    seen = {}

    def greedy(params, **extra):
        seen.update(extra)
        return params

    tx = transforms.prune(schedules.one_shot(0, 0.25), score=greedy)
    tx.update(zeros_like(params), tx.init(params), params, **extra)
    assert set(seen) == set(extra)


def test_structure_scope_and_floor_reach_the_selection(key):
    params = kernels(key)
    tx = transforms.prune(
        schedules.one_shot(0, 0.25),
        structure=masks.neuron(),
        scope="layer",
        min_per_leaf=2,
    )
    _, state = tx.update(zeros_like(params), tx.init(params), params)
    held = transforms.masks_of(state)
    assert int(np.asarray(held["a"]).all(0).sum()) == 3
    assert int(np.asarray(held["b"]).all(0).sum()) == 2
    assert int(state.prune_info.prune_floored) == 1


def test_pruned_leaves_no_trace_in_the_optimizer(key):
    params = kernels(key)
    inner = optax.trace(0.9)
    tx = transforms.pruned(inner, schedules.one_shot(2, 0.25))
    state = tx.init(params)
    grads = jax.tree.map(jnp.ones_like, params)
    for _ in range(4):
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    held = transforms.masks_of(state)
    trace = optax.tree.get(state, "trace")
    for name in ("a", "b"):
        np.testing.assert_array_equal(trace[name] != 0, held[name])
        np.testing.assert_allclose(trace[name][held[name]], 1 + 0.9 + 0.81 + 0.729)
    # A weight that is let back in starts from no momentum.
    state = transforms.with_masks(state, masks.full_mask(params))
    updates, state = tx.update(grads, state, params)
    np.testing.assert_array_equal(updates["a"][~held["a"]], 1.0)


def test_pruned_scores_see_the_gradients_as_they_came(key):
    params = kernels(key)
    grads = jax.tree.map(jnp.sin, params)
    tx = transforms.pruned(
        optax.sgd(0.0), schedules.one_shot(0, 0.25), score="saliency"
    )
    _, state = tx.update(grads, tx.init(params), params)
    wanted = masks.select(scores.saliency(params, grads), 0.25)
    assert masks.flips(transforms.masks_of(state), wanted) == (0, 0)


@pytest.mark.parametrize(
    "inner",
    [
        optax.partition(
            {"x": optax.sgd(0.1, momentum=0.9), "y": optax.trace(0.5)},
            {"a": "x", "b": "y", "bias": "x"},
        ),
        optax.masked(optax.trace(0.9), {"a": True, "b": False, "bias": True}),
        optax.inject_hyperparams(optax.sgd)(0.1, momentum=0.9),
        optax.MultiSteps(optax.sgd(0.1, momentum=0.9), 2),
    ],
    ids=["partition", "masked", "inject_hyperparams", "MultiSteps"],
)
def test_pruned_wraps_nested_optimizers(inner, key):
    params = kernels(key)
    if isinstance(inner, optax.MultiSteps):
        inner = inner.gradient_transformation()
    tx = transforms.pruned(inner, schedules.one_shot(1, 0.25))
    state = tx.init(params)
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(4):
            updates, state = tx.update(params, state, params)
            params = optax.apply_updates(params, updates)
    held = transforms.masks_of(state)
    assert masks.count(held).kept == 60
    gone = [name for name in ("a", "b") if bool((params[name] != 0)[~held[name]].any())]
    assert gone == []
    for leaf in jax.tree.leaves(state.pruned_inner):
        if leaf.shape == held["a"].shape:
            assert not bool((leaf != 0)[~held["a"]].any())


# Masks in and out.


def test_masks_of_two_pruners_meet(key):
    params = kernels(key)
    both = optax.chain(
        transforms.prune(schedules.manual()), transforms.prune(schedules.manual())
    )
    state = both.init(params)
    one = masks.magnitude_mask(params, 0.5)
    other = jax.tree.map(lambda m: ~m, one)
    mixed = (
        transforms.with_masks(state[0], one),
        transforms.with_masks(state[1], other),
    )
    assert masks.count(transforms.masks_of(mixed)).kept == 0
    parts = optax.partition(
        {
            "x": transforms.pruned(optax.sgd(0.1), schedules.one_shot(0, 0.5)),
            "y": transforms.prune(schedules.one_shot(0, 0.25)),
        },
        {"a": "x", "b": "y", "bias": "x"},
    )
    _, state = parts.update(zeros_like(params), parts.init(params), params)
    held = transforms.masks_of(state)
    assert jax.tree.structure(held) == jax.tree.structure(params)
    counts = masks.count(held).leaves
    assert (counts["a"].kept, counts["b"].kept) == (96, 12)
    state = transforms.with_masks(state, one)
    assert masks.flips(transforms.masks_of(state), one) == (0, 0)


def test_with_masks_acts_at_the_next_update_and_lasts(key):
    params = kernels(key)
    tx = optax.chain(optax.sgd(0.1), transforms.prune(schedules.manual()))
    state = transforms.with_masks(tx.init(params), masks.magnitude_mask(params, 0.1))
    grads = jax.tree.map(jnp.ones_like, params)
    step = jax.jit(lambda p, s: tx.update(grads, s, p))
    for _ in range(3):
        updates, state = step(params, state)
        params = optax.apply_updates(params, updates)
        assert int((params["a"] != 0).sum() + (params["b"] != 0).sum()) == 24


def test_bad_masks_are_named(key):
    params = kernels(key)
    tx = optax.chain(optax.sgd(0.1), transforms.prune(schedules.manual()))
    state = tx.init(params)
    full = masks.full_mask(params)
    with pytest.raises(ValueError, match="opt_state: no masks found"):
        transforms.masks_of(optax.sgd(0.1).init(params))
    with pytest.raises(ValueError, match="opt_state: no masks found"):
        transforms.with_masks(optax.sgd(0.1).init(params), full)
    with pytest.raises(ValueError, match="masks: leaf b is missing"):
        transforms.with_masks(state, {"a": full["a"], "bias": full["bias"]})
    with pytest.raises(ValueError, match="masks: unexpected leaf c"):
        transforms.with_masks(state, {**full, "c": full["a"]})
    with pytest.raises(ValueError, match=r"masks: leaf a has shape \(12, 4\), expect"):
        transforms.with_masks(state, {**full, "a": full["b"]})
    with pytest.raises(ValueError, match="masks: leaf a is float32, expected bool"):
        transforms.with_masks(state, {**full, "a": params["a"]})


# Bad input.


def test_other_bad_input(key):
    params = kernels(key)
    with pytest.raises(ValueError, match="refresh: more than 1 needs sensitivity_fn"):
        transforms.sensitivity_decay(0.1, refresh=2)
    tx = transforms.sensitivity_decay(0.1)
    with pytest.raises(ValueError, match=r"sensitivity: leaf b has shape \(1,\)"):
        tx.update(params, tx.init(params), params, sensitivity={**params, "b": ones(1)})
    tx = transforms.sensitivity_decay(0.1, sensitivity_fn=lambda p, b: {"a": p["a"]})
    with pytest.raises(ValueError, match=r"sensitivity_fn\(params, batch\): leaf b"):
        tx.update(params, tx.init(params), params, batch=0)
    tx = transforms.loss_sensitivity_decay(0.1)
    most = {"a": params["a"], "b": params["b"]}
    with pytest.raises(ValueError, match="grads: leaf bias is missing"):
        tx.update(params, tx.init(params), params, grads=most)
    with pytest.raises(ValueError, match="schedule: expected a pruning schedule"):
        transforms.prune(0.5)
    with pytest.raises(ValueError, match="score: expected one of magnitude, random"):
        transforms.prune(schedules.manual(), score="size")
    with pytest.raises(ValueError, match="scope: expected 'global' or 'layer'"):
        transforms.prune(schedules.manual(), scope="net")
    with pytest.raises(ValueError, match="prunable: no leaf of params is prunable"):
        transforms.prune(schedules.manual()).init({"b": jnp.ones(3)})
    with pytest.raises(ValueError, match=r"leaf b: blocks of \(5, 5\) do not tile"):
        structure = masks.block((5, 5))
        transforms.prune(schedules.manual(), structure=structure).init({"b": ones(3)})
    tx = transforms.prune(schedules.one_shot(0, 0.5), score=lambda p: {"a": p["a"]})
    with pytest.raises(ValueError, match="score: leaf b is missing"):
        tx.update(params, tx.init(params), params)


def ones(size):
    return jnp.ones((size,) * (1 if size == 1 else 2))


def test_a_ticket_is_rewound_in_one_call_and_stays_pruned(key):
    first = kernels(key)
    tx = optax.chain(
        optax.sgd(0.1, momentum=0.9), transforms.prune(schedules.one_shot(1, 0.25))
    )
    params, state = first, tx.init(first)
    for _ in range(3):
        updates, state = tx.update(jax.tree.map(jnp.sin, params), state, params)
        params = optax.apply_updates(params, updates)
    mask = transforms.masks_of(state)
    again = optax.chain(
        optax.sgd(0.1, momentum=0.9), transforms.prune(schedules.manual())
    )
    params, state = transforms.rewind(again, first, mask)
    same(params, masks.apply_mask(first, mask))
    assert int(optax.tree_utils.tree_get(state, "prune_count")) == 0
    for _ in range(2):
        updates, state = again.update(jax.tree.map(jnp.cos, params), state, params)
        params = optax.apply_updates(params, updates)
    same(transforms.masks_of(state), mask)
    same(masks.apply_mask(params, mask), params)
    with pytest.raises(ValueError, match="mask"):
        transforms.rewind(again, first, {"a": mask["a"]})
    with pytest.raises(ValueError, match="no masks found"):
        transforms.rewind(optax.sgd(0.1), first, mask)


def test_a_ticket_of_masked_transforms_is_rewound_too(key):
    first = {name: leaf for name, leaf in kernels(key).items() if name in "ab"}
    part = {"a": True, "b": False}
    tx = optax.masked(transforms.prune(schedules.one_shot(0, 0.25)), part)
    _, state = tx.update(zeros_like(first), tx.init(first), first)
    params, state = transforms.rewind(tx, first, transforms.masks_of(state))
    same({"b": params["b"]}, {"b": first["b"]})
    assert int((params["a"] != 0).sum()) == round(0.25 * params["a"].size)
