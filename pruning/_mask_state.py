"""Reading and replacing the masks inside any nest of optimizer states."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from pruning import _packed, _transform
from pruning._prune import PruneState
from pruning._transform import pure
from pruning.masks import apply_mask, full_mask
from synaptax.checks import check_boolean
from synaptax.typing import PyTree


def _is_prune_state(node: Any) -> bool:
    return isinstance(node, PruneState)


def _is_untyped(node: Any) -> bool:
    """Say whether a node is a prune state restored without a template: a dict."""
    return isinstance(node, dict) and "prune_masks" in node


def masks_of(opt_state: Any) -> PyTree:
    """Return the masks held anywhere in an optimizer state.

    Args:
        opt_state: the state of any nest of transforms with :func:`prune` or
            :func:`pruned` in it; an ``nnx.Optimizer``'s ``opt_state`` too, and a state
            that was restored without a template, as dicts and lists.

    Returns:
        A boolean tree like the parameters. If several pruning transforms hold masks
        (``optax.partition``), their masks are joined; where two hold the same leaf, a
        weight is kept if both keep it. A leaf that no pruning transform sees, inside
        :func:`optax.masked`, stays an :class:`optax.MaskedNode`.

    Raises:
        ValueError: if no state holds masks.

    Example:
        >>> tx = optax.chain(optax.sgd(0.1), pruning.prune(pruning.one_shot(0, 0.5)))
        >>> params = {"w": jnp.array([[1.0, 2.0]])}
        >>> _, state = tx.update({"w": jnp.zeros((1, 2))}, tx.init(params), params)
        >>> pruning.masks_of(state)["w"].tolist()
        [[False, True]]
    """
    trees = []
    for node in jax.tree.leaves(
        opt_state, is_leaf=lambda node: _is_prune_state(node) or _is_untyped(node)
    ):
        if _is_prune_state(node):
            trees.append(_packed.unpacked(pure(node.prune_masks)))
        elif _is_untyped(node):
            trees.append(_packed.unpacked(node["prune_masks"]))
    if not trees:
        raise ValueError(
            "opt_state: no masks found; is prune or pruned among the transforms?"
        )
    return functools.reduce(_join, trees)


def _join(first: Any, second: Any) -> Any:
    """Join two mask trees: either may have a hole where the other has a subtree."""
    if _transform.is_masked(first):
        return second
    if _transform.is_masked(second):
        return first
    # One level at a time: a hole may stand where the other tree has a whole subtree.
    branches, structure = jax.tree.flatten(first, is_leaf=lambda x: x is not first)
    if jax.tree_util.treedef_is_leaf(structure):
        return jnp.logical_and(first, second)
    others = jax.tree.leaves(second, is_leaf=lambda x: x is not second)
    nodes = [_join(one, two) for one, two in zip(branches, others, strict=True)]
    return jax.tree.unflatten(structure, nodes)


def with_masks(opt_state: Any, masks: PyTree) -> Any:
    """Return an optimizer state with its masks replaced.

    The weights follow at the next update. Weights outside the new masks go to zero
    then, and with ``regrow=False`` stay there.

    Args:
        opt_state: as for :func:`masks_of`.
        masks: boolean tree like the parameters, True = kept.

    Returns:
        A state like ``opt_state``.

    Raises:
        ValueError: if no state holds masks, or naming the leaf of ``masks`` that is
            missing, unexpected, of another shape or not boolean.

    Example:
        >>> tx = optax.chain(optax.sgd(0.1), pruning.prune(pruning.manual()))
        >>> state = tx.init({"w": jnp.ones((1, 2))})
        >>> state = pruning.with_masks(state, {"w": jnp.array([[True, False]])})
        >>> pruning.masks_of(state)["w"].tolist()
        [[True, False]]
    """
    if any(map(_is_untyped, jax.tree.leaves(opt_state, is_leaf=_is_untyped))):
        raise ValueError(
            "opt_state: this is a state restored without a template, which no "
            "transform can use; restore it into tx.init(params)"
        )
    current = masks_of(opt_state)
    replacement = pure(masks)
    check_boolean(replacement, "masks")
    _transform.like(current, replacement, argument="masks")

    def replace(node: Any) -> Any:
        if not _is_prune_state(node):
            return node
        old = node.prune_masks
        bools = _packed.unpacked(pure(old))
        new = _transform.like(bools, replacement, argument="masks")
        if any(leaf.dtype != bool for leaf in jax.tree.leaves(old)):
            new = _packed.packed(new)
        # Copies: masks shared with another state, or within one, cannot be donated.
        leaves = [jnp.array(leaf, copy=True) for leaf in jax.tree.leaves(new)]
        return node._replace(
            prune_masks=jax.tree.unflatten(jax.tree.structure(old), leaves)
        )

    return jax.tree.map(replace, opt_state, is_leaf=_is_prune_state)


def rewind(
    tx: optax.GradientTransformation, earlier: PyTree, masks: PyTree
) -> tuple[PyTree, Any]:
    """Return earlier weights under later masks, and a fresh state that holds these.

    A lottery ticket: keep the parameters of the start, or of any epoch, prune, and go
    on from here.

    Args:
        tx: the chain that trains on, as a rule with ``prune(manual())``: a schedule
            begins anew, its first step at the first update.
        earlier: parameters of the epoch that is taken up again.
        masks: boolean tree, True = kept; :func:`masks_of` of the pruned network's
            state.

    Returns:
        ``(params, opt_state)``: the weights, exactly 0 where pruned, and the state of
        ``tx`` for them, its moments fresh.

    Raises:
        ValueError: if masks and parameters do not fit, or ``tx`` holds no masks.

    Reference:
        Frankle and Carbin, The lottery ticket hypothesis, arXiv 1803.03635; rewinding
        to an early epoch: Frankle et al., arXiv 1903.01611.

    Example:
        >>> tx = optax.chain(optax.sgd(0.1), pruning.prune(pruning.manual()))
        >>> first = {"w": jnp.array([[1.0, 2.0]])}
        >>> params, state = pruning.rewind(tx, first, {"w": jnp.array([[True, False]])})
        >>> params["w"].tolist(), pruning.masks_of(state)["w"].tolist()
        ([[1.0, 0.0]], [[True, False]])
    """
    if _transform.has_holes(masks):  # what no pruning transform sees is kept
        masks = _join(masks, full_mask(earlier))
    params = apply_mask(earlier, masks)
    return params, with_masks(tx.init(params), masks)
