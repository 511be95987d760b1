"""The gradient of the post-synaptic-potential penalty, as an optax transform."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from pruning import _transform
from pruning._neurons import check_kinds
from pruning._nonlinear import KINDS
from pruning._preactivations import preactivations
from pruning._varying import mean_over, varying_axes
from pruning.psp import psp_penalty
from synaptax.checks import wide_dtype
from synaptax.typing import Array, PyTree


class PSPState(NamedTuple):
    """The state of :func:`psp_regularization`.

    Attributes:
        psp_count: int32, updates done.
    """

    psp_count: Array


def inputs_of(batch: Any) -> Any:
    """Return what a network reads of a batch: its ``image``, or the batch itself."""
    if hasattr(batch, "image"):
        return batch.image
    if isinstance(batch, dict) and "image" in batch:
        return batch["image"]
    return batch


@_transform.injectable("weight")
def psp_regularization(
    apply_fn: Callable[..., Any],
    weight: Any,
    *,
    normalization: str = "layer-mean",
    nonlinearities: Collection[str] = KINDS,
    logits: bool | Callable[[Any], Array] = True,
    local: bool = False,
    include: Collection[str] = (),
    exclude: Collection[str] = (),
) -> optax.GradientTransformationExtraArgs:
    r"""Add the gradient of the post-synaptic-potential penalty.

    .. math:: g \leftarrow g + \gamma \, \partial R / \partial w

    Put it before the optimizer: like the loss, the penalty is scaled by the learning
    rate. It makes a forward and a backward pass of its own;
    :func:`pruning.psp.with_psp` shares those of the loss, where the loop can be
    changed.

    Args:
        apply_fn: ``(params, x) -> y``.
        weight: gamma >= 0, a number or a schedule of the update count.
        normalization: see :func:`pruning.psp.psp_penalty`.
        nonlinearities: see :func:`pruning.preactivations.preactivations`.
        logits: likewise.
        local: let each layer's penalty reach only its own parameters.
        include: see :func:`pruning.preactivations.preactivations`.
        exclude: likewise.

    Returns:
        A transform whose update is
        ``update(updates, state, params, *, batch=None, inputs=None, **ignored)``.
        x is ``inputs``, else the ``image`` of ``batch`` (an attribute or a key), else
        ``batch`` itself.

    Raises:
        ValueError: for a negative or NaN weight, an unknown normalization or
            non-linearity; in ``update``, naming a missing argument, or as
            :func:`pruning.preactivations.preactivations`.

    Reference:
        Tartaglione et al., Post-synaptic potential regularization has potential,
        arXiv 1907.08544.

    Example:
        >>> apply_fn = lambda w, x: jax.nn.relu(x @ w)
        >>> tx = optax.chain(pruning.psp_regularization(apply_fn, 0.1), optax.sgd(1.0))
        >>> w, x = jnp.ones((2, 1)), jnp.ones((4, 2))
        >>> updates, state = tx.update(jnp.zeros((2, 1)), tx.init(w), w, batch=x)
        >>> updates.shape, bool((updates < 0).all())  # the pre-activations shrink
        ((2, 1), True)
    """
    name = "psp_regularization"
    _transform.check_rate(weight, "weight")
    psp_penalty([jnp.zeros(1)], normalization=normalization)  # knows the names
    check_kinds(nonlinearities)
    tapped = preactivations(
        apply_fn,
        nonlinearities=nonlinearities,
        logits=logits,
        local=local,
        include=include,
        exclude=exclude,
    )

    def init(params: PyTree) -> Any:
        del params
        return PSPState(jnp.zeros([], jnp.int32))

    def penalty(params: PyTree, x: Any) -> Array:
        value = psp_penalty(tapped(params, x)[1], normalization=normalization)
        # Inside shard_map the slope by parameters that all devices share is summed
        # over them, so that R must be their mean.
        return mean_over(varying_axes(x) - varying_axes(params))(value)

    def update(
        updates: PyTree,
        state: Any,
        params: PyTree | None = None,
        *,
        batch: Any = None,
        inputs: Any = None,
        **extra: Any,
    ) -> tuple[PyTree, Any]:
        del extra
        params = _transform.need_params(params, name, state, PSPState, updates)
        views = "add the penalty to the loss instead, with pruning.with_psp"
        _transform.refuse_two_views(params, name, views)
        from_batch = inputs is None
        if from_batch:
            inputs = inputs_of(_transform.need("batch", batch, name))
        scale = _transform.rate_at(weight, state.psp_count)
        way = "put it before: chain(psp_regularization(...), optax.masked(...))"
        try:
            with _transform.holes_explained(params, name, way):
                slope = jax.grad(penalty)(params, inputs)
        except TypeError as error:
            form = jax.tree.map(jnp.shape, inputs)
            raise ValueError(
                f"psp_regularization: apply_fn(params, x) failed for x of shapes "
                f"{form}, taken from {'batch' if from_batch else 'inputs'}; pass "
                f"inputs=x, or a batch with an image: {error}"
            ) from error
        updates = jax.tree.map(lambda g, s: _add(g, s, scale), updates, slope)
        return updates, PSPState(_transform.increment(state.psp_count))

    return optax.GradientTransformationExtraArgs(init, update)


def _add(update: Array, slope: Array, weight: Any) -> Array:
    """Return g + gamma dR/dw for one leaf, in the update's dtype."""
    # In float32 at least: gamma dR/dw is far below g, and a half would lose it.
    wide = wide_dtype(update.dtype, slope.dtype, jnp.float32)
    more = jnp.asarray(weight).astype(wide) * slope.astype(wide)
    return (update.astype(wide) + more).astype(update.dtype)
