"""The batch-norm statistics of a point between solutions, in three ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from analysis._sets import at_least, mean_over, size_of
from analysis.paths import combine
from synaptax.checks import check_number
from synaptax.trees import check_same_structure
from synaptax.typing import Array, PyTree


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Fixed:
    """The same statistics at every point.

    Attributes:
        stats: tree of statistics, e.g. those of the first solution.

    Example:
        >>> fixed = analysis.Fixed({"mean": jnp.ones(3)})
        >>> fixed.at(jnp.array(0.3), None)["mean"].tolist()
        [1.0, 1.0, 1.0]
    """

    stats: PyTree

    def at(self, place: Array, params: PyTree) -> PyTree:
        """Return the statistics to use at a point."""
        del place, params
        return self.stats


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Interpolated:
    """Statistics mixed as the two solutions are.

    The share of the second is the first coordinate of the point, held to [0, 1] so
    that a mixed variance stays one.

    Attributes:
        first: statistics of the first solution.
        second: those of the second.

    Example:
        >>> first, second = {"var": jnp.ones(2)}, {"var": jnp.array([3.0, 5.0])}
        >>> mixed = analysis.Interpolated(first, second)
        >>> mixed.at(jnp.array(0.5), None)["var"].tolist()
        [2.0, 3.0]
    """

    first: PyTree
    second: PyTree

    def at(self, place: Array, params: PyTree) -> PyTree:
        """Return the statistics to use at a point."""
        del params
        check_same_structure(self.first, self.second, argument="second")
        share = jnp.clip(place.ravel()[0], 0, 1)
        return combine((1 - share, share), (self.first, self.second))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Recomputed:
    """Statistics measured anew at every point, as training-mode means over a set.

    Attributes:
        update: ``(params, stats, x) -> stats``, one step of the running average that
            the network keeps in training: momentum * stats + (1 - momentum) * those
            of the batch. Static.
        zeros: statistics of zeros, to begin from.
        x: inputs, leading axis N; the N % batch left over are not used.
        momentum: of the running average, in [0, 1); undone here, so that every batch
            counts alike. Static.
        batch: inputs at a time. Static.

    Example:
        >>> mean_of = lambda params, stats, x: {"mean": (x @ params).mean(axis=0)}
        >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> stats = analysis.Recomputed(mean_of, {"mean": jnp.zeros(2)}, x)
        >>> stats.at(jnp.array(0.3), jnp.eye(2))["mean"].tolist()
        [0.5, 0.5]
    """

    update: Callable[[PyTree, PyTree, Array], PyTree] = field(metadata={"static": True})
    zeros: PyTree
    x: Array
    momentum: float = field(default=0.0, metadata={"static": True})
    batch: int = field(default=500, metadata={"static": True})

    def __post_init__(self) -> None:
        """Check the numbers."""
        good = lambda share: 0 <= share < 1
        check_number("momentum", self.momentum, "a number in [0, 1)", good)
        at_least(1, batch=self.batch)

    def at(self, place: Array, params: PyTree) -> PyTree:
        """Return the mean over batches of the statistics of a batch."""
        del place
        count = size_of(self.x, "x")
        whole = self.x[: count - count % min(self.batch, count)]
        measured = mean_over(
            lambda x: self.update(params, self.zeros, x), whole, self.batch
        )
        # From zeros one update is (1 - momentum) times the batch's moments: undone
        # here.
        return jax.tree.map(
            lambda a, like: (a / (1 - self.momentum)).astype(like.dtype),
            measured,
            self.zeros,
        )


Statistics = Fixed | Interpolated | Recomputed
