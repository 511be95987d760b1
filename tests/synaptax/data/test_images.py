"""Data: the splits, the cache, the normalisation and the errors."""

import json
import logging
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from synaptax import data
from synaptax.data import cache as caches
from synaptax.data import images
from synaptax.data import tfds as sources

PREPARED = Path(
    os.environ.get("TFDS_DATA_DIR")
    or Path(__file__).parents[4] / "shared" / "data" / "tfds"
)
needs_mnist = pytest.mark.skipif(
    not (PREPARED / "mnist").is_dir(),
    reason=f"no prepared MNIST in {PREPARED}; set TFDS_DATA_DIR",
)


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A prepared folder of the first real MNIST records: 240 train, 60 test."""
    from array_record.python.array_record_module import (
        ArrayRecordReader,
        ArrayRecordWriter,
    )

    origin = sources.prepared_folder("mnist", PREPARED)
    root = tmp_path_factory.mktemp("tfds")
    folder = root / "mnist" / origin.name
    folder.mkdir(parents=True)
    shutil.copy(origin / "features.json", folder)
    info = json.loads((origin / "dataset_info.json").read_text())
    for split in info["splits"]:
        n = {"train": 240, "test": 60}[split["name"]]
        file = f"mnist-{split['name']}.array_record-00000-of-00001"
        reader = ArrayRecordReader(str(origin / file))
        writer = ArrayRecordWriter(str(folder / file), "group_size:1")
        for record in reader.read(list(range(n))):
            writer.write(record)
        writer.close()
        reader.close()
        split["shardLengths"] = [str(n)]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return root


def load_small(small, cache, **options):
    return data.load("mnist", data_dir=small, cache_dir=cache, **options)


def assert_same(a, b):
    for part in ("train", "validation", "test"):
        for x, y in zip(getattr(a, part), getattr(b, part), strict=True):
            np.testing.assert_array_equal(x, y)


def test_digits():
    digits = data.load("digits")
    sizes = [len(part.label) for part in (digits.train, digits.validation, digits.test)]
    assert sizes == [1100, 297, 400]
    assert (digits.name, digits.classes) == ("digits", 10)
    for part in (digits.train, digits.validation, digits.test):
        assert part.image.shape[1:] == (8, 8, 1)
        assert part.image.dtype == np.float32 and part.label.dtype == np.int32
        counts = np.bincount(part.label, minlength=10)
        assert counts.max() - counts.min() <= 0.04 * len(part.label)
    seen = np.concatenate([digits.train.image, digits.validation.image])
    assert abs(seen.mean(dtype=np.float64)) < 1e-6
    assert abs(seen.std(dtype=np.float64) - 1) < 1e-6
    assert_same(digits, data.load("digits"))


def test_digits_are_all_there_once():
    from sklearn.datasets import load_digits

    digits = data.load("digits")
    parts = [digits.train, digits.validation, digits.test]
    images = np.concatenate([part.image for part in parts])
    pixels = np.rint((images * digits.std[0] + digits.mean[0]) * 16).reshape(-1, 64)
    labels = np.concatenate([part.label for part in parts])
    found = np.column_stack([pixels, labels])
    expected = np.column_stack(load_digits(return_X_y=True))
    order = lambda rows: rows[np.lexsort(rows.T)]
    np.testing.assert_array_equal(order(found), order(expected))


def test_options():
    base = data.load("digits")
    other = data.load("digits", split_seed=1)
    np.testing.assert_array_equal(base.test.image, other.test.image)
    assert not np.array_equal(base.validation.image, other.validation.image)
    assert (base.mean, base.std) == (other.mean, other.std)
    first = data.load("digits", limit=10)
    np.testing.assert_array_equal(first.train.image, base.train.image[:10])
    np.testing.assert_array_equal(first.validation.image, base.validation.image)
    none = data.load("digits", validation=0)
    assert len(none.train.label) == 1397 and none.validation.image.shape == (0, 8, 8, 1)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"validation": 1397}, "cannot hold out 1397 of 1397"),
        ({"validation": -1}, "cannot hold out -1"),
        ({"limit": 0}, "limit must be between 1 and 1100 .* got 0"),
        ({"limit": 1101}, "limit must be between 1 and 1100"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        data.load("digits", **options)


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"'imagenet'; known: digits, mnist, fashion"):
        data.load("imagenet")


@pytest.mark.parametrize("origin", ["argument", "environment", "default"])
def test_unprepared_set(tmp_path, monkeypatch, origin):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    argument, root, named = None, tmp_path / "tensorflow_datasets", "TFDS's default"
    if origin == "environment":
        root, named = tmp_path / "elsewhere", "TFDS_DATA_DIR"
        monkeypatch.setenv("TFDS_DATA_DIR", str(root))
    if origin == "argument":
        argument, root, named = tmp_path / "given", tmp_path / "given", "data_dir arg"
    (root / "mnist" / "not-a-version").mkdir(parents=True)
    with pytest.raises(FileNotFoundError) as caught:
        data.load("mnist", data_dir=argument, cache_dir=tmp_path)
    message = str(caught.value)
    assert f"{root}/mnist/<version>/dataset_info.json" in message
    assert named in message and "tfds build mnist" in message


def test_newest_version_is_taken(tmp_path):
    for version in ("3.0.1", "3.0.10", "3.0.2"):
        folder = tmp_path / "mnist" / version
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").write_text("{}")
    assert sources.prepared_folder("mnist", tmp_path).name == "3.0.10"


def test_cache_folder(monkeypatch, tmp_path):
    assert caches.cache_folder(tmp_path / "a") == tmp_path / "a"
    monkeypatch.setenv("SYNAPTAX_CACHE", str(tmp_path / "b"))
    assert caches.cache_folder() == tmp_path / "b"
    monkeypatch.delenv("SYNAPTAX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    assert caches.cache_folder() == tmp_path / "c" / "synaptax"


@needs_mnist
def test_mnist_equals_its_records(small, tmp_path):
    import tensorflow_datasets as tfds

    mnist = load_small(small, tmp_path, progress=False)
    train = tfds.data_source("mnist", split="train[:240]", data_dir=PREPARED)
    test = tfds.data_source("mnist", split="test[:60]", data_dir=PREPARED)
    assert len(mnist.train.label) == 220 and len(mnist.validation.label) == 20
    assert mnist.classes == 10
    back = lambda image: np.rint((image * mnist.std[0] + mnist.mean[0]) * 255)
    np.testing.assert_array_equal(back(mnist.test.image), [r["image"] for r in test])
    np.testing.assert_array_equal(mnist.test.label, [r["label"] for r in test])
    records = [(int(r["label"]), r["image"].tobytes()) for r in train]
    found = [
        (int(label), back(image).astype(np.uint8).tobytes())
        for part in (mnist.train, mnist.validation)
        for image, label in zip(*part, strict=True)
    ]
    assert sorted(found) == sorted(records)


@needs_mnist
def test_mnist_is_decoded_once(small, tmp_path, monkeypatch):
    first = load_small(small, tmp_path)
    monkeypatch.setattr(images, "decode", lambda *a, **k: pytest.fail("decoded again"))
    assert_same(load_small(small, tmp_path), first)


@needs_mnist
@pytest.mark.parametrize(
    "victim", ["train-image.npy", "train-label.npy", "test-image.npy", "train.json"]
)
def test_damaged_cache_is_rebuilt(small, tmp_path, caplog, victim):
    first = load_small(small, tmp_path)
    file = next(tmp_path.rglob(victim))
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damage in (b"", whole[: len(whole) // 2], bytes(flipped)):
        file.write_bytes(damage)
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="synaptax.data.cache"):
            assert_same(load_small(small, tmp_path), first)
        assert "cache is damaged" in caplog.text or "another source" in caplog.text
        assert file.read_bytes() == whole
    file.unlink()
    assert_same(load_small(small, tmp_path), first)
    assert file.read_bytes() == whole
    assert not list(tmp_path.rglob(".*"))  # no temporary file is left


def test_cache_of_another_source_is_rebuilt(small, tmp_path):
    sources_of = lambda n: {"set": "mnist", "shards": [n]}
    raw = lambda n: sources.Raw(
        np.full((n, 2, 2, 1), n, np.uint8), np.zeros(n, np.int32), 10
    )
    for n in (3, 4, 3):
        got = sources.cached(tmp_path, "train", sources_of(n), lambda n=n: raw(n))
        np.testing.assert_array_equal(got.image, raw(n).image)


def test_unwritable_cache_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    raw = sources.Raw(np.zeros((1, 2, 2, 1), np.uint8), np.zeros(1, np.int32), 10)
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"cache .*file.*SYNAPTAX_CACHE"):
            sources.cached(folder, "train", {}, lambda: raw)


@needs_mnist
def test_label_out_of_range_names_file_and_value(small, tmp_path):
    root = tmp_path / "tfds"
    shutil.copytree(small, root)
    features = next(root.rglob("features.json"))
    features.write_text(features.read_text().replace('"10"', '"5"'))
    with pytest.raises(ValueError, match=r"mnist.*\(train\): label [5-9] of example"):
        data.load("mnist", data_dir=root, cache_dir=tmp_path / "cache")
    with pytest.raises(ValueError, match=r"here: label -1 of example 2 .*\[0, 3\)"):
        sources.check_labels(np.array([0, 2, -1]), 3, source="here")


@needs_mnist
def test_any_prepared_set_has_a_name(small, tmp_path):
    root = tmp_path / "tfds"
    shutil.copytree(small / "mnist", root / "mine")
    for path in root.rglob("mnist-*"):
        path.rename(path.with_name(path.name.replace("mnist", "mine")))
    info = next(root.rglob("dataset_info.json"))
    whole = json.loads(info.read_text())
    info.write_text(json.dumps(whole | {"name": "mine"}))
    got = data.load("mine", data_dir=root, cache_dir=tmp_path / "cache")
    expected = load_small(small, tmp_path / "cache")
    np.testing.assert_array_equal(got.train.image, expected.train.image)
    assert got.name == "mine" and got.classes == 10
    one = [split for split in whole["splits"] if split["name"] == "train"]
    info.write_text(json.dumps(whole | {"name": "mine", "splits": one}))
    with pytest.raises(ValueError, match="expected splits train and test, got train"):
        data.load("mine", data_dir=root, cache_dir=tmp_path / "cache")
    features = next(root.rglob("features.json"))
    features.write_text(features.read_text().replace('"28"', '"-1"'))
    with pytest.raises(ValueError, match=r"expected an image of one shape \(H, W, C\)"):
        sources.decode(info.parent, "mine", "train", progress=False)


def shades():
    """Return a user's own data set: (train, test)."""
    ramp = lambda n: np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1)
    return (ramp(36), np.arange(36) % 2, 2), (ramp(10), np.arange(10) % 2, 2)


def test_a_set_of_ones_own_by_path_and_by_name(monkeypatch):
    monkeypatch.setattr(images, "SOURCES", dict(images.SOURCES))
    images.register("shades", shades)
    by_name = data.load("shades", limit=20)
    by_path = data.load(f"{__name__}:shades", limit=20)
    np.testing.assert_array_equal(by_name.train.image, by_path.train.image)
    assert len(by_path.train.label) == 20 and len(by_path.validation.label) == 3
    close = np.testing.assert_allclose
    close(by_path.mean, [17.5 / 255]), close(by_path.test.label, np.arange(10) % 2)
    for taken in ("shades", "mnist", "a:b"):
        with pytest.raises(ValueError, match=f"name: expected a new .*'{taken}'"):
            images.register(taken, shades)
    train, test = shades()
    bad = {
        "train images: expected uint8": ((train[0] / 2, *train[1:]), test),
        "train labels: expected integers of shape": ((train[0], test[1], 2), test),
        r"test: label 1 of example 1 is outside \[0, 1\)": (train, (*test[:2], 1)),
        "train and test differ": (train, (*test[:2], 3)),
    }
    for index, (message, splits) in enumerate(bad.items()):
        images.register(f"bad{index}", lambda splits=splits: splits)
        with pytest.raises(ValueError, match=f"data set 'bad{index}': {message}"):
            data.load(f"bad{index}")


@needs_mnist
def test_other_record_format_is_refused(small, tmp_path):
    root = tmp_path / "tfds"
    shutil.copytree(small, root)
    info = next(root.rglob("dataset_info.json"))
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(FileNotFoundError, match="not in array_record format"):
        data.load("mnist", data_dir=root, cache_dir=tmp_path / "cache")


@needs_mnist
def test_official_mnist_test_split():
    folder = sources.prepared_folder("mnist", PREPARED)
    raw = sources.decode(folder, "mnist", "test", progress=False)
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(raw.label).tolist() == counts
    assert raw.image.shape == (10_000, 28, 28, 1) and raw.image.dtype == np.uint8


@pytest.mark.slow
@needs_mnist
@pytest.mark.parametrize(
    "name, mean, std, counts",
    [
        (
            "mnist",
            0.1307,
            0.3081,
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        ),
        ("fashion_mnist", 0.2860, 0.3530, [6000] * 10),
    ],
)
def test_official_train_split(tmp_path, name, mean, std, counts):
    got = data.load(name, data_dir=PREPARED, cache_dir=tmp_path)
    assert len(got.validation.label) == 5000 and len(got.test.label) == 10_000
    labels = np.concatenate([got.train.label, got.validation.label])
    assert np.bincount(labels).tolist() == counts
    np.testing.assert_allclose([got.mean[0], got.std[0]], [mean, std], atol=5e-5)


def test_normalise_and_moments_per_channel():
    image = np.random.RandomState(0).randint(0, 256, (7, 5, 4, 3)).astype(np.uint8)
    mean, std = data.moments(image)
    unit = image.astype(np.float64) / 255
    np.testing.assert_allclose(mean, unit.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, unit.std((0, 1, 2)), rtol=1e-12)
    expected = (unit - unit.mean((0, 1, 2))) / unit.std((0, 1, 2))
    out = data.normalise(image, mean, std)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected, atol=1e-5)
    with pytest.raises(ValueError):
        data.normalise(image, mean, std[:2])


@pytest.mark.parametrize("count", [0, 1, 40, 99])
def test_hold_out_is_a_stratified_partition(count):
    label = np.repeat([0, 1, 2], [60, 30, 10])
    rest, held = data.hold_out(label, count, seed=3)
    both = np.concatenate([rest, held])
    np.testing.assert_array_equal(np.sort(both), np.arange(100))
    assert len(held) == count
    share = np.bincount(label[held], minlength=3) if count else np.zeros(3)
    np.testing.assert_allclose(share, count * np.array([0.6, 0.3, 0.1]), atol=1)


def test_epoch_order():
    key = jax.random.key(0)
    order = data.epoch_order(key, 23, 5)
    assert order.shape == (4, 5) and order.dtype == np.int32
    assert len(np.unique(order)) == 20 and order.min() >= 0 and order.max() < 23
    np.testing.assert_array_equal(order, data.epoch_order(key, 23, 5))
    assert not np.array_equal(order, data.epoch_order(jax.random.key(1), 23, 5))
    whole = jax.jit(data.epoch_order, static_argnums=(1, 2))(key, 20, 20)
    np.testing.assert_array_equal(np.sort(whole[0]), np.arange(20))
    for batch in (0, 24):
        with pytest.raises(ValueError, match="batch must be between 1 and 23"):
            data.epoch_order(key, 23, batch)


def test_images_that_are_only_scaled_keep_black_at_zero():
    centred, scaled = data.load("digits"), data.load("digits", center=False)
    assert scaled.mean == (0.0,) and scaled.std == centred.std
    assert scaled.train.image.min() == 0.0
    shift = scaled.train.image - centred.train.image
    np.testing.assert_allclose(shift, centred.mean[0] / centred.std[0], rtol=1e-5)
