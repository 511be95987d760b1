"""Entropy and products with the curvature where parameters and batch are sharded."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import analysis
import pruning

PLACES = {"up": P("fsdp", "tensor"), "bias": P("tensor"), "down": P("tensor", "fsdp")}
CLASSES = 4


def net(params, x):
    hidden = jax.nn.relu(x @ params["up"] + params["bias"][None])
    return hidden @ params["down"]


def loss(params, part):
    each = optax.softmax_cross_entropy_with_integer_labels
    return each(net(params, part[0]), part[1]).mean()


@pytest.fixture(scope="module")
def places():
    """Return what lays arrays on four lines of two devices."""
    grid = np.asarray(jax.devices()).reshape(4, 2)
    mesh = Mesh(grid, ("fsdp", "tensor"), axis_types=(AxisType.Auto, AxisType.Auto))
    return lambda array, spec: jax.device_put(array, NamedSharding(mesh, spec))


@pytest.fixture(scope="module")
def case():
    """Return parameters and (x, labels)."""
    random = np.random.default_rng(0)
    normal = lambda *shape: jnp.asarray(random.normal(size=shape), jnp.float32)
    params = {"up": normal(8, 16), "bias": normal(16), "down": normal(16, CLASSES)}
    return params, (normal(32, 8), jnp.arange(32) % CLASSES)


@pytest.fixture(scope="module", params=[P(), P("fsdp")], ids=["whole", "along"])
def spread(request, case, places):
    """Return the same, sharded: the batch whole on each device, or along a line."""
    params, data = case
    sharded = {name: places(params[name], PLACES[name]) for name in params}
    return sharded, tuple(places(part, request.param) for part in data)


def test_entropy_counts_the_same_examples(case, spread):
    zs = pruning.preactivations(net)
    (one, squares), (other, others) = (
        analysis.entropy.measure(zs, params, [data], CLASSES)
        for params, data in (case, spread)
    )
    assert list(one.per_class) == list(other.per_class)
    for name, values in one.per_class.items():
        np.testing.assert_array_equal(other.per_class[name], values)
    np.testing.assert_allclose(list(others.values()), list(squares.values()), rtol=1e-6)


@pytest.mark.parametrize("masked", [False, True], ids=["all", "survivors"])
def test_products_with_the_hessian(case, spread, masked):
    mask = pruning.magnitude_mask(case[0], 0.5) if masked else None
    v = jnp.cos(jnp.arange(8 * 16 + 16 + 16 * CLASSES, dtype=jnp.float32))
    one, other = (
        analysis.hessian(loss, params, data, batch=16, mask=mask).matvec(v)
        for params, data in (case, spread)
    )
    wanted = np.asarray(one)
    np.testing.assert_allclose(other, wanted, atol=1e-5 * np.abs(wanted).max())
