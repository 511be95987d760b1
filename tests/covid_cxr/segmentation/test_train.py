"""Training: that it finds shapes, moves masks with films, resumes, and is saved."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.images.augmentation import Augmentation
from covid_cxr.segmentation import (
    Radiographs,
    SegmentConfig,
    UNetConfig,
    across_sources,
    fit,
    load,
    predict,
    save,
)
from covid_cxr.segmentation.train import moved
from synaptax import runs

pytestmark = pytest.mark.runs

CONFIG = SegmentConfig(
    net=UNetConfig(depth=1, width=4, outputs=2),
    side=16,
    epochs=10,
    batch=2,
    rate=3e-2,
    augmentation=None,
    checkpoint_every=4,
)


def discs(count, seed=0, side=16):
    """Return films with a bright disc at the left and a dark one at the right."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    centre = np.array([[8, 4], [8, 11.5]]) + rng.uniform(-1, 1, (count, 2, 2))
    away = np.hypot(y - centre[..., 0, None, None], x - centre[..., 1, None, None])
    mask = away < 3
    image = 0.5 + 0.3 * mask[:, 0] - 0.3 * mask[:, 1]
    image += 0.05 * rng.normal(size=image.shape)
    return Radiographs(np.clip(image, 0, 1).astype(np.float32), mask)


TRAIN, TEST = discs(24), discs(12, seed=1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return fit(CONFIG, TRAIN, TEST, folder=folder)


def test_it_finds_both_discs(whole):
    assert whole.history[-1]["dice"] > 0.9 > whole.history[0]["dice"]
    found = predict(whole, TEST.image)
    assert found.shape == TEST.mask.shape
    table = across_sources(
        whole,
        {"discs": (TEST, None), "darker": (TEST._replace(image=TEST.image / 2), None)},
        key=jax.random.key(0),
    )
    assert all(one.mean["dice"].value > 0.9 for one in table.values())


class Killed(Exception):
    pass


def test_a_killed_run_resumes_to_the_same_bits(whole, tmp_path, monkeypatch):
    real = runs.append_metrics

    def dies(folder, record):
        real(folder, record)
        if record["epoch"] == 5:
            raise Killed

    monkeypatch.setattr(runs, "append_metrics", dies)
    with pytest.raises(Killed):
        fit(CONFIG, TRAIN, TEST, folder=tmp_path / "run")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="saved with data"):
        fit(CONFIG, discs(24, seed=5), TEST, folder=tmp_path / "run", resume=True)
    found = fit(CONFIG, TRAIN, TEST, folder=tmp_path / "run", resume=True)
    jax.tree.map(np.testing.assert_array_equal, found.params, whole.params)
    assert found.history == whole.history


def test_a_saved_segmenter_comes_back(whole, tmp_path):
    save(whole, tmp_path / "net")
    found = load(tmp_path / "net")
    assert found.config == whole.config
    np.testing.assert_array_equal(
        predict(found, TEST.image), predict(whole, TEST.image)
    )
    with pytest.raises(OSError, match=r"segmenter\.json"):
        load(tmp_path / "absent")
    (tmp_path / "net" / "segmenter.json").write_text('{"config": {}}')
    with pytest.raises(ValueError, match="not a saved segmentation"):
        load(tmp_path / "net")


def test_masks_move_with_their_films():
    config = dataclasses.replace(
        CONFIG,
        augmentation=Augmentation(flip=0.0, degrees=20.0, shift=0.1, zoom=1.2),
        exposure=False,
    )
    mask = jnp.asarray(discs(6).mask[:, :1].astype(np.float32))
    image = jnp.asarray(mask[:, 0])
    found, shape = moved(jax.random.key(0), image, mask, config)
    # Beside one half, two programs may round to either side of it.
    clear = np.abs(np.asarray(found) - 0.5) > 1e-4
    assert clear.mean() > 0.99
    np.testing.assert_array_equal((found >= 0.5)[clear], shape[:, 0][clear])
    assert not np.array_equal(shape, mask)
    config = dataclasses.replace(config, augmentation=None, exposure=True)
    found, same = moved(jax.random.key(0), image * 0.5, mask, config)
    np.testing.assert_array_equal(same, mask)
    assert len(np.unique(np.asarray(found).max(axis=(1, 2)))) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs: expected at least 1"),
        ({"side": 32}, r"side: radiographs are \(16, 16\), not 32"),
        ({"rate": 0.0}, "rate: expected > 0"),
        ({"select": "middle"}, "select: expected last or best"),
        ({"select": "best"}, "select: 'best' needs validation"),
        ({"batch": 99}, "batch: 99 is more than the 24 radiographs"),
    ],
)
def test_bad_configs(change, message):
    with pytest.raises(ValueError, match=message):
        fit(dataclasses.replace(CONFIG, **change), TRAIN)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": TRAIN.image[0]}, "train.image: expected float32"),
        ({"image": TRAIN.image.astype(np.float64)}, "train.image: expected float32"),
        ({"image": TRAIN.image[:, :15]}, "expected sides that are multiples of 2"),
        ({"mask": TRAIN.mask[:, :1]}, "train.mask: expected bool"),
        ({"mask": TRAIN.mask.astype(int)}, "train.mask: expected bool"),
    ],
)
def test_bad_films(change, message):
    with pytest.raises(ValueError, match=message):
        fit(CONFIG, TRAIN._replace(**change))


@pytest.mark.slow
def test_phantom_lungs_within_minutes():
    from covid_cxr.experiments.segmentation_phantom import cohort

    config = SegmentConfig(net=UNetConfig(depth=3, width=8, outputs=2), epochs=8)
    train, test = cohort(0, 160), cohort(1, 64)
    net = fit(config, Radiographs(train.images, train.lungs))
    films = Radiographs(test.images, test.lungs)
    found = across_sources(net, {"test": (films, None)}, key=jax.random.key(0))
    assert found["test"].mean["dice"].low > 0.95
