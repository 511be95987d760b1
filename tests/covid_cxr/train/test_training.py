"""Runs: that they learn, resume to the same bits, and refuse what does not fit."""

import dataclasses

import jax
import numpy as np
import pytest

from covid_cxr.images.augmentation import Augmentation
from covid_cxr.metrics import auc
from covid_cxr.train import (
    StageConfig,
    features,
    fit,
    fixed_finetuning,
    fixed_pretraining,
    predict,
    published_finetuning,
    published_pretraining,
    with_trunk,
)
from synaptax import runs
from synaptax.data.images import Batch
from synaptax.data.streaming import Streamed
from synaptax.training import NonFiniteError
from tests import unchecked
from tests.covid_cxr.train.tiny import SIDE, films, tiny

pytestmark = pytest.mark.runs

NET = tiny()
TRAIN, VALIDATION = films(32), films(24, seed=1)
FIXED = dataclasses.replace(
    fixed_finetuning(),
    epochs=6,
    batch=8,
    rate=0.3,
    trunk_rate=1.0,
    seeds=(0, 1),
    checkpoint_every=2,
    augmentation=Augmentation(flip=0.5, degrees=5.0, shift=0.0, zoom=1.05),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return fit(NET, FIXED, TRAIN, VALIDATION, folder=folder)


def test_it_learns_and_keeps_the_best_epoch(whole):
    test = films(40, seed=2)
    scores = predict(NET, whole, test.image)
    assert scores.shape == (2, 40)
    for row in scores:
        assert auc(test.label, row) > 0.9
    areas = np.array([record["validation_auc"] for record in whole.history])
    np.testing.assert_array_equal(whole.epoch, 1 + areas.argmax(axis=0))
    found = predict(NET, whole, VALIDATION.image)
    for index in range(2):
        area = auc(VALIDATION.label, found[index])
        assert area == pytest.approx(areas[whole.epoch[index] - 1, index], abs=1e-6)
    rates = [record["rate"][0] for record in whole.history]
    assert rates[0] == pytest.approx(0.3) and rates == sorted(rates, reverse=True)


class Killed(Exception):
    pass


def test_a_killed_run_resumes_to_the_same_bits(whole, tmp_path, monkeypatch):
    real = runs.append_metrics

    def dies(folder, record):
        real(folder, record)
        if record["epoch"] == 5:
            raise Killed

    monkeypatch.setattr(runs, "append_metrics", dies)
    folder = tmp_path / "run"
    with pytest.raises(Killed):
        fit(NET, FIXED, TRAIN, VALIDATION, folder=folder)
    monkeypatch.setattr(runs, "append_metrics", real)
    with pytest.raises(ValueError, match="already holds a run"):
        fit(NET, FIXED, TRAIN, VALIDATION, folder=folder)
    with pytest.raises(ValueError, match="saved with data"):
        fit(NET, FIXED, films(32, seed=7), VALIDATION, folder=folder, resume=True)
    found = fit(NET, FIXED, TRAIN, VALIDATION, folder=folder, resume=True)
    assert found.history == whole.history
    jax.tree.map(
        np.testing.assert_array_equal,
        (found.params, found.stats, found.epoch),
        (whole.params, whole.stats, whole.epoch),
    )
    again = fit(NET, FIXED, TRAIN, VALIDATION, folder=folder, resume=True)
    jax.tree.map(np.testing.assert_array_equal, again.params, whole.params)


def test_a_seed_does_not_depend_on_the_others(whole):
    alone = dataclasses.replace(FIXED, seeds=(1,), seed_axis="vmap")
    found = fit(NET, alone, TRAIN, VALIDATION).replica(0)
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(whole.replica(1)), strict=True)
    for mine, theirs in pairs:
        np.testing.assert_allclose(mine, theirs, rtol=2e-2, atol=2e-3)
    first, second = whole.replica(0)[0], whole.replica(1)[0]
    assert not np.allclose(first["conv1"]["kernel"], second["conv1"]["kernel"])


def test_three_classes_as_published():
    net, train, validation = tiny(3), films(30, classes=3), films(12, 1, classes=3)
    config = dataclasses.replace(published_pretraining("chestxray"), epochs=2)
    found = fit(net, config, train, validation)
    assert found.epoch.tolist() == [2]  # the last
    scores = predict(net, found, validation.image)
    assert scores.shape == (1, 12, 3)
    np.testing.assert_allclose(scores.sum(axis=-1), 1, rtol=1e-5)
    # Stage 2 takes the trunk, not the head.
    trunk = jax.tree.map(lambda leaf: leaf[0], (found.params, found.stats))
    fresh = NET.init(jax.random.key(5), SIDE)
    params, _ = with_trunk(fresh, trunk)
    np.testing.assert_array_equal(
        params["conv1"]["kernel"], trunk[0]["conv1"]["kernel"]
    )
    np.testing.assert_array_equal(
        params["fc"]["out"]["kernel"], fresh[0]["fc"]["out"]["kernel"]
    )
    with pytest.raises(ValueError, match="start: has 1 networks for 2 seeds"):
        fit(NET, FIXED, TRAIN, VALIDATION, start=(found.params, found.stats))


def test_features_by_stage(whole):
    params, stats = whole.replica(0)
    found = features(NET, params, stats, VALIDATION.image, FIXED)
    assert {name: one.shape for name, one in found.items()} == {"stem": (24, 4)}


def test_presets_are_the_papers():
    stage = published_finetuning()
    assert (stage.loss, stage.gamma, stage.rate, stage.momentum) == ("focal", 2, 0.1, 0)
    assert (stage.weight_decay, stage.batch, stage.epochs) == (1e-3, 4, 100)
    assert (stage.schedule, stage.patience, stage.select) == ("plateau", 15, "last")
    chest, rsna = published_pretraining(), published_pretraining("rsna")
    assert (chest.loss, chest.rate, chest.epochs) == ("double-softmax", 0.01, 150)
    assert (rsna.loss, rsna.rate, rsna.epochs) == ("bce", 0.1, 160)
    assert fixed_pretraining(3).loss == "softmax"
    assert len(fixed_finetuning().seeds) >= 3
    with pytest.raises(ValueError, match="task"):
        published_pretraining("mnist")


def test_a_loss_that_is_not_finite_stops_the_run():
    config = dataclasses.replace(FIXED, rate=1e30, seeds=(7, 8))
    words = r"epoch 1: the loss of seed 7 is not finite; a smaller rate \(now 1e\+30\)"
    with pytest.raises(NonFiniteError, match=words):
        fit(NET, config, TRAIN, VALIDATION)


def test_radiographs_may_stay_in_their_files_with_the_same_bits(whole):
    """Two files of training images, and 24 validation images in one chunk."""
    cut = [np.array(part) for part in np.split(TRAIN.image, [9])]
    streamed = TRAIN._replace(image=Streamed(cut))
    watched = VALIDATION._replace(image=Streamed([VALIDATION.image]))
    found = fit(NET, FIXED, streamed, watched)
    assert found.history == whole.history
    jax.tree.map(np.testing.assert_array_equal, found.params, whole.params)
    np.testing.assert_array_equal(
        predict(NET, found, watched.image), predict(NET, whole, VALIDATION.image)
    )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("loss", "hinge", "loss: expected one of"),
        ("loss", "softmax", "softmax needs two outputs"),
        ("optimizer", "lion", "optimizer: expected one of sgd, adamw"),
        ("epochs", 0, "epochs: expected at least 1"),
        ("rate", 0.0, "rate: expected > 0"),
        ("std", float("nan"), "std: expected > 0"),
        ("weight_decay", -1.0, "weight_decay: expected >= 0"),
        ("momentum", 1.0, "momentum: expected in"),
        ("seeds", (1, 1), "seeds: expected different numbers"),
        ("seeds", (), "seeds: expected different numbers"),
        ("batch", 64, "batch: 64 is more than the 32 images"),
        ("batch", 5, "batch: expected a multiple of 2"),
        ("batch", 4.0, "batch: expected an integer"),
        ("rate", float("inf"), "rate: expected > 0"),
        ("mean", float("nan"), "mean: expected a finite number"),
        ("factor", "0.1", "factor: expected in"),
        ("seeds", (0, 1.5), "seeds: expected an integer"),
        ("freeze_trunk", "no", "freeze_trunk: expected True or False"),
    ],
)
def test_bad_configs(field, value, message):
    with unchecked():
        config = dataclasses.replace(FIXED, **{field: value})
    with unchecked(), pytest.raises(ValueError, match=message):
        fit(NET, config, TRAIN, VALIDATION)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image": TRAIN.image.astype(np.float32)},
            r"train.image: expected values in \[0, 1\], got 0 to 1",
        ),
        ({"image": TRAIN.image[..., 0]}, r"train.image: expected \(N, H, W, 1\)"),
        ({"image": TRAIN.image.astype(int)}, "train.image: expected uint8, uint16"),
        ({"label": TRAIN.label[:-1]}, "train.label: expected 32 integers"),
        ({"label": TRAIN.label + 1}, r"train.label: expected in \[0, 2\)"),
        ({"label": 0 * TRAIN.label}, "train.label: expected all 2 classes, got 1"),
    ],
)
def test_bad_data(change, message):
    with pytest.raises(ValueError, match=message):
        fit(NET, FIXED, TRAIN._replace(**change), VALIDATION)


def test_validation_of_one_class_is_refused():
    one = Batch(VALIDATION.image, 0 * VALIDATION.label)
    with pytest.raises(ValueError, match=r"validation.label: expected both classes"):
        fit(NET, StageConfig(), TRAIN, one)
