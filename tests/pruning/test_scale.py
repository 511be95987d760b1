"""Memory for each weight, masks as bits, and what sharded programs exchange."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import pruning
from pruning import masks, thresholds, transforms
from tests.pruning.cases import felt, one_step
from tests.pruning.references import oracle, same

SHAPES = {"up": (16, 64), "down": (64, 16), "bias": (64,)}
SPECS = {"up": P("fsdp", "tensor"), "down": P("tensor", "fsdp"), "bias": P("tensor")}
SCHEDULE = pruning.polynomial(0, 2, 0.25)


def drawn(seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(rng.normal(size=shape).astype(np.float32))
        for name, shape in SHAPES.items()
    }


def sharded(tree, kind=AxisType.Auto):
    devices = np.asarray(jax.devices()).reshape(4, 2)
    mesh = Mesh(devices, ("fsdp", "tensor"), axis_types=(kind, kind))
    return {
        name: jax.device_put(leaf, NamedSharding(mesh, SPECS[name]))
        for name, leaf in tree.items()
    }


# Masks as bits.


def steps(tx, params, number=3):
    state = tx.init(params)
    update = jax.jit(lambda grads, state, params: tx.update(grads, state, params))
    for step in range(number):
        grads = jax.tree.map(lambda w, g: 0.1 * g + 0 * w, params, drawn(step + 1))
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


@pytest.mark.parametrize("whole", [False, True], ids=["chain", "pruned"])
def test_masks_as_bits_are_the_masks(whole):
    def make(**options):
        inner = optax.sgd(1.0, momentum=0.9)
        if whole:
            return transforms.pruned(inner, SCHEDULE, **options)
        return optax.chain(inner, transforms.prune(SCHEDULE, **options))

    params, state = steps(make(), drawn())
    other, bits = steps(make(packed=True), drawn())
    same(other, params)
    same(transforms.masks_of(bits), transforms.masks_of(state))
    assert masks.count(transforms.masks_of(bits)).kept == 512
    full = masks.full_mask(params)
    replaced = transforms.with_masks(bits, full)
    same(transforms.masks_of(replaced), full)
    assert jax.tree.map(jnp.shape, replaced) == jax.tree.map(jnp.shape, bits)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(AxisType.Auto, marks=pytest.mark.slow), AxisType.Explicit],
    ids=str,
)
def test_bits_lie_as_the_weights_do(kind):
    tx = transforms.prune(SCHEDULE, packed=True)
    params, state = steps(tx, sharded(drawn(), kind))
    alone, bits = steps(tx, drawn())
    same(transforms.masks_of(state), transforms.masks_of(bits))
    for name in ("up", "bias"):
        held = state.prune_masks[name]
        assert held.dtype == np.uint8 and held.shape[-1] == SHAPES[name][-1] // 8
        if kind is AxisType.Explicit:
            assert held.sharding.spec == SPECS[name]
    # Four devices share rows of 16, two bytes: of an explicit mesh they stay whole.
    whole = kind is AxisType.Explicit
    assert state.prune_masks["down"].dtype == (bool if whole else np.uint8)
    same(params, alone)


def test_a_leaf_whose_last_axis_is_no_multiple_of_eight_stays_boolean():
    params = {"w": jnp.ones((3, 10)), "v": jnp.ones((10, 8))}
    state = transforms.prune(SCHEDULE, packed=True).init(params)
    kinds = {name: leaf.dtype.name for name, leaf in state.prune_masks.items()}
    assert kinds == {"w": "bool", "v": "uint8"}


def test_a_state_of_bits_is_refused_where_booleans_are_expected():
    params = drawn()
    state = transforms.prune(SCHEDULE, packed=True).init(params)
    with pytest.raises(ValueError, match=r"prune_masks: leaf \w+ has shape"):
        transforms.prune(SCHEDULE).update(params, state, params)


# Bytes for each weight.

BYTES = {
    "prune": (transforms.prune(SCHEDULE), 1),
    "prune, bits": (transforms.prune(SCHEDULE, packed=True), 1 / 8),
    "pruned(momentum)": (transforms.pruned(optax.sgd(1.0, 0.9), SCHEDULE), 5),
    "sensitivity_decay": (transforms.sensitivity_decay(0.1), 0),
    "sensitivity_decay, refresh": (
        transforms.sensitivity_decay(0.1, sensitivity_fn=felt, refresh=2),
        4,
    ),
    "the same, bfloat16": (
        transforms.sensitivity_decay(
            0.1, sensitivity_fn=felt, refresh=2, state_dtype=jnp.bfloat16
        ),
        2,
    ),
    "loss_sensitivity_decay": (transforms.loss_sensitivity_decay(0.1), 0),
    "psp_regularization": (transforms.psp_regularization(lambda p, x: x, 0.1), 0),
}


@pytest.mark.parametrize("name", BYTES)
def test_bytes_of_each_state(name):
    tx, expected = BYTES[name]
    params = drawn()
    state = jax.eval_shape(tx.init, params)
    size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    held = [leaf for leaf in jax.tree.leaves(state) if leaf.shape]
    taken = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in held)
    assert taken == expected * size


def test_sensitivity_held_in_half_the_bytes_decays_the_same_to_rounding():
    class Case:
        needs = staticmethod(lambda params, grads: {"batch": jnp.arange(3.0)})

    results = []
    for dtype in (None, jnp.bfloat16):
        tx = transforms.sensitivity_decay(
            0.1, sensitivity_fn=felt, refresh=2, state_dtype=dtype
        )
        params = drawn()
        state = tx.init(params)
        for step in range(3):
            params, state = one_step(Case, tx, params, state, drawn(step))
        results.append(params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=3e-3), results[0], results[1]
    )


@pytest.mark.parametrize(
    "optimizer, held",
    # Weights, gradients and moments of 4 bytes, masks of 1.
    [(optax.sgd(0.1, momentum=0.9), 13), (optax.adam(0.1), 17)],
    ids=["sgd", "adam"],
)
def test_a_pruning_step_holds_little_beside_what_training_holds(optimizer, held):
    params = {"w": jax.ShapeDtypeStruct((256, 1024), jnp.float32)}
    tx = optax.chain(optimizer, transforms.prune(SCHEDULE))
    state = jax.eval_shape(tx.init, params)

    def step(params, state, x):
        loss = lambda p: jnp.sum(jnp.square(jnp.square(x) @ p["w"]))
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    x = jax.ShapeDtypeStruct((1, 256), jnp.float32)
    # Adam of optax counts its steps in a dtype that it does not name.
    with jax.numpy_dtype_promotion("standard"):
        lowered = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, x)
    compiled = lowered.compile()
    memory = compiled.memory_analysis()
    peak = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    peak += memory.output_size_in_bytes - memory.alias_size_in_bytes
    assert peak <= 1.15 * held * 256 * 1024


def test_updates_of_a_step_that_chooses_masks_have_their_derivatives():
    params = {"w": drawn()["up"]}
    tx = optax.chain(optax.sgd(0.1), transforms.prune(pruning.one_shot(0, 0.5)))
    state = tx.init(params)

    @jax.jit
    def after(scale):
        grads = jax.tree.map(lambda w: scale * jnp.cos(w), params)
        updates, new = tx.update(grads, state, params)
        return optax.apply_updates(params, updates)["w"], transforms.masks_of(new)["w"]

    new, slope = jax.jvp(after, (1.0,), (1.0,))
    mask = new[1]
    np.testing.assert_allclose(
        slope[0], np.where(mask, -0.1 * np.cos(params["w"]), 0), rtol=1e-6
    )
    back = jax.grad(lambda scale: after(scale)[0].sum())(1.0)
    np.testing.assert_allclose(back, slope[0].sum(), rtol=1e-5)


# What devices exchange.

COLLECTIVE = re.compile(
    r"= (\(?[^=]*?) (all-gather|all-reduce|all-to-all|collective-permute|"
    r"reduce-scatter)(?:-start)?\("
)


def exchanged(function, *args):
    """Return (kind, entries) of each collective in the compiled text, and the text."""
    text = jax.jit(function).lower(*args).compile().as_text()
    seen = []
    for shapes, kind in COLLECTIVE.findall(text):
        entries = [
            math.prod(int(n) for n in dims.split(",") if n)
            for dims in re.findall(r"\[([\d,]*)\]", shapes)
        ]
        seen.append((kind, max(entries)))
    return seen, text


def test_global_selection_exchanges_scalars_alone():
    params = sharded(drawn())
    select = lambda tree: masks.select(tree, 0.3)
    found = jax.jit(select)(params)
    weights = {name: np.asarray(params[name]) for name in ("up", "down")}
    whole = {name: np.asarray(found[name]) for name in ("up", "down")}
    same(whole, oracle(weights, 0.3))
    seen, text = exchanged(select, params)
    # One integer from each device or from each line of devices, never a weight.
    assert seen and max(entries for _, entries in seen) <= 8
    assert not re.search(r"\bsort\(", text)
    # Of 2 leaves: 3 counts in each of 16 passes for the bits, 3 in each pass of the
    # ties, and once each the floor, the keys above and the result; by 2 axes each.
    assert len(seen) <= 2 * 2 * (3 + 3 + 2 + 2 + 2)


def test_threshold_search_exchanges_no_parameters():
    params = sharded(drawn())
    loss = lambda p: sum(jnp.sum(jnp.square(p[n] - params[n])) for n in ("up", "down"))
    search = lambda tree: thresholds.search_threshold(loss, tree, 5.0)
    result = jax.jit(search)(params)
    kept = masks.threshold_mask(params, result.threshold)
    gone = [np.asarray(params[n])[~np.asarray(kept[n])] for n in ("up", "down")]
    lost = sum(float(np.sum(np.square(part))) for part in gone)
    assert float(result.loss) == pytest.approx(lost, rel=1e-4)
    assert 4.5 < lost <= 5.0
    seen, text = exchanged(search, params)
    assert seen and max(entries for _, entries in seen) <= 8
    assert not re.search(r"\bsort\(", text)


def net(params, x):
    hidden = jax.nn.relu(x @ params["up"] + params["bias"][None])
    return hidden @ params["down"]


@pytest.mark.parametrize("batch", [P(), P("fsdp")], ids=["whole", "sharded"])
def test_the_penalty_exchanges_nothing_beside_what_the_network_does(batch):
    params = sharded(drawn())
    mesh = params["up"].sharding.mesh
    x = jax.device_put(
        np.random.default_rng(9).normal(size=(8, 16)).astype(np.float32),
        NamedSharding(mesh, batch),
    )

    def loss(params, x):
        y = net(params, x)
        return jnp.mean(jnp.square(y)), y

    total = pruning.with_psp(loss, 1e-3, logits=lambda y: y, has_aux=True)
    value = jax.jit(lambda p: total(p, x)[0])(params)
    host = jax.tree.map(np.asarray, params)
    alone = total(jax.tree.map(jnp.asarray, host), jnp.asarray(np.asarray(x)))[0]
    np.testing.assert_allclose(value, alone, rtol=1e-5)
    for of in (lambda function: function, jax.grad):
        plain, _ = exchanged(of(lambda p, x: loss(p, x)[0]), params, x)
        seen, text = exchanged(of(lambda p, x: total(p, x)[0]), params, x)
        assert not re.search(r"\bsort\(", text)
        # The penalty's sum joins that of the loss: no collective more.
        assert seen == plain and len(seen) <= 6


@pytest.mark.parametrize("batch", [P(), P("fsdp")], ids=["whole", "sharded"])
def test_sensitivity_along_batch_and_parameters(batch):
    params = sharded(drawn())
    x = np.random.default_rng(9).normal(size=(8, 16)).astype(np.float32)
    spread = jax.device_put(x, NamedSharding(params["up"].sharding.mesh, batch))
    alpha = pruning.unspecific(16)
    measure = jax.jit(lambda p, x: pruning.sensitivity(net, p, x, alpha))
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-8),
        measure(params, spread),
        measure(drawn(), jnp.asarray(x)),
    )
