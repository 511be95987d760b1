"""What is a weight, by path, dtype and shape; and which leaves are stacks of layers."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import pruning
from pruning._roles import leaves_of, stacked_axes
from synaptax.trees import named_leaves
from tests.pruning.networks import draw


def shapes(**leaves):
    return {name: jax.ShapeDtypeStruct(s, jnp.float32) for name, s in leaves.items()}


def weights_of(tree):
    return [
        leaf.name for leaf in leaves_of(tree, pruning.weights_only) if leaf.prunable
    ]


def stacks_of(tree):
    names = [name for name, _ in named_leaves(tree)]
    return {n: a for n, a in zip(names, stacked_axes(tree), strict=True) if a}


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        y = nn.MultiHeadDotProductAttention(num_heads=2)(nn.LayerNorm()(x))
        return x + nn.Dense(8)(y), None


class Stack(nn.Module):
    @nn.compact
    def __call__(self, x):
        axes = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
        x = nn.Embed(11, 8)(x)
        return nn.Dense(3)(nn.scan(Block, **axes, length=3)()(x, None)[0])


def test_linen_attention_and_a_scanned_stack():
    x = jnp.zeros((2, 5), jnp.int32)
    params = jax.eval_shape(Stack().init, jax.random.key(0), x)["params"]
    names = weights_of(params)
    assert len(names) == 7
    assert all(name.endswith(("kernel", "embedding")) for name in names)
    stacks = stacks_of(params)
    assert set(stacks.values()) == {1}
    assert {name.split("/")[0] for name in stacks} == {"ScanBlock_0"}
    assert not stacks_of(params["ScanBlock_0"]["Dense_0"] | {"x": {"bias": x[0]}})


def test_nnx_stack_and_equinox():
    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=0, out_axes=0)
    def make(rngs):
        return nnx.Linear(4, 4, rngs=rngs), nnx.LayerNorm(4, rngs=rngs)

    params = nnx.state(make(nnx.Rngs(0)), nnx.Param)
    assert weights_of(params) == ["0/kernel/value"]
    assert len(stacks_of(params)) == 4

    class Net(eqx.Module):
        conv: eqx.nn.Conv2d
        norm: eqx.nn.LayerNorm
        mlp: eqx.nn.MLP

        def __init__(self, key):
            self.conv = eqx.nn.Conv2d(1, 4, 3, key=key)
            self.norm = eqx.nn.LayerNorm((4, 5))
            self.mlp = eqx.nn.MLP(4, 2, 8, 2, key=key)

    params = eqx.filter(Net(jax.random.key(0)), eqx.is_inexact_array)
    layers = [f"mlp/layers/{i}/weight" for i in range(3)]
    assert weights_of(params) == ["conv/weight", *layers]
    assert not stacks_of(params)
    linear = lambda key: eqx.nn.Linear(4, 5, key=key)
    stack = eqx.filter_vmap(linear)(jax.random.split(jax.random.key(0), 3))
    assert weights_of(stack) == ["weight"] and len(stacks_of(stack)) == 2


def test_plain_trees():
    assert weights_of(shapes(w=(3, 4), b=(4,))) == ["w"]
    stack = shapes(w=(7, 3, 4), b=(7, 4))
    assert weights_of(stack) == ["w"] and stacks_of(stack) == {"w": 1, "b": 1}
    # Without a w beside it, a b is whatever its axes say.
    assert weights_of(shapes(a=(3, 4), b=(3, 4))) == ["a", "b"]
    assert weights_of([jnp.ones((2, 2)), jnp.ones(2)]) == ["0"]
    assert weights_of(shapes(w1=(2, 3, 4), b1=(2, 4), w2=(2, 4), b2=(4,))) == [
        "w1",
        "w2",
    ]
    odd = {
        "index": jnp.zeros((4, 4), jnp.int32),
        "relative_position_bias": jnp.ones((4, 4)),
        "layer_scale": jnp.ones((1, 4)),
        "ln_f": {"weight": jnp.ones((2, 4)), "bias": jnp.ones((2, 4))},
        "table": jnp.ones((4, 4)),
        "key": jax.random.split(jax.random.key(0), (2, 2)),
        "empty": jnp.ones((0, 4)),
    }
    assert weights_of(odd) == ["table"]


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_stack_counts_as_its_layers(scope):
    params = {"kernel": draw(1, 3, 5, 4), "bias": jnp.ones((3, 4))}
    params["kernel"] = params["kernel"] * jnp.array([100, 1, 0.01]).reshape(3, 1, 1)
    apart = [{"kernel": k} for k in params["kernel"]]
    mask = pruning.magnitude_mask(params, 0.3, scope=scope)
    wanted = pruning.magnitude_mask(apart, 0.3, scope=scope)
    for layer, one in zip(mask["kernel"], wanted, strict=True):
        np.testing.assert_array_equal(layer, one["kernel"])
    assert bool(mask["bias"].all())
    assert int(mask["kernel"].any((1, 2)).sum()) == 3  # the floor of each layer
    whole = pruning.magnitude_mask(params, 0.3, stacked=lambda name, leaf: 0)
    assert int(whole["kernel"].any((1, 2)).sum()) < 3
    units = pruning.magnitude_mask(params, 0.3, scope=scope, structure=pruning.neuron())
    columns = np.asarray(units["kernel"])
    assert (columns.all(1) | ~columns.any(1)).all()


def test_prune_reaches_the_layers_of_a_stack():
    params = {"kernel": draw(1, 3, 5, 4), "bias": jnp.ones((3, 4))}
    tx = pruning.prune(pruning.one_shot(0, 0.25), scope="layer")
    updates, state = jax.jit(tx.update)(params, tx.init(params), params)
    kept = (optax.apply_updates(params, updates)["kernel"] != 0).sum((1, 2))
    assert kept.tolist() == [5, 5, 5]
    assert pruning.count(pruning.masks_of(state)).kept == 15


@pytest.mark.parametrize(
    "prunable",
    [{"w": True, "b": False}, lambda path: "w" in path, None, lambda path, leaf: leaf],
)
def test_a_wrong_predicate_is_named(prunable):
    params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
    for call in (
        lambda: pruning.prune(pruning.one_shot(0, 0.5), prunable=prunable).init(params),
        lambda: pruning.magnitude_mask(params, 0.5, prunable=prunable),
        lambda: pruning.threshold_mask(params, 0.5, prunable=prunable),
        lambda: pruning.report(params, prunable=prunable),
    ):
        # The tests' type checks may be the first to name it.
        with pytest.raises(Exception, match="prunable"):
            call()
    if prunable is not None:
        with pytest.raises(Exception, match="prunable"):
            tx = pruning.sensitivity_decay(0.1, prunable=prunable)
            tx.update(params, tx.init(params), params, sensitivity=params)


def test_a_vector_with_axes_of_1_is_told_by_its_name_alone():
    tree = shapes(alpha=(1, 8), prelu_alpha=(1, 1, 8), kernel=(1, 8), other=(8, 1))
    assert weights_of(tree) == ["kernel", "other"]
