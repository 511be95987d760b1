"""A cache is whole, of its origin and unchanged, or it is made anew."""

import errno
import json
import logging
import os

import numpy as np
import pytest

from synaptax.data.cache import open_cache


def counted(value=3):
    """Return a builder of two arrays, and the list of its calls."""
    calls = []

    def build(create):
        calls.append(value)
        image = create("image", (6, 4, 8), np.uint16)
        for row in range(6):  # a part at a time
            image[row] = value + row
        create("label", (6,), np.int32)[...] = np.arange(6)
        return {"classes": 10}

    return build, calls


def test_what_is_built_is_mapped_and_built_once(tmp_path):
    build, calls = counted()
    for _ in range(2):
        cache = open_cache(tmp_path, "a", {"version": (1, 2)}, build)
        assert cache.arrays["image"][5, 3, 7] == 8 and cache.meta == {"classes": 10}
        assert isinstance(cache.arrays["image"], np.memmap)
        assert not cache.arrays["image"].flags.writeable
    assert len(calls) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a-image.npy",
        "a-label.npy",
        "a.json",
    ]


def test_without_a_folder_it_is_in_memory():
    build, calls = counted()
    cache = open_cache(None, "a", {}, build)
    assert len(calls) == 1 and cache.arrays["image"][0, 0, 0] == 3


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("a-label.npy", b"'<i4'", b"'<f4'"),
        ("a-image.npy", b"'<u2'", b"'<i2'"),
        ("a-image.npy", b"(6, 4, 8)", b"(6, 8, 4)"),
        ("a.json", b'"classes": 10', b'"classes": 90'),
        ("a.json", b'"format": 2', b'"format": 3'),
        ("a-image.npy", b"\x03\x00\x03\x00\x03\x00", b"\x03\x00\x03\x00\x02\x00"),
    ],
)
def test_a_changed_byte_anywhere_is_noticed(tmp_path, caplog, file, old, new):
    build, calls = counted()
    open_cache(tmp_path, "a", {}, build)
    path, whole = tmp_path / file, (tmp_path / file).read_bytes()
    assert old in whole
    path.write_bytes(whole.replace(old, new, 1))
    with caplog.at_level(logging.WARNING, logger="synaptax.data.cache"):
        cache = open_cache(tmp_path, "a", {}, build)
    assert len(calls) == 2 and str(path.name) in caplog.text
    assert cache.meta == {"classes": 10} and path.read_bytes() == whole


def test_a_cache_of_another_origin_is_made_anew(tmp_path, caplog):
    for value in (3, 4):
        with caplog.at_level(logging.WARNING, logger="synaptax.data.cache"):
            cache = open_cache(tmp_path, "a", {"value": value}, counted(value)[0])
        assert cache.arrays["image"][0, 0, 0] == value
    assert "a.json describes another source" in caplog.text


def test_an_interrupted_build_leaves_nothing(tmp_path):
    def build(create):
        create("image", (2, 2), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_cache(tmp_path, "a", {}, build)
    assert not list(tmp_path.iterdir())


def test_a_rebuild_that_stops_leaves_no_description(tmp_path):
    open_cache(tmp_path, "a", {"value": 1}, counted()[0])

    def build(create):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_cache(tmp_path, "a", {"value": 2}, build)
    assert not (tmp_path / "a.json").exists()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="Linux alone has it")
def test_a_full_disk_is_one_error_that_names_the_folder(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"data cache .*No space left.*SYNAPTAX_CACHE"):
        open_cache(tmp_path, "a", {}, counted()[0])
    assert not list(tmp_path.iterdir())


def test_the_description_is_of_the_files(tmp_path):
    open_cache(tmp_path, "a", {}, counted()[0])
    body = json.loads((tmp_path / "a.json").read_text())["body"]
    sizes = {key: (tmp_path / f"a-{key}.npy").stat().st_size for key in body["files"]}
    assert {key: size for key, (size, _) in body["files"].items()} == sizes
