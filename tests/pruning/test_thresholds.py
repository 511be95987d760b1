"""The plateau trigger and the threshold search, against plain Python."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning import thresholds
from pruning.masks import apply_mask, threshold_mask


def every(name, leaf):
    return True


def reference_plateau(losses, patience, margin):
    """Follow the rule one epoch at a time."""
    best, bad, events = math.inf, 0, []
    for loss in np.float32(losses):
        improved = bool(loss < np.float32(best))
        if loss < np.float32(np.float32(1 + margin) * np.float32(best)):
            bad = 0
        else:
            bad += 1
        if improved:
            best = loss
        fired = bad >= patience
        if fired:
            best, bad = math.inf, 0
        events.append((improved, fired))
    return events


@functools.partial(jax.jit, static_argnums=0)
def scan_plateau(trigger, losses):
    def step(state, loss):
        state, info = trigger.step(state, loss)
        return state, (info.improved, info.fired)

    return jax.lax.scan(step, trigger.init(), losses)[1]


def run_plateau(trigger, losses):
    events = scan_plateau(trigger, np.array(losses, np.float32))
    return list(zip(*(np.asarray(e).tolist() for e in events), strict=True))


LOSS = st.floats(0, 4, width=32, allow_subnormal=False)
LOSSES = [1.0, 0.9, 0.905, 0.95, 0.92, 0.89, 0.9, 0.91, math.nan, 0.9, 0.5, 0.5, 0.51]


@pytest.mark.parametrize("patience", [0, 1, 2, 3])
@pytest.mark.parametrize("margin", [0.0, 0.01, 0.1])
def test_plateau(patience, margin):
    found = run_plateau(thresholds.plateau(patience, margin=margin), LOSSES)
    assert found == reference_plateau(LOSSES, patience, margin)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0, 4, width=32, allow_subnormal=False), min_size=20, max_size=20)
)
def test_plateau_on_any_losses(losses):
    found = run_plateau(TRIGGER, losses)
    assert found == reference_plateau(losses, 2, 0.01)


TRIGGER = thresholds.plateau(2)


def test_plateau_by_hand():
    trigger = thresholds.plateau(2)
    # 1.005 is within 1 % of the best: good, but no improvement. Then two bad epochs.
    found = run_plateau(trigger, [1.0, 1.005, 1.02, 1.02, 5.0])
    assert [improved for improved, _ in found] == [True, False, False, False, True]
    assert [fired for _, fired in found] == [False, False, False, True, False]


def test_restored_keeps_the_better():
    old, new = {"w": jnp.zeros(2)}, {"w": jnp.ones(2)}
    kept = thresholds.restored(jnp.array(True), new, old)
    np.testing.assert_array_equal(kept["w"], [1, 1])
    kept = thresholds.restored(jnp.array(False), new, old)
    np.testing.assert_array_equal(kept["w"], [0, 0])


# The search.


def removed(params):
    """Return a loss that grows with what is taken away: the sum of its squares."""

    def loss(pruned):
        gaps = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), params, pruned)
        return sum(jax.tree.leaves(gaps))

    return loss


@pytest.fixture
def params(key):
    one, two = jax.random.split(key)
    return {
        "a": {"kernel": jax.random.normal(one, (20, 10)), "bias": jnp.full(10, 0.01)},
        "b": {"kernel": 0.3 * jax.random.normal(two, (10, 5)), "bias": jnp.ones(5)},
    }


def reference_search(loss, params, bound, rtol):
    """Bisect as described, in Python."""

    def at(threshold):
        return float(loss(apply_mask(params, threshold_mask(params, threshold))))

    sizes = [np.abs(np.asarray(params[n]["kernel"])) for n in ("a", "b")]
    start = np.float32(np.mean([s[s > 0].mean() for s in sizes]))
    low, low_loss = np.float32(0), at(0.0)
    if low_loss > bound:
        return low
    high, high_loss = np.float32(max(s.max() for s in sizes)), math.inf
    if at(start) <= bound:
        low, low_loss = start, at(start)
    else:
        high, high_loss = start, at(start)
        low = np.float32(min(s[s > 0].min() for s in sizes))
    while abs(high_loss - low_loss) >= rtol * bound:
        middle = np.float32(low + (high - low) / np.float32(2))
        if middle in (low, high):
            break
        loss_there = at(middle)
        if loss_there <= bound:
            low, low_loss = middle, loss_there
        else:
            high, high_loss = middle, loss_there
    return low


@pytest.mark.parametrize("bound", [0.01, 0.5, 3.0, 50.0, 1e3])
def test_the_loss_at_the_threshold_was_measured_within_the_bound(bound, params):
    loss = removed(params)
    found = jax.jit(lambda b: thresholds.search_threshold(loss, params, b))(bound)
    pruned = apply_mask(params, threshold_mask(params, found.threshold))
    assert float(loss(pruned)) == pytest.approx(float(found.loss), rel=1e-6)
    assert float(found.loss) <= bound
    wanted = reference_search(loss, params, bound, 0.05)
    assert float(found.threshold) == pytest.approx(float(wanted), rel=1e-6)
    # As far as the stopping rule allows: with none left, the next weight is too many.
    tight = thresholds.search_threshold(loss, params, bound, rtol=0.0)
    sizes = np.sort(
        np.abs(np.concatenate([np.ravel(params[n]["kernel"]) for n in "ab"]))
    )
    kept = sizes[sizes >= float(tight.threshold)]
    if len(kept) > 1:
        further = threshold_mask(params, np.nextafter(kept[0], np.float32(9)))
        assert float(loss(apply_mask(params, further))) > bound
    assert float(tight.threshold) >= float(found.threshold)
    assert int(tight.iterations) <= 50


def test_a_bound_already_broken_prunes_nothing(params):
    loss = removed(params)
    found = thresholds.search_threshold(lambda p: 1 + loss(p), params, 0.5)
    assert (float(found.threshold), int(found.iterations)) == (0.0, 1)
    assert float(found.loss) == 1.0
    assert bool(threshold_mask(params, found.threshold)["a"]["kernel"].all())
    nan = thresholds.search_threshold(lambda p: jnp.nan * loss(p), params, 0.5)
    assert float(nan.threshold) == 0


def test_the_least_weight_survives_a_bound_that_allows_no_pruning(params):
    # Any removal breaks the bound, the dense net does not.
    loss = removed(params)
    found = thresholds.search_threshold(loss, params, 0.0)
    assert float(found.loss) == 0.0
    mask = threshold_mask(params, found.threshold)
    assert bool(mask["a"]["kernel"].all()) and bool(mask["b"]["kernel"].all())


def test_dropped_weights_stay_dropped_and_do_not_count(params):
    mask = threshold_mask(params, 0.3)
    seen = []

    def loss(pruned):
        seen.append(pruned)
        return jnp.sum(jnp.abs(pruned["a"]["kernel"]))

    found = thresholds.search_threshold(loss, params, math.inf, mask=mask)
    direct = thresholds.search_threshold(
        lambda p: jnp.sum(jnp.abs(p["a"]["kernel"])), apply_mask(params, mask), math.inf
    )
    # Two programs: a loss beside the bound may be rounded to either side of it.
    assert float(found.threshold) == pytest.approx(float(direct.threshold), rel=1e-5)
    assert float(direct.threshold) > 0.3
    assert len(seen) == 1  # one trace, however many evaluations


def test_biases_only_on_request(params):
    loss = removed(params)
    without = thresholds.search_threshold(loss, params, 1.0)
    with_biases = thresholds.search_threshold(loss, params, 1.0, prunable=every)
    mask = threshold_mask(params, with_biases.threshold, prunable=every)
    assert not bool(mask["a"]["bias"].any())
    mask = threshold_mask(params, without.threshold)
    assert bool(mask["a"]["bias"].all())


def test_empty_and_pruned_out_nets():
    zero = {"w": jnp.zeros((3, 3))}
    found = thresholds.search_threshold(lambda p: jnp.sum(p["w"]), zero, 1.0)
    assert float(found.threshold) == 0 and float(found.loss) == 0


def test_vmap_over_seeds(key):
    stack = jax.random.normal(key, (3, 6, 4))
    bounds = jnp.array([0.1, 1.0, -1.0])

    def search(weight, bound):
        return thresholds.search_threshold(
            lambda p: jnp.sum((p["w"] - weight) ** 2), {"w": weight}, bound
        )

    wide = jax.vmap(search)(stack, bounds)
    for i in range(3):
        alone = search(stack[i], bounds[i])
        # Mapped and alone are two programs: the loss is summed in another order.
        assert float(wide.threshold[i]) == pytest.approx(
            float(alone.threshold), rel=1e-4, abs=1e-7
        )
        assert abs(int(wide.iterations[i]) - int(alone.iterations)) <= 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(dtype, key):
    params = {"w": jax.random.normal(key, (8, 8), dtype)}

    def loss(pruned):
        gap = pruned["w"].astype(jnp.float32) - params["w"].astype(jnp.float32)
        return jnp.sum(gap**2)

    found = thresholds.search_threshold(loss, params, 1.0)
    assert found.threshold.dtype == jnp.float32
    assert 0.5 < float(found.loss) <= 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: thresholds.plateau(-1), "patience: expected an integer >= 0, got -1"),
        (lambda: thresholds.plateau(2, margin=-0.1), "margin: expected a number >= 0"),
        (lambda: thresholds.plateau(2, margin=math.nan), "margin: .* got nan"),
        (lambda: search(math.nan), "bound: expected a number, got NaN"),
        (lambda: search(1.0, rtol=-1.0), "rtol: expected a number >= 0"),
        (lambda: search(1.0, max_iterations=1), "max_iterations: expected an integer"),
        (lambda: search(1.0, prunable=lambda n, p: False), "no leaf is prunable"),
        (lambda: search(1.0, mask={"v": 1}), "mask: leaf w is missing"),
        (lambda: search(1.0, lambda p: p["w"]), r"loss_fn: .* array of shape \(2, 2\)"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def search(bound, loss=lambda p: jnp.sum(p["w"]), **options):
    return thresholds.search_threshold(loss, {"w": jnp.ones((2, 2))}, bound, **options)
