"""The networks of a cell, kept: what is needed to score radiographs of other origin.

A folder holds ``weights`` and ``model.json``: how radiographs were prepared, threshold
and temperature of the validation part, and what was trained on, views and sources by
name and the range of a few statistics; nothing of a patient. ``seen.npz`` has the
perceptual hashes of the radiographs that they were made of: who has one of these can
tell by it that it was used, and nothing else.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.special import logit

from covid_cxr import CAUTION
from covid_cxr.bias.spectra import spectrum
from covid_cxr.index import Index
from covid_cxr.metrics import temperature, tempered
from covid_cxr.models import ModelConfig, Network, network
from covid_cxr.study.config import Cell, StudyConfig
from covid_cxr.train import StageConfig, Trained
from synaptax import runs
from synaptax.runs import checkpoints
from synaptax.runs.files import replacing

MODELS = "models"  # folder of the kept networks, in the study's
_FILE, _WEIGHTS, _SEEN = "model.json", "weights", "seen.npz"
_TAIL = 0.005  # of the radiographs trained on lie beyond either end of a range
_EDGE = 1e-6  # scores are kept this far from 0 and 1 before a logit: float32 ends there


class Kept(NamedTuple):
    """Networks that were kept.

    Attributes:
        net: the network.
        trained: its weights, with a leading axis of seeds, and the stage.
        card: what ``model.json`` says beside these.
        hashes: "training", "validation" and "pre-training" to the perceptual hashes
            (n, 4) of their radiographs; None of networks kept before there were any.
    """

    net: Network
    trained: Trained
    card: Mapping[str, Any]
    hashes: Mapping[str, np.ndarray] | None


STATISTICS = ("brightness", "contrast", "black", "white", "fine detail")


def statistics(images: np.ndarray) -> dict[str, np.ndarray]:
    """Return what an image is like as a picture, each (n,) float64.

    Args:
        images: (n, S, S) in [0, 1].

    Returns:
        "brightness" and "contrast" (mean and standard deviation), "black" and "white"
        (share of pixels below 1/50 and above 49/50), and "fine detail" (log power of
        the upper half of spatial frequencies, less that of all).
    """
    images = np.asarray(images, np.float64)
    rings = spectrum(images[:, None])
    values = (
        images.mean(axis=(1, 2)),
        images.std(axis=(1, 2)),
        (images < 0.02).mean(axis=(1, 2)),
        (images > 0.98).mean(axis=(1, 2)),
        rings[:, rings.shape[1] // 2 :].mean(axis=1),
    )
    return dict(zip(STATISTICS, values, strict=True))


def seen(index: Index, images: np.ndarray) -> dict[str, Any]:
    """Return what was trained on, by name and by range, without a patient's name.

    Args:
        index: the table of the training part.
        images: (m, S, S), unprocessed, all of them or some.
    """

    def counts(column: np.ndarray) -> dict[str, int]:
        names, numbers = np.unique(column, return_counts=True)
        return dict(zip(names.tolist(), numbers.tolist(), strict=True))

    return {
        "images": len(index),
        "patients": int(np.unique(index.patient).size),
        "views": counts(index.view),
        "sources": counts(index.source),
        "ranges": {
            name: np.quantile(values, [_TAIL, 1 - _TAIL]).tolist()
            for name, values in statistics(images).items()
        },
    }


def heat_of(label: np.ndarray, score: np.ndarray) -> float:
    """Return the temperature that calibrates scores (n,) best: on validation images."""
    return temperature(label, logit(np.clip(score, _EDGE, 1 - _EDGE)))


def calibrated(score: np.ndarray, heat: float) -> np.ndarray:
    """Return scores (n,) at a temperature, as probabilities (n,) float64."""
    return tempered(logit(np.clip(score, _EDGE, 1 - _EDGE)), heat)


def keep(
    place: Path,
    config: StudyConfig,
    cell: Cell,
    trained: Trained,
    said: Mapping[str, Any],
    hashes: Mapping[str, np.ndarray],
) -> None:
    """Write the networks of a cell.

    Args:
        place: folder of the study.
        config: the study.
        cell: which.
        trained: its networks.
        said: threshold, temperature and :func:`seen`.
        hashes: see :class:`Kept`.
    """
    folder = place / MODELS / cell.key
    folder.mkdir(parents=True, exist_ok=True)
    state = (trained.params, trained.stats)
    checkpoints.save(folder / _WEIGHTS, state, step=0, keep=1)
    with replacing(folder / _SEEN) as file:
        np.savez(file, **hashes)  # pyright: ignore
    stage = trained.config
    content = {
        "caution": CAUTION,
        "study": config.name,
        "cell": cell._asdict(),
        "label": config.label,
        "side": config.side,
        "fit": config.fit,
        "segmenter": config.segmenter,
        "encoder": config.encoder(cell.encoder),
        "mean": stage.mean,
        "std": stage.std,
        "seeds": stage.seeds,
        **said,
    }
    runs.write_json(folder / _FILE, content)  # last: it says that all is there


def find(path: str | os.PathLike[str]) -> Path:
    """Return the folder of kept networks: the path, or a study's single one.

    Raises:
        FileNotFoundError: if there are none.
        ValueError: naming the networks, if the study has several.
    """
    folder = Path(path).expanduser()
    if (folder / _FILE).is_file():
        return folder
    folders = sorted(one.parent for one in (folder / MODELS).glob(f"*/{_FILE}"))
    if not folders:
        raise FileNotFoundError(
            f"{folder}: expected {_FILE}, or a study that has kept its networks"
        )
    if len(folders) > 1:
        names = ", ".join(f"{MODELS}/{one.name}" for one in folders)
        raise ValueError(f"{folder}: has several networks, name one of {names}")
    return folders[0]


def load(path: str | os.PathLike[str]) -> Kept:
    """Read what :func:`keep` wrote.

    Raises:
        OSError: if there is nothing.
        ValueError: if it is damaged, or of a study with several (:func:`find`).
    """
    folder = find(path)
    card = runs.read_json(folder / _FILE)
    try:
        fields = dict(card["encoder"])
        net = network(ModelConfig(**{**fields, "blocks": tuple(fields["blocks"])}))
        seeds, side = tuple(card["seeds"]), int(card["side"])
        stage = dataclasses.replace(
            StageConfig(), mean=card["mean"], std=card["std"], seeds=seeds
        )
        _check_card(card)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / _FILE}: not of kept networks: {error}") from error
    one = jax.eval_shape(lambda: net.init(jax.random.key(0), side))
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((len(seeds), *leaf.shape), leaf.dtype), one
    )
    params, stats = checkpoints.restore(folder / _WEIGHTS, like).state
    trained = Trained(params, stats, np.zeros(len(seeds), int), [], stage)
    return Kept(net, trained, card, _hashes(folder / _SEEN))


def _check_card(card: Mapping[str, Any]) -> None:
    """Raise a KeyError or TypeError for what ``predict`` could not use."""
    training, threshold = card["seen"], card["threshold"]
    numbers = [card["temperature"], card["validation_share"], threshold["value"]]
    numbers += [training["images"], training["patients"]]
    for name in STATISTICS:
        low, high = training["ranges"][name]
        numbers += [low, high]
    texts = [card["study"], card["label"], card["segmenter"], threshold["rule"]]
    texts += [card["cell"]["preprocessing"], *training["views"], *training["sources"]]
    for kind, values in ((int | float, numbers), (str, texts)):
        for value in values:
            if not isinstance(value, kind):
                raise TypeError(f"expected {kind}, got {value!r}")


def _hashes(path: Path) -> Mapping[str, np.ndarray] | None:
    """Return the hashes of a folder, None where there are none."""
    if not path.exists():
        return None
    arrays = runs.read_arrays(path)
    for name, one in arrays.items():
        if one.dtype != np.uint64 or one.shape[1:] != (4,):
            raise runs.FileError(f"{path}: {name}: expected uint64 (n, 4)")
    return arrays
