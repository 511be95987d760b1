"""Does a network know a radiograph's source, and how much of the label is that?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from covid_cxr.bias.linear import probe
from covid_cxr.bias.types import Probe, labels_of
from covid_cxr.index import Index, order


def source_probe(
    index: Index, features: Mapping[str, Any], *, seed: int = 0
) -> list[Probe]:
    """Ask whether the source can be told from frozen features, stage by stage.

    Args:
        index: the table, of at least one source.
        features: stage to (n, k), as :func:`covid_cxr.train.features` gives them.
        seed: of the folds.

    Returns:
        A probe for each stage; with more than two sources one for each source against
        the rest. None if there is a single source: nothing can be told.

    Example:
        >>> cohort = covid_cxr.phantom.Cohort(patients=40)
        >>> key = jax.random.key(0)
        >>> index = covid_cxr.phantom.roster(key, cohort).index
        >>> tell = (index.source == "phantom_a")[:, None].astype(float)
        >>> covid_cxr.bias.source_probe(index, {"stem": tell})[0].found.value > 0.9
        True
    """
    names = np.unique(index.source).tolist()
    if len(names) < 2:
        return []
    # Of two sources the second's question is the first's, turned round.
    targets = names[:1] if len(names) == 2 else names
    return [
        probe(
            f"source from {stage}" + (f", {name} v rest" if len(targets) > 1 else ""),
            index,
            values,
            index.source == name,
            seed=seed,
        )
        for stage, values in features.items()
        for name in targets
    ]


def shuffled_within_source(
    index: Index, label: np.ndarray, *, seed: int = 0
) -> np.ndarray:
    """Return labels dealt anew among the patients of each source.

    What is left of a classifier's area with these labels is what the source alone is
    worth: the disease has been taken out, the share of positives in each source kept.

    Args:
        index: the table.
        label: (n,) of 0 and 1.
        seed: another seed, another deal.

    Returns:
        (n,) of 0 and 1. Patients trade with patients that have as many radiographs in
        the source, whole; one without such a partner keeps the labels.

    Example:
        >>> cohort = covid_cxr.phantom.Cohort(patients=40)
        >>> key = jax.random.key(0)
        >>> index = covid_cxr.phantom.roster(key, cohort).index
        >>> label = index.label("covid")
        >>> dealt = covid_cxr.bias.shuffled_within_source(index, label)
        >>> dealt.sum() == label.sum(), bool((dealt != label).any())
        (np.True_, True)
    """
    labels_of(label, len(index))
    label = np.asarray(label)
    dealt = label.copy()
    for source in np.unique(index.source):
        here = np.flatnonzero(index.source == source)
        people, member = np.unique(index.patient[here], return_inverse=True)
        rows = [here[member == i] for i in range(len(people))]
        sizes = np.array([len(own) for own in rows])
        for size in np.unique(sizes):
            same = np.flatnonzero(sizes == size)
            givers = same[order(people[same].tolist(), seed)]
            for taker, giver in zip(same, givers, strict=True):
                dealt[rows[taker]] = label[rows[giver]]
    return dealt


def within_source(
    index: Index, label: np.ndarray, features: Any, *, seed: int = 0
) -> Probe:
    """Ask what a classifier makes of labels shuffled within their source.

    Args:
        index: the table.
        label: (n,) of 0 and 1.
        features: (n, k), pixels or a network's.
        seed: of the deal and the folds.

    Returns:
        The probe; near 1/2 if no source tells the label.

    Example:
        >>> cohort = covid_cxr.phantom.Cohort(patients=40)
        >>> key = jax.random.key(0)
        >>> index = covid_cxr.phantom.roster(key, cohort).index
        >>> noise = np.random.default_rng(0).random((40, 2))
        >>> covid_cxr.bias.within_source(index, index.label("covid"), noise).fires
        False
    """
    dealt = shuffled_within_source(index, label, seed=seed)
    return probe("labels shuffled within source", index, features, dealt, seed=seed)
