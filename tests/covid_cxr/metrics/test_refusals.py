"""What would be counted, drawn or decided wrongly is refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.metrics import (
    Confusion,
    Threshold,
    auc_interval,
    bootstrap,
    confusion,
    decide,
    delong,
    ece,
    evaluate,
    odds_ratio_interval,
    rates,
    sensitivity,
    tempered,
    weighted_auc,
)
from covid_cxr.metrics.report import auc_draws
from tests import unchecked

KEY = jax.random.key(0)
LABEL, SCORE = [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]
MASKED = np.ma.array(SCORE, mask=[False, True, False, False])


@pytest.mark.parametrize("name", list(rates.RATES))
@pytest.mark.parametrize(
    "kind", [np.uint8, np.uint16, np.int32, jnp.int32], ids=lambda kind: kind.__name__
)
def test_counts_of_few_bits_do_not_overflow(name, kind):
    top = 2**30 if kind in (np.int32, jnp.int32) else np.iinfo(kind).max
    counts = [top, top // 2, top // 3, top - 1]
    rate = rates.RATES[name]
    exact = float(rate(Confusion(*counts)))
    cells = Confusion(*jnp.array(counts)) if kind is jnp.int32 else None
    cells = cells or Confusion(*np.array(counts, kind))
    assert float(rate(cells)) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("cells", [[1, 2, 3, 4], None, Confusion(-1, 2, 3, 4)])
def test_what_is_no_confusion_has_no_rates(cells):
    for rate in rates.RATES.values():
        with unchecked(), pytest.raises(ValueError, match="cells"):
            rate(cells)


def evaluated(**options):
    return lambda: evaluate(LABEL, SCORE, key=KEY, replicates=20, **options)


def bootstrapped(data, statistic=lambda s, w: {"sum": (s * w).sum()}):
    return lambda: bootstrap(statistic, data, range(4), key=KEY, replicates=2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: auc_interval(LABEL, MASKED), "score: values are masked"),
        (lambda: auc_interval(LABEL, SCORE, level="0.9"), "level: expected a number"),
        (
            lambda: auc_interval(LABEL, SCORE, patient=["", "a", "", "b"]),
            "patient: 2 of 4 identifiers are missing",
        ),
        (lambda: confusion(LABEL, SCORE, "0.5"), "threshold: expected a number"),
        (lambda: decide(SCORE, 0.5), "threshold: expected a Threshold, got 0.5"),
        (lambda: decide(SCORE, Threshold(np.nan, "own")), "threshold.value"),
        (lambda: delong(LABEL, [SCORE, SCORE[:3]]), "scores: expected an array"),
        (lambda: ece(LABEL, SCORE, bins=1.5), "bins: expected a whole number"),
        (lambda: tempered(SCORE, "2"), "heat: expected a temperature"),
        (
            lambda: odds_ratio_interval(Confusion(*np.ones((4, 2)))),
            "cells: expected four counts",
        ),
        (lambda: sensitivity(Confusion("1", 2, 3, 4)), "cells.tp: expected numbers"),
        (
            lambda: auc_draws(LABEL, [SCORE], key=KEY, replicates=0),
            "replicates: expected at least 1",
        ),
        (
            lambda: auc_draws(LABEL, [SCORE], key=KEY, m=1.5),
            "comparisons: expected a whole number",
        ),
        (evaluated(threshold=0.5), "threshold: expected a Threshold"),
        (evaluated(stratified="no"), "stratified: expected True or False"),
        (evaluated(prevalences=0.1), "prevalences: expected several"),
        (evaluated(prevalences=("0.1",)), "prevalences: expected a number"),
        (
            lambda: evaluate(LABEL, SCORE, key=jax.random.split(KEY), replicates=2),
            "key: expected one PRNG key",
        ),
        (bootstrapped(np.ones(4, complex)), "data: expected numbers, got complex"),
        (bootstrapped(np.full(4, 1.5, object)), "data: expected numbers, got object"),
        (bootstrapped(np.full(4, 2**32 - 1, np.uint32)), "data: integers beyond"),
        (bootstrapped(np.full(4, -(2**40))), "data: integers beyond"),
        (bootstrapped(np.ones(4), lambda s, w: s.sum()), "statistic: expected a map"),
        (bootstrapped(np.ones(4), lambda s, w: {"all": s}), "statistic: expected a"),
        (
            lambda: weighted_auc(jnp.ones(3), jnp.arange(2), jnp.ones(2)),
            "label: expected",
        ),
        (
            lambda: weighted_auc(jnp.ones(2), jnp.ones(2), jnp.ones(2)),
            "rank: expected integers",
        ),
    ],
)
def test_refused_by_name(call, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        call()
