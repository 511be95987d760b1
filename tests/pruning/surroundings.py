"""The transforms of ``cases.CASES`` inside what surrounds them in other people's code.

Each check takes a case and raises unless it holds; ``grid.COLUMNS`` says which should.
"""

import contextlib
import dataclasses

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from optax import contrib

from pruning import masks, schedules, transforms
from tests.pruning.cases import (
    CASES,
    RATE,
    STEPS,
    Case,
    felt,
    gradients,
    plain,
    receive,
    run,
    same,
    types,
    weights,
)

PRUNES = [case.name for case in CASES if case.leaves_zeros]
SHARED = PartitionSpec()


@contextlib.contextmanager
def as_users_have_it():
    """Undo the strictness of tests/conftest.py, which optax does not bear."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def control(case: Case) -> Case:
    """Return a transform of optax alone that is given what the case needs."""
    make = lambda rate: optax.with_extra_args_support(optax.add_decayed_weights(rate))
    return Case("add_decayed_weights", make, case.needs)


def zeros_hold(params, state):
    """Assert that what the masks drop is exactly zero."""
    both = zip(
        jax.tree.leaves(params),
        jax.tree.leaves(transforms.masks_of(state)),
        strict=True,
    )
    assert not any(bool(((w != 0) & ~m).any()) for w, m in both)


def finite(params):
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(params))


def trained(case, tx, steps=STEPS, dtype="float32", params=None, views=lambda t: t):
    """Take a few steps and check the promise of each; ``views`` is for lookahead."""
    params = weights(dtype) if params is None else params
    state = tx.init(params)
    for step in range(steps):
        grads = gradients(weights(dtype), step)
        needs = case.needs(weights(dtype), grads)
        views_of = lambda t: t if isinstance(t, jax.Array) else views(t)
        updates, state = tx.update(
            grads, state, params, **{name: views_of(needs[name]) for name in needs}
        )
        params = optax.apply_updates(params, updates)
        if case.name in PRUNES:
            zeros_hold(params, state)
    finite(params)
    return params, state


def after(case, outer, steps=STEPS, params=None, views=lambda t: t):
    """Train with an optimizer before the transform: as the two do by hand.

    ``pruned`` has the optimizer inside, where the same holds of ``prune``, and
    ``rewired`` likewise.
    """
    if case.around is not None:
        return trained(case, case.around(outer), steps, params=params)
    tx = case.make(RATE)
    found, state = trained(
        case, optax.chain(outer, tx), steps, params=params, views=views
    )
    by_hand = weights() if params is None else params
    before, own = outer.init(by_hand), tx.init(by_hand)
    for step in range(steps):
        grads = gradients(weights(), step)
        needs = case.needs(weights(), grads)
        needs = {
            name: need if isinstance(need, jax.Array) else views(need)
            for name, need in needs.items()
        }
        updates, before = outer.update(grads, before, by_hand)
        updates, own = tx.update(updates, own, by_hand, **needs)
        by_hand = optax.apply_updates(by_hand, updates)
    same(found, by_hand)
    return found, state


def vmap_over_hyperparameters(case):
    """The rate; of what prunes, the density."""

    def left(value):
        make = case.valued or case.make
        return run(case, make(value), weights(), steps=3)[0]

    values = jnp.array([0.25, 0.5], jnp.float32)
    many = jax.vmap(left)(values)
    for number, value in enumerate(values):
        same(jax.tree.map(lambda leaf, i=number: leaf[i], many), left(value))


def injected_and_changed(case):
    """The rate, or the density, that inject_hyperparams holds: met at once."""
    make = case.valued or case.make
    tx = optax.inject_hyperparams(lambda value: make(value))(value=0.5)
    params, state = run(case, tx, weights(), steps=2)
    state.hyperparams["value"] = jnp.float32(0.25)
    grads = gradients(params, 2)
    given = case.needs(params, grads)
    step = jax.jit(lambda state: tx.update(grads, state, params, **given))
    updates, new = step(state)
    wanted, _ = make(0.25).update(grads, state.inner_state, params, **given)
    same(updates, wanted)
    if case.valued is not None:
        # Of 24; a factor acts once an update, down to the one neuron that must stay.
        kept = 4 if "neurons" in case.name else 6
        assert masks.count(transforms.masks_of(new)).kept == kept


def mapped(case, tx):
    """Return the updates in ``shard_map`` over two devices, and those of one device."""
    mesh = Mesh(np.array(jax.devices()[:2]), ("d",))
    params, grads = weights(), gradients(weights(), 0)
    needs = case.needs(params, grads)
    # The made-up network is not one example at a time: the same on both devices.
    alike = case.name == "psp_regularization"
    batch = jnp.ones(2) if alike else jnp.arange(1.0, 3.0)
    spread = {"batch": batch} if needs.pop("batch", None) is not None else {}

    def local(params, grads, spread):
        given = {**needs, **spread}
        return tx.update(grads, tx.init(params), params, **given)[0]

    specs = (SHARED, SHARED, PartitionSpec("d"))
    over = jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=SHARED)
    return jax.jit(over)(params, grads, spread), local(params, grads, spread)


def shard_map(case):
    same(*mapped(case, case.make(RATE)))


def shard_map_with_the_mean(case):
    def mean(params, batch):
        sensitivity = felt(params, batch)
        axes = jax.typeof(batch).manual_axis_type.varying
        return lax.pmean(sensitivity, tuple(axes)) if axes else sensitivity

    refresh = 3 if "refresh" in case.name else 1
    tx = transforms.sensitivity_decay(RATE, sensitivity_fn=mean, refresh=refresh)
    same(*mapped(case, tx))


def apply_if_finite(case):
    tx = optax.apply_if_finite(case.make(RATE), 3)
    params, state = trained(case, tx)
    same(params, plain(case))
    grads = gradients(weights(), 0)
    given = case.needs(params, grads)
    broken = jax.tree.map(lambda g: g * jnp.nan, grads)
    updates, _ = tx.update(broken, state, params, **given)
    same(optax.apply_updates(params, updates), params)


def schedule_free(case):
    """Trained weights; evaluated ones where the masks are applied, or inside pruned."""
    params, state = after(case, contrib.schedule_free_sgd(0.1))
    if case.name not in PRUNES:
        return
    mean = contrib.schedule_free_eval_params(state[0], params)
    if case.around is None:
        mean = masks.apply_mask(mean, transforms.masks_of(state))
    zeros_hold(mean, state)


def schedule_free_with_raw_grads(case):
    def needs(params, grads):
        given = case.needs(params, grads)
        return {"raw_grads" if name == "grads" else name: given[name] for name in given}

    schedule_free(dataclasses.replace(case, needs=needs))


def lookahead(case):
    both = lambda tree: optax.LookaheadParams(tree, tree)
    params = optax.LookaheadParams.init_synced(weights())
    # What a score reads is of one network: prune hands it the fast one.
    views = (lambda t: t) if case.name in PRUNES else both
    after(case, optax.lookahead(optax.sgd(0.1), 2, 0.5), params=params, views=views)


def lookahead_with_s(case):
    lookahead(next(case for case in CASES if case.name == "sensitivity_decay"))


def ema(case):
    params, state = after(case, optax.chain(optax.ema(0.9), optax.sgd(0.1)))
    if case.name in PRUNES:  # the way out for an average of the weights
        average = optax.ema(0.9)
        mean, _ = average.update(weights(), average.init(params))
        zeros_hold(masks.apply_mask(mean, transforms.masks_of(state)), state)


def lbfgs(case):
    after(case, optax.lbfgs(learning_rate=0.1, linesearch=None), steps=3)


def sam(case):
    inner = contrib.sam(optax.sgd(0.1), optax.sgd(0.05), sync_period=2)
    after(case, inner, steps=2 * STEPS)


def sam_with_its_arguments_dropped(case):
    inner = contrib.sam(optax.sgd(0.1), optax.sgd(0.05), sync_period=2)
    drop = lambda updates, state, params=None, **extra: inner.update(
        updates, state, params
    )
    after(case, optax.GradientTransformationExtraArgs(inner.init, drop), steps=4)


def restored_and_changed(case):
    """A state restored into another rate or schedule goes on as that one says."""
    params, state = trained(case, case.make(RATE))
    tx = case.make(2 * RATE)
    if "neurons" in case.name:
        tx = optax.chain(
            optax.scale(RATE), transforms.prune(schedules.one_shot(0, 0.125))
        )
    elif case.valued is not None:
        tx = case.valued(0.125)
    untyped = flax.serialization.to_state_dict(state)
    again = flax.serialization.from_state_dict(tx.init(params), untyped)
    grads = gradients(params, 0)
    given = case.needs(params, grads)
    updates, new_state = tx.update(grads, again, params, **given)
    same(updates, tx.update(grads, state, params, **given)[0])
    if case.valued is not None:
        assert masks.count(transforms.masks_of(new_state)).kept == 3
    if case.leaves_zeros:
        zeros_hold(optax.apply_updates(params, updates), new_state)


def float16(case):
    params, _ = trained(case, case.make(RATE), dtype="float16")
    assert types(params) == types(weights("float16"))


def complex64(case):
    real = lambda tree: jax.tree.map(jnp.abs, tree)  # S is real
    lift = lambda tree: jax.tree.map(lambda w: lax.complex(w, -w / 2), tree)
    params, grads = lift(weights()), lift(gradients(weights(), 0))
    mean = lambda p, batch: felt(real(p), batch)
    parts = lambda p, batch: receive(jax.tree.map(jnp.real, p), batch)
    tx = {
        "sensitivity_decay_fn": lambda: transforms.sensitivity_decay(
            RATE, sensitivity_fn=mean
        ),
        "sensitivity_decay_refresh": lambda: transforms.sensitivity_decay(
            RATE, sensitivity_fn=mean, refresh=3
        ),
        "psp_regularization": lambda: transforms.psp_regularization(
            parts, RATE, logits=False
        ),
    }.get(case.name, lambda: case.make(RATE))()
    state = tx.init(params)
    before = types((params, state))
    for _ in range(STEPS):
        needs = case.needs(params, grads)
        if "sensitivity" in needs:
            needs["sensitivity"] = real(needs["sensitivity"])
        updates, state = tx.update(grads, state, params, **needs)
        params = optax.apply_updates(params, updates)
        if case.name in PRUNES:
            zeros_hold(params, state)
    finite(params)
    assert types((params, state)) == before


def x64(case):
    with jax.enable_x64(True):
        params, _ = trained(case, case.make(RATE), dtype="float64")
    assert types(params) == jax.tree.map(
        lambda leaf: leaf.update(dtype=jnp.float64), types(weights())
    )
    same(jax.tree.map(jnp.float32, params), plain(case))


def debug_nans(case):
    with jax.debug_nans(True):
        same(run(case, case.make(RATE), weights())[0], plain(case))


def disable_jit(case):
    with jax.disable_jit():
        found, _ = run(case, case.make(RATE), weights())
    same(found, plain(case))
