"""Where a network looks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.bias._saliency import (
    METHODS,
    _depth,
    correlation,
    grad_cam,
    inside,
    integrated_gradients,
    pointing,
    redrawn,
    saliency,
)
from tests.covid_cxr.train.tiny import SIDE, tiny


@pytest.fixture(scope="module")
def trained():
    net = tiny()
    params, stats = net.init(jax.random.key(1), SIDE)
    x = jax.random.normal(jax.random.key(2), (6, SIDE, SIDE, 1))
    return net, params, stats, x


def test_integrated_gradients_are_complete(trained):
    net, params, stats, x = trained
    maps = integrated_gradients(net, params, stats, x, 256)
    gain = net.apply(params, stats, x) - net.apply(params, stats, jnp.zeros_like(x))
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), gain[:, 0], atol=2e-3)


def test_grad_cam_of_a_linear_head_is_its_weighted_map(trained):
    net, params, stats, x = trained
    last = net.maps(params, stats, x)["stem"]
    # z is the mean over pixels of A w, so the slope of each cell is w / cells.
    weight = params["fc"]["out"]["kernel"][:, 0] / (last.shape[1] * last.shape[2])
    cam = jax.nn.relu((last * weight[None, None, None]).sum(axis=-1))
    expected = jax.image.resize(cam, x.shape[:3], "linear")
    found = grad_cam(net, params, stats, x)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_fractions_inside():
    lungs = np.zeros((3, 4, 4), bool)
    lungs[:, 1:3, 1:3] = True
    maps = np.stack([lungs[0].astype(float), -1.0 * ~lungs[0], np.zeros((4, 4))])
    maps[1, 1, 1] = 4.0
    np.testing.assert_allclose(inside(maps, lungs), [1, 4 / 16, 4 / 16])
    np.testing.assert_array_equal(pointing(maps, lungs), [True, True, False])


def test_the_cascade_begins_at_the_head(trained):
    net, params, _, _ = trained
    steps = redrawn(net, params, jax.random.key(9), SIDE)
    assert list(steps) == ["fc", "conv1", "bn1"]
    same = lambda a, b: all(map(np.array_equal, jax.tree.leaves(a), jax.tree.leaves(b)))
    assert same(steps["fc"]["conv1"], params["conv1"])
    assert not same(steps["fc"]["fc"], params["fc"])
    assert not same(steps["bn1"]["conv1"], params["conv1"])
    assert same(steps["bn1"]["fc"], steps["fc"]["fc"])


def test_the_cascade_of_a_densenet_goes_by_depth_not_by_spelling():
    names = ["conv0", "norm0", "denseblock1_2", "denseblock1_10", "transition1"]
    names += ["denseblock2_0", "norm5"]
    assert sorted(sorted(names), key=_depth) == names


def test_correlation_of_maps():
    a = np.random.default_rng(0).normal(size=(3, 4, 4))
    assert correlation(a, -2 * a) == pytest.approx(1)
    assert correlation(a, np.ones_like(a)) == 0


def test_a_report_of_both_methods(trained):
    net, params, stats, x = trained
    lungs = np.zeros((6, SIDE, SIDE), bool)
    lungs[:, :, : SIDE // 2] = True
    found = saliency(
        net, params, stats, x, lungs, np.arange(6) // 2, key=jax.random.key(0)
    )
    assert [one.method for one in found] == list(METHODS)
    for one in found:
        assert one.inside.low <= one.inside.value <= one.inside.high
        assert one.area == 0.5 and one.radiographs == 6
        assert set(one.redrawn) == {"fc", "bn1"}
        assert max(map(abs, one.redrawn.values())) <= 1
