"""How far the label can be told without a single pixel."""

from __future__ import annotations

import numpy as np

from covid_cxr.bias.linear import probe
from covid_cxr.bias.types import Probe
from covid_cxr.index import VIEWS, Index

COLUMNS = ("view", "sex", "age", "spacing", "aspect", "date")


def features(index: Index, columns: tuple[str, ...] = COLUMNS) -> np.ndarray:
    """Return a table's columns as numbers; what is unknown is said to be unknown.

    Args:
        index: the table.
        columns: some of :data:`COLUMNS`, and "source". Categories become one column
            each; a number becomes itself (its mean where unknown) and whether it is
            unknown; the aspect is log(width / height). Dates that nothing is known of
            give no column.

    Returns:
        (n, k) float64.

    Raises:
        ValueError: for an unknown column.
    """
    parts = [np.zeros((len(index), 0))]
    for name in columns:
        if name == "date" and np.isnan(index.date).all():
            continue  # most tables have none
        if name in ("age", "spacing", "date"):
            parts.append(_number(getattr(index, name).astype(np.float64)))
        # The logarithm of width / height: wide and tall differ by sign alone.
        elif name == "aspect":
            has_size = (index.height > 0) & (index.width > 0)
            ratio = np.where(has_size, index.width, 1) / np.where(
                has_size, index.height, 1
            )
            parts.append(_number(np.where(has_size, np.log(ratio), np.nan)))
        elif name == "view":
            parts.append(_categories(index.view, VIEWS))
        elif name == "sex":
            parts.append(_categories(index.sex, ("", "F", "M")))
        elif name == "source":
            names = tuple(np.unique(index.source).tolist())
            parts.append(_categories(index.source, names))
        else:
            raise ValueError(
                f"columns: expected some of {(*COLUMNS, 'source')}, got {name!r}"
            )
    return np.concatenate(parts, axis=1)


def metadata_only(
    index: Index,
    label: np.ndarray,
    *,
    columns: tuple[str, ...] = COLUMNS,
    seed: int = 0,
) -> Probe:
    """Ask what view, sex, age, spacing, proportions and date tell of the label.

    Args:
        index: the table.
        label: (n,) of 0 and 1.
        columns: as :func:`features`.
        seed: of the folds.

    Returns:
        The probe, out of fold by patient. An age or sex that truly goes with the
        disease fires it too: then the network must beat it to be of use.

    Raises:
        ValueError: as :func:`features` and :func:`covid_cxr.bias.linear.out_of_fold`.

    Example:
        >>> cohort = covid_cxr.phantom.Cohort(patients=40, shortcuts={"view": 1.0})
        >>> key = jax.random.key(0)
        >>> index = covid_cxr.phantom.roster(key, cohort).index
        >>> probe = covid_cxr.bias.metadata_only(index, index.label("covid"))
        >>> probe.found.value > 0.9, probe.fires
        (True, True)
    """
    return probe("metadata only", index, features(index, columns), label, seed=seed)


def source_only(index: Index, label: np.ndarray, *, seed: int = 0) -> Probe:
    """Ask what the name of the data set alone tells of the label; as above.

    Example:
        >>> cohort = covid_cxr.phantom.Cohort(patients=40)
        >>> key = jax.random.key(0)
        >>> index = covid_cxr.phantom.roster(key, cohort).index
        >>> covid_cxr.bias.source_only(index, index.label("covid")).fires
        False
    """
    columns = features(index, ("source",))
    return probe("name of the source only", index, columns, label, seed=seed)


def _number(values: np.ndarray) -> np.ndarray:
    unknown = np.isnan(values)
    mean = values[~unknown].mean() if not unknown.all() else 0.0
    return np.stack([np.where(unknown, mean, values), unknown.astype(float)], axis=1)


def _categories(values: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    return (values[:, None] == np.array(names)[None, :]).astype(float)
