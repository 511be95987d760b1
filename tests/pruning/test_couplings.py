"""Couplings found by tracing: what is declared by hand, and users' own networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax import lax

import pruning
from pruning import _couplings
from pruning._labels import blocks
from synaptax.trees import named_leaves
from tests.pruning.test_compact import NETWORKS, SLOW, network, without_units

LONG = (*SLOW, "resnet")  # convolutions twice over: long to compile


def draw(shapes, seed=0):
    """Return random parameters of the shapes given."""
    rng = np.random.default_rng(seed)
    scaled = lambda shape: rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]) or 1)
    return {
        name: np.asarray(scaled(shape), np.float32) for name, shape in shapes.items()
    }


def signature(one):
    """Return what belongs to units, whatever they are called."""
    reads = {tuple(read) for read in one.reads}
    return frozenset(one.ties), frozenset(reads)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in LONG else ())
        for name in NETWORKS
    ],
)
def test_what_is_found_is_what_was_declared_by_hand(name):
    module, params, stats, x = network(name)
    variables = {"params": params, "batch_stats": stats}
    found = pruning.couplings(module.apply, variables, x)
    flat = {path: np.asarray(leaf) for path, leaf in named_leaves(variables)}
    declared, _ = _couplings.of_module(module, flat)
    groups = {signature(one): one for one in found.units}
    more = {s: one.name for s, one in groups.items()}
    for one in declared:
        del more[signature(one)]
    # Not declared, for the modules have no width for them alone: the features of an
    # attention's values, and the streams between blocks.
    last = {"transformer": "value/kernel", "mobilenet_v2": "kernel"}
    assert all(n.endswith(last.get(name, "nothing")) for n in more.values())
    assert not any(one.entries for one in found.units)
    axes = {
        f"{p}[{d}]" for p, v in flat.items() for d in range(v.ndim) if v.shape[d] > 1
    }
    whole = {f"{p}[{d}]" for one in found.units for p, d in one.places()}
    assert set(found.refused) == axes - whole


@pytest.mark.parametrize(
    "name", ["lenet5", pytest.param("resnet", marks=pytest.mark.slow)]
)
def test_what_is_found_loses_the_units_that_what_is_declared_does(name):
    module, params, stats, x = network(name)
    params = without_units(params, 0.5)
    hand = pruning.compact(module, params, x, stats=stats)
    kept = {}

    def smaller(left):
        kept.update({name.split("/")[1]: count for name, count in left.items()})
        return hand.module

    small = pruning.compact(module, params, x, stats=stats, smaller=smaller)
    assert kept == {name: len(index) for name, index in hand.kept.items()}
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
        small.params,
        hand.params,
    )


def perceptron(p, x):
    h = jax.nn.relu(x @ p["w"] + p["b"][None])
    return jnp.tanh(h @ p["v"].T + p["c"][None]) @ p["u"]


def test_a_perceptron_of_plain_functions_becomes_smaller():
    params = draw({"w": (5, 8), "b": (8,), "v": (6, 8), "c": (6,), "u": (6, 3)})
    params["w"][:, [1, 4]] = 0  # silent, not zero
    params["b"][1] = 0.7
    params["u"][2] = 0  # unheard
    x = draw({"x": (4, 5)})["x"]
    small = pruning.compact(perceptron, params, x)
    assert {k: v.tolist() for k, v in small.kept.items()} == {
        "v": [0, 1, 3, 4, 5],
        "w": [0, 2, 3, 5, 6, 7],
    }
    assert small.params["v"].shape == (5, 6) and small.module is perceptron
    y = np.asarray(jax.jit(perceptron)(params, x))
    z = np.asarray(small.apply_fn(small.params, x))
    assert np.abs(y - z).max() <= 1e-5 * np.abs(y).max()
    assert set(small.refused) == {"w[0]", "u[1]"}


def convolve(x, kernel, groups=1):
    numbers = ("NHWC", "HWIO", "NHWC")
    settings = {"dimension_numbers": numbers, "feature_group_count": groups}
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", **settings)


def residual(p, x):
    stream = jax.nn.relu(convolve(x, p["stem"]) + p["bias"].reshape(1, 1, 1, -1))
    h = jax.nn.gelu(convolve(stream, p["first"]))
    h = h + convolve(h, p["depth"], groups=h.shape[-1]) * p["scale"][None, None, None]
    stream = stream + convolve(h, p["second"])
    stream = nn.max_pool(stream, (2, 2), (2, 2))
    return stream.reshape(len(x), -1) @ p["out"]


SHAPES = {"stem": (3, 3, 2, 6), "bias": (6,), "first": (3, 3, 6, 5), "scale": (5,)}
SHAPES |= {"depth": (3, 3, 1, 5), "second": (1, 1, 5, 6), "out": (24, 3)}


def test_a_residual_sum_a_depthwise_filter_and_a_flattening_are_followed():
    params = draw(SHAPES)
    params["stem"][..., [0, 2, 3]] = 0
    params["second"][..., [0, 3]] = 0  # 2 is written still
    params["first"][..., 4] = 0
    params["bias"][:] = 0.4
    x = draw({"x": (3, 4, 4, 2)})["x"]
    found = pruning.couplings(residual, params, x)
    stream = next(one for one in found.units if ("stem", 3) in one.ties)
    assert set(stream.ties) == {("stem", 3), ("second", 3), ("bias", 0)}
    assert {(r.kernel, r.axis, r.repeat) for r in stream.reads} == {
        ("first", 2, 1),
        ("out", 0, 4),
    }
    inner = next(one for one in found.units if ("first", 3) in one.ties)
    assert set(inner.ties) == {("first", 3), ("depth", 3), ("scale", 0)}
    small = pruning.compact(residual, params, x)
    # 0 and 3 are the same constant: one stays, for it meets the border's zeros.
    assert small.kept["stem"].tolist() == [0, 1, 2, 4, 5]
    assert small.kept["first"].tolist() == [0, 1, 2, 3]
    assert small.params["out"].shape == (20, 3)


class Concatenated(nn.Module):
    widths: tuple[int, int, int] = (4, 5, 6)

    @nn.compact
    def __call__(self, x):
        one, two = (nn.relu(nn.Dense(n)(x)) for n in self.widths[:2])
        both = jnp.concatenate([one, two], axis=-1)
        both = nn.BatchNorm(use_running_average=True)(both)
        hidden = nn.silu(nn.Dense(self.widths[2])(both))
        return nn.Dense(3)(hidden)


def test_a_module_with_a_concatenation_becomes_smaller():
    x = draw({"x": (4, 5)})["x"]
    shapes = jax.eval_shape(Concatenated().init, jax.random.key(1), x)
    rng = np.random.default_rng(0)
    drawn = lambda leaf: np.float32(rng.uniform(0.1, 1, leaf.shape))
    variables = jax.tree.map(drawn, shapes)
    params, stats = variables["params"], variables["batch_stats"]
    params["Dense_0"]["kernel"][:, [1, 2]] = 0
    params["Dense_1"]["kernel"][:, 4] = 0
    names = [f"params/Dense_{i}/kernel" for i in range(3)]
    smaller = lambda left: Concatenated(tuple(left[name] for name in names))
    small = pruning.compact(Concatenated(), params, x, stats=stats, smaller=smaller)
    assert small.module.widths == (2, 4, 6)
    assert small.params["Dense_2"]["kernel"].shape == (6, 6)
    assert small.stats["BatchNorm_0"]["var"].shape == (6,)
    found = pruning.couplings(Concatenated().apply, variables, x)
    two = {one.name: one for one in found.units}[names[1]]
    assert two.entries["params/Dense_2/kernel", 0] == (-1,) * 4 + (0, 1, 2, 3, 4)
    # What was found can be handed on as what is declared.
    again = pruning.compact(
        Concatenated(), params, x, stats=stats, units=found.units, smaller=smaller
    )
    assert again.module == small.module
    with pytest.raises(KeyError, match="no units 'Dense_0'; there are params/Dense_0/"):
        pruning.compact(
            Concatenated(),
            params,
            x,
            stats=stats,
            units=found.units,
            smaller=lambda left: left["Dense_0"],
        )
    with pytest.raises(ValueError, match="Concatenated is not a bundled network"):
        pruning.compact(Concatenated(), params, x, stats=stats)


def attention(p, x, size=2):
    heads = p["qkv"].shape[1] // (3 * size)
    parts = jnp.split(x @ p["qkv"] + p["bias"][None, None], 3, axis=-1)
    q, k, v = (part.reshape(*x.shape[:2], heads, size) for part in parts)
    weights = jax.nn.softmax(jnp.einsum("bthd,bshd->bhts", q, k))
    mixed = jnp.einsum("bhts,bshd->bthd", weights, v)
    return x + (mixed.reshape(*x.shape[:2], -1) @ p["out"] + p["to"][None, None])


def test_heads_of_a_fused_projection_are_units():
    params = draw({"qkv": (4, 18), "bias": (18,), "out": (6, 4), "to": (4,)})
    x = draw({"x": (2, 3, 4)})["x"]
    found = pruning.couplings(attention, params, x)
    (heads,) = found.units
    assert heads.count({k: np.asarray(v) for k, v in params.items()}) == 3
    assert heads.entries["qkv", 1] == (0, 0, 1, 1, 2, 2) * 3
    assert heads.entries["out", 0] == (0, 0, 1, 1, 2, 2)
    # Keys are constant, and so are the values, which are mixed to that.
    params["qkv"][:, [2, 3, 8, 9, 14, 15]] = 0
    small = pruning.compact(attention, params, x)
    assert small.kept["qkv"].tolist() == [0, 2]
    assert small.params["qkv"].shape == (4, 12)
    mixed = params["to"] + params["bias"][14:16] @ params["out"][2:4]
    np.testing.assert_allclose(small.params["to"], mixed, rtol=1e-6)


class Perceptron(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(4, 6, rngs=rngs)
        self.last = nnx.Linear(6, 2, rngs=rngs)
        self.norm = nnx.BatchNorm(6, use_running_average=True, rngs=rngs)

    def __call__(self, x):
        return self.last(nnx.relu(self.norm(self.first(x))))


def test_an_nnx_module_is_a_function_of_its_state():
    graph, state = nnx.split(Perceptron(nnx.Rngs(0)))
    x = draw({"x": (3, 4)})["x"]
    apply_fn = lambda state, x: nnx.merge(graph, state)(x)
    rows = np.array([[1, 0, 1, 0, 1, 1]], np.float32)
    dead = lambda w: w * rows if w.shape == (4, 6) else w
    small = pruning.compact(apply_fn, jax.tree.map(dead, state), x)
    assert [len(kept) for kept in small.kept.values()] == [4]
    assert small.params["first"]["kernel"].shape == (4, 4)
    assert small.params["norm"]["mean"].shape == (4,)


def test_what_cannot_be_followed_is_refused_by_name():
    def looped(p, x):
        h = x @ p["w"]
        h = lax.scan(lambda h, _: (jnp.tanh(h @ p["loop"]), None), h, None, 2)[0]
        h = jax.nn.relu(h @ p["v"])
        g = jnp.sort(h @ p["s"], axis=-1)
        n = jax.nn.relu(x @ p["n"])
        n = n / (1 + n.sum(-1, keepdims=True))
        return g @ p["u"] + n @ p["m"]

    shapes = {"w": (3, 4), "loop": (4, 4), "v": (4, 6), "s": (6, 5), "u": (5, 2)}
    params = draw({**shapes, "n": (3, 5), "m": (5, 2)})
    x = draw({"x": (4, 3)})["x"]
    (hidden,), refused = pruning.couplings(looped, params, x)
    assert hidden.name == "v" and hidden.reads[0][:2] == ("s", 0)
    assert refused["w[1]"] == refused["loop[0]"] == "scan is not followed"
    assert refused["s[1]"] == "sort is not followed"
    assert refused["n[1]"] == refused["m[0]"] == "reduce_sum runs over it"
    assert refused["u[1]"] == "is the output's"
    assert "of the input" in refused["w[0]"]


def test_units_that_meet_others_or_themselves_crosswise_are_not_taken_apart():
    def network(p, x):
        one, two = jax.nn.relu(x @ p["w"]), jnp.tanh(x @ p["u"])
        outer = jnp.einsum("bi,bj->bij", one, two).reshape(len(x), -1) @ p["v"]
        three = jax.nn.relu(x @ p["z"])
        square = jnp.einsum("bi,bj->bij", three, three).reshape(len(x), -1) @ p["y"]
        return outer + square + x @ p["a"] @ p["a"].T @ p["w"][:, :2]

    shapes = {"w": (4, 3), "u": (4, 5), "v": (15, 2), "z": (4, 3), "y": (9, 2)}
    params = draw({**shapes, "a": (4, 6)})
    x = draw({"x": (4, 4)})["x"]
    units, refused = pruning.couplings(network, params, x)
    assert not units and set(refused) == {
        f"{name}[{axis}]" for name in params for axis in (0, 1)
    }
    assert "merged" in refused["u[1]"] and refused["a[1]"] == (
        "no other parameter writes it"
    )


def test_a_width_that_is_written_down_is_refused():
    def network(p, x):
        h = jax.nn.relu(x @ p["w"]).reshape(len(x), 2, 3)
        h = h.reshape(len(x), 6) @ p["v"]
        return jax.nn.relu(h) @ p["u"]

    params = draw({"w": (3, 6), "v": (6, 4), "u": (4, 2)})
    params["w"][:, :3], params["u"][0] = 0, 0
    x = draw({"x": (4, 3)})["x"]
    small = pruning.compact(network, params, x)
    assert small.params["w"].shape == (3, 6) and small.params["u"].shape == (3, 2)
    assert small.refused["w"].startswith("apply_fn does not run with fewer: ")


def test_a_width_in_the_arithmetic_is_refused():
    def network(p, x):
        return jax.nn.relu(x @ p["w"]) @ p["v"] / p["w"].shape[1]

    params = draw({"w": (3, 4), "v": (4, 2)})
    params["w"][:, 0] = 0
    x = draw({"x": (4, 3)})["x"]
    small = pruning.compact(network, params, x)
    assert small.refused["w"] == "apply_fn computes something else with fewer"
    assert small.params["w"].shape == (3, 4)


def nchw(p, x):
    for kernel, bias in ("ab", "cd"):
        x = lax.conv_general_dilated(x, p[kernel], (1, 1), "VALID")
        x = jax.nn.relu(x + p[bias].reshape(1, -1, 1, 1))
    return x.mean((2, 3)) @ p["e"]


@pytest.mark.parametrize("bias", [(5,), (5, 1, 1)])
def test_a_bias_of_channels_that_come_first_takes_nothing_up(bias):
    shapes = {"a": (4, 2, 3, 3), "b": (4, *bias[1:]), "c": (5, 4, 3, 3), "d": bias}
    params = draw({**shapes, "e": (5, 2)})
    params["a"][[1, 2]], params["b"][:] = 0, 0.7
    small = pruning.compact(nchw, params, draw({"x": (2, 2, 6, 6)})["x"])
    assert small.kept["a"].tolist() == [0, 1, 3]  # one speaks for both
    assert small.params["c"].shape == (5, 3, 3, 3)


@pytest.mark.parametrize(
    ("reads", "bias", "left"),
    [((4, 2), (), 3), ((4, 2), (1, 2), 2), ((4,), (), 2)],
)
def test_a_leaf_that_takes_a_constant_up_keeps_its_shape(reads, bias, left):
    def network(p, x):
        return jax.nn.relu(x @ p["w"] + p["b"][None]) @ p["v"] + p["c"]

    params = draw({"w": (3, 4), "b": (4,), "v": reads, "c": bias})
    params["w"][:, :2], params["b"][:2] = 0, 0.7
    x = draw({"x": (4, 3)})["x"]
    small = pruning.compact(network, params, x)
    assert len(small.kept["w"]) == left and small.params["c"].shape == bias
    if left == 3:
        (one,) = pruning.couplings(network, params, x).units
        read = one.reads[0]._replace(into="c")
        with pytest.raises(ValueError, match=r"units w: c .* has not one entry for"):
            pruning.compact(network, params, x, units=[one._replace(reads=(read,))])


@pytest.mark.parametrize(
    "dtype", [pytest.param(jnp.float16, marks=pytest.mark.slow), jnp.bfloat16]
)
def test_half_precision_is_held_to_what_it_rounds(dtype):
    def network(p, x):
        return jax.nn.relu(x @ p["w"] + p["b"][None]) @ p["v"] + p["c"][None]

    params = draw({"w": (5, 16), "b": (16,), "v": (16, 3), "c": (3,)})
    params["w"][:, :8] = 0
    params, x = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype), (params, draw({"x": (4, 5)})["x"])
    )
    small = pruning.compact(network, params, x)
    assert len(small.kept["w"]) <= 9
    assert 1e-5 < small.error <= 4 * float(jnp.finfo(dtype).eps)


def test_what_has_no_batch_axis_is_refused_by_name():
    params = draw({"w": (3, 4), "v": (4, 2)})
    network = lambda p, x: x["x"] @ p["w"] @ p["v"]
    for rest in (2.0, jax.random.key(0)):
        x = {"x": np.ones((2, 3), np.float32), "rest": rest}
        with pytest.raises(ValueError, match="x: leaf rest: expected numbers with a"):
            pruning.couplings(network, params, x)


def test_leaves_of_one_path_are_refused():
    params = {"a": {"b": np.ones((3, 3))}, "a/b": np.ones((3, 3)), "v": np.ones((3, 2))}
    network = lambda p, x: x @ p["a"]["b"] @ p["a/b"] @ p["v"]
    for function in (pruning.couplings, pruning.compact):
        with pytest.raises(ValueError, match="two leaves have the path a/b"):
            function(network, params, jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="mask: two leaves have the path a/b"):
        pruning.mask_metrics(pruning.full_mask(params))


def test_axes_of_a_reshape_are_matched():
    assert blocks((2, 3, 4, 5), (6, 20)) == [
        (range(0, 2), range(0, 1)),
        (range(2, 4), range(1, 2)),
    ]
    assert blocks((5,), (5, 1, 1))[0] == (range(0, 1), range(0, 1))
    assert blocks((1, 6), (2, 3)) == [(range(0, 2), range(0, 2))]
