"""Compaction: the smaller network computes the same, and is smaller."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import pruning
from pruning._couplings import Read, layer
from pruning._folding import fold
from synaptax.nets import lenets, mobilenet, resnets, transformer, vgg

NETWORKS = {
    "lenet300": (lenets.LeNet300(10, widths=(30, 20)), (8, 8, 1)),
    "lenet5": (lenets.LeNet5(10, widths=(6, 8, 20)), (16, 16, 1)),
    "vgg16": (vgg.VGG16(10, widths=(6,) * 14), (32, 32, 3)),
    "vgg16-bias": (vgg.VGG16(10, norm=False, widths=(6,) * 14), (32, 32, 3)),
    "resnet": (resnets.ResNet(10, (6, 8), 1), (8, 8, 3)),
    "mobilenet_v2": (mobilenet.MobileNetV2(4, hidden=(8,) * 17), (8, 8, 3)),
    "transformer": (transformer.CharTransformer(11, 8, 12, 4, (3, 4), (16, 8)), None),
}


def inputs(shape):
    if shape is None:
        return jax.random.randint(jax.random.key(5), (2, 8), 0, 11)
    return jax.random.normal(jax.random.key(5), (2, *shape))


def network(name):
    """Return (module, params, stats, x): random weights, biases, scales and moments."""
    module, shape = NETWORKS[name]
    x = inputs(shape)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    leaves, structure = jax.tree.flatten_with_path(shapes)
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        value = rng.normal(size=leaf.shape).astype(np.float32)
        last = path[-1].key
        if last in ("var", "scale"):
            return 0.5 + np.abs(value)
        fan_in = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 4
        return value * np.sqrt(2 / fan_in).astype(np.float32)

    drawn = [draw(path, leaf) for path, leaf in leaves]
    variables = jax.tree.unflatten(structure, drawn)
    return module, variables["params"], variables.get("batch_stats", {}), x


def without_units(params, share, seed=1):
    """Set whole output units of random kernels to zero; biases stay."""
    rng = np.random.default_rng(seed)

    def leaf(path, value):
        names = [part.key for part in path]
        logits = names[0].startswith("Dense") and value.shape[-1] in (4, 10, 11)
        if names[-1] != "kernel" or logits:
            return value
        axis = 1 if names[-2] in ("query", "key", "value") else value.ndim - 1
        shape = [1] * value.ndim
        shape[axis] = value.shape[axis]
        return value * (rng.random(shape) > share)

    return jax.tree.map_with_path(leaf, params)


SLOW = ("vgg16", "vgg16-bias", "mobilenet_v2")  # long to compile


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
        for name in NETWORKS
    ],
)
def test_the_smaller_network_computes_the_same(name):
    module, params, stats, x = network(name)
    params = without_units(params, 0.5)
    small = pruning.compact(module, params, x, stats=stats)
    variables = jax.tree.map(jnp.asarray, {"params": params, "batch_stats": stats})
    before = jax.jit(module.apply)(variables, x)
    after = small.apply_fn(small.params, x)
    assert after.shape == before.shape and small.error <= 1e-5
    assert float(jnp.abs(after - before).max()) <= 1e-5 * float(jnp.abs(before).max())
    size = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    assert size(small.params) < 0.7 * size(params)
    total = sum(len(index) for index in small.kept.values())
    again = pruning.compact(small.module, small.params, x, stats=small.stats)
    assert sum(len(index) for index in again.kept.values()) == total


def test_one_filter_speaks_for_all_silent_ones_where_there_is_padding():
    kernel = np.ones((3, 3, 2, 6), np.float32)
    kernel[..., [0, 2, 3]] = 0
    read = np.random.default_rng(0).normal(size=(3, 3, 6, 4)).astype(np.float32)
    flat = {
        "kernel": kernel,
        # 2 is cut by the ReLU.
        "bias": np.float32([0.5, 1.0, -0.5, 0.25, 1.0, 1.0]),
        "read": read.copy(),
    }
    units = layer("filters", "kernel", Read("read", 2), rank=4, bias="bias")
    alive = fold(units, flat)
    assert alive.tolist() == [True, True, False, False, True, True]
    expected = read[:, :, 0] + read[:, :, 3] * 0.5
    np.testing.assert_allclose(flat["read"][:, :, 0], expected, rtol=1e-6)
    assert fold(
        units,
        flat
        | {
            "kernel": kernel[..., :1],
            "read": read[:, :, :1],
            "bias": np.float32([0.5]),
        },
    ).all()


def test_a_constant_goes_into_the_next_bias_and_the_unheard_go_too():
    module = lenets.LeNet300(2, widths=(3, 2))
    params = {
        "Dense_0": {"kernel": np.eye(4, 3, dtype=np.float32), "bias": np.ones(3)},
        "Dense_1": {"kernel": np.ones((3, 2), np.float32), "bias": np.zeros(2)},
        "Dense_2": {"kernel": np.ones((2, 2), np.float32), "bias": np.zeros(2)},
    }
    params["Dense_0"]["kernel"][:, 1] = 0  # silent: puts out relu(1)
    params["Dense_2"]["kernel"][1] = 0  # unheard
    small = pruning.compact(module, params, jnp.ones((1, 2, 2, 1)))
    assert {k: v.tolist() for k, v in small.kept.items()} == (
        {"Dense_0": [0, 2], "Dense_1": [0]}
    )
    np.testing.assert_array_equal(small.params["Dense_1"]["bias"], [1.0])
    assert small.module.widths == (2, 1)


def test_a_layer_that_is_all_constant_keeps_one_unit_that_is_not_read():
    module, params, _, x = network("lenet300")
    params["Dense_1"]["kernel"][:] = 0
    small = pruning.compact(module, params, x)
    assert small.module.widths == (1, 1)
    assert not small.params["Dense_2"]["kernel"].any()


def test_a_mask_is_applied_first():
    module, params, _, x = network("lenet300")
    mask = pruning.magnitude_mask(params, 0.4, structure=pruning.neuron())
    small = pruning.compact(module, params, x, mask=mask)
    assert small.module.widths < module.widths


def test_declarations_are_checked():
    module, params, _, x = network("lenet300")
    kernel, bias = "params/Dense_0/kernel", "params/Dense_0/bias"
    into = "params/Dense_1/bias"
    read = Read("params/Dense_1/kernel", 0, into=into)
    smaller = lambda left: module.clone(widths=(left["first"], 20))
    params["Dense_0"]["kernel"][:, :7] = 0
    declare = lambda *reads, **rest: [layer("first", kernel, *reads, rank=2, **rest)]
    good = declare(read, bias=bias)
    small = pruning.compact(module, params, x, units=good, smaller=smaller)
    assert len(small.kept["first"]) == 23
    for bad, message in {
        "units first: there is no leaf params/Dense_9": declare(
            Read("params/Dense_9/kernel", 0), bias=bias
        ),
        "units first: axis 1 of params/Dense_1/kernel": declare(
            read._replace(axis=1), bias=bias
        ),
        "the outputs differ by": declare(read, bias=bias, act=np.cos),
        "units first: the outputs follow them where nothing reads": declare(bias=bias),
    }.items():
        with pytest.raises(ValueError, match=bad):
            pruning.compact(module, params, x, units=message, smaller=smaller)
    with pytest.raises(ValueError, match="expected both or neither"):
        pruning.compact(module, params, x, units=good)
    with pytest.raises(ValueError, match="int is not a bundled network"):
        pruning.compact(3, params, x)
    with pytest.raises(ValueError, match="tolerance: expected a number >= 0, got -1"):
        pruning.compact(module, params, x, tolerance=-1.0)
    params["Dense_2"]["kernel"][0, 0] = np.nan
    with pytest.raises(ValueError, match="params/Dense_2/kernel is not finite"):
        pruning.compact(module, params, x)


def test_a_reader_that_is_not_declared_is_met_by_perturbing_the_units():
    class Skip(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.relu(nn.Dense(4)(x))
            return nn.Dense(3)(h) + nn.Dense(3)(h)

    x = jax.random.normal(jax.random.key(0), (5, 6))
    params = Skip().init(jax.random.key(1), x)["params"]
    reads = [
        Read(f"params/Dense_{i}/kernel", 0, into=f"params/Dense_{i}/bias")
        for i in (1, 2)
    ]
    own = {"rank": 2, "bias": "params/Dense_0/bias"}
    declare = lambda *reads: [layer("h", "params/Dense_0/kernel", *reads, **own)]
    same = lambda left: Skip()
    pruning.compact(Skip(), params, x, units=declare(*reads), smaller=same)
    with pytest.raises(ValueError, match="units h: the outputs follow them where"):
        pruning.compact(Skip(), params, x, units=declare(reads[0]), smaller=same)
