"""The rates' rows, and that ours and a peer do the same; timing is not tested."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr import images
from covid_cxr.benchmarks import rates
from covid_cxr.images.augmentation import PUBLISHED, draw
from covid_cxr.segmentation.unet import UNet, UNetConfig
from tests.covid_cxr.trees import picture


def test_a_peer_that_is_not_installed_is_a_row():
    calls = {rates.OURS: lambda: np.zeros(1), "OpenCV": lambda: np.ones(1)}
    rows = rates.rows_of("read", calls, 4, 1, ["OpenCV"])
    assert [row["by"] for row in rows] == [
        "synaptax",
        "OpenCV",
        "scikit-image",
        "torchvision",
    ]
    assert rows[0]["times_ours"] == 1 and rows[1]["per_core_s"] > 0
    assert {row["per_core_s"] for row in rows[2:]} == {"not installed"}


def test_a_motion_for_others_is_ours():
    transform = pytest.importorskip("skimage.transform")
    motion = draw(jax.random.key(3), PUBLISHED)
    image = picture(1, (rates.SIDE, rates.SIDE)).astype(np.float32) / 255
    whole = rates.whole(np.asarray(motion, np.float64))
    theirs = transform.warp(image, whole, order=1)
    inside = transform.warp(np.ones_like(image), whole, order=1) == 1
    ours = np.asarray(images.warp(jnp.asarray(image), motion))
    assert inside.mean() > 0.5
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=1e-4)


def test_every_parameter_of_the_u_net_has_a_name_in_pytorch():
    config = UNetConfig(depth=2, width=4)
    shapes = jax.eval_shape(UNet(config).init, jax.random.key(0), jnp.zeros((1, 8, 8)))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes["params"])
    state = rates.unet_state(params, 2)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert sum(value.size for value in state.values()) == count
    assert state["up.1.0.weight"].shape == (4, 8, 3, 3)
    assert state["narrow.0.weight"].shape == (8, 16, 1, 1)


def test_results_that_differ_are_refused():
    rates.agree("x", [1.0], [1.001], 0.01)
    with pytest.raises(RuntimeError, match=r"x: 0\.5 apart, expected 0\.01"):
        rates.agree("x", [1.0], [1.5], 0.01)
