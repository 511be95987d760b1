"""One suite for every transform: what optax and its users expect of a transform.

The transforms are those of ``cases.CASES``.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from pruning import masks, transforms
from tests.pruning.cases import (
    GRADUAL,
    RATE,
    STEPS,
    drawn,
    gradients,
    one_step,
    plain,
    run,
    same,
    types,
    weights,
    with_each,
)


@with_each
def test_it_changes_something_and_is_made_for_extra_args(case):
    tx = case.make(RATE)
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    params = weights()
    grads = gradients(params, 0)
    found = plain(case)["a"]["kernel"]
    assert not np.allclose(found, params["a"]["kernel"] + STEPS * grads["a"]["kernel"])


@with_each
def test_unknown_extra_arguments_are_ignored(case):
    tx = case.make(RATE)
    same(run(case, tx, weights(), nonsense=object(), value=3.0)[0], plain(case))


@with_each
def test_missing_params_are_named(case):
    tx = case.make(RATE)
    params = weights()
    grads = gradients(params, 0)
    with pytest.raises(ValueError, match="params is missing"):
        tx.update(grads, tx.init(params), **case.needs(params, grads))


@with_each
def test_each_missing_argument_is_named(case):
    tx = case.make(RATE)
    params = weights()
    grads = gradients(params, 0)
    needed = case.needs(params, grads)
    for name in needed:
        rest = {other: needed[other] for other in needed if other != name}
        with pytest.raises(ValueError, match=f"the argument {name} is missing"):
            tx.update(grads, tx.init(params), params, **rest)
    tx.update(grads, tx.init(params), params, **needed)


@with_each
def test_value_reaches_reduce_on_plateau(case):
    plateau = optax.contrib.reduce_on_plateau(factor=0.5, patience=1)
    if case.name == "pruned":
        inner = optax.chain(optax.sgd(RATE), plateau)
        tx = transforms.pruned(inner, GRADUAL)
    else:
        tx = optax.chain(plateau, case.make(RATE))
    with jax.numpy_dtype_promotion("standard"):
        _, state = run(case, tx, weights(), value=jnp.float32(1.0))
    # The loss stays as it is, so from the second step on the scale is halved.
    held = optax.tree.get(state, "ReduceLROnPlateauState")
    assert float(held.scale) == 0.5 ** (STEPS - 1)


@with_each
def test_chain(case):
    tx = optax.chain(optax.identity(), case.make(RATE))
    same(run(case, tx, weights())[0], plain(case))


@with_each
def test_masked(case):
    tx = optax.masked(case.make(RATE), {"a": True, "b": False})
    params = weights()
    found, state = run(case, tx, params)
    alone, _ = run(
        case, case.make(RATE), {"a": params["a"]}, pick=lambda grads: {"a": grads["a"]}
    )
    same(found["a"], alone["a"])
    total = sum(gradients(params, step)["b"]["scale"] for step in range(STEPS))
    same(found["b"]["scale"], params["b"]["scale"] + total)
    if "prune" in case.name:
        held = transforms.masks_of(state)
        assert held["b"] == optax.MaskedNode()
        everything = masks.full_mask(params)
        replaced = transforms.with_masks(state, everything)
        assert bool(transforms.masks_of(replaced)["a"]["kernel"].all())


@with_each
def test_partition(case):
    labels = {"a": {"kernel": "us", "bias": "us"}, "b": {"scale": "them"}}
    tx = optax.partition({"us": case.make(RATE), "them": optax.sgd(1.0)}, labels)
    params = weights()
    found, _ = run(case, tx, params)
    alone, _ = run(
        case, case.make(RATE), {"a": params["a"]}, pick=lambda grads: {"a": grads["a"]}
    )
    same(found["a"], alone["a"])
    total = sum(gradients(params, step)["b"]["scale"] for step in range(STEPS))
    same(found["b"]["scale"], params["b"]["scale"] - total)


@with_each
def test_multi_steps(case):
    tx = optax.MultiSteps(case.make(RATE), every_k_schedule=2)
    params = weights()
    state = tx.init(params)

    @jax.jit
    def step(params, state, grads):
        return tx.update(grads, state, params, **case.needs(params, grads))

    with jax.numpy_dtype_promotion("standard"):
        for number in range(2 * STEPS):
            # The same gradient twice: its mean is itself, as plain steps have it.
            grads = gradients(params, number // 2)
            updates, state = step(params, state, grads)
            if number % 2 == 0:
                assert not any(bool(u.any()) for u in jax.tree.leaves(updates))
            params = optax.apply_updates(params, updates)
    same(params, plain(case))


@with_each
def test_inject_hyperparams(case):
    tx = optax.inject_hyperparams(case.make)(rate=RATE)
    params, state = run(case, tx, weights())
    same(params, plain(case))
    state.hyperparams["rate"] = jnp.float32(0.0)
    grads = gradients(params, 9)
    updates, _ = jax.jit(
        lambda state: tx.update(grads, state, params, **case.needs(params, grads))
    )(state)
    zeroed = case.make(0.0)
    wanted, _ = zeroed.update(
        grads, state.inner_state, params, **case.needs(params, grads)
    )
    same(updates, wanted)


class Net(nnx.Module):
    """Layers whose state has the paths of ``weights``."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.a = nnx.Linear(4, 6, rngs=rngs)
        self.b = nnx.LayerNorm(6, use_bias=False, rngs=rngs)


def renamed(extra):
    """Return what ``nnx.Optimizer.update`` can pass on: it keeps ``grads``."""
    return {"raw_grads" if name == "grads" else name: extra[name] for name in extra}


@with_each
def test_nnx_optimizer_and_nnx_params(case):
    model = Net()
    nnx.update(model, nnx.State(weights()))
    params = nnx.state(model, nnx.Param)
    optimizer = nnx.Optimizer(model, case.make(RATE), wrt=nnx.Param)
    before = jax.tree.map(jnp.shape, optimizer.opt_state)
    for step in range(STEPS):
        grads = jax.tree.unflatten(
            jax.tree.structure(params), jax.tree.leaves(gradients(weights(), step))
        )
        optimizer.update(model, grads, **renamed(case.needs(params, grads)))
    found = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    same(found, plain(case))
    assert jax.tree.map(jnp.shape, optimizer.opt_state) == before
    if "prune" in case.name:
        half = masks.magnitude_mask(weights(), 0.5)
        optimizer.opt_state = nnx.data(transforms.with_masks(optimizer.opt_state, half))
        assert masks.count(transforms.masks_of(optimizer.opt_state)).kept == 12
        optimizer.update(model, grads, **renamed(case.needs(params, grads)))
        kernel = model.a.kernel[...]
        if case.name == "prune_manual":
            assert int((kernel != 0).sum()) == int(half["a"]["kernel"].sum())


@with_each
def test_tuple_params(case):
    whole = weights()
    params = tuple(jax.tree.leaves(whole))
    found, state = run(
        case, case.make(RATE), params, pick=lambda grads: tuple(jax.tree.leaves(grads))
    )
    assert isinstance(found, tuple)
    same(list(found), jax.tree.leaves(plain(case)))
    if "prune" in case.name:
        held = transforms.masks_of(state)
        assert jax.tree.structure(held) == jax.tree.structure(params)


@with_each
def test_map_params_finds_the_parameter_like_parts_of_the_state(case):
    tx = case.make(RATE)
    params, state = run(case, tx, weights())
    seen = []

    def note(leaf, weight):
        assert leaf.shape == weight.shape
        seen.append(leaf.shape)
        return leaf

    again = optax.tree.map_params(tx, note, state, params)
    same(again, state)
    inside = case.around is not None
    trees = ("refresh" in case.name) + ("prune" in case.name) + inside
    assert len(seen) == 3 * trees


@with_each
def test_init_needs_only_shapes(case):
    tx = case.make(RATE)
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), weights()
    )
    abstract = jax.eval_shape(tx.init, shapes)
    direct = tx.init(shapes)
    real = tx.init(weights())
    assert jax.tree.structure(abstract) == jax.tree.structure(real)
    assert types(direct) == types(real)
    assert jax.tree.map(lambda a: (a.shape, a.dtype), abstract) == jax.tree.map(
        lambda a: (a.shape, a.dtype), real
    )


@with_each
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_compilation_and_unchanged_types_over_many_steps(case, dtype):
    tx = case.make(RATE)
    params = weights(dtype)
    state = tx.init(params)
    traces = []

    @jax.jit
    def step(params, state, grads):
        traces.append(1)
        updates, new = tx.update(grads, state, params, **case.needs(params, grads))
        return optax.apply_updates(params, updates), new, updates

    before = types((params, state))
    for number in range(STEPS):
        grads = gradients(params, number)
        params, state, updates = step(params, state, grads)
        assert types(updates) == types(grads)
        assert types((params, state)) == before
    assert len(traces) == 1
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(params))
    if dtype == "float32":
        same(params, plain(case))


@with_each
def test_scan_and_vmap_over_seeds(case):
    tx = case.make(RATE)

    series = [gradients(weights(), step) for step in range(STEPS)]
    series = jax.tree.map(lambda *leaves: jnp.stack(leaves), *series)

    def train(params):
        def step(carry, grads):
            return one_step(case, tx, *carry, grads), None

        return jax.lax.scan(step, (params, tx.init(params)), series)[0]

    stack = jax.tree.map(lambda *p: jnp.stack(p), weights(seed=0), weights(seed=1))
    params, state = jax.jit(jax.vmap(train))(stack)
    same(jax.tree.map(lambda leaf: leaf[0], params), plain(case))
    alone, _ = run(case, tx, weights(seed=1))
    same(jax.tree.map(lambda leaf: leaf[1], params), alone)
    if case.leaves_zeros:
        kernel = transforms.masks_of(state)["a"]["kernel"]
        np.testing.assert_array_equal(kernel | (params["a"]["kernel"] == 0), True)


@with_each
def test_explicit_sharding_over_8_devices_is_kept(case):
    tx = case.make(RATE)
    mesh = jax.make_mesh((8,), ("d",))
    whole = {"a": drawn(1, (16, 4), "float32"), "c": drawn(2, (8,), "float32")}
    place = {
        "a": NamedSharding(mesh, PartitionSpec("d", None)),
        "c": NamedSharding(mesh, PartitionSpec("d")),
    }
    params = jax.device_put(whole, place)
    grads = jax.device_put(gradients(whole, 0), place)
    state = tx.init(params)
    everywhere = NamedSharding(mesh, PartitionSpec())
    state = jax.tree.map(
        lambda leaf: leaf if leaf.ndim else jax.device_put(leaf, everywhere), state
    )
    before = types((params, state))

    @jax.jit
    def step(params, state, grads):
        return one_step(case, tx, params, state, grads)

    for _ in range(3):
        params, state = step(params, state, grads)
    assert types((params, state)) == before
    for name in whole:
        assert params[name].sharding == place[name]
        if "prune" in case.name:
            assert transforms.masks_of(state)[name].sharding == place[name]
    alone, other = whole, tx.init(whole)
    local = gradients(whole, 0)
    for _ in range(3):
        alone, other = one_step(case, tx, alone, other, local)
    same(jax.tree.map(np.asarray, params), jax.tree.map(np.asarray, alone))


@with_each
def test_orbax_round_trip(case, tmp_path):
    tx = case.make(RATE)
    params, state = run(case, tx, weights())
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "one", {"params": params, "state": state})
        checkpointer.wait_until_finished()
        empty = jax.eval_shape(lambda p: {"params": p, "state": tx.init(p)}, params)
        found = checkpointer.restore(tmp_path / "one", empty)
    assert jax.tree.structure(found["state"]) == jax.tree.structure(state)
    assert types(found["state"]) == types(state)
    for a, b in zip(
        jax.tree.leaves(found["state"]), jax.tree.leaves(state), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    grads = gradients(params, 11)
    same(
        one_step(case, tx, found["params"], found["state"], grads),
        one_step(case, tx, params, state, grads),
    )
