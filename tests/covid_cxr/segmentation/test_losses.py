"""Overlaps by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.segmentation.losses import bce_dice, hard_dice, soft_dice

MASK = jnp.zeros((1, 2, 2, 1)).at[0, 0].set(1)


def test_soft_dice_by_hand():
    p = jnp.array([0.9, 0.5, 0.2, 0.0]).reshape(1, 2, 2, 1)
    wanted = (2 * 1.4 + 1) / (1.6 + 2 + 1)
    assert float(soft_dice(p, MASK)[0, 0]) == pytest.approx(wanted)
    assert float(soft_dice(MASK, MASK)[0, 0]) == 1
    assert float(soft_dice(0 * p, 0 * p)[0, 0]) == 1


def test_the_loss_by_hand():
    logits = jnp.array([2.0, -1.0, 0.5, -3.0]).reshape(1, 2, 2, 1)
    p = 1 / (1 + np.exp(-np.array([2.0, -1, 0.5, -3])))
    cross = -np.mean(np.log([p[0], p[1], 1 - p[2], 1 - p[3]]))
    overlap = (2 * (p[0] + p[1]) + 1) / (p.sum() + 2 + 1)
    found = float(bce_dice(logits, MASK, 0.5)[0])
    assert found == pytest.approx(cross + 0.5 * (1 - overlap), rel=1e-5)
    assert float(bce_dice(logits, MASK, 0.0)[0]) == pytest.approx(cross, rel=1e-5)


def test_hard_dice_averages_channels_and_takes_empty_for_right():
    other = jnp.concatenate([MASK, 0 * MASK], axis=-1)
    assert float(hard_dice(other, other)[0]) == 1
    assert float(hard_dice(0 * other, other)[0]) == 0.5
