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
from covid_cxr.study.data import Radiographs
from covid_cxr.train import Trained, features, predict
from covid_cxr.train.scaling import standardise
from synaptax.runs import jsonable

_JUDGED = 48  # radiographs whose saliency is judged
_IN_PANEL = 4  # radiographs of a panel
_KEY = 0


def of_mix(data: Radiographs) -> dict[str, Any]:
    """Return what can be asked of a mix without a network, all parts at once.

    Args:
        data: of both classes.
    """
    probes = bias.of_data(
        data.index, data.label, data.pixels(), data.known_lungs, files=data.files
    )
    return {
        "images": len(data.index),
        "probes": [recorded(one) for one in probes],
        "sweep": _sweep(data),
    }


def of_cell(
    net: Network, trained: Trained, tests: dict[str, Radiographs], threshold: float
) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    """Return what can be asked of a cell's networks.

    Args:
        net: the network.
        trained: one for each seed; the probes take the mean of their scores, and the
            first one's features and maps.
        tests: preprocessed radiographs of each test set.
        threshold: chosen on validation radiographs.

    Returns:
        The record, and the arrays of a panel of saliency maps.
    """
    score = lambda images: predict(net, trained, np.asarray(images)[..., None]).mean(0)
    probed_on = next(
        (name for name in (OWN, *tests) if name in tests and _both(tests[name])), None
    )
    record: dict[str, Any] = {"probed_on": probed_on, "probes": [], "saliency": []}
    panel: dict[str, dict[str, np.ndarray]] = {}
    key = jax.random.key(_KEY)
    if probed_on is not None:
        data = tests[probed_on]
        probes = bias.of_network(
            data.index,
            data.label,
            data.pixels(),
            data.known_lungs,
            score,
            _features(net, trained, data),
            key=key,
        )
        record["probes"] = [recorded(one) for one in probes]
        record["saliency"], panel = _saliency(net, trained, data)
    record["transfer"] = {
        name: bias.transfer(
            data.index.label("pneumonia"),
            score(data.pixels()),
            data.index.patient,
            key=key,
            threshold=threshold,
        )
        for name, data in tests.items()
        if _ordinary(data)
    }
    return jsonable(record), panel


def recorded(probe: Probe) -> dict[str, Any]:
    """Return a probe as JSON holds it, with whether it fires and what that says."""
    return {**jsonable(probe), "fires": probe.fires, "verdict": probe.verdict}


def _features(
    net: Network, trained: Trained, data: Radiographs
) -> dict[str, np.ndarray]:
    """Return the first seed's features, the stem's first."""
    image = data.batch().image
    by_stage = features(net, *trained.replica(0), image, trained.config)
    return dict(sorted(by_stage.items(), key=lambda item: (item[0] != "stem", item[0])))


def _both(data: Radiographs) -> bool:
    """Say whether they can be probed: both classes, and patients for five folds."""
    people = np.unique(data.index.patient).size
    return np.unique(data.label).size == 2 and people >= 10


def _ordinary(data: Radiographs) -> bool:
    """Say whether radiographs are without COVID-19, with and without pneumonia."""
    pneumonia = data.index.label("pneumonia")
    return not data.label.any() and set(np.unique(pneumonia).tolist()) == {0, 1}


def _sweep(data: Radiographs) -> list[Any]:
    """Return the ratio sweep of the source, if two sources have both classes."""
    names = np.unique(data.index.source)
    if len(names) != 2:
        return []
    second = data.index.source == names[1]
    try:
        points = bias.sweep(data.index, data.label, second, pixels(data.pixels()))
    except ValueError:  # too few patients of some kind
        return []
    return jsonable(points)


def _saliency(
    net: Network, trained: Trained, data: Radiographs
) -> tuple[list[Any], dict[str, dict[str, np.ndarray]]]:
    """Return the saliency of the first seed on radiographs with lungs, and a panel."""
    rows = np.flatnonzero(data.masked)[:_JUDGED]
    if rows.size < 2:
        return [], {}
    some = data.select(rows)
    params, stats = trained.replica(0)
    x = standardise(jnp.asarray(some.pixels()[..., None]), trained.config)
    patient = some.index.patient
    judged = bias.saliency(
        net, params, stats, x, np.asarray(some.lungs), patient, key=jax.random.key(_KEY)
    )
    # Positives first: a map of a negative says what speaks against.
    panel_rows = np.argsort(-some.label, kind="stable")[:_IN_PANEL]
    cam = np.asarray(bias.grad_cam(net, params, stats, x))[panel_rows]
    path = np.asarray(bias.integrated_gradients(net, params, stats, x))[panel_rows]
    panel = {
        "image": some.pixels()[panel_rows],
        "lungs": np.asarray(some.lungs)[panel_rows],
        "cam": cam,
        "gradients": path,
        "positive": some.label[panel_rows],
        "number": some.row[panel_rows],
    }
    return jsonable(judged), {"panel": panel}
