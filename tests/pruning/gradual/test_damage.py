"""Damaged files of a gradual run are refused by name, or what they give is in order."""

import math

import numpy as np
import pytest

from pruning.gradual import outcome, snapshots
from pruning.gradual.config import Config
from synaptax import runs
from tests import damage

PARAMS = {"a": {"kernel": np.array([[1.5, 0.0], [-2.0, 1.0]], np.float32)}}
MASKS = {"a": {"kernel": np.array([[True, False], [True, True]])}}
ONE = snapshots.Snapshot(0, "dense", 1, 0.5, 0.25, 3, 4)


def snapshot(folder):
    snapshots.write(folder / "snapshots", ONE, PARAMS, MASKS)
    (path,) = (folder / "snapshots").iterdir()

    def read():
        (record,) = snapshots.listing(path.parent)
        trees = snapshots.read_all(path.parent, 0, "dense")
        return record, trees, snapshots.read(path.parent, record, PARAMS)

    def in_order(value):
        record, _, (params, masks) = value
        assert 0 <= record.kept <= record.total and 0 <= record.error <= 1
        kernel = params["a"]["kernel"]
        assert kernel.dtype == np.float32 and np.isfinite(kernel).all()
        assert masks["a"]["kernel"].dtype == bool and masks["a"]["kernel"].ndim == 2

    return path, read, damage.arrays_changed, in_order


def summary(folder):
    place = runs.RunFolder(folder)
    point = outcome.Point(0, None, True, 4 / 3, {"a": 3}, 0.25, 0.5)
    results = {
        "points": [point._asdict()],
        "shapes": {"a": (2, 2)},
        "classes": 10,
        "image_shape": (8, 8, 1),
    }
    runs.write_summary(place, results, config={}, seeds=[0], wall_s=2.0)

    def in_order(result):
        for point in result.points:
            assert 0 <= sum(point.kept.values()) <= 4
            assert math.isfinite(point.compression) and 0 <= point.test_error <= 1

    read = lambda: outcome.finished(Config(), place)
    return place.summary, read, damage.json_changed, in_order


KINDS = {"snapshot": snapshot, "summary": summary}


def come_of(kind, tmp_path, count):
    path, read, change, in_order = KINDS[kind](tmp_path)
    came = damage.survey(path, read, damage=change, count=count, in_order=in_order)
    print(f"{kind}: {dict(came)}")
    return came


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_refused_by_name_or_harmless(kind, tmp_path):
    assert come_of(kind, tmp_path, damage.SAMPLE)["refused"] > damage.SAMPLE / 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_damaged_files(kind, tmp_path):
    assert come_of(kind, tmp_path, damage.ALL).total() == damage.ALL
