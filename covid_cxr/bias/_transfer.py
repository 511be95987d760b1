"""The paper's transfer probe: radiographs of ordinary pneumonia, scored as COVID-19.

None of them has COVID-19. A network that learnt COVID-19 should call few of them
positive, and should not tell pneumonia from none the better for its pre-training.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from covid_cxr.metrics import Estimate, auc_interval, bootstrap
from covid_cxr.metrics.inputs import binary, finite
from synaptax.checks import check_number
from synaptax.typing import Array

REPLICATES = 1000


class Transfer(NamedTuple):
    """How a COVID-19 classifier takes radiographs without COVID-19.

    Attributes:
        auc: area for pneumonia against none.
        called: share called COVID-19 of all radiographs.
        called_pneumonia: of those with pneumonia.
        called_healthy: of those without.
        shift: mean score with pneumonia minus mean score without.
        images: how many.
        threshold: of the calls.

    Example:
        >>> pneumonia, score = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.9, 0.8])
        >>> result = covid_cxr.bias.transfer(
        ...     pneumonia, score, range(4), key=jax.random.key(0), replicates=20
        ... )
        >>> result.called.value, result.called_pneumonia.value
        (0.5, 1.0)
    """

    auc: Estimate
    called: Estimate
    called_pneumonia: Estimate
    called_healthy: Estimate
    shift: Estimate
    images: int
    threshold: float


def transfer(
    pneumonia: Any,
    score: Any,
    patient: Any,
    *,
    key: Array,
    threshold: float = 0.5,
    replicates: int = REPLICATES,
) -> Transfer:
    """Score pneumonia as if it were COVID-19.

    Args:
        pneumonia: (n,) of 0 and 1, of radiographs without COVID-19.
        score: (n,) the classifier's.
        patient: (n,) identifiers.
        key: of the bootstrap over patients.
        threshold: chosen on the classifier's own validation radiographs.
        replicates: resamples.

    Returns:
        Area, calls and shift, with intervals by patient.

    Reference:
        Tartaglione et al., Unveiling COVID-19 from chest X-ray with deep learning,
        arXiv 2004.05405.

    Example:
        >>> pneumonia, score = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.9, 0.8])
        >>> result = covid_cxr.bias.transfer(
        ...     pneumonia, score, range(4), key=jax.random.key(0), replicates=20
        ... )
        >>> result.auc.value  # it tells pneumonia from none, without any COVID-19
        1.0
    """
    pneumonia = binary(pneumonia)
    score = finite("score", score, pneumonia.size)
    fits = lambda given: given == given
    check_number("threshold", threshold, "a number", fits)
    # Called in float64, before the bootstrap's 32 bits.
    data = {"ill": pneumonia, "score": score, "called": score >= threshold}
    resamples = bootstrap(_statistics, data, patient, key=key, replicates=replicates)
    return Transfer(
        auc_interval(pneumonia, score, patient=patient),
        *(
            resamples.estimate(name)
            for name in ("called", "called_pneumonia", "called_healthy", "shift")
        ),
        images=len(score),
        threshold=float(threshold),
    )


def _statistics(data: Any, weight: Array) -> dict[str, Array]:
    ill, healthy = weight * data["ill"], weight * (1 - data["ill"])
    return {
        "called": _mean(data["called"], weight),
        "called_pneumonia": _mean(data["called"], ill),
        "called_healthy": _mean(data["called"], healthy),
        "shift": _mean(data["score"], ill) - _mean(data["score"], healthy),
    }


def _mean(values: Array, weight: Array) -> Array:
    total = weight.sum()
    mean = (weight * values).sum() / jnp.where(total > 0, total, 1)
    return jnp.where(total > 0, mean, jnp.nan)
