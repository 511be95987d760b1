"""An optimizer inside pruning: pruned weights leave no trace in its state."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

from pruning import _packed, _transform
from pruning._prune import PruneState, prune
from synaptax.typing import PyTree


class PrunedState(NamedTuple):
    """The state of :func:`pruned`.

    Attributes:
        pruned_inner: the inner transform's state.
        pruned_prune: the :class:`PruneState`.
    """

    pruned_inner: Any
    pruned_prune: PruneState


_OTHER_LAYOUT = (
    "the state of inner is not laid out like the parameters (optax.flatten, "
    "optax.lookahead), so that its moments of pruned weights cannot be told; write "
    "optax.chain(inner, prune(...)) instead"
)


@_transform.injectable()
def pruned(
    inner: optax.GradientTransformation, schedule: Any, **options: Any
) -> optax.GradientTransformationExtraArgs:
    """Wrap an optimizer so that pruned weights leave no trace in it.

    Gradients of pruned weights are masked on the way in, updates are projected on
    the way out as :func:`prune` does, and the inner state's moments of pruned
    weights are zero, so that a weight that returns starts afresh.

    Args:
        inner: any optax transform, a whole optimizer as a rule.
        schedule: from :mod:`pruning.schedules`.
        **options: those of :func:`prune`. A score that names ``grads`` gets the
            gradients as they came, unmasked.

    Returns:
        A transform whose state is a :class:`PrunedState`; extra arguments reach the
        inner transform and the score.

    Raises:
        ValueError: as :func:`prune`; in ``update``, if the inner state is not laid out
            like the parameters (``optax.flatten``, ``optax.lookahead``).

    Example:
        >>> tx = pruning.pruned(optax.sgd(0.1, momentum=0.9), pruning.one_shot(0, 0.5))
        >>> params = {"w": jnp.array([[1.0, -2.0], [3.0, 0.5]])}
        >>> grads = {"w": jnp.zeros((2, 2))}
        >>> updates, state = tx.update(grads, tx.init(params), params)
        >>> optax.apply_updates(params, updates)["w"].tolist()
        [[0.0, -2.0], [3.0, 0.0]]
    """
    inner = _transform.with_extra(inner, "pruned")
    pruner = prune(schedule, **options)

    def init(params: PyTree) -> Any:
        if isinstance(params, optax.LookaheadParams):
            raise ValueError(f"pruned: {_OTHER_LAYOUT}")
        return PrunedState(inner.init(params), cast(PruneState, pruner.init(params)))

    def update(
        updates: PyTree, state: Any, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, Any]:
        params = _transform.need_params(params, "pruned", state, PrunedState, updates)
        _transform.check_state(state.pruned_prune, PruneState, "pruned")
        current = _packed.unpacked(state.pruned_prune.prune_masks)
        before = _transform.like(params, current, argument="prune_masks")
        grads = jax.tree.map(
            lambda g, m: jnp.where(m, g, jnp.zeros_like(g)), updates, before
        )
        steps, moments = inner.update(grads, state.pruned_inner, params, **extra)
        arguments = {"grads": updates, **extra}
        result, new = pruner.update(steps, state.pruned_prune, params, **arguments)
        prune_state = cast(PruneState, new)
        masks = _packed.unpacked(prune_state.prune_masks)
        moments = cleared(inner, moments, masks, "pruned")
        return result, PrunedState(moments, prune_state)

    return optax.GradientTransformationExtraArgs(init, update)


def cleared(inner: Any, state: Any, masks: PyTree, transform: str) -> Any:
    """Zero what the inner state holds for pruned weights."""

    def leaf(moment: Any, mask: Any) -> Any:
        # A leaf of another shape (a count, a factored moment)
        # has no entry for each weight.
        fits = getattr(moment, "shape", None) == getattr(mask, "shape", None)
        if _transform.is_masked(moment) or _transform.is_masked(mask) or not fits:
            return moment
        return jnp.where(mask, moment, jnp.zeros_like(moment))

    try:
        return optax.tree.map_params(
            inner, leaf, state, masks, is_leaf=_transform.is_masked
        )
    except Exception as error:
        raise ValueError(f"{transform}: {_OTHER_LAYOUT}") from error
