"""Features of a network in the plane, as the paper's t-SNE figure has them.

:func:`covid_cxr.train.features` gives the features of every stage of a network. Where
points of two sources lie apart, the network can tell the sources; that they mix in a
plane does not say that it cannot: :mod:`covid_cxr.bias` has probes that measure it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from synaptax.checks import check_choice, check_integer, check_number
from synaptax.reports.drawing import COLOURS, blank

METHODS = ("pca", "tsne")
_MARKERS = "osD^vP*X"


def embed(
    features: Any, method: str = "tsne", *, seed: int = 0, perplexity: float = 30.0
) -> np.ndarray:
    """Return features in the plane.

    Args:
        features: (N, C) finite numbers, N at least 3.
        method: "pca", the two directions of most variance, or "tsne", which keeps
            neighbours and whose distances between groups say nothing.
        seed: of t-SNE.
        perplexity: of t-SNE: about how many neighbours count, below N.

    Returns:
        (N, 2) float64.

    Raises:
        ValueError: naming the argument that makes no sense.
        ImportError: naming the extra.

    Reference:
        van der Maaten, Hinton, Visualizing data using t-SNE, JMLR 9, 2008.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(8, 5))
        >>> covid_cxr.embedding.embed(features, "pca").shape
        (8, 2)
    """
    check_choice("method", method, METHODS)
    check_integer("seed", seed, 0, 2**32 - 1)
    values = np.asarray(features)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"features: expected numbers, got {values.dtype}")
    values = values.astype(np.float64)
    if values.ndim != 2 or len(values) < 3 or values.shape[1] < 2:
        raise ValueError(f"features: expected (N >= 3, C >= 2), got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("features: expected finite numbers")
    if (values == values[0]).all():
        raise ValueError("features: expected rows that differ, all are alike")
    if method == "tsne":
        domain = f"in (0, {len(values)}), the number of images"
        fits = lambda given: 0 < given < len(values)
        check_number("perplexity", perplexity, domain, fits)
    try:
        from sklearn.decomposition import PCA
        from sklearn.manifold import TSNE
    except ImportError as error:
        needs = "an embedding needs scikit-learn: pip install 'synaptax[cxr]'"
        raise ImportError(needs) from error
    if method == "pca":
        return PCA(2, svd_solver="full").fit_transform(values)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    return np.asarray(tsne.fit_transform(values), np.float64)


def figure(
    points: Any, colours: Any, shapes: Any = None, *, title: str = "", note: str = ""
) -> Any:
    """Draw points of the plane, told apart by group.

    Args:
        points: (N, 2), of :func:`embed`.
        colours: (N,) groups told by colour, such as the source.
        shapes: (N,) groups told by the marker too, such as the label.
        title: of the figure.
        note: below it; such as the method and its perplexity.

    Returns:
        A matplotlib figure of no window.

    Raises:
        ValueError: for other shapes, or more groups than can be told apart.
        ImportError: naming the extra.

    Example:
        >>> points, source = np.eye(4, 2), np.array(["home", "home", "away", "away"])
        >>> plot = covid_cxr.embedding.figure(points, source, [0, 1, 0, 1])
        >>> len(plot.axes[0].collections)
        4
    """
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise ValueError(f"points: expected finite (N, 2), got {points.shape}")
    groups = []
    for name, column, most in (
        ("colours", colours, len(COLOURS)),
        ("shapes", shapes if shapes is not None else [""] * len(points), len(_MARKERS)),
    ):
        one = np.asarray(column).astype(str)
        kinds = np.unique(one)
        if one.shape != (len(points),):
            raise ValueError(f"{name}: expected ({len(points)},), got {one.shape}")
        if len(kinds) > most:
            raise ValueError(f"{name}: {len(kinds)} groups, at most {most} can be told")
        groups.append((one, kinds))
    (coloured, hues), (shaped, kinds) = groups
    canvas = blank(6.0, 5.0, extra="cxr")
    axes = canvas.subplots()
    for hue, colour in zip(hues, COLOURS, strict=False):
        for kind, marker in zip(kinds, _MARKERS, strict=False):
            rows = (coloured == hue) & (shaped == kind)
            if rows.any():
                label = f"{hue}, {kind}" if kind else hue
                axes.scatter(
                    *points[rows].T, s=18, c=colour, marker=marker, alpha=0.7,
                    linewidths=0, label=f"{label} ({rows.sum()})",
                )  # fmt: skip
    axes.set(title=title, xlabel=note, xticks=[], yticks=[])
    canvas.legend(loc="outside right upper", frameon=False, fontsize=8)
    return canvas
