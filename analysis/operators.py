r"""Curvature as a matrix that is only ever multiplied: Hessian, Gauss-Newton, Fisher.

An :class:`Operator` maps flat vectors to flat vectors. Each is the exact mean over a
data set, a batch at a time, a ragged last batch weighing as much as it has examples.
With a mask m it is v -> m * A(m * v): zero on pruned weights and what it was on the
surviving ones.

=========================  ==========================================================
:func:`hessian`            :math:`\nabla^2 L`, of any loss
:func:`gauss_newton`       :math:`E[J^T \nabla^2_y \ell\, J]`, drops the network's own
                           curvature; positive semi-definite for a convex loss
:func:`hessian_rest`       Hessian - Gauss-Newton, the network's own curvature
:func:`fisher`             :math:`E[J^T F J]`, F the Fisher information of the outputs
                           under the model's own distribution ("true" Fisher); equal
                           to Gauss-Newton for softmax cross-entropy
:func:`empirical_fisher`   :math:`E[g g^T]`, g the gradient at the given labels; not
                           the Fisher, and zero at zero gradients
=========================  ==========================================================

Batch-norm: let the loss or ``apply_fn`` close over the running statistics and run in
evaluation mode, so that an example's loss depends on no other. In training mode the
mean over batches is not the curvature of the mean loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from analysis._products import (
    EmpiricalFisher,
    Fisher,
    GaussNewton,
    Hessian,
    Rest,
)
from analysis._sets import at_least, check_pair, mean_over, size_of
from synaptax.checks import check_boolean, check_choice
from synaptax.trees import check_same_structure, named_leaves, with_arrays
from synaptax.typing import Array, PyTree

LIKELIHOODS = ("categorical", "bernoulli", "gaussian")


class Operator(NamedTuple):
    """A symmetric matrix that is only multiplied.

    Attributes:
        matvec: flat (n,) -> flat (n,), as a :class:`jax.tree_util.Partial`: parameters
            and data are its leaves, so that what uses it compiles once for a loss.
        size: n, the number of weights, pruned ones included.
        unravel: flat (n,) -> tree like the parameters.
        mask: flat boolean (n,), True where a weight survives; None without a mask.
        matvecs_per_call: products over one batch that a call of ``matvec`` makes.
        dtype: of the vectors.

    Example:
        >>> loss = lambda w, x: 0.5 * jnp.mean((x @ w) ** 2)  # Hessian x^T x / N
        >>> x = jnp.diag(jnp.array([1.0, 2.0]))
        >>> operator = analysis.hessian(loss, jnp.ones(2), x)
        >>> operator.size, operator.matvec(jnp.array([1.0, 1.0])).tolist()
        (2, [0.5, 2.0])
    """

    matvec: Callable[[Array], Array]
    size: int
    unravel: Callable[[Array], PyTree]
    mask: Array | None
    matvecs_per_call: int
    dtype: Any


def from_matvec(
    matvec: Callable[[Array], Array],
    size: int,
    *,
    dtype: Any = jnp.float32,
    mask: Array | None = None,
) -> Operator:
    """Make an operator of any function of a flat vector.

    Args:
        matvec: (n,) -> (n,), linear and symmetric; with a mask, zero where it is
            False. A :class:`jax.tree_util.Partial` keeps its arrays out of what is
            compiled.
        size: n, at least 1.
        dtype: of the vectors.
        mask: optional flat boolean (n,).

    Raises:
        ValueError: for a size below 1, or a mask that is not boolean of shape (n,).
    """
    at_least(1, size=size)
    if mask is not None:
        check_boolean(mask)
        if mask.shape != (size,):
            raise ValueError(f"mask: expected shape ({size},), got {mask.shape}")
    # A Partial is a pytree that jit takes as an argument; a bare function is static in
    # it, and compiles anew for each new function object.
    if not isinstance(matvec, jax.tree_util.Partial):
        matvec = jax.tree_util.Partial(matvec)
    return Operator(matvec, size, lambda flat: flat, mask, 1, jnp.dtype(dtype))


def hessian(
    loss: Callable[[PyTree, Any], Array],
    params: PyTree,
    data: PyTree,
    *,
    batch: int = 500,
    mask: PyTree | None = None,
    weight: Callable[[Any], Any] | None = None,
) -> Operator:
    """Return the Hessian of the mean loss over a data set.

    Args:
        loss: ``(params, batch) -> scalar``, the mean over the batch's examples.
        params: tree of float32 or float64, one of them throughout.
        data: tree of arrays with a leading axis of N examples.
        batch: examples at a time.
        mask: optional boolean tree like ``params``.
        weight: ``batch -> scalar``, what a batch's mean weighs in the mean over the
            set: its number of examples by default. A loss that divides by a sum over
            the batch (class weights, tokens that are no padding) needs that sum, or
            the result depends on ``batch``.

    Raises:
        ValueError: for parameters of other or mixed dtypes, data without a
            common leading axis, or a mask of another structure (naming the leaf).

    Example:
        >>> loss = lambda w, x: 0.5 * jnp.mean((x @ w) ** 2)  # Hessian x^T x / N
        >>> x = jnp.array([[1.0, 0.0], [0.0, 2.0]])
        >>> mask = jnp.array([True, False])  # the second weight is pruned
        >>> operator = analysis.hessian(loss, jnp.array([1.0, 0.0]), x, mask=mask)
        >>> operator.matvec(jnp.ones(2)).tolist()
        [0.5, 0.0]
    """
    return _operator(Hessian(loss), params, data, batch, mask, weight)


def gauss_newton(
    apply_fn: Callable[[PyTree, Any], Array],
    loss: Callable[[Array, Any], Array],
    params: PyTree,
    data: tuple[Any, Any],
    *,
    batch: int = 500,
    mask: PyTree | None = None,
    weight: Callable[[Any], Any] | None = None,
) -> Operator:
    """Return the generalised Gauss-Newton matrix of the mean loss.

    Args:
        apply_fn: ``(params, x) -> y``.
        loss: ``(y, targets) -> scalar``, the mean over the batch's examples.
        params: see :func:`hessian`, as the rest.
        data: ``(x, targets)``.
        batch: as there.
        mask: as there.
        weight: as there.

    Example:
        >>> square = lambda y, target: 0.5 * jnp.mean((y - target) ** 2)
        >>> data = jnp.diag(jnp.array([1.0, 2.0])), jnp.zeros(2)
        >>> apply_fn = lambda w, x: x @ w
        >>> operator = analysis.gauss_newton(apply_fn, square, jnp.ones(2), data)
        >>> operator.matvec(jnp.ones(2)).tolist()
        [0.5, 2.0]
    """
    return _operator(GaussNewton(apply_fn, loss), params, data, batch, mask, weight)


def hessian_rest(
    apply_fn: Callable[[PyTree, Any], Array],
    loss: Callable[[Array, Any], Array],
    params: PyTree,
    data: tuple[Any, Any],
    *,
    batch: int = 500,
    mask: PyTree | None = None,
    weight: Callable[[Any], Any] | None = None,
) -> Operator:
    r"""Return what the Hessian has beside Gauss-Newton: the network's own curvature.

    .. math:: \nabla^2 L = E[J^T \nabla^2_y \ell\, J]
        + E\Big[\sum_k \frac{\partial \ell}{\partial y_k} \nabla^2 y_k\Big]

    The second term, computed by itself and not as a difference. It vanishes where the
    outputs fit; of a leaf in which the network is piecewise linear, as each layer of a
    ReLU network, the diagonal block does, not the blocks between leaves.

    Args:
        apply_fn: as :func:`gauss_newton`, as the rest.
        loss: as there.
        params: as there.
        data: as there.
        batch: as there.
        mask: as there.
        weight: as there.

    Reference:
        Schraudolph, Fast curvature matrix-vector products for second-order gradient
        descent, Neural Computation 14 (2002).

    Example:
        >>> square = lambda y, target: 0.5 * jnp.mean((y - target) ** 2)
        >>> data = jnp.ones((1, 1)), jnp.zeros(1)
        >>> apply_fn = lambda w, x: w[0] * x[:, 0] * w[1]  # y = w_0 w_1
        >>> rest = analysis.hessian_rest(apply_fn, square, jnp.array([2.0, 3.0]), data)
        >>> rest.matvec(jnp.array([1.0, 0.0])).tolist()  # y d2y/dw0 dw1
        [0.0, 6.0]
    """
    return _operator(Rest(apply_fn, loss), params, data, batch, mask, weight)


def fisher(
    apply_fn: Callable[[PyTree, Any], Array],
    params: PyTree,
    data: tuple[Any, Any],
    *,
    likelihood: str = "categorical",
    batch: int = 500,
    mask: PyTree | None = None,
) -> Operator:
    """Return the true Fisher: expectation over the model's own labels, in closed form.

    Args:
        apply_fn: ``(params, x) -> y`` of shape (B, C).
        params: see :func:`hessian`, as the rest.
        data: ``(x, targets)``; the targets are not used.
        likelihood: what y parametrises: ``"categorical"`` logits, ``"bernoulli"``
            logits (independent), or the mean of a ``"gaussian"`` of unit variance.
        batch: as there.
        mask: as there.

    Raises:
        ValueError: for an unknown likelihood, and as :func:`hessian` does.

    Example:
        >>> x, label = jnp.eye(2), jnp.arange(2)
        >>> apply_fn = lambda w, x: x @ w
        >>> operator = analysis.fisher(apply_fn, jnp.zeros((2, 2)), (x, label))
        >>> unit = jnp.array([1.0, 0.0, 0.0, 0.0])
        >>> operator.matvec(unit).tolist()  # (diag(p) - p p^T) / 2
        [0.125, -0.125, 0.0, 0.0]
    """
    check_choice("likelihood", likelihood, LIKELIHOODS)
    return _operator(Fisher(apply_fn, likelihood), params, data, batch, mask)


def empirical_fisher(
    losses: Callable[[PyTree, Any], Array],
    params: PyTree,
    data: PyTree,
    *,
    batch: int = 500,
    mask: PyTree | None = None,
) -> Operator:
    """Return the mean outer product of the gradients of single examples.

    Args:
        losses: ``(params, batch) -> (B,)``, one loss an example.
        params: see :func:`hessian`, as the rest.
        data: as there.
        batch: as there.
        mask: as there.

    Example:
        >>> losses = lambda w, x: 0.5 * (x @ w) ** 2  # (B,), gradients (x w) x
        >>> operator = analysis.empirical_fisher(losses, jnp.ones(2), 2 * jnp.eye(2))
        >>> operator.matvec(jnp.ones(2)).tolist()
        [8.0, 8.0]
    """
    return _operator(EmpiricalFisher(losses), params, data, batch, mask)


@dataclasses.dataclass(frozen=True)
class _Product:
    """A matrix-vector product of flat vectors, over a data set."""

    over_batch: Callable[[PyTree, Any, PyTree], PyTree]
    batch: int
    weight: Callable[[Any], Any] | None = None

    def __call__(
        self, params: PyTree, data: PyTree, mask: Array | None, v: Array
    ) -> Array:
        unravel = ravel_pytree(params)[1]
        # v -> m * A(m * v), flat (n,): masked on both sides, for A m alone is not
        # symmetric.
        direction = unravel(masked(v, mask))
        one = lambda part: self.over_batch(params, part, direction)
        mean = mean_over(one, data, self.batch, self.weight)
        return masked(ravel_pytree(mean)[0].astype(v.dtype), mask)


def masked(v: Array, mask: Array | None) -> Array:
    """Return v with zeros where the mask is False; v itself without a mask."""
    # A selection and not a product: 0 * NaN is NaN.
    return v if mask is None else jnp.where(mask, v, 0)


def _operator(
    over_batch: Any,
    params: PyTree,
    data: PyTree,
    batch: int,
    mask: PyTree | None,
    weight: Callable[[Any], Any] | None = None,
) -> Operator:
    if isinstance(over_batch, GaussNewton | Rest | Fisher):
        check_pair(data)
    if not (weight is None or callable(weight)):
        raise ValueError(
            f"weight: expected a function of a batch, got {type(weight).__name__}"
        )
    params = with_arrays(params)
    dtype = _one_dtype(params)
    flat, unravel = ravel_pytree(params)
    support = None
    if mask is not None:
        check_same_structure(params, mask, argument="mask")
        check_boolean(mask)
        support = ravel_pytree(mask)[0]
    at_least(1, batch=batch)
    # Rounded up: the ragged last batch takes a product too.
    batches = -(-size_of(data) // batch)
    matvec = jax.tree_util.Partial(
        _Product(over_batch, batch, weight), params, data, support
    )
    return Operator(matvec, flat.size, unravel, support, batches, dtype)


def _one_dtype(params: PyTree) -> Any:
    leaves = named_leaves(params)
    if not leaves:
        raise ValueError("params: expected at least one leaf")
    first, dtype = leaves[0][0], leaves[0][1].dtype
    for name, leaf in leaves:
        if leaf.dtype not in (jnp.float32, jnp.float64):
            raise ValueError(
                f"params: leaf {name} is {leaf.dtype}, expected float32 or float64"
            )
        # One dtype throughout: flattening would promote mixed leaves without a word.
        if leaf.dtype != dtype:
            raise ValueError(
                f"params: leaf {name} is {leaf.dtype}, expected {dtype} like {first}"
            )
    return dtype
