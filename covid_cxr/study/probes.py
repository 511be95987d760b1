"""The bias probes of a study's mixes and cells, as their records hold them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from covid_cxr import bias
from covid_cxr.bias.linear import pixels
from covid_cxr.bias.types import Probe
from covid_cxr.models import Network
from covid_cxr.study.config import OWN
from covid_cxr.study.data import Films
from covid_cxr.train import Trained, features, predict
from covid_cxr.train.loop import standardise
from synaptax.runs.folder import jsonable

_LOOKED = 48  # films whose saliency is judged
_SHOWN = 4  # films of a panel
_KEY = 0


def of_mix(films: Films) -> dict[str, Any]:
    """Return what can be asked of a mix's films without a network, all parts together.

    Args:
        films: of both classes.
    """
    found = bias.of_data(films.index, films.label, films.images, films.known_lungs)
    return {
        "images": len(films.index),
        "probes": [recorded(one) for one in found],
        "sweep": _sweep(films),
    }


def of_cell(
    net: Network, trained: Trained, tests: dict[str, Films], threshold: float
) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    """Return what can be asked of a cell's networks.

    Args:
        net: the network.
        trained: one for each seed; the probes take the mean of their scores, and the
            first one's features and maps.
        tests: preprocessed films of each test set.
        threshold: chosen on validation films.

    Returns:
        The record, and the arrays of a panel of saliency maps.
    """
    score = lambda films: predict(net, trained, np.asarray(films)[..., None]).mean(0)
    asked = next(
        (name for name in (OWN, *tests) if name in tests and _both(tests[name])), None
    )
    record: dict[str, Any] = {"probed_on": asked, "probes": [], "saliency": []}
    panel: dict[str, dict[str, np.ndarray]] = {}
    key = jax.random.key(_KEY)
    if asked is not None:
        films = tests[asked]
        found = bias.of_network(
            films.index,
            films.label,
            films.images,
            films.known_lungs,
            score,
            _features(net, trained, films),
            key=key,
        )
        record["probes"] = [recorded(one) for one in found]
        record["saliency"], panel = _looked(net, trained, films)
    record["transfer"] = {
        name: bias.transfer(
            films.index.label("pneumonia"),
            score(films.images),
            films.index.patient,
            key=key,
            threshold=threshold,
        )
        for name, films in tests.items()
        if _ordinary(films)
    }
    return jsonable(record), panel


def recorded(probe: Probe) -> dict[str, Any]:
    """Return a probe as JSON holds it, with whether it fires."""
    return {**jsonable(probe), "fires": probe.fires}


def _features(net: Network, trained: Trained, films: Films) -> dict[str, np.ndarray]:
    """Return the first seed's features, the stem's first."""
    held = films.images[..., None]
    found = features(net, *trained.member(0), held, trained.config)
    return dict(sorted(found.items(), key=lambda item: (item[0] != "stem", item[0])))


def _both(films: Films) -> bool:
    """Say whether films can be probed: both classes, and patients for five folds."""
    people = np.unique(films.index.patient).size
    return np.unique(films.label).size == 2 and people >= 10


def _ordinary(films: Films) -> bool:
    """Say whether films are without COVID-19, with and without pneumonia."""
    pneumonia = films.index.label("pneumonia")
    return not films.label.any() and set(np.unique(pneumonia).tolist()) == {0, 1}


def _sweep(films: Films) -> list[Any]:
    """Return the ratio sweep of the source, if two sources have both classes."""
    names = np.unique(films.index.source)
    if len(names) != 2:
        return []
    second = films.index.source == names[1]
    try:
        points = bias.sweep(films.index, films.label, second, pixels(films.images))
    except ValueError:  # too few patients of some kind
        return []
    return jsonable(points)


def _looked(
    net: Network, trained: Trained, films: Films
) -> tuple[list[Any], dict[str, dict[str, np.ndarray]]]:
    """Return the saliency of the first seed on films with lungs, and a panel."""
    rows = np.flatnonzero(films.masked)[:_LOOKED]
    if rows.size < 2:
        return [], {}
    seen = films.select(rows)
    params, stats = trained.member(0)
    x = standardise(jnp.asarray(seen.images[..., None]), trained.config)
    patient = seen.index.patient
    found = bias.saliency(
        net, params, stats, x, seen.lungs, patient, key=jax.random.key(_KEY)
    )
    # Positives first: a map of a negative says what speaks against.
    shown = np.argsort(-seen.label, kind="stable")[:_SHOWN]
    cam = np.asarray(bias.grad_cam(net, params, stats, x))[shown]
    path = np.asarray(bias.integrated_gradients(net, params, stats, x))[shown]
    panel = {
        "image": seen.images[shown],
        "lungs": seen.lungs[shown],
        "cam": cam,
        "gradients": path,
        "positive": seen.label[shown],
        "number": seen.row[shown],
    }
    return jsonable(found), {"panel": panel}
