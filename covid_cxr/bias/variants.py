"""Scores of radiographs with lungs taken away, boxed out, framed, or left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from covid_cxr.bias.linear import pixels, probe, scored
from covid_cxr.bias.types import Probe
from covid_cxr.index import Index
from covid_cxr.segmentation.regions import VARIANTS, border_only, variants

#: Variants in which the disease may show; a high area there is no fault.
SHOWING = ("lungs_only", "framed")


def radiographs_of(images: Any, lungs: Any) -> dict[str, np.ndarray]:
    """Return the variants that can be made: all five, or the border alone.

    Args:
        images: (n, H, W) float32 in [0, 1].
        lungs: (n, H, W) bool, or None where the lungs are not known.
    """
    if lungs is not None:
        return {name: np.asarray(one) for name, one in variants(images, lungs).items()}
    import jax

    return {"border_only": np.asarray(jax.vmap(border_only)(images))}


def linear(
    index: Index, label: np.ndarray, images: Any, lungs: Any = None, *, seed: int = 0
) -> list[Probe]:
    """Ask what a linear classifier of small pictures learns from each variant.

    Args:
        index: the table.
        label: (n,) of 0 and 1.
        images: (n, S, S) float32 in [0, 1].
        lungs: (n, S, S) bool, or None.
        seed: of the folds.

    Returns:
        A probe for the whole radiograph and for each variant, trained and judged on
        that variant, out of fold by patient. Whole radiograph, lungs only and framed
        raise no alarm, for the disease may show there.
    """
    radiographs = {
        "whole radiograph": np.asarray(images),
        **radiographs_of(images, lungs),
    }
    return [
        probe(
            f"linear, {name.replace('_', ' ')}",
            index,
            pixels(radiograph),
            label,
            seed=seed,
            alarm=name in VARIANTS and name not in SHOWING,
        )
        for name, radiograph in radiographs.items()
    ]


def network(
    index: Index,
    label: np.ndarray,
    images: Any,
    lungs: Any,
    score: Callable[[Any], Any],
) -> list[Probe]:
    """Ask whether a network still tells the label from each variant.

    Args:
        index: the table of radiographs it was not trained on.
        label: (n,) of 0 and 1.
        images: (n, S, S) float32 in [0, 1], as the network takes them.
        lungs: (n, S, S) bool, or None.
        score: radiographs (n, S, S) to scores (n,).

    Returns:
        A probe for each variant. The network has not been trained on them: silence
        shows that it needs the lungs, or only that it is lost without them.
    """
    return [
        scored(
            f"network, {name.replace('_', ' ')}",
            index,
            label,
            np.asarray(score(radiograph)),
            alarm=name not in SHOWING,
        )
        for name, radiograph in radiographs_of(images, lungs).items()
    ]
