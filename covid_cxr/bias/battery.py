"""All probes in one call: what a report shows unless it is told not to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from covid_cxr.bias import acquisition, matched, metadata, sources, spectra, variants
from covid_cxr.bias.linear import pixels
from covid_cxr.bias.types import Probe
from covid_cxr.index import Index
from synaptax.typing import Array


def of_data(
    index: Index,
    label: np.ndarray,
    images: Any,
    lungs: Any = None,
    *,
    files: Any = None,
    seed: int = 0,
) -> list[Probe]:
    """Put to a set of radiographs every question that needs no network.

    Args:
        index: the table.
        label: (n,) of 0 and 1.
        images: (n, S, S) float32 in [0, 1].
        lungs: (n, S, S) bool, or None.
        files: (n, COLUMNS) of :func:`covid_cxr.bias.acquisition.acquired`, or None.
        seed: of folds and deals.

    Returns:
        Metadata only, name of the source, linear classifiers of the radiograph and
        its variants, the power spectrum of it and of its border, the stored file and
        its fine detail, the source from pixels, labels shuffled within source.

    Example:
        >>> cohort = covid_cxr.phantom.Cohort(patients=40)
        >>> data = covid_cxr.phantom.generate(jax.random.key(0), cohort)
        >>> label = data.index.label("covid")
        >>> probes = covid_cxr.bias.of_data(data.index, label, data.images)
        >>> len(probes) > 5
        True
    """
    small = pixels(images)
    probes = [metadata.metadata_only(index, label, seed=seed)]
    # With one source its name tells nothing, and labels shuffled within it tell chance.
    several = np.unique(index.source).size > 1
    if several:
        probes.append(metadata.source_only(index, label, seed=seed))
    probes += variants.linear(index, label, images, lungs, seed=seed)
    probes += spectra.texture(index, label, images, seed=seed)
    if files is not None:
        probes += acquisition.acquisition(index, label, files, seed=seed)
    probes += sources.source_probe(index, {"pixels": small}, seed=seed)
    if several:
        probes.append(sources.within_source(index, label, small, seed=seed))
    return probes


def of_network(
    index: Index,
    label: np.ndarray,
    images: Any,
    lungs: Any,
    score: Callable[[Any], Any],
    features: Mapping[str, Any],
    *,
    key: Array,
    seed: int = 0,
) -> list[Probe]:
    """Put to a network every question that has an area for an answer.

    Args:
        index: the table of radiographs it was not trained on.
        label: (n,) of 0 and 1.
        images: (n, S, S) float32 in [0, 1], as the network takes them.
        lungs: (n, S, S) bool, or None.
        score: radiographs (n, S, S) to scores (n,).
        features: stage to (n, k), of ``images``.
        key: of the bootstrap.
        seed: of folds.

    Returns:
        Its scores of the variants, the source by stage, same-source negatives.

    Example:
        >>> cohort = covid_cxr.phantom.Cohort(patients=40)
        >>> data = covid_cxr.phantom.generate(jax.random.key(0), cohort)
        >>> label, lungs = data.index.label("covid"), data.lungs.any(axis=1)
        >>> brightness = lambda images: np.asarray(images).mean(axis=(1, 2))
        >>> features = {"stem": brightness(data.images)[:, None]}
        >>> probes = covid_cxr.bias.of_network(
        ...     data.index, label, data.images, lungs, brightness, features,
        ...     key=jax.random.key(0),
        ... )
        >>> len(probes) > 5
        True
    """
    probes = variants.network(index, label, images, lungs, score)
    probes += sources.source_probe(index, features, seed=seed)
    whole = np.asarray(score(images))
    return probes + matched.same_source(index, label, whole, key=key)
