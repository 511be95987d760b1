"""Keep magnetisations where they may be: in the cube, and on a sphere if asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax import lax

from binary._checks import number
from synaptax.checks import wide_dtype
from synaptax.typing import Array, PyTree

# Each round saturates more entries or ends: a few do; this only bounds the loop.
_ROUNDS = 50
_SMALL = 1e-30  # keeps the scale, and its square, finite where m is 0


class ProjectMagnetisationsState(NamedTuple):
    """The state of :func:`project_magnetisations`.

    Attributes:
        project_magnetisations_count: int32, updates done.
    """

    project_magnetisations_count: Array


def project_magnetisations(
    overlap: float | Callable[[Array], Any] | None = None,
) -> optax.GradientTransformation:
    r"""Project parameters that are means of binary weights; put it last in a chain.

    Each leaf m becomes clip(m + u, -1, 1); with ``overlap`` it is then scaled to the
    self-overlap asked for, as :func:`rescale` says. The update returned is the
    difference, so that ``optax.apply_updates`` lands on the projection to rounding.
    Where a tree holds other leaves too, such as biases, wrap it in ``optax.masked``.

    Args:
        overlap: None, q* in [0, 1), or a schedule of the update count.

    Returns:
        A transform; its ``update`` needs ``params``.

    Raises:
        ValueError: for a q* outside [0, 1); in ``update``, if ``params`` is missing.

    Example:
        >>> tx = optax.chain(optax.scale(0.3), binary.project_magnetisations())
        >>> m = {"m": jnp.array([0.9, 0.0])}
        >>> updates, _ = tx.update({"m": jnp.array([1.0, 1.0])}, tx.init(m), m)
        >>> [round(float(v), 2) for v in optax.apply_updates(m, updates)["m"]]
        [1.0, 0.3]
    """
    if overlap is not None and not callable(overlap):
        expected = "a self-overlap in [0, 1)"
        overlap = number("overlap", overlap, expected, lambda q: 0 <= q < 1)

    def init(params: PyTree) -> ProjectMagnetisationsState:
        del params
        return ProjectMagnetisationsState(jnp.zeros((), jnp.int32))

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None
    ) -> tuple[PyTree, ProjectMagnetisationsState]:
        if params is None:
            raise ValueError(
                "project_magnetisations: params is missing; call "
                "update(updates, state, params)"
            )
        count = state.project_magnetisations_count

        def leaf(update: Array, m: Array) -> Array:
            for name, dtype in (("updates", update.dtype), ("params", m.dtype)):
                if not jnp.issubdtype(dtype, jnp.floating):  # integers would round
                    raise ValueError(f"{name}: expected floating leaves, got {dtype}")
            moved = clip(m + update.astype(m.dtype))
            if overlap is not None:
                target = overlap(count) if callable(overlap) else overlap
                if jnp.shape(target):
                    raise ValueError(
                        "overlap: expected a schedule that gives a scalar, got shape "
                        f"{jnp.shape(target)}"
                    )
                moved = rescale(moved, jnp.asarray(target).astype(m.dtype))
            return (moved - m).astype(update.dtype)

        successor = ProjectMagnetisationsState(cast(Array, optax.safe_increment(count)))
        return jax.tree.map(leaf, updates, params), successor

    return optax.GradientTransformation(init, update)


def clip(m: Array) -> Array:
    """Return m clipped to [-1, 1]."""
    return jnp.clip(m, -1, 1)


def rescale(m: Array, overlap: Array) -> Array:
    r"""Return clip(c m) with the c that makes its self-overlap ``overlap``.

    The entries that c takes to the cube's faces are found by iteration: with n of them,

    .. math:: c^2 = (q^* N - n) / \sum_{|c m_i| < 1} m_i^2

    which ends after a few rounds. An m of zeros stays; with entries that are zero the
    overlap reached may be less than asked.

    Args:
        m: in [-1, 1].
        overlap: q* in [0, 1].
    """
    dtype = m.dtype
    m = m.astype(wide_dtype(dtype, jnp.float32))  # q* N leaves the range of float16
    squares = jnp.square(m)
    norm = jnp.asarray(overlap, m.dtype) * m.size

    def scale(saturated: Array) -> Array:
        rest = jnp.sum(jnp.where(saturated, 0, squares))
        count = jnp.sum(saturated, dtype=m.dtype)
        return jnp.sqrt(jnp.maximum(norm - count, 0) / jnp.maximum(rest, _SMALL))

    def beyond(c: Array) -> Array:
        return jnp.square(c) * squares >= 1

    def more(carry: tuple[Array, Array, Array]) -> Array:
        rounds, before, c = carry
        return (rounds < _ROUNDS) & jnp.any(beyond(c) & ~before)

    def again(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        rounds, before, c = carry
        now = beyond(c) | before
        return rounds + 1, now, scale(now)

    # Saturated entries only grow in number: scale() at none gives a lower bound of c.
    none = jnp.zeros(m.shape, bool)
    start = (jnp.zeros((), jnp.int32), none, scale(none))
    _, saturated, c = lax.while_loop(more, again, start)
    # Saturated entries are +-1 exactly, not to rounding.
    return jnp.where(saturated, jnp.sign(m), clip(c * m)).astype(dtype)
