"""Cleaning, splitting, and judging masks drawn by hand."""

import numpy as np
import pytest

from covid_cxr.segmentation import Limits, checked, clean, two_lungs
from covid_cxr.segmentation.postprocess import components, filled, largest

SIDE = 40


def lungs(speck=False, hole=False, joined=False):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[8:32, 5:16] = True
    mask[8:30, 24:36] = True
    if speck:
        mask[1:3, 19:21] = True
    if hole:
        mask[15:18, 8:11] = False
    if joined:
        mask[20, 16:24] = True
    return mask


def test_components_are_ordered_by_size_and_join_at_corners():
    mask = lungs(speck=True)
    labels, sizes = components(mask)
    assert sizes.tolist() == [22 * 12, 24 * 11, 4]
    assert (labels > 0).sum() == mask.sum()
    diagonal = np.eye(4, dtype=bool)
    assert components(diagonal)[1].tolist() == [4]


def test_largest_and_filled():
    np.testing.assert_array_equal(largest(lungs(speck=True), 2), lungs())
    assert largest(lungs(), 1).sum() == 24 * 11
    np.testing.assert_array_equal(largest(lungs(speck=True), 3), lungs())  # 0.1 rule
    assert largest(np.zeros((3, 3), bool), 2).sum() == 0
    np.testing.assert_array_equal(filled(lungs(hole=True)), lungs())


def test_clean_one_channel_and_two():
    rough = lungs(speck=True, hole=True).astype(float)[None] * 0.9
    np.testing.assert_array_equal(clean(rough)[0], lungs())
    right, left = np.zeros((2, SIDE, SIDE))
    right[8:32, 5:18], left[8:30, 15:36] = 0.7, 0.6  # both claim three columns
    both = clean(np.stack([right, left]))
    assert not (both[0] & both[1]).any()
    assert both[0].sum() == 24 * 13
    assert both[1].sum() == 22 * 18
    with pytest.raises(ValueError, match="probability: expected"):
        clean(np.zeros((3, 4, 4)))


@pytest.mark.parametrize("joined", [False, True])
def test_two_lungs(joined):
    sides = two_lungs(lungs(joined=joined))
    np.testing.assert_array_equal(sides.any(axis=0), lungs(joined=joined))
    assert not (sides[0] & sides[1]).any()
    assert sides[0, 8:32, 5:16].all() and sides[1, 8:30, 24:36].all()


def test_one_lung_goes_to_its_side():
    for columns, side in ((slice(4, 16), 0), (slice(26, 36), 1)):
        mask = np.zeros((SIDE, SIDE), bool)
        mask[8:30, columns] = True
        sides = two_lungs(mask)
        np.testing.assert_array_equal(sides[side], mask)
        assert not sides[1 - side].any()
    assert not two_lungs(np.zeros((4, 4), bool)).any()


def judged(mask, sure=0.98, **limits):
    return checked(mask[None] * sure, Limits(**limits)).quality


def test_a_good_mask_is_accepted():
    found = judged(lungs())
    assert found.accepted
    assert found.area == pytest.approx(lungs().mean())
    assert (found.parts, found.balance) == (2, 1.0)
    assert found.confidence == pytest.approx(2 * 0.98 / 1.98)


def test_each_fault_is_named():
    empty = np.zeros((SIDE, SIDE), bool)
    one = empty.copy()
    one[8:32, 5:16] = True
    small = empty.copy()
    small[10:14, 5:9] = small[10:14, 24:28] = True
    crumbs = lungs()
    crumbs[34:39, 2:7] = crumbs[34:39, 12:17] = crumbs[34:39, 22:27] = True
    for mask, text in (
        (empty, "no lung found"),
        (one, "one lung is 0% of the other"),
        (small, "below 8%"),
        (~empty, "above 65%"),
        (crumbs, "5 parts, more than 3"),
    ):
        assert any(text in reason for reason in judged(mask).reasons), text
    unsure = judged(lungs(), sure=0.55)
    assert unsure.reasons == ("confidence 0.71, below 0.85",)
    assert judged(lungs(), sure=0.55, confidence=0.7).accepted


def test_two_channels_are_judged_too():
    sides = two_lungs(lungs()).astype(float)
    assert checked(sides).quality.accepted
    with pytest.raises(ValueError, match="not finite"):
        checked(np.full((1, 4, 4), np.nan))
