"""The bootstrap over patients: all their images are drawn together or not at all.

A resample is a weight for each image, the number of times its patient was drawn, so
that a statistic is a function of weights and thousands of resamples are one ``vmap``
inside one compiled loop. Sizes are padded to powers of two: cohorts of similar size
share one compilation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from covid_cxr.metrics.inputs import array, check_key, fraction, numbered, whole
from covid_cxr.metrics.intervals import NAN, Estimate
from synaptax.typing import Array

_CHUNK = 128  # resamples at once
_LEAST = 64  # images and patients are padded to at least this many
_TOP = 2**31 - 1
_TOLERATED = 0.2  # share of resamples that may be undefined

Statistic = Callable[[Any, Array], Mapping[str, Array]]


class Plan(NamedTuple):
    """Who can be drawn in place of whom.

    Attributes:
        patient: (N,) int32, the number of an image's patient, those of a stratum
            next to one another; padding has the number of no patient.
        start: (P,) int32, for each draw the first patient of its stratum.
        size: (P,) int32, for each draw the patients in its stratum; 0 for padding.
    """

    patient: Array
    start: Array
    size: Array


class Replicates(NamedTuple):
    """A statistic on the sample itself and on every resample.

    Attributes:
        value: name to float.
        draws: name to (R,) float64; NaN where a resample leaves it undefined.
        patients: how many patients there are to draw from.

    Example:
        >>> def mean(score, weight):
        ...     return {"mean": (score * weight).sum() / weight.sum()}
        >>> resamples = covid_cxr.metrics.bootstrap(
        ...     mean, jnp.arange(4.0), range(4), key=jax.random.key(0), replicates=20
        ... )
        >>> resamples.value, resamples.draws["mean"].shape, resamples.patients
        ({'mean': 1.5}, (20,), 4)
    """

    value: dict[str, float]
    draws: dict[str, np.ndarray]
    patients: int

    def estimate(self, name: str, *, level: float = 0.95) -> Estimate:
        """Return one statistic with its percentile interval.

        Args:
            name: which.
            level: coverage of the interval.

        Returns:
            The estimate; without interval, and with a note, if there are fewer than
            2 patients or too many resamples leave it undefined.
        """
        return percentile(
            self.value[name], self.draws[name], patients=self.patients, level=level
        )


def percentile(
    value: float, draws: np.ndarray, *, patients: int, level: float = 0.95
) -> Estimate:
    """Return a value with the percentile interval of its bootstrap draws.

    Draws that do not vary, as those of an area of 1 from ten patients, bound nothing:
    then there is no interval, and a note.
    """
    tail = (1 - fraction("level", level)) / 2
    if np.isnan(value):
        return Estimate(NAN, note="undefined on this sample")
    if patients < 2:
        return Estimate(float(value), note="fewer than 2 patients")
    valid = draws[~np.isnan(draws)]
    lost = 1 - valid.size / draws.size
    if lost > _TOLERATED:
        return Estimate(
            float(value), note=f"undefined on {100 * lost:.0f} % of the resamples"
        )
    low, high = np.quantile(valid, [tail, 1 - tail])
    if low == high:
        return Estimate(float(value), note="no variance observed")
    note = f"{100 * lost:.1f} % of the resamples left out" if lost else ""
    return Estimate(float(value), float(low), float(high), note)


def plan(patient: Any, stratum: Any = None) -> Plan:
    """Prepare the drawing of patients, in strata if given.

    Args:
        patient: (N,) identifiers.
        stratum: (N,) identifiers, such as the label; a patient's stratum is the set
            of those of the patient's images, so mixed patients form their own.

    Returns:
        The plan, padded.

    Raises:
        ValueError: if the two do not have the same shape (N,), N >= 1.
    """
    count = np.size(patient)
    if not count:
        raise ValueError("patient: expected at least one image")
    own = numbered("patient", patient, count)
    group = np.zeros(own.max() + 1, np.int64)
    if stratum is not None:
        kind = numbered("stratum", stratum, count)
        has_kind = np.zeros((group.size, kind.max() + 1), bool)
        has_kind[own, kind] = True
        # Rows of (patients, kinds), numbered. Versions of NumPy differ in the inverse's
        # shape.
        group = np.unique(has_kind, axis=0, return_inverse=True)[1].reshape(-1)
    order = np.argsort(group, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    images, patients = _padded(count), _padded(group.size)
    # Padded images get the number one past the last patient.
    grown = np.full(images, patients, np.int32)
    grown[:count] = place[own]
    start, size = np.zeros((2, patients), np.int32)
    start[: group.size], size[: group.size] = starts[group[order]], sizes[group[order]]
    return Plan(jnp.asarray(grown), jnp.asarray(start), jnp.asarray(size))


def resample(key: Array, drawn: Plan) -> Array:
    """Return the weight of each image in one resample: (N,) float32, integers.

    Args:
        key: typed PRNG key.
        drawn: the plan; each stratum is drawn from as often as it has patients.
    """
    # Draw d takes patient start_d + floor(u_d size_d). In float32 u size may round up
    # to size, of which there is no patient: hence the minimum.
    uniform = jax.random.uniform(key, drawn.start.shape)
    step = jnp.minimum(
        (uniform * drawn.size.astype(jnp.float32)).astype(jnp.int32),
        jnp.maximum(drawn.size - 1, 0),
    )
    times = jnp.zeros(drawn.start.size + 1, jnp.float32)
    # Draws of the padding have size 0 and add nothing.
    times = times.at[drawn.start + step].add((drawn.size > 0).astype(jnp.float32))
    return times.at[-1].set(0)[drawn.patient]


def bootstrap(
    statistic: Statistic,
    data: Any,
    patient: Any,
    *,
    key: Array,
    replicates: int = 2000,
    stratum: Any = None,
) -> Replicates:
    """Bootstrap statistics by patient.

    Args:
        statistic: ``(data, weight) -> {name: scalar}``, traceable; NaN where the
            weights leave it undefined. A module-level function is compiled once.
        data: a tree of arrays with leading axis N, in the order of ``patient``.
        patient: (N,) identifiers; ``range(N)`` is the image bootstrap, right only if
            every image has a patient of its own.
        key: typed PRNG key.
        replicates: resamples, at least 1.
        stratum: (N,) identifiers to stratify patients by (:func:`plan`).

    Returns:
        The statistics of the sample and of each resample.

    Raises:
        ValueError: if ``replicates`` is below 1 or the shapes do not fit.

    Reference:
        Field and Welsh, Bootstrapping clustered data, JRSS B 2007.

    Example:
        >>> from covid_cxr import metrics
        >>> def mean(score, weight):
        ...     return {"mean": (score * weight).sum() / weight.sum()}
        >>> patient = [0, 0, 1, 1]  # two images of each: patients are drawn, not images
        >>> resamples = metrics.bootstrap(
        ...     mean, jnp.arange(4.0), patient, key=jax.random.key(0), replicates=20
        ... )
        >>> sorted(set(resamples.draws["mean"].tolist()))
        [0.5, 1.5, 2.5]
    """
    check_key(key)
    replicates = whole("replicates", replicates, 1)
    draw_plan, count = plan(patient, stratum), np.size(patient)
    padded = jax.tree.map(lambda leaf: _pad(leaf, count, draw_plan.patient.size), data)
    # Whole chunks: a remainder would be compiled once more.
    keys = jax.random.split(key, -(-replicates // _CHUNK) * _CHUNK)
    sample, draws = _run(statistic, padded, draw_plan, keys)
    return Replicates(
        {n: float(v) for n, v in sample.items()},
        {
            name: np.asarray(value, np.float64)[:replicates]
            for name, value in draws.items()
        },
        np.unique(np.asarray(patient)).size,
    )


@partial(jax.jit, static_argnums=0)
def _run(statistic: Statistic, data: Any, drawn: Plan, keys: Array) -> Any:
    # The sample itself: each image once, the padding never.
    once = (drawn.patient < drawn.start.size).astype(jnp.float32)
    draws = lax.map(
        lambda key: statistic(data, resample(key, drawn)), keys, batch_size=_CHUNK
    )
    sample = statistic(data, once)
    if not isinstance(sample, Mapping) or any(map(np.ndim, sample.values())):
        raise ValueError("statistic: expected a mapping of names to scalars")
    return sample, draws


def _padded(count: int) -> int:
    """Return the next power of two, at least :data:`_LEAST`."""
    return max(_LEAST, 1 << (count - 1).bit_length())


def _pad(leaf: Any, count: int, size: int) -> Array:
    """Return a leaf as a 32-bit array with its last row repeated up to a size."""
    leaf = array("data", leaf)
    if leaf.dtype.kind not in "biuf":
        raise ValueError(f"data: expected numbers, got {leaf.dtype}")
    if leaf.dtype.kind in "iu" and np.any((leaf > _TOP) | (leaf < -_TOP)):
        raise ValueError("data: integers beyond 2^31 - 1 do not fit 32 bits")
    if leaf.ndim == 0 or leaf.shape[0] != count:
        raise ValueError(
            f"data: expected a leading axis of {count} (the images), got {leaf.shape}"
        )
    grown = np.pad(leaf, [(0, size - count)] + [(0, 0)] * (leaf.ndim - 1), mode="edge")
    kind = np.float32 if leaf.dtype.kind in "bf" else np.int32
    return jnp.asarray(grown.astype(kind))
