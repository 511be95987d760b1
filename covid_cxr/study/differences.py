"""Cells that differ in one thing, on the same radiographs: is one of them better?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from covid_cxr.metrics import Estimate, holm
from covid_cxr.metrics.report import AucDraws, auc_draws
from covid_cxr.study.config import Cell
from covid_cxr.study.summaries import Row


class Difference(NamedTuple):
    """Two cells on one test set.

    Attributes:
        test: the set.
        first: a cell.
        second: one that differs from it in a single axis.
        found: the second's area minus the first's, paired, by patient.
        p: two-sided, of no difference.
        adjusted: by Holm, over all differences of the study.
    """

    test: str
    first: Cell
    second: Cell
    found: Estimate
    p: float
    adjusted: float


def differences(rows: Sequence[Row], replicates: int) -> list[Difference]:
    """Compare every two cells that differ in one axis, on the same radiographs.

    Args:
        rows: of the study, in order; the earlier cell is the one compared with.
        replicates: least resamples of patients, the same for both cells; as many
            more as the number of comparisons asks for.

    Returns:
        The differences of sets with both classes.
    """
    pairs = [
        (i, j)
        for (i, first), (j, second) in itertools.combinations(enumerate(rows), 2)
        if sum(a != b for a, b in zip(first.cell, second.cell, strict=True)) == 1
        and _alike(first, second)
    ]
    compared = []
    # Rows of the same radiographs are resampled once, not once a pair.
    draws: dict[int, tuple[AucDraws, dict[int, int]]] = {}
    for i, j in pairs:
        if i not in draws:
            alike = [k for k, row in enumerate(rows) if _alike(rows[i], row)]
            areas = auc_draws(
                rows[i].label,
                [rows[k].score for k in alike],
                key=jax.random.key(0),
                patient=rows[i].patient,
                replicates=replicates,
                m=len(pairs),
            )
            place = {k: number for number, k in enumerate(alike)}
            draws |= dict.fromkeys(alike, (areas, place))
        areas, place = draws[i]
        estimate, p = areas.difference(place[j], place[i])
        cells = rows[i].cell, rows[j].cell
        compared.append(Difference(rows[i].test, *cells, estimate, p, p))
    adjusted = holm([one.p for one in compared])
    return [one._replace(adjusted=p) for one, p in zip(compared, adjusted, strict=True)]


def _alike(first: Row, second: Row) -> bool:
    """Say whether two rows are of the same radiographs, and of both classes."""
    return (
        first.test == second.test
        and np.unique(first.label).size == 2
        and all(
            np.array_equal(getattr(first, part), getattr(second, part))
            for part in ("label", "patient", "radiograph")
        )
    )
