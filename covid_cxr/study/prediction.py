"""Scores of radiographs from anywhere, with what speaks against believing them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from covid_cxr.hashes import near_duplicates, perceptual_hashes
from covid_cxr.images import dicom
from covid_cxr.images.radiograph import ImageError, Radiograph, unusable
from covid_cxr.images.reader import read
from covid_cxr.images.resizing import square
from covid_cxr.segmentation import load as load_segmenter
from covid_cxr.study.config import MASKING, NONE
from covid_cxr.study.leakage import ALIKE
from covid_cxr.study.model import Kept, calibrated, statistics
from covid_cxr.study.preparation import (
    AT_ONCE,
    preprocess_stack,
    quantised,
    segment,
    unit,
)
from covid_cxr.train import predict

_CUT = 0.25  # share of an image that may be cut away to make it square


class Prediction(NamedTuple):
    """What is said of one file.

    Attributes:
        file: its path as given.
        score: mean of the networks' outputs; NaN where there is none.
        low: smallest of a single network.
        high: largest.
        probability: the score at the validation part's temperature.
        above: whether the score reaches the threshold of the validation part.
        warnings: what it differs in from the radiographs trained on, or why there is
            no score.
    """

    file: Path
    score: float
    low: float
    high: float
    probability: float
    above: bool
    warnings: tuple[str, ...]


def predictions(
    kept: Kept, files: Sequence[Path], *, view: str = "", source: str = ""
) -> Iterator[Prediction]:
    """Score files, a few hundred at a time.

    Args:
        kept: the networks.
        files: PNG, JPEG, GIF or DICOM.
        view: of all of them, where a header does not say.
        source: of all of them, as the table that was trained on calls it.

    Yields:
        What is said of each, in order. A file that cannot be read, or shows nothing,
        has no score.

    Raises:
        ValueError: if the networks need lungs, and their study had no segmenter.
        OSError: if the segmenter is not there any more.
    """
    kind, segmenter = kept.card["cell"]["preprocessing"], None
    if kind in MASKING:
        if not kept.card["segmenter"]:
            raise ValueError(
                f"MODEL: its radiographs were {kind!r} by masks from files; without a "
                "segmenter in its study it cannot be used on others"
            )
        segmenter = load_segmenter(kept.card["segmenter"])
    for start in range(0, len(files), AT_ONCE):
        yield from _some(
            kept, kind, segmenter, files[start : start + AT_ONCE], view, source
        )


def _some(
    kept: Kept,
    kind: str,
    segmenter: Any,
    files: Sequence[Path],
    view: str,
    source: str,
) -> Iterator[Prediction]:
    """Score one stack of files."""
    side, fit = int(kept.card["side"]), str(kept.card.get("fit", "crop"))
    images = np.zeros((len(files), side, side), np.float32)
    usable, warnings = np.zeros(len(files), bool), [[] for _ in files]
    for row, file in enumerate(files):
        try:
            image = read(file)
            fault = unusable(image)
            warnings[row] += _of_file(kept.card, file, image, view, source)
        except ImageError as error:
            fault = "corrupt", error.reason
        if fault is not None:
            warnings[row] = [f"no score: {fault[1]}"]
            continue
        # Through the cache's integers, as the radiographs went that were trained on.
        images[row] = unit(quantised(square(image.pixels, side, fit=fit)))
        warnings[row] += _of_picture(kept.card, images[row])
        usable[row] = True
    for row, text in _trained_on(kept.hashes, images, np.flatnonzero(usable)):
        warnings[row].insert(0, text)
    lungs = np.zeros(images.shape, bool)
    if segmenter is not None:
        masked = np.zeros(len(files), bool)
        stack = quantised(images)[..., None]
        segment(segmenter, stack, lungs, masked, np.flatnonzero(usable))
        for row in np.flatnonzero(usable & ~masked):
            warnings[row] = ["no score: its lungs were not found"]
        usable &= masked
    if kind != NONE:
        images = unit(quantised(preprocess_stack(kind, images, lungs)))
    scores = predict(kept.net, kept.trained, images[..., None]).astype(np.float64)
    probability = calibrated(scores.mean(axis=0), float(kept.card["temperature"]))
    threshold = float(kept.card["threshold"]["value"])
    for row, file in enumerate(files):
        own = scores[:, row]
        numbers = (own.mean(), own.min(), own.max(), probability[row])
        if not usable[row]:
            numbers = (math.nan,) * 4
        score, low, high, likely = map(float, numbers)
        above = score >= threshold  # false where there is no score
        texts = tuple(warnings[row])
        yield Prediction(file, score, low, high, likely, above, texts)


def _trained_on(
    hashes: Mapping[str, np.ndarray] | None, images: np.ndarray, rows: np.ndarray
) -> Iterator[tuple[int, str]]:
    """Yield which images the networks were made of, or that it cannot be known.

    A score of such a one says what was learnt by heart. It is told by its picture,
    whatever its file is called and however it was compressed.
    """
    if hashes is None:
        text = "cannot be known whether it was seen in training: no hashes were kept"
        yield from ((row, text) for row in rows)
        return
    own = perceptual_hashes(images[rows])
    for part, theirs in hashes.items():
        pairs = near_duplicates(own, theirs, within=ALIKE)
        nearest: dict[int, int] = {}
        for row, _, bits in pairs:
            nearest[row] = min(bits, nearest.get(row, bits))
        for row, bits in nearest.items():
            text = f"was seen in {part}: it or a copy ({bits} of 255 bits differ)"
            yield int(rows[row]), text


def _of_file(
    card: Mapping[str, Any], file: Path, image: Radiograph, view: str, source: str
) -> list[str]:
    """Return in what a file differs from those trained on: view, source and size."""
    with file.open("rb") as content:
        bare = dicom.recognised(content.read(512))
    header_view = dicom.attributes(file).view if bare else "UNKNOWN"
    own_view = header_view if header_view != "UNKNOWN" else view or "UNKNOWN"
    out = []
    views, sources = card["seen"]["views"], card["seen"]["sources"]
    if own_view == "UNKNOWN" and set(views) != {"UNKNOWN"}:
        out.append(f"view not known; trained on {', '.join(views)}")
    elif own_view not in views:
        out.append(f"view {own_view}; trained on {', '.join(views)}")
    if source not in sources:
        of = f"source {source!r}" if source else "source not named"
        out.append(f"{of}; trained on {', '.join(sources)}")
    height, width = image.pixels.shape
    if min(height, width) < card["side"]:
        out.append(f"{height}x{width} pixels, enlarged to {card['side']}")
    if 1 - min(height, width) / max(height, width) > _CUT:
        out.append("more than a quarter is cut away to make it square")
    return out


def _of_picture(card: Mapping[str, Any], image: np.ndarray) -> list[str]:
    """Return in what a picture lies outside the range of those trained on."""
    out = []
    for name, (value,) in statistics(image[None]).items():
        low, high = card["seen"]["ranges"][name]
        if not low <= value <= high:
            side = "below" if value < low else "above"
            out.append(f"{name} {value:.2f}, {side} {low:.2f} to {high:.2f}")
    return out
