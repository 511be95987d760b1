"""Positives against negatives of their own source alone."""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from covid_cxr.bias.types import Probe, labels_of
from covid_cxr.index import Index
from covid_cxr.metrics import Estimate, bootstrap, weighted_auc
from covid_cxr.metrics.inputs import finite
from covid_cxr.metrics.roc import dense_ranks
from synaptax.typing import Array

REPLICATES = 1000


def same_source(
    index: Index,
    label: np.ndarray,
    score: np.ndarray,
    *,
    key: Array,
    replicates: int = REPLICATES,
) -> list[Probe]:
    r"""Return the area over pairs of one source, and what other pairs add to it.

    .. math:: A_w = \sum_s m_s n_s A_s / \sum_s m_s n_s

    with m_s positives and n_s negatives in source s.

    Args:
        index: the table.
        label: (n,) of 0 and 1.
        score: (n,) of a classifier that was not trained on these images.
        key: of the bootstrap over patients.
        replicates: resamples.

    Returns:
        "same-source negatives" (no alarm), and "gain from other sources": the area
        over all pairs minus that one, which fires if it is above 0. Both are undefined
        if no source has both classes: then nothing speaks for the disease. With one
        source there is nothing to gain from others, and the gain is undefined.

    Example:
        >>> cohort = covid_cxr.phantom.Cohort(patients=40)
        >>> key = jax.random.key(0)
        >>> index = covid_cxr.phantom.roster(key, cohort).index
        >>> label = index.label("covid")
        >>> probes = covid_cxr.bias.same_source(
        ...     index, label, label + 0.1, key=jax.random.key(0), replicates=20
        ... )
        >>> [(probe.name, probe.found.value) for probe in probes]
        [('same-source negatives', 1.0), ('gain from other sources', 0.0)]
    """
    label = labels_of(label, len(index))
    score = finite("score", score, len(index))
    names = np.unique(index.source)
    member = index.source[:, None] == names[None, :]
    both = [np.unique(label[own]).size > 1 for own in member.T]
    note = f"{sum(both)} of {len(names)} sources have both classes"
    if any(both):
        data = {
            "label": label == 1,
            "rank": dense_ranks(score),
            "member": member,
        }
        resamples = bootstrap(
            _areas,
            data,
            index.patient,
            key=key,
            replicates=replicates,
            # Each resample keeps the positives and negatives of each source.
            stratum=np.char.add(index.source, np.where(label == 1, "+", "-")),
        )
        within, gain = resamples.estimate("within"), resamples.estimate("gain")
        if len(names) == 1:
            gain = Estimate(float("nan"), note="one source")
    else:
        within = gain = Estimate(float("nan"), note="no source has both classes")
    answer = functools.partial(
        Probe,
        images=len(index),
        patients=int(np.unique(index.patient).size),
        note=note,
    )
    return [
        answer("same-source negatives", within, alarm=False),
        answer("gain from other sources", gain, silence=0.0),
    ]


def _areas(data: Any, weight: Array) -> dict[str, Array]:
    """Return the area within sources, and that over all pairs minus it."""
    label, rank = data["label"], data["rank"]
    won = pairs = jnp.float32(0)
    for source in range(data["member"].shape[1]):
        own = weight * data["member"][:, source]
        here = (own * label).sum() * (own * (1 - label)).sum()
        area = weighted_auc(label, rank, own)
        # The area of a source with one class is NaN, and so is NaN times 0.
        won += jnp.where(here > 0, here * area, 0)
        pairs += here
    within = jnp.where(pairs > 0, won / jnp.where(pairs > 0, pairs, 1), jnp.nan)
    return {"within": within, "gain": weighted_auc(label, rank, weight) - within}
