"""Whole runs on a few digits: what they leave, and what is chosen on what."""

import dataclasses
import json
import math

import numpy as np
import pytest

from pruning.gradual import handover, snapshots, train
from pruning.gradual.train import fit
from synaptax import runs
from synaptax.data.images import load
from synaptax.runs import checkpoints
from synaptax.training.errors import NonFiniteError
from tests.pruning.gradual.small_runs import (
    EPOCHS,
    SMALL,
    hashes,
    lines_of,
    outcome_of,
    tuned,
    weights,
)

pytestmark = pytest.mark.runs

# --- what a run leaves ------------------------------------------------------------


def test_a_run_leaves_all_it_says(whole):
    result, folder, _ = whole
    metrics = runs.read_metrics(runs.RunFolder(folder))
    assert [r["epoch"] for r in metrics] == list(range(1, EPOCHS + 1))
    stages = [r["stage"] for r in metrics]
    assert stages == ["dense"] * 4 + ["prune"] * 14 + ["tune"] * 6
    assert sum(map(sum, (r["cut"] for r in metrics))) >= 4
    assert [(p.seed, p.target) for p in result.points] == [
        (0, 1.0),
        (1, 1.0),
        (0, None),
        (0, 3.0),
        (1, None),
        (1, 3.0),
    ]
    sizes = {name: math.prod(shape) for name, shape in result.shapes.items()}
    total = sum(sizes.values())
    assert total == 64 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10
    for index, point in enumerate(result.points):
        assert point.compression == total / sum(point.kept.values())
        assert 0 <= point.validation_error < 0.6 and 0 <= point.test_error < 0.6
        if index < 2:
            assert point.kept == sizes
        else:
            params, _ = tuned(folder, index - 2)
            assert point.kept == {n: np.count_nonzero(w) for n, w in params.items()}
            assert point.compression > 3 and point.reached
    assert result.folder == folder and 0 < result.wall_s < 3600
    assert metrics[-1]["elapsed_s"] <= result.wall_s


def test_a_finished_run_gives_its_result_again(whole):
    result, folder, _ = whole
    before = hashes(folder)
    again = fit(SMALL, folder, resume=True, quiet=True)
    assert dataclasses.replace(again, wall_s=0.0) == dataclasses.replace(
        result, wall_s=0.0
    )
    assert again.wall_s == pytest.approx(result.wall_s, abs=1e-3)
    assert hashes(folder) == before


def test_pruned_weights_are_zero_and_stay_so(whole):
    _, folder, _ = whole
    listing = snapshots.listing(folder / "snapshots")
    for replica in (0, 1):
        alive = None
        for record in (s for s in listing if s.replica == replica):
            file = np.load(
                folder / "snapshots" / f"member{replica:03d}-{record.name}.npz"
            )
            masks = {k[6:]: file[k] for k in file if k.startswith("masks/")}
            for name, mask in masks.items():
                assert not file[f"params/{name}"][~mask].any()
                assert alive is None or not (mask & ~alive[name]).any()
            assert record.kept == sum(int(mask.sum()) for mask in masks.values())
            alive = masks
    records = snapshots.listing(folder / "tuned")
    assert [s.replica for s in records] == [0, 1, 2, 3]
    for index, record in enumerate(records):
        params, masks = tuned(folder, index)
        assert record.kept >= sum(np.count_nonzero(w) for w in params.values())
        assert any(not mask.all() for mask in masks.values())
        for name, weight in params.items():
            assert (weight[~masks[name]] == 0.0).all()
        # Of the same epoch as the snapshot that it was tuned from.
        (source,) = (
            s for s in listing if (s.replica, s.epoch) == (index // 2, record.epoch)
        )
        file = np.load(
            folder / "snapshots" / f"member{index // 2:03d}-{source.name}.npz"
        )
        for name, weight in params.items():
            kept = file[f"masks/{name}"]
            assert not weight[~kept].any()
            moved = weight[kept] != file[f"params/{name}"][kept]
            assert moved.any() or not kept.any()


# --- what is chosen on what -------------------------------------------------------


def relabelled(part):
    """Return ``load`` with the labels of one part moved to other examples."""

    def loader(*args, **kwargs):
        data = load(*args, **kwargs)
        batch = getattr(data, part)
        rolled = batch._replace(label=np.roll(batch.label, 1))
        return dataclasses.replace(data, **{part: rolled})

    return loader


def test_the_test_set_is_asked_for_once(whole):
    assert whole[2] == 1


def test_the_test_labels_decide_nothing(whole, tmp_path, monkeypatch):
    result, folder, _ = whole
    monkeypatch.setattr(train, "load", relabelled("test"))
    other = fit(SMALL, tmp_path / "run", quiet=True)
    assert weights(tmp_path / "run") == weights(folder)
    assert outcome_of(tmp_path / "run")[1] == outcome_of(folder)[1]
    for ours, theirs in zip(other.points, result.points, strict=True):
        assert ours.test_error > 0.6 > theirs.test_error
        assert ours._replace(test_error=0) == theirs._replace(test_error=0)


def test_the_validation_labels_decide(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "load", relabelled("validation"))
    config = dataclasses.replace(SMALL, tune_epochs=0, targets=())
    fit(config, tmp_path / "run", quiet=True)
    ours = runs.read_metrics(runs.RunFolder(tmp_path / "run"))
    theirs = runs.read_metrics(runs.RunFolder(whole[1]))
    assert [r["train_loss"] for r in ours[:4]] == [r["train_loss"] for r in theirs[:4]]
    assert [r["threshold"] for r in ours] != [r["threshold"] for r in theirs[:18]]
    points = json.loads((tmp_path / "run" / "summary.json").read_text())["results"]
    # Without an epoch of tuning, too, the error is one that was measured.
    assert all(p["validation_error"] < 1 for p in points["points"])


def test_a_seed_does_not_know_of_the_others(whole, tmp_path):
    result, folder, _ = whole
    config = dataclasses.replace(SMALL, seeds=(1,), seed_axis="map")
    alone = fit(config, tmp_path / "run", quiet=True)
    # A map over one and a map over two are two programs, each with its own rounding,
    # which 24 epochs carry on: the points agree, but not to the bit.
    points = [p for p in result.points if p.seed == 1]
    for mine, other in zip(alone.points, points, strict=True):
        assert (mine.seed, mine.target) == (other.seed, other.target)
        assert sum(mine.kept.values()) == pytest.approx(sum(other.kept.values()), 0.01)
        assert mine.test_error == pytest.approx(other.test_error, abs=0.02)
    for index in range(2):
        ours, theirs = tuned(tmp_path / "run", index), tuned(folder, 2 + index)
        for mine, other in zip(ours, theirs, strict=True):
            assert set(mine) == set(other)
            for name, weight in mine.items():
                np.testing.assert_allclose(weight, other[name], rtol=1e-3, atol=1e-4)


# --- damage and other refusals ----------------------------------------------------


@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"limit": 0}, ValueError, "limit must be between 1 and"),
        ({"limit": 10**6}, ValueError, "limit must be between 1 and"),
        ({"validation": 1397}, ValueError, "cannot hold out 1397 of 1397"),
        ({"batch": 151}, ValueError, r"batch: expected at most 150"),
        ({"model": "lenet5"}, ValueError, "lenet5 needs images of 16x16 or more"),
        ({"dataset": "imagenet"}, ValueError, "dataset: unknown 'imagenet'"),
        ({"dataset": "mnist"}, FileNotFoundError, "nowhere"),
    ],
)
def test_a_refused_run_leaves_no_folder(tmp_path, changes, error, message):
    config = dataclasses.replace(SMALL, data_dir=str(tmp_path / "nowhere"))
    for name, value in changes.items():  # past the tests' own check of types
        object.__setattr__(config, name, value)
    with pytest.raises(error, match=message):
        fit(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=f"cannot write the run folder {tmp_path}/file/x"):
        fit(SMALL, tmp_path / "file" / "x", quiet=True)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    config = dataclasses.replace(
        SMALL, method="none", prune_epochs=0, tune_lr=1e25, targets=()
    )
    expected = r"stage tune, epoch 1, step \d: the loss of network 1 of 2 is not finite"
    with pytest.raises(NonFiniteError, match=expected) as caught:
        fit(config, tmp_path, quiet=True)
    assert "tune_lr" in str(caught.value) and str(tmp_path) in str(caught.value)
    assert checkpoints.latest(tmp_path / "checkpoints") == 4
    assert lines_of(tmp_path / "metrics.jsonl") == 4
    before = hashes(tmp_path)
    with pytest.raises(NonFiniteError, match=expected):  # the checkpoint is good
        fit(config, tmp_path, resume=True, quiet=True)
    assert hashes(tmp_path).keys() == before.keys()


# --- one-shot pruning -------------------------------------------------------------


def test_one_shot_points_are_those_that_were_asked_for(tmp_path):
    # 50,610 / 11 is rounded up: kept at a compression just below 11.
    config = dataclasses.replace(
        SMALL,
        method="one-shot-rewind",
        targets=(5.0, 11.0, 10.0),
        dense_epochs=2,
        tune_epochs=2,
        rewind_epoch=1,
        seeds=(0,),
    )
    result = fit(config, tmp_path, quiet=True)
    kept = [sum(p.kept.values()) for p in result.points]
    assert kept[0] == 50610
    assert kept[1:] == [50610 // 5, 4601, 5061]
    assert all(p.reached for p in result.points)
    assert handover.Target(11.0).one_shot_name == "one-shot-11"
