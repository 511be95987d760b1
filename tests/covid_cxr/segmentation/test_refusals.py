"""Masks, probabilities and configs of another kind or range are refused by name."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr import segmentation as ours
from covid_cxr.images import Augmentation
from tests import unchecked

MASK = np.zeros((16, 16), bool)
MASK[4:12, 4:12] = True
BYTES = MASK.astype(np.uint8) * 255
IMAGE = np.full((16, 16), 0.5, np.float32)
LUNGS = np.where(MASK, 0.9, 0.1)[None]
CONFIG = ours.SegmentConfig(net=ours.UNetConfig(1, 2), side=16, epochs=1, batch=2)
DATA = ours.Radiographs(np.stack([IMAGE] * 2), np.stack([MASK] * 2)[:, None])


@pytest.mark.parametrize(
    "change", [ours.lungs_only, ours.lungs_removed, ours.boxed_out, ours.framed]
)
@pytest.mark.parametrize("mask", [BYTES, MASK * 0.7, MASK[:1]])
def test_a_mask_is_boolean_and_of_its_images_size(change, mask):
    with unchecked(), pytest.raises(ValueError, match=r"mask: expected bool.16, 16."):
        change(jnp.asarray(IMAGE), jnp.asarray(mask))


@pytest.mark.parametrize("measure", [ours.dice, ours.iou, ours.hausdorff95])
def test_masks_that_are_compared_are_alike(measure):
    with unchecked():
        for predicted, truth in ((BYTES, BYTES), (MASK.tolist(), MASK)):
            with pytest.raises(ValueError, match="predicted: expected bool"):
                measure(predicted, truth)
        for truth in (MASK[:1], BYTES):
            with pytest.raises(ValueError, match=r"truth: expected bool.16, 16."):
                measure(MASK, truth)


def agreed(**options):
    masks = np.stack([MASK] * 2)
    return lambda: ours.agreement(masks, masks, key=jax.random.key(0), **options)


def fitted(data=DATA, **fields):
    return lambda: ours.fit(dataclasses.replace(CONFIG, **fields), data)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ours.hausdorff95(MASK, MASK, 0), "spacing: expected a length > 0"),
        (agreed(spacing=[np.nan, 1.0]), "spacing: 1 of 2 values are not finite"),
        (agreed(spacing=[1.0]), "spacing: expected 2 numbers"),
        (agreed(spacing=[-1.0, 1.0]), "spacing: expected a length"),
        (lambda: ours.clean(LUNGS * 255), "probability: expected numbers in .0, 1."),
        (lambda: ours.checked(LUNGS * 255), "probability: expected numbers in .0, 1."),
        (lambda: ours.clean(LUNGS - 1), "probability: expected numbers in .0, 1."),
        (lambda: ours.clean(LUNGS, threshold=np.nan), "threshold: expected in .0, 1."),
        (lambda: ours.two_lungs(BYTES), "mask: expected bool .H, W."),
        (lambda: ours.Limits(area=(0.9, 0.1)), "area: expected two shares that rise"),
        (lambda: ours.Limits(confidence=np.nan), "confidence: expected in .0, 1."),
        (lambda: ours.UNetConfig(depth=1.5), "depth: expected an integer"),
        (lambda: Augmentation(zoom=np.inf), "zoom: expected a zoom >= 1"),
        (lambda: Augmentation(flip="0"), "flip: expected a probability"),
        (fitted(rate="x"), "rate: expected > 0"),
        (fitted(weight_decay=-1.0), "weight_decay: expected >= 0"),
        (fitted(dice_weight=np.nan), "dice_weight: expected >= 0"),
        (fitted(epochs=1.5), "epochs: expected an integer"),
        (fitted(seed="a"), "seed: expected an integer"),
        (fitted(exposure="no"), "exposure: expected True or False"),
        (fitted(augmentation="no"), "augmentation: expected an Augmentation"),
        (
            fitted(DATA._replace(image=DATA.image * 255)),
            r"train.image: expected values in \[0, 1\], got 127.5",
        ),
        (
            fitted(DATA._replace(image=DATA.image * np.float32(np.nan))),
            "train.image: expected values in",
        ),
    ],
)
def test_refused_by_name(call, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        call()
