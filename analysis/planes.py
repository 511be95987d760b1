"""Planes through solutions, and the directions that span them."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from analysis.paths import combine, difference, widened
from pruning import weights_only
from pruning.masks import apply_mask
from pruning.selection import layer_axes
from synaptax.checks import check_key, wide_dtype
from synaptax.trees import check_same_structure, map_named, with_arrays
from synaptax.typing import Array, Key, PyTree


class Plane(NamedTuple):
    """A plane in the space of parameters.

    Attributes:
        origin: the parameters at (0, 0).
        right: the first direction, a tree like ``origin``; a unit of the first
            coordinate is its whole length.
        up: the second direction, likewise.

    Example:
        >>> right, up = jnp.eye(2)
        >>> plane = analysis.Plane(jnp.zeros(2), right, up)
        >>> plane.at(jnp.array([0.5, 2.0])).tolist()
        [0.5, 2.0]
    """

    origin: PyTree
    right: PyTree
    up: PyTree

    def at(self, place: Any) -> PyTree:
        """Return origin + a right + b up at ``place`` = (a, b)."""
        if np.shape(place) != (2,):
            raise ValueError(
                f"place: expected two coordinates, got shape {np.shape(place)}; the "
                "places of a plane have shape (n, 2)"
            )
        return combine((1, place[0], place[1]), (self.origin, self.right, self.up))


def random_direction(key: Key[Array, ""], like: PyTree, *, mask: Any = None) -> PyTree:
    """Return a tree of standard normal values like ``like``.

    Args:
        key: a typed PRNG key.
        like: tree of floating arrays that sets structure, shapes and dtypes.
        mask: optional boolean tree; the direction is 0 where it is False.

    Returns:
        A tree like ``like``; a leaf of integers is no direction, and 0.

    Raises:
        ValueError: if the mask does not fit, or for no key.

    Example:
        >>> like, mask = {"w": jnp.ones((2, 3))}, {"w": jnp.eye(2, 3, dtype=bool)}
        >>> step = analysis.random_direction(jax.random.key(0), like, mask=mask)
        >>> step["w"].shape, int((step["w"] != 0).sum())
        ((2, 3), 2)
    """
    check_key(key)
    leaves, structure = jax.tree.flatten(with_arrays(like))
    keys = jax.random.split(key, max(len(leaves), 1))
    # A key for each leaf: with one key leaves of one shape would be equal.
    noise = [
        jax.random.normal(keys[i], leaf.shape, leaf.dtype)
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
        else jnp.zeros_like(leaf)
        for i, leaf in enumerate(leaves)
    ]
    direction = jax.tree.unflatten(structure, noise)
    return direction if mask is None else apply_mask(direction, mask)


def orthogonal(direction: PyTree, other: PyTree) -> PyTree:
    """Return the part of a direction that is orthogonal to another, not zero."""
    # d - o <d, o> / <o, o>
    share = _inner(direction, other) / _inner(other, other)
    return combine((1, -share), (direction, other))


def _inner(one: PyTree, other: PyTree) -> Array:
    """Return the inner product; of complex weights, that of their two parts."""
    return jnp.real(optax.tree.vdot(widened(one), widened(other)))


def filter_normalised(
    direction: PyTree, params: PyTree, *, filter_axis: int = -1
) -> PyTree:
    r"""Scale a direction so that each filter has the norm of the network's own.

    .. math:: d_f \leftarrow d_f \, \|w_f\| / \|d_f\|

    A filter is what one output unit of a kernel receives; of stacked layers
    (``nn.scan``) each has its own. In biases and scales, as
    :func:`pruning.weights_only` tells them, and in leaves of one axis or none the
    direction becomes 0: they are few, and a random step along a batch-norm's scale
    says little.

    Args:
        direction: tree of arrays.
        params: tree of the same structure.
        filter_axis: the axis of a kernel that counts its output units: -1 in Flax and
            plain JAX, 0 in Equinox and PyTorch.

    Returns:
        A tree like ``direction``. A filter whose norm is 0 in either stays put.

    Raises:
        ValueError: if the structures or shapes differ, or for another axis.

    Reference:
        Li et al., Visualizing the loss landscape of neural nets, arXiv 1712.09913.

    Example:
        >>> step = {"w": jnp.ones((4, 2))}  # two units of four weights
        >>> params = {"w": jnp.array([[3.0, 1.0]] * 4)}
        >>> scaled = analysis.filter_normalised(step, params)
        >>> jnp.linalg.norm(scaled["w"], axis=0).tolist()
        [6.0, 2.0]
    """
    check_same_structure(params, direction, argument="direction")
    if filter_axis not in (-1, 0):
        raise ValueError(f"filter_axis: expected -1 or 0, got {filter_axis}")

    direction, params = with_arrays(direction), with_arrays(params)
    stacks = jax.tree.unflatten(
        jax.tree.structure(params), layer_axes(params, [], None)
    )

    def leaf(path: str, step: Array, weight: Array, stack: int) -> Array:
        if weight.ndim < stack + 2 or not weights_only(path, weight):
            return jnp.zeros_like(step)
        wide = wide_dtype(jnp.abs(weight).dtype, jnp.float32)
        unit = weight.ndim - 1 if filter_axis else stack
        rest = tuple(axis for axis in range(stack, weight.ndim) if axis != unit)
        # float32 or wider: squares of a half overflow from 256 on.
        size = lambda a: jnp.abs(a).astype(wide)
        norm = lambda a: jnp.sqrt(jnp.sum(size(a) ** 2, rest, keepdims=True))
        own = norm(step)
        scale = jnp.where(own > 0, norm(weight) / jnp.where(own > 0, own, 1), 0)
        # A complex step stays complex; its scale is real.
        kind = wide_dtype(step.dtype, wide)
        return (step.astype(kind) * scale.astype(kind)).astype(step.dtype)

    return map_named(leaf, direction, params, stacks)


def plane_along(
    first: PyTree,
    second: PyTree,
    direction: PyTree,
    *,
    normalisation: str = "orthogonal",
) -> Plane:
    """Return the plane through two solutions and a third direction.

    Args:
        first: the solution at (0, 0).
        second: the solution at (1, 0).
        direction: the rough second axis, e.g. of :func:`random_direction`.
        normalisation: ``"orthogonal"``: made orthogonal to the line between the
            solutions and as long as it, so that the map's axes have one scale;
            ``"filter"``: :func:`filter_normalised` to ``first``, neither orthogonal
            nor of one scale: distances in the map are not those of the weights.

    Returns:
        A :class:`Plane`.

    Raises:
        ValueError: if a structure differs, the solutions are equal or the direction
            lies along the line between them, or the normalisation is unknown.

    Example:
        >>> first, second = jnp.zeros(3), jnp.array([2.0, 0.0, 0.0])
        >>> plane = analysis.plane_along(first, second, jnp.array([1.0, 1.0, 0.0]))
        >>> plane.up.tolist()
        [0.0, 2.0, 0.0]
    """
    check_same_structure(first, second, argument="second")
    check_same_structure(first, direction, argument="direction")
    if normalisation not in ("orthogonal", "filter"):
        raise ValueError(
            f"normalisation: expected 'orthogonal' or 'filter', got {normalisation!r}"
        )
    right, up, length, share = _frame(first, second, direction)
    if not float(length) > 0:
        raise ValueError("second: equal to first, so no line leads through both")
    if normalisation == "filter":
        return Plane(first, right, filter_normalised(direction, first))
    # What float32's rounding leaves of a direction along the line is no axis.
    if not float(share) > 1e-5:
        raise ValueError("direction: lies along the line between the solutions")
    return Plane(first, right, up)


def plane_through(first: PyTree, second: PyTree, third: PyTree) -> Plane:
    """Return the plane through three solutions, with axes of one scale.

    Args:
        first: the solution at (0, 0).
        second: the solution at (1, 0).
        third: the solution whose place :func:`locate` tells.

    Returns:
        A :class:`Plane` with orthogonal axes as long as ``second - first``.

    Raises:
        ValueError: if a structure differs or the three lie on one line.

    Reference:
        Garipov et al., Loss surfaces, mode connectivity, and fast ensembling of
        DNNs, arXiv 1802.10026 (their figure 1).

    Example:
        >>> first, second = jnp.zeros(3), jnp.array([2.0, 0.0, 0.0])
        >>> plane = analysis.plane_through(first, second, jnp.array([1.0, 1.0, 0.0]))
        >>> analysis.locate(plane, jnp.array([1.0, 1.0, 0.0]))
        (0.5, 0.5)
    """
    check_same_structure(first, second, argument="second")
    check_same_structure(first, third, argument="third")
    return plane_along(first, second, difference(third, first))


def locate(plane: Plane, params: PyTree) -> tuple[float, float]:
    """Return the coordinates of the point of a plane that is nearest to a solution.

    Args:
        plane: whose axes need not be orthogonal.
        params: the solution, a tree like the plane's origin.

    Raises:
        ValueError: if the structures differ, or the plane's axes are parallel.

    Example:
        >>> right, up = 2 * jnp.eye(2)
        >>> plane = analysis.Plane(jnp.zeros(2), right, up)
        >>> analysis.locate(plane, jnp.array([1.0, 3.0]))
        (0.5, 1.5)
    """
    check_same_structure(plane.origin, params, argument="params")
    # Least squares: [[r.r, r.u], [u.r, u.u]] (a, b)^T = (r.d, u.d)^T, d = w - origin.
    # Solved on the host, where a singular matrix is an error and not inf.
    gram, shares = jax.device_get(_products(plane, params))
    try:
        a, b = np.linalg.solve(gram, shares)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "plane: its axes are parallel or zero, so that a point has no coordinates"
        ) from error
    return float(a), float(b)


def grid(across: Any, upward: Any) -> Array:
    """Return all pairs of two lists of coordinates, shape (m n, 2), row by row.

    The first coordinate runs fastest: what is measured there reshapes to (m, n).

    Args:
        across: n values of the first coordinate.
        upward: m values of the second.

    Example:
        >>> analysis.grid([0.0, 1.0], [0.0, 5.0]).tolist()
        [[0.0, 0.0], [1.0, 0.0], [0.0, 5.0], [1.0, 5.0]]
    """
    b, a = jnp.meshgrid(jnp.asarray(upward), jnp.asarray(across), indexing="ij")
    return jnp.stack([a.ravel(), b.ravel()], axis=1)


@jax.jit
def _frame(
    first: PyTree, second: PyTree, direction: PyTree
) -> tuple[PyTree, PyTree, Array, Array]:
    """Return the axes, the length of the first and what share of the other is new."""
    right = difference(second, first)
    length = optax.tree.norm(right)
    # Twice: the first pass leaves rounding errors.
    direction = widened(direction)
    rest = orthogonal(orthogonal(direction, right), right)
    size = optax.tree.norm(rest)
    # As long as the line: u |r| / |u|.
    up = combine((length / size,), (rest,))
    return right, up, length, size / optax.tree.norm(direction)


@jax.jit
def _products(plane: Plane, params: PyTree) -> tuple[Array, Array]:
    """Return the axes' inner products with each other and with a solution's offset."""
    offset = difference(params, plane.origin)
    axes = (plane.right, plane.up)
    gram = jnp.stack([jnp.stack([_inner(a, b) for b in axes]) for a in axes])
    return gram, jnp.stack([_inner(a, offset) for a in axes])
