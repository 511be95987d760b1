"""Convolutions by definition, norms by hand, networks by their contracts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.models import ModelConfig, network, parameters, published
from covid_cxr.models.convolution import convolve
from covid_cxr.models.norms import Norm, groups
from tests.covid_cxr.models import reference


@pytest.mark.parametrize("channels", [1, 8])
@pytest.mark.parametrize(("size", "stride"), [(1, 2), (3, 1), (3, 2), (7, 2)])
def test_convolution_by_definition(channels, size, stride):
    rng = np.random.default_rng(size)
    x = rng.normal(size=(2, 9, 8, channels)).astype(np.float32)
    kernel = rng.normal(size=(size, size, channels, 3)).astype(np.float32)
    wanted = reference.conv(
        x.transpose(0, 3, 1, 2), kernel.transpose(3, 2, 0, 1), stride
    )
    for method in ("windows", "lax"):
        found = convolve(
            jnp.asarray(x), jnp.asarray(kernel), stride=stride, method=method
        )
        np.testing.assert_allclose(
            found, wanted.transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-4
        )


def test_bad_convolutions():
    with pytest.raises(ValueError, match="method"):
        convolve(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1)), method="fft")
    with pytest.raises(ValueError, match="odd side"):
        convolve(jnp.ones((1, 4, 4, 1)), jnp.ones((2, 2, 1, 1)))


def test_batch_norm_averages_as_pytorch_does():
    x = jnp.asarray(np.random.default_rng(0).normal(2, 3, (4, 2, 2, 6)), jnp.float32)
    norm = Norm("batch")
    variables = norm.init(jax.random.key(0), x, True)
    assert (variables["batch_stats"]["mean"] == 0).all()
    y, new = norm.apply(variables, x, True, mutable=["batch_stats"])
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), 1, rtol=1e-4)
    flat = np.asarray(x).reshape(-1, 6)
    stats = new["batch_stats"]
    np.testing.assert_allclose(stats["mean"], 0.1 * flat.mean(axis=0), rtol=1e-5)
    wanted = 0.9 + 0.1 * flat.var(axis=0, ddof=1)
    np.testing.assert_allclose(stats["var"], wanted, rtol=1e-5)
    # x * rsqrt(1 + eps) and x / sqrt(1 + eps) are rounded differently, by machine.
    np.testing.assert_array_max_ulp(
        norm.apply(variables, x, False), x / np.sqrt(np.float32(1 + 1e-5)), maxulp=4
    )


def test_frozen_norm_neither_averages_nor_learns():
    x = jnp.ones((2, 2, 2, 3))
    norm = Norm("frozen")
    variables = norm.init(jax.random.key(0), x, True)
    y, new = norm.apply(variables, x, True, mutable=["batch_stats"])
    np.testing.assert_array_equal(new["batch_stats"]["mean"], jnp.zeros(3))
    np.testing.assert_array_equal(y, norm.apply(variables, x, False))
    loss = lambda p: norm.apply(variables | {"params": p}, x, True).sum()
    for leaf in jax.tree.leaves(jax.grad(loss)(variables["params"])):
        np.testing.assert_array_equal(leaf, jnp.zeros(3))


def test_group_norm_by_hand():
    assert (groups(64), groups(16), groups(6), groups(3)) == (32, 8, 1, 1)
    x = jnp.asarray(np.random.default_rng(0).normal(5, 2, (2, 3, 3, 16)), jnp.float32)
    norm = Norm("group")
    variables = norm.init(jax.random.key(0), x, True)
    y = norm.apply(variables, x, True)
    parts = np.asarray(y).reshape(2, 9, 8, 2)
    np.testing.assert_allclose(parts.mean(axis=(1, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(parts.std(axis=(1, 3)), 1, rtol=1e-3)
    with pytest.raises(ValueError, match="norm: expected one of"):
        Norm("layer").init(jax.random.key(0), x, True)


def test_parameter_counts_are_torchvisions():
    # torchvision documents 11,689,512, 25,557,032 and 7,978,856 with three input
    # channels and 1,000 classes; one channel saves 2 * 49 * 64 weights.
    for name, count in (
        ("resnet18", 11_689_512),
        ("resnet50", 25_557_032),
        ("densenet121", 7_978_856),
    ):
        net = network(ModelConfig(name, classes=1000))
        params, _ = jax.eval_shape(net.init, jax.random.key(0))
        assert parameters(params) == count - 2 * 49 * 64


def test_published_heads():
    for depth, features, hidden in ((18, 512, 256), (50, 2048, 512)):
        net = network(published(depth))
        params, _ = jax.eval_shape(net.init, jax.random.key(0))
        assert params["fc"]["hidden"]["kernel"].shape == (features, hidden)
        assert params["fc"]["out"]["kernel"].shape == (hidden, 1)
    with pytest.raises(ValueError, match="depth: expected 18 or 50"):
        published(34)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_contracts_of_a_small_network(norm):
    net = network(ModelConfig("resnet10", 4, 2, norm=norm), method="lax")
    params, stats = net.init(jax.random.key(0), 32)
    x = jax.random.normal(jax.random.key(1), (3, 32, 32, 1))

    @jax.jit
    def everything(params, stats, x):
        maps = net.maps(params, stats, x)
        return (
            net.apply(params, stats, x),
            maps,
            net.features(params, stats, x),
            net.head(params, stats, maps["layer4"]),
            net.train(params, stats, x),
        )

    logits, maps, features, again, (trained, new) = everything(params, stats, x)
    assert logits.shape == trained.shape == (3, 2)
    np.testing.assert_allclose(again, logits, rtol=1e-5)
    assert set(maps) == {"stem", "layer1", "layer2", "layer3", "layer4"}
    assert maps["layer4"].shape == (3, 1, 1, 32)
    assert features["stem"].shape == (3, 4)
    if norm == "batch":
        assert jax.tree.structure(new) == jax.tree.structure(stats)
        assert not np.allclose(new["bn1"]["mean"], stats["bn1"]["mean"])
    else:
        assert new == stats == {}
        np.testing.assert_allclose(trained, logits, rtol=1e-5)


@pytest.mark.parametrize(
    ("field", "value"),
    [("architecture", "vgg"), ("norm", "layer"), ("width", 0), ("classes", 0)],
)
def test_bad_configs(field, value):
    with pytest.raises(ValueError, match=f"{field}: expected"):
        network(ModelConfig(**{field: value}))
