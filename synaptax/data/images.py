"""Image data sets, decoded once, split once, the same for every run.

``digits`` is scikit-learn's real 8x8 handwritten digits and needs no download. The
other sets are read from TensorFlow Datasets (TFDS) folders in array_record format,
without TensorFlow, and kept as memory-mapped ``.npy`` files in a cache: those of
:data:`KNOWN`, and any other that is prepared and has ``image`` and ``label``. A set of
one's own is named by ``module:function``, or by what it was registered as
(:func:`register`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from synaptax.checks import named_function
from synaptax.data.cache import cache_folder
from synaptax.data.tfds import (
    Raw,
    cached,
    check_labels,
    decode,
    is_prepared,
    prepared_folder,
)
from synaptax.typing import Array, Int

_EXTRA = "needs the laboratory's packages: pip install 'synaptax[lab]'"
_DIGITS_TEST, _DIGITS_VALIDATION = 400, 297  # of 1,797, leaving 1,100 to train


class Batch(NamedTuple):
    """Examples with their labels.

    Attributes:
        image: (N, H, W, C) float32.
        label: (N,) int32, in [0, classes).

    Example:
        >>> image, label = np.zeros((8, 28, 28, 1), np.float32), np.zeros(8, np.int32)
        >>> batch = synaptax.data.Batch(image, label)
        >>> batch.image.shape, batch.label.shape
        ((8, 28, 28, 1), (8,))
    """

    image: Any
    label: Any


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set, split and normalised.

    Attributes:
        name: as it was loaded.
        classes: number of classes.
        train: what gradients may see.
        validation: what choices (thresholds, stopping) may see.
        test: what only the final figure may see.
        mean: per channel, of the train and validation images scaled to [0, 1].
        std: per channel, of the same.

    Example:
        >>> digits = synaptax.data.load("digits", limit=100)
        >>> digits.classes, digits.train.image.shape
        (10, (100, 8, 8, 1))
    """

    name: str
    classes: int
    train: Batch
    validation: Batch
    test: Batch
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def black(self) -> tuple[float, ...]:
        """A black pixel as the network sees it, per channel: -mean / std."""
        return tuple(-m / s for m, s in zip(self.mean, self.std, strict=True))


def normalise(
    image: np.ndarray,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    scale: float = 255.0,
) -> np.ndarray:
    """Return ``(image / scale - mean) / std`` in float32.

    Args:
        image: (..., C), any real dtype.
        mean: C numbers, of images scaled to [0, 1].
        std: C positive numbers.
        scale: the pixel value that stands for 1.

    Returns:
        float32 array of the shape of ``image``.

    Example:
        >>> synaptax.data.normalise(np.array([[0], [255]]), (0.5,), (0.5,)).tolist()
        [[-1.0], [1.0]]
    """
    # One multiplication and one subtraction: no float64 copy of a large set.
    slope = np.asarray([1 / (scale * s) for s in std], np.float32)
    offset = np.asarray([m / s for m, s in zip(mean, std, strict=True)], np.float32)
    out = np.asarray(image).astype(np.float32)
    out *= slope
    out -= offset
    return out


def moments(
    image: np.ndarray, *, scale: float = 255.0
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the per-channel mean and standard deviation of uint8 images.

    Args:
        image: (N, H, W, C) uint8.
        scale: the pixel value that stands for 1.

    Returns:
        Two tuples of C floats, from exact integer histograms.

    Example:
        >>> synaptax.data.moments(np.array([[[[0]], [[255]]]], np.uint8))
        ((0.5,), (0.5,))
    """
    values = np.arange(256) / scale
    means, stds = [], []
    for channel in range(image.shape[-1]):
        pixels = np.ascontiguousarray(image[..., channel]).ravel()
        # 256 counts: exact, and no copy of the set in floats.
        share = np.bincount(pixels, minlength=256) / pixels.size
        mean = float(share @ values)
        means.append(mean)
        stds.append(float(np.sqrt(share @ (values - mean) ** 2)))
    return tuple(means), tuple(stds)


def check_batch(batch: int, train: Batch) -> None:
    """Raise a ValueError if a batch is larger than the training set.

    Example:
        >>> train = synaptax.data.Batch(np.zeros((8, 2, 2, 1)), np.zeros(8, int))
        >>> synaptax.data.check_batch(9, train)
        Traceback (most recent call last):
            ...
        ValueError: batch: expected at most 8 (the training examples), got 9
    """
    if batch > len(train.label):
        raise ValueError(
            f"batch: expected at most {len(train.label)} (the training examples), "
            f"got {batch}"
        )


def hold_out(label: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide examples into a rest and a held-out part with the same class shares.

    The division depends on ``label``, ``count`` and ``seed`` alone.

    Args:
        label: (N,) integers.
        count: examples to hold out, 0 <= count < N.
        seed: of the permutation.

    Returns:
        ``(rest, holdout)``: ascending index arrays that partition ``range(N)``.

    Raises:
        ValueError: if ``count`` is outside [0, N).

    Example:
        >>> rest, held = synaptax.data.hold_out(np.array([0, 0, 1, 1]), 2, seed=0)
        >>> sorted([*rest.tolist(), *held.tolist()])
        [0, 1, 2, 3]
    """
    n = len(label)
    if not 0 <= count < n:
        raise ValueError(f"cannot hold out {count} of {n} examples")
    # RandomState's stream is frozen by numpy; Generator's may change.
    order = np.random.RandomState(seed).permutation(n)
    # Rank each example within its class; taking the lowest relative ranks first
    # removes the same share of every class, whatever the count.
    rank = np.empty(n)
    for value in np.unique(label):
        members = order[label[order] == value]
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
    position = np.empty(n, np.int64)
    position[order] = np.arange(n)
    holdout = np.lexsort((position, rank))[:count]
    return np.setdiff1d(np.arange(n), holdout), np.sort(holdout)


def epoch_order(key: Array, n: int, batch: int) -> Int[Array, "steps batch"]:
    """Return the example indices of one epoch, shuffled without replacement.

    Args:
        key: a typed PRNG key.
        n: number of training examples.
        batch: examples per step; the ``n % batch`` left over are not seen this epoch.

    Returns:
        (n // batch, batch) int32.

    Raises:
        ValueError: if ``batch`` is not in [1, n].

    Example:
        >>> order = synaptax.data.epoch_order(jax.random.key(0), 10, 3)
        >>> order.shape, len(set(order.ravel().tolist()))
        ((3, 3), 9)
    """
    if not 1 <= batch <= n:
        raise ValueError(f"batch must be between 1 and {n} (the examples), got {batch}")
    steps = n // batch
    order = jax.random.permutation(key, jnp.arange(n, dtype=jnp.int32))
    return order[: steps * batch].reshape(steps, batch)


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    validation: int | None = None,
    split_seed: int = 0,
    limit: int | None = None,
    center: bool = True,
    progress: bool = True,
) -> Dataset:
    """Load a data set, split into train, validation and test, and normalised.

    The test part of a TFDS set is its official test split; the validation part is
    held out of its train split. The split does not depend on any training seed, and
    ``mean`` and ``std``, those of train and validation together (the published
    constants), do not depend on the split.

    Args:
        name: one of :data:`KNOWN`; a registered name (:func:`register`); the name of a
            TFDS set that is prepared in ``data_dir``, with images of one shape in
            uint8, labels of classes and splits ``train`` and ``test``; or
            ``module:function``, a function as :func:`register` takes it.
        data_dir: folder of prepared TFDS sets; default: ``TFDS_DATA_DIR``, else
            ``~/tensorflow_datasets``. Not used by ``digits``.
        cache_dir: folder of decoded arrays; default: ``SYNAPTAX_CACHE``, else
            ``synaptax`` in the user's cache folder. Not used by ``digits``.
        validation: examples to hold out of train; default: 1 in 12 (297 of digits).
        split_seed: of the held-out validation part.
        limit: keep only the first ``limit`` training examples.
        center: subtract the mean; if false, images are only divided by the standard
            deviation, a black pixel stays 0, and ``Dataset.mean`` is 0.
        progress: show a progress bar while decoding for the first time.

    Returns:
        A :class:`Dataset` of numpy arrays: float32 images, int32 labels.

    Raises:
        ValueError: for an unknown name, features or arrays that are not as described,
            a label outside the classes, or a ``validation`` or ``limit`` out of range.
        FileNotFoundError: if the set is not prepared; says where it was looked for.
        OSError: if the cache folder cannot be written.

    Example:
        >>> digits = synaptax.data.load("digits")
        >>> digits.train.image.shape, len(digits.test.label)
        ((1100, 8, 8, 1), 400)
    """
    check_name(name, data_dir)
    if name in SOURCES:
        source = SOURCES[name]
    elif ":" in name:
        source = _own(named_function(name, "data set"))
    else:
        source = Source(_tfds_splits, 255.0)
    whole, test = source.read(name, data_dir, cache_dir, progress)
    scale = source.scale
    if validation is None:
        validation = source.validation or len(whole.label) // 12
    rest, holdout = hold_out(whole.label, validation, split_seed)
    if limit is not None and not 1 <= limit <= len(rest):
        raise ValueError(
            f"limit must be between 1 and {len(rest)} (the training examples), "
            f"got {limit}"
        )
    mean, std = moments(whole.image, scale=scale)
    if not center:
        mean = (0.0,) * len(mean)
    train = rest[:limit]

    def batch(image: np.ndarray, label: np.ndarray) -> Batch:
        return Batch(
            normalise(image, mean, std, scale=scale), np.asarray(label, np.int32)
        )

    return Dataset(
        name=name,
        classes=whole.classes,
        train=batch(whole.image[train], whole.label[train]),
        validation=batch(whole.image[holdout], whole.label[holdout]),
        test=batch(test.image, test.label),
        mean=mean,
        std=std,
    )


def _digits(*_: Any) -> tuple[Raw, Raw]:
    """Return scikit-learn's digits as (train with validation, test)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(f"digits {_EXTRA}") from error
    bunch: Any = load_digits()
    image = bunch.images.astype(np.uint8)[..., None]
    label = bunch.target.astype(np.int32)
    check_labels(label, 10, source="scikit-learn's digits")
    rest, test = hold_out(label, _DIGITS_TEST, seed=0)
    return Raw(image[rest], label[rest], 10), Raw(image[test], label[test], 10)


def _tfds_splits(
    name: str,
    data_dir: str | os.PathLike[str] | None,
    cache_dir: str | os.PathLike[str] | None,
    progress: bool,
) -> tuple[Raw, Raw]:
    """Return the official (train, test) of a TFDS set, through the cache."""
    folder = prepared_folder(name, data_dir)
    cache = cache_folder(cache_dir) / name / folder.name
    info = json.loads((folder / "dataset_info.json").read_text())
    shards = {split["name"]: split["shardLengths"] for split in info["splits"]}
    parts = []
    for split in ("train", "test"):
        if split not in shards:
            raise ValueError(
                f"{folder}: expected splits train and test, got {', '.join(shards)}"
            )
        # A set that was prepared anew, in other shards, has its cache made anew.
        identity = {"set": name, "version": folder.name, "shards": shards[split]}

        reader = partial(decode, folder, name, split, progress=progress)
        raw = cached(cache, split, identity, reader)
        check_labels(raw.label, raw.classes, source=str(cache / f"{split}-label.npy"))
        parts.append(raw)
    return parts[0], parts[1]


class Source(NamedTuple):
    """Where a data set comes from.

    Attributes:
        read: ``(name, data_dir, cache_dir, progress) -> (train, test)``.
        scale: the pixel value that stands for 1.
        validation: examples of train to hold out by default; None: 1 in 12.
    """

    read: Callable[..., tuple[Raw, Raw]]
    scale: float
    validation: int | None = None


SOURCES = {
    # Pixels of scikit-learn's digits count from 0 to 16.
    "digits": Source(_digits, 16.0, _DIGITS_VALIDATION),
    "mnist": Source(_tfds_splits, 255.0),
    "fashion_mnist": Source(_tfds_splits, 255.0),
    "cifar10_jpeg75": Source(_tfds_splits, 255.0),
}
KNOWN = tuple(SOURCES)


def check_name(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    argument: str = "data set",
) -> None:
    """Raise a ValueError unless :func:`load` may know a name; nothing is imported."""
    if name in SOURCES or ":" in str(name):
        return
    if not (name and is_prepared(str(name), data_dir)):
        raise ValueError(
            f"{argument}: unknown {name!r}; known: {', '.join(SOURCES)}, a TFDS set "
            "that is prepared in data_dir, or module:function"
        )


def register(name: str, read: Callable[[], tuple[Raw, Raw]]) -> None:
    """Give a data set a name that :func:`load`, and every config, knows.

    Args:
        name: not yet taken.
        read: returns ``(train, test)``, each a :class:`synaptax.data.tfds.Raw`: images
            (N, H, W, C) in uint8, integer labels (N,) in [0, classes), classes.

    Raises:
        ValueError: if the name is taken, or not a plain one.

    Example:
        >>> shade = lambda n: Raw(np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1),
        ...                       np.arange(n) % 2, 2)
        >>> synaptax.data.images.register("shades", lambda: (shade(36), shade(10)))
        >>> synaptax.data.load("shades").train.image.shape
        (33, 1, 1, 1)
    """
    if name in SOURCES or not name.isidentifier():
        raise ValueError(f"name: expected a new identifier, got {name!r}")
    SOURCES[name] = _own(read)


def _own(read: Callable[[], tuple[Raw, Raw]]) -> Source:
    """Return a user's function as a source that checks what it gives."""

    def checked(name: str, *_: Any) -> tuple[Raw, Raw]:
        train, test = (Raw(*part) for part in read())
        for split, raw in (("train", train), ("test", test)):
            where, image = f"data set {name!r}: {split}", np.asarray(raw.image)
            if image.dtype != np.uint8 or image.ndim != 4 or not image.size:
                raise ValueError(
                    f"{where} images: expected uint8 of shape (N, H, W, C), got "
                    f"{image.dtype}{image.shape}"
                )
            label = np.asarray(raw.label)
            whole = np.issubdtype(label.dtype, np.integer)
            if not whole or label.shape != image.shape[:1]:
                raise ValueError(
                    f"{where} labels: expected integers of shape ({len(image)},), got "
                    f"{label.dtype}{label.shape}"
                )
            check_labels(label, raw.classes, source=where)
        same = train.classes == test.classes
        if not same or train.image.shape[1:] != test.image.shape[1:]:
            raise ValueError(
                f"data set {name!r}: train and test differ in classes or image shape"
            )
        return train, test

    return Source(checked, 255.0)
