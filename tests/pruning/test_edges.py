"""The edges: donation, odd leaves, complex weights, restored states, counts."""

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax import lax
from jax.sharding import Mesh, PartitionSpec

import pruning
from pruning import masks, schedules, transforms
from tests.pruning.cases import RATE, gradients, one_step, weights, with_each
from tests.pruning.networks import draw


@with_each
def test_a_fresh_state_can_be_donated(case):
    tx = case.make(RATE)
    params = weights()
    step = jax.jit(lambda p, s, g: one_step(case, tx, p, s, g), donate_argnums=(0, 1))
    step(jax.tree.map(jnp.copy, params), tx.init(params), gradients(params, 0))


def test_shared_masks_can_be_donated():
    params = {"a": draw(1, 4, 4), "b": draw(2, 4, 4)}
    half = masks.magnitude_mask(params["a"], 0.5)
    both = optax.chain(pruning.prune(schedules.manual()), optax.scale(1.0))
    both = optax.chain(both, pruning.prune(schedules.manual()))
    state = transforms.with_masks(both.init(params), {"a": half, "b": half})
    step = jax.jit(lambda s, p: both.update(p, s, p)[1], donate_argnums=0)
    step(state, params)
    assert int(half.sum()) == 8  # the caller's own is still there


# Complex weights.


def spiral(p, x):
    """Return real outputs of a complex layer."""
    h = lax.complex(x, jnp.zeros_like(x)) @ p["lam"]
    return jnp.real(h @ p["out"])


def complex_draw(seed, *shape):
    return lax.complex(draw(seed, *shape), draw(seed + 50, *shape))


SPIRAL = {"lam": complex_draw(1, 4, 6), "out": complex_draw(2, 6, 3)}


@pytest.mark.parametrize("reduction", ["mean_abs", "abs_mean"])
def test_complex_sensitivity_is_the_modulus_of_both_slopes(reduction):
    x = draw(3, 5, 4)
    found = {
        method: pruning.sensitivity(
            spiral,
            SPIRAL,
            x,
            pruning.unspecific(3),
            reduction=reduction,
            method=method,
        )
        for method in ("taps", "reference")
    }

    def parts(real, imag, x):
        return spiral(jax.tree.map(lax.complex, real, imag), x)

    real, imag = (jax.tree.map(f, SPIRAL) for f in (jnp.real, jnp.imag))
    slopes = [jax.jacobian(parts, argnums=i)(real, imag, x) for i in (0, 1)]
    for name in SPIRAL:
        pair = [s[name] for s in slopes]
        if reduction == "abs_mean":
            pair = [s.mean(0, keepdims=True) for s in pair]
        wanted = jnp.sqrt(pair[0] ** 2 + pair[1] ** 2).mean((0, 1))
        for tree in found.values():
            assert tree[name].dtype == jnp.float32
            np.testing.assert_allclose(tree[name], wanted, rtol=1e-4, atol=1e-6)


def test_a_real_weight_made_complex_feels_the_real_part():
    def apply(p, x):
        mixed = lax.complex(p["w"], jnp.zeros_like(p["w"])) * p["phase"]
        shifted = lax.complex(x, x) @ p["w"].astype(jnp.complex64)
        return jnp.real(lax.complex(x, x) @ mixed + shifted)

    params = {"w": draw(1, 4, 3), "phase": complex_draw(2, 4, 3)}
    x = draw(3, 5, 4)
    alpha = pruning.unspecific(3)
    found = pruning.sensitivity(apply, params, x, alpha)
    wanted = pruning.sensitivity(apply, params, x, alpha, method="reference")
    jax.tree.map(
        lambda f, w: np.testing.assert_allclose(f, w, rtol=1e-5), found, wanted
    )


def test_complex_weights_decay_and_go_by_their_modulus():
    w = jnp.asarray([[3 + 4j, 0.1j], [1, -2j]], jnp.complex64)
    zero = jnp.zeros_like(w)
    tx = pruning.sensitivity_decay(0.5)
    felt = jnp.asarray([[0.0, 1.0], [0.5, 2.0]])
    updates, _ = tx.update(zero, tx.init(w), w, sensitivity=felt)
    gate = jnp.maximum(1 - felt, 0)
    np.testing.assert_allclose(updates, -0.5 * gate.astype(w.dtype) * w)
    tx = pruning.loss_sensitivity_decay(0.5)
    updates, _ = tx.update(zero, tx.init(w), w, grads=w / 2)
    gate = jnp.maximum(1 - jnp.abs(w) / 2, 0)
    np.testing.assert_allclose(updates, -0.5 * gate.astype(w.dtype) * w, rtol=1e-6)
    wanted = np.array([[True, False], [False, True]])
    np.testing.assert_array_equal(pruning.magnitude_mask(w, 0.5), wanted)
    np.testing.assert_array_equal(pruning.threshold_mask(w, 1.5), wanted)
    found = pruning.search_threshold(lambda p: jnp.sum(p == 0) / 1, w, 2.0)
    mask = pruning.threshold_mask(w, found.threshold)
    np.testing.assert_array_equal(mask, wanted)
    for score in ("magnitude", "random", "saliency", "sensitivity"):
        tx = pruning.prune(pruning.one_shot(0, 0.5), score=score)
        updates, state = tx.update(
            zero,
            tx.init(w),
            w,
            key=jax.random.key(0),
            grads=w,
            sensitivity=jnp.abs(w),
        )
        left = optax.apply_updates(w, updates)
        np.testing.assert_array_equal(left != 0, pruning.masks_of(state))
        assert int((left != 0).sum()) == 2


def test_complex_outputs_are_refused_by_name():
    x = draw(1, 5, 4)
    with pytest.raises(ValueError, match="apply_fn: expected floating outputs, got co"):
        pruning.sensitivity(
            lambda p, x: lax.complex(x, x) @ p, SPIRAL["lam"], x, pruning.unspecific(6)
        )


# Odd leaves.

ODD = {
    "w": draw(1, 8, 8),
    "empty": jnp.zeros((0, 5)),
    "temperature": 1.0,
    "index": jnp.arange(16).reshape(4, 4),
    "nothing": None,
    "count": 3,
}


def test_odd_leaves_are_worked_with():
    for mask in (
        pruning.magnitude_mask(ODD, 0.5),
        pruning.threshold_mask(ODD, float(jnp.median(jnp.abs(ODD["w"])))),
        pruning.magnitude_mask(ODD, 0.5, structure=pruning.neuron()),
        pruning.masks_from_zeros(ODD | {"w": ODD["w"].at[:4].set(0.0)}),
    ):
        assert pruning.count(mask, params=ODD) == (32, 64, {"w": (32, 64)})
        assert bool(mask["index"].all()) and bool(mask["temperature"])
        cut = pruning.apply_mask(ODD, mask)
        assert int((cut["w"] != 0).sum()) == 32
        np.testing.assert_array_equal(cut["index"], ODD["index"])
    found = pruning.search_threshold(lambda p: -jnp.abs(p["w"]).sum(), ODD, -10.0)
    assert float(found.loss) <= -10
    tx = pruning.prune(pruning.one_shot(0, 0.5))
    state = tx.init(ODD)
    updates, state = jax.jit(tx.update)(jax.tree.map(jnp.zeros_like, ODD), state, ODD)
    assert int((optax.apply_updates(ODD, updates)["w"] != 0).sum()) == 32
    assert float(state.prune_info.prune_density) == 0.5
    every = lambda path, leaf: True
    with pytest.raises(ValueError, match="prunable: leaf count is int32, expected fl"):
        pruning.prune(pruning.one_shot(0, 0.5), prunable=every).init(ODD)


def test_a_weight_that_is_not_finite_is_kept_for_it_cannot_be_zeroed():
    params = {"w": jnp.array([[jnp.nan, 1.0, 2.0, 3.0], [4.0, jnp.inf, 5.0, 6.0]])}
    zeros = jax.tree.map(jnp.zeros_like, params)
    for score in ("magnitude", "random"):
        tx = pruning.prune(pruning.one_shot(0, 0.5), score=score)
        updates, state = tx.update(
            zeros, tx.init(params), params, key=jax.random.key(1)
        )
        left = optax.apply_updates(params, updates)["w"]
        mask = pruning.masks_of(state)["w"]
        assert bool((left[~mask] == 0).all()) and bool(mask[0, 0] & mask[1, 1])


def test_search_threshold_holds_its_bound_in_float64_and_with_infinite_weights():
    cut = lambda p: jnp.sum(p["w"] == 0).astype(p["w"].dtype)
    with jax.enable_x64(True):
        for seed in range(20):
            w = {"w": draw(seed, 4, 5, dtype="float64")}
            found = pruning.search_threshold(cut, w, 0.5)
            mask = pruning.threshold_mask(w, found.threshold)
            assert found.threshold.dtype == jnp.float64
            assert float(cut(pruning.apply_mask(w, mask))) == 0
    for bad in (jnp.inf, -jnp.inf, jnp.nan):
        w = {"w": jnp.array([[bad, 0.2]])}
        loss = lambda p: jnp.sum(jnp.where(jnp.isfinite(p["w"]), p["w"], 1))
        found = pruning.search_threshold(loss, w, 5.0)
        assert np.isfinite(found.threshold) and np.isfinite(found.loss)


# States.


def test_a_state_restored_without_a_template_is_read_but_not_written():
    params = {"w": draw(1, 4, 4)}
    tx = optax.chain(optax.adam(1e-3), pruning.prune(pruning.manual()))
    half = pruning.magnitude_mask(params, 0.5)
    state = pruning.with_masks(tx.init(params), half)
    untyped = flax.serialization.to_state_dict(state)
    jax.tree.map(np.testing.assert_array_equal, pruning.masks_of(untyped), half)
    with pytest.raises(ValueError, match=r"restore it into tx.init\(params\)"):
        pruning.with_masks(untyped, half)
    again = flax.serialization.from_state_dict(tx.init(params), untyped)
    jax.tree.map(np.testing.assert_array_equal, pruning.masks_of(again), half)


def test_one_goes_on_from_a_sparse_checkpoint():
    params = {"w": draw(1, 4, 4), "bias": jnp.zeros(4)}
    params = pruning.apply_mask(params, pruning.magnitude_mask(params, 0.25))
    params["w"] = jnp.where(params["w"] == 0, jnp.float32(-0.0), params["w"])
    tx = optax.chain(optax.sgd(0.1), pruning.prune(pruning.manual()))
    mask = pruning.masks_from_zeros(params)
    assert bool(mask["bias"].all())
    state = pruning.with_masks(tx.init(params), mask)
    updates, _ = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
    left = optax.apply_updates(params, updates)
    assert int((left["w"] != 0).sum()) == 4 and bool((left["bias"] != 0).all())


def test_masks_of_an_nnx_optimizer_fit_the_model_and_its_state():
    model = nnx.Linear(8, 4, rngs=nnx.Rngs(0))
    tx = optax.chain(optax.sgd(0.1), pruning.prune(pruning.one_shot(0, 0.25)))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    params = nnx.state(model, nnx.Param)
    optimizer.update(model, jax.tree.map(jnp.zeros_like, params))
    held = pruning.masks_of(optimizer.opt_state)
    for tree in (model, nnx.state(model, nnx.Param)):
        assert pruning.report(tree, held).prunable_weights == (8, 32)
    assert pruning.report(model).prunable_weights == (8, 32)
    cut = pruning.apply_mask(params, held)
    assert jax.tree.structure(cut) == jax.tree.structure(params)
    assert int((cut["kernel"][...] != 0).sum()) == 8
    with pytest.raises(ValueError, match="mask: leaf kernel has shape"):
        pruning.apply_mask(params, held | {"kernel": held["kernel"].T})


# Schedules.

MORE = {
    "one_shot": pruning.one_shot(0, 0.125),
    "polynomial": pruning.polynomial(0, 3, 0.125, every=2),
    "periodic": pruning.periodic(1, 0.5, end=2),
}


@pytest.mark.parametrize("name", MORE)
@pytest.mark.parametrize("regrow", [False, True])
def test_another_schedule_acts_once_on_a_state_past_its_end(name, regrow):
    params = {"w": draw(1, 8, 8)}
    zeros = {"w": jnp.zeros((8, 8))}
    old = pruning.prune(pruning.one_shot(1, 0.5))
    state = old.init(params)
    for _ in range(5):
        _, state = old.update(zeros, state, params)
    calls = []

    def score(params):
        jax.debug.callback(lambda: calls.append(1))
        return jax.tree.map(jnp.abs, params)

    tx = pruning.prune(MORE[name], score=score, regrow=regrow)
    step = jax.jit(tx.update)
    for _ in range(3):
        updates, state = step(zeros, state, params)
    jax.effects_barrier()
    assert len(calls) == 1
    assert int((optax.apply_updates(params, updates)["w"] != 0).sum()) == 8
    more = pruning.prune(pruning.one_shot(0, 0.75), regrow=regrow)
    _, state = more.update(zeros, state, params)
    assert pruning.count(pruning.masks_of(state)).kept == (48 if regrow else 8)


def test_densities_may_be_traced():
    params = {"w": draw(1, 8, 8)}

    def left(density, schedule):
        tx = pruning.prune(schedule(density))
        state = tx.init(params)
        for _ in range(3):
            _, state = tx.update(params, state, params)
        return pruning.count(pruning.masks_of(state)).kept

    for schedule in (
        lambda d: pruning.one_shot(1, d),
        lambda d: pruning.polynomial(0, 2, d),
        lambda d: pruning.periodic(3, d),
    ):
        found = jax.vmap(lambda d, s=schedule: left(d, s))(jnp.array([0.5, 0.25]))
        assert found.tolist() == [32, 16]


def test_counts_at_the_ends_of_int32_neither_wrap_nor_jump():
    last = 2**31 - 1
    assert float(pruning.periodic(1, 0.9)(last)) == 0
    for step in (np.int64(2**40), 2**40, last, jnp.int32(last)):
        assert float(pruning.polynomial(0, 10, 0.1)(step)) == np.float32(0.1)
        assert float(pruning.one_shot(3, 0.1)(step)) == np.float32(0.1)
        assert (
            int(pruning.periodic(7, 0.5, begin=3).last(step)) == last - (last - 3) % 7
        )
    with jax.enable_x64(True):
        assert float(pruning.one_shot(3, 0.1)(jnp.int64(2**40))) == np.float32(0.1)
    for schedule in (pruning.polynomial(0, 10, 0.5), pruning.one_shot(0, 0.5)):
        with pytest.raises(ValueError, match=r"total: expected a number below 2\*\*31"):
            schedule.kept(20, 2**33)
    with pytest.raises(ValueError, match=r"begin: expected an integer below 2\*\*31"):
        pruning.polynomial(2**40, 2**41, 0.1)


# Devices.


def close(found, wanted):
    jax.tree.map(
        lambda f, w: np.testing.assert_allclose(f, w, 1e-5, 1e-7), found, wanted
    )


@pytest.mark.parametrize("reduction", ["mean_abs", "abs_mean"])
@pytest.mark.parametrize("method", ["taps", "reference"])
def test_sensitivity_in_shard_map_is_that_of_one_device(reduction, method):
    mesh = Mesh(np.array(jax.devices()), ("d",))
    params, x = {"w": draw(1, 6, 4), "v": draw(2, 4, 3)}, draw(3, 16, 6)
    apply = lambda p, x: jnp.tanh(jax.nn.relu(x @ p["w"]) @ p["v"])
    labels = jnp.arange(16) % 3
    rows = pruning.specific(labels, 3)
    options = {"reduction": reduction, "method": method}
    spread = PartitionSpec("d")

    def local(p, x, rows):
        return pruning.sensitivity(apply, p, x, rows, chunk=1, **options)

    found = jax.jit(
        jax.shard_map(
            local,
            mesh=mesh,
            in_specs=(PartitionSpec(), spread, spread),
            out_specs=PartitionSpec(),
        )
    )(params, x, rows)
    wanted = pruning.sensitivity(apply, params, x, rows, reduction=reduction)
    jax.tree.map(
        lambda f, w: np.testing.assert_allclose(f, w, 1e-5, 1e-7), found, wanted
    )


def test_psp_and_decay_in_shard_map_are_those_of_one_device():
    mesh = Mesh(np.array(jax.devices()), ("d",))
    params, x = {"w": draw(1, 6, 4), "v": draw(2, 4, 3)}, draw(3, 16, 6)
    apply = lambda p, x: jax.nn.relu(x @ p["w"]) @ p["v"]
    felt = lambda p, x: pruning.sensitivity(apply, p, x, pruning.unspecific(3))
    tx = optax.chain(
        pruning.psp_regularization(apply, 0.1),
        optax.sgd(0.1),
        pruning.sensitivity_decay(0.1, sensitivity_fn=felt, refresh=2),
        pruning.prune(pruning.one_shot(1, 0.5)),
    )

    def train(params, x):
        state = tx.init(params)
        for _ in range(3):
            updates, state = tx.update(params, state, params, batch=x)
            params = optax.apply_updates(params, updates)
        return params

    spread = (PartitionSpec(), PartitionSpec("d"))
    mapped = jax.shard_map(train, mesh=mesh, in_specs=spread, out_specs=spread[0])
    jax.tree.map(
        lambda f, w: np.testing.assert_allclose(f, w, 1e-5, 1e-7),
        jax.jit(mapped)(params, x),
        train(params, x),
    )


def test_a_fixed_batch_size_is_named():
    w = jnp.ones((4, 6))
    with pytest.raises(
        ValueError, match="apply_fn: cannot be traced for a batch of 23"
    ):
        pruning.sensitivity(
            lambda p, x: x.reshape(5, 4) @ p,
            w,
            jnp.ones((5, 2, 2)),
            pruning.unspecific(6),
        )


# The way out of masked and partition.

NET = {"w": draw(1, 4, 6), "o": draw(2, 6, 3)}


def test_holes_and_odd_batches_are_named():
    x = draw(3, 5, 4)
    apply = lambda p, x: jax.nn.relu(x @ p["w"]) @ p["o"]
    psp = pruning.psp_regularization(apply, 0.1)
    felt = lambda p, x: pruning.sensitivity(apply, p, x, pruning.unspecific(3))
    decay = pruning.sensitivity_decay(0.1, sensitivity_fn=felt)
    for name, tx in (("psp_regularization", psp), ("sensitivity_decay", decay)):
        for holed in (
            optax.masked(tx, {"w": True, "o": False}),
            optax.partition({"a": tx, "b": optax.sgd(0.1)}, {"w": "a", "o": "b"}),
        ):
            with pytest.raises(ValueError, match=f"{name}: params has holes"):
                holed.update(NET, holed.init(NET), NET, batch=x)
    for batch in ((x, jnp.ones(5)), {"x": x, "y": jnp.ones(5)}):
        with pytest.raises(ValueError, match="taken from batch; pass inputs=x"):
            psp.update(NET, psp.init(NET), NET, batch=batch)
    # What the messages say works.
    tx = optax.chain(psp, optax.masked(optax.sgd(0.1), {"w": True, "o": False}))
    tx.update(NET, tx.init(NET), NET, inputs=x)
    tx = optax.masked(pruning.sensitivity_decay(0.1), {"w": True, "o": False})
    tx.update(NET, tx.init(NET), NET, sensitivity=felt(NET, x))


@pytest.mark.parametrize(
    ("make", "options", "needs"),
    [
        (pruning.prune, {"schedule": pruning.one_shot(0, 0.5)}, {}),
        (pruning.pruned, {"inner": optax.sgd(0.1), "schedule": MORE["one_shot"]}, {}),
        (
            pruning.pruned,
            {"inner": optax.sgd(0.1), "schedule": MORE["one_shot"], "scope": "layer"},
            {},
        ),
        (
            pruning.psp_regularization,
            {"apply_fn": lambda p, x: jax.nn.relu(x @ p["w"]), "weight": 1e-3},
            {"batch": draw(3, 5, 4)},
        ),
        (
            pruning.sensitivity_decay,
            {"rate": lambda count: 1e-3, "sensitivity_fn": lambda p, x: p},
            {"batch": draw(3, 5, 4)},
        ),
    ],
)
def test_inject_hyperparams_needs_no_static_args(make, options, needs):
    tx = optax.inject_hyperparams(make)(**options)
    plain = make(**options)
    found, _ = jax.jit(tx.update)(NET, tx.init(NET), NET, **needs)
    wanted, _ = plain.update(NET, plain.init(NET), NET, **needs)
    jax.tree.map(lambda f, w: np.testing.assert_allclose(f, w, 1e-6), found, wanted)
