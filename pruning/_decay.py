"""Decoupled weight decay, gated by how little the network feels a weight."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from pruning import _transform
from pruning._roles import check_prunable, leaves_of
from synaptax.checks import wide_dtype
from synaptax.trees import Prunable, named_leaves
from synaptax.typing import Array, PyTree


class SensitivityDecayState(NamedTuple):
    """The state of :func:`sensitivity_decay`.

    Attributes:
        sensitivity_decay_count: int32, updates done.
        sensitivity_decay_last: the last computed sensitivity, a tree like the
            parameters; None unless it is refreshed less often than every step.
    """

    sensitivity_decay_count: Array
    sensitivity_decay_last: PyTree | None


class LossSensitivityDecayState(NamedTuple):
    """The state of :func:`loss_sensitivity_decay`.

    Attributes:
        loss_sensitivity_decay_count: int32, updates done.
    """

    loss_sensitivity_decay_count: Array


def gated_decay(update: Array, weight: Array, sensitivity: Array, rate: Any) -> Array:
    """Return u - rate * w * max(0, 1 - S) for one leaf, in the update's dtype.

    This is the update rule of arXiv 1810.11764 with lambda = ``rate``, and of LOBSTER
    (arXiv 2011.09905) with |dL/dw| for S.
    """
    # In at least float32: rate * w is far below u, and half precision would lose it.
    wide = wide_dtype(update.dtype, weight.dtype, jnp.float32)
    # S is a modulus, hence real, where the weight is complex.
    real = jnp.finfo(wide).dtype
    sensitivity = lax.stop_gradient(sensitivity).astype(real)
    # No S is below 0: slopes with a sign, say, would decay more than the whole rate.
    insensitivity = _transform.nan_unless(
        sensitivity >= 0, jnp.maximum(1 - sensitivity, 0)
    )
    share = jnp.asarray(rate).astype(real) * insensitivity
    shrink = share.astype(wide) * weight.astype(wide)
    return (update.astype(wide) - shrink).astype(update.dtype)


def _decay_tree(
    updates: PyTree,
    params: PyTree,
    sensitivities: PyTree,
    rate: Any,
    prunable: Prunable,
) -> PyTree:
    results = [
        gated_decay(update, leaf.value, sensitivity, rate)
        if leaf.prunable and jnp.issubdtype(leaf.value.dtype, jnp.inexact)
        else update
        for leaf, update, sensitivity in zip(
            leaves_of(params, prunable),
            jax.tree.leaves(updates),
            jax.tree.leaves(sensitivities),
            strict=True,
        )
    ]
    return jax.tree.unflatten(jax.tree.structure(updates), results)


def _felt(params: PyTree, tree: PyTree, argument: str) -> PyTree:
    """Return S with the structure of the parameters, the same on all devices."""
    values = _transform.like(params, tree, argument=argument)
    for path, leaf in named_leaves(values):
        # S is a modulus; of raw gradients the modulus is still to be taken.
        if jnp.iscomplexobj(leaf) and argument != "grads":
            raise ValueError(
                f"{argument}: leaf {path} is {leaf.dtype}, expected real numbers >= 0"
            )
    way = "take the mean, lax.pmean, as pruning.sensitivity does by itself"
    _transform.check_shared(params, values, argument, way)
    return values


def _no_sensitivity(weight: Any) -> Array:
    """Return S = 0 in the real dtype of a weight."""
    real = jnp.abs(jnp.zeros((), jnp.result_type(weight))).dtype
    return jnp.zeros_like(weight, dtype=real)


def _check_refresh(refresh: Any, sensitivity_fn: Any) -> int:
    try:
        refresh = operator.index(refresh)
    except Exception as error:
        raise ValueError(
            "refresh: expected a static integer >= 1 (with optax.inject_hyperparams "
            "pass static_args='refresh')"
        ) from error
    if refresh < 1:
        raise ValueError(f"refresh: expected an integer >= 1, got {refresh}")
    if refresh > 1 and sensitivity_fn is None:
        raise ValueError("refresh: more than 1 needs sensitivity_fn to recompute with")
    return refresh


def _check_state_dtype(dtype: Any) -> None:
    try:
        floating = dtype is None or jnp.issubdtype(jnp.dtype(dtype), jnp.floating)
    except TypeError:
        floating = False
    if not floating:
        raise ValueError(f"state_dtype: expected a floating dtype, got {dtype!r}")


@_transform.injectable("rate")
def sensitivity_decay(
    rate: Any,
    *,
    sensitivity_fn: Callable[[PyTree, Any], PyTree] | None = None,
    refresh: Any = 1,
    prunable: Prunable | None = None,
    state_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Decay each weight by as much as the output does not depend on it.

    .. math:: u \leftarrow u - \lambda\, w \max(0, 1 - S)

    Put it after the learning rate: the decay is not scaled by it. S is held constant
    (no gradient flows through it). Where S or a traced rate is below 0, the update is
    NaN: what cannot be refused is to be seen.

    Args:
        rate: lambda >= 0, a number or a schedule of the update count.
        sensitivity_fn: optional ``(params, batch) -> S``; then ``update`` needs
            ``batch=``. Without it ``update`` needs ``sensitivity=``, a tree like the
            parameters. Inside :func:`optax.masked` the parameters have holes, so pass
            ``sensitivity=`` there, or use ``prunable`` instead.
        refresh: recompute S every so many updates and reuse it between; only with
            ``sensitivity_fn``. The state holds S only if this is more than 1.
        prunable: which leaves decay, a predicate on (path, leaf); every leaf, biases
            too, by default.
        state_dtype: the dtype of the S that is held between refreshes, that of its
            leaf by default. bfloat16 takes 2 bytes a weight instead of 4; it rounds S,
            and with it the decay, by 2**-9 at most.

    Returns:
        A transform whose update is
        ``update(updates, state, params, *, sensitivity=None, batch=None, **ignored)``.

    Raises:
        ValueError: for a negative or NaN rate, or a refresh that is not a static
            integer >= 1; in ``update``, naming a missing argument or a leaf of S that
            does not fit.

    Reference:
        Tartaglione et al., Learning sparse neural networks via sensitivity-driven
        regularization, arXiv 1810.11764, update rule.

    Example:
        >>> tx = optax.chain(optax.sgd(0.1), pruning.sensitivity_decay(0.5))
        >>> params, zero = {"w": jnp.array([[1.0, 1.0]])}, {"w": jnp.zeros((1, 2))}
        >>> S = {"w": jnp.array([[0.0, 2.0]])}  # only the second is felt
        >>> updates, state = tx.update(zero, tx.init(params), params, sensitivity=S)
        >>> updates["w"].tolist()
        [[-0.5, -0.0]]
    """
    name = "sensitivity_decay"
    _transform.check_rate(rate)
    if not (sensitivity_fn is None or callable(sensitivity_fn)):
        raise ValueError(
            "sensitivity_fn: expected a function (params, batch) -> tree, got "
            f"{sensitivity_fn!r}"
        )
    _check_state_dtype(state_dtype)
    refresh = _check_refresh(refresh, sensitivity_fn)
    decays = _transform.every_leaf if prunable is None else prunable
    check_prunable(decays)

    def init(params: PyTree) -> Any:
        last = jax.tree.map(_no_sensitivity, params) if refresh > 1 else None
        if last is not None and state_dtype is not None:
            last = jax.tree.map(lambda s: s.astype(state_dtype), last)
        return SensitivityDecayState(jnp.zeros([], jnp.int32), last)

    def computed(params: PyTree, batch: Any) -> PyTree:
        assert sensitivity_fn is not None
        views = "pass sensitivity=LookaheadParams(S, S) instead of sensitivity_fn"
        _transform.refuse_two_views(params, name, views)
        # S is a constant of the rule: a derivative through
        # the update has no dS/dw in it.
        weights = jax.tree.map(lax.stop_gradient, params)
        way = "pass sensitivity= instead of sensitivity_fn, or use prunable= instead"
        with _transform.holes_explained(params, name, way):
            values = sensitivity_fn(weights, batch)
        return _felt(params, values, "sensitivity_fn(params, batch)")

    def update(
        updates: PyTree,
        state: Any,
        params: PyTree | None = None,
        *,
        sensitivity: PyTree | None = None,
        batch: Any = None,
        **extra: Any,
    ) -> tuple[PyTree, Any]:
        del extra
        params = _transform.need_params(
            params, name, state, SensitivityDecayState, updates
        )
        count, last = state
        if sensitivity_fn is None:
            values = _transform.need("sensitivity", sensitivity, name)
            values = _felt(params, values, "sensitivity")
        elif refresh == 1:
            values = computed(params, _transform.need("batch", batch, name))
        else:
            batch = _transform.need("batch", batch, name)

            def fresh(old: PyTree) -> PyTree:
                new = computed(params, batch)
                # A loop carries one dtype: the leaf's real one, or ``state_dtype``.
                return jax.tree.map(lambda n, o: n.astype(o.dtype), new, old)

            # At the first update, too: the zeros of init would
            # decay everything in full.
            values = last = _transform.run_if(count % refresh == 0, fresh, last)
        scale = _transform.rate_at(rate, count)
        updates = _decay_tree(updates, params, values, scale, decays)
        return updates, SensitivityDecayState(_transform.increment(count), last)

    return optax.GradientTransformationExtraArgs(init, update)


@_transform.injectable("rate")
def loss_sensitivity_decay(
    rate: Any, *, prunable: Prunable | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Decay each weight by as much as the loss does not depend on it (LOBSTER).

    .. math:: u \leftarrow u - \lambda\, w \max(0, 1 - |g|)

    Put it after the learning rate; g is the raw gradient, passed as ``grads=``,
    because by then the updates are something else. (``nnx.Optimizer.update`` keeps
    the name ``grads`` to itself; there, pass them as ``raw_grads=``.)

    Args:
        rate: lambda >= 0, a number or a schedule of the update count.
        prunable: which leaves decay, a predicate on (path, leaf); every leaf, biases
            too, by default.

    Returns:
        A transform whose update is
        ``update(updates, state, params, *, grads, **ignored)``.

    Raises:
        ValueError: for a negative or NaN rate; in ``update``, naming a missing
            argument or a leaf of the gradients that does not fit.

    Reference:
        Tartaglione et al., LOBSTER, arXiv 2011.09905.

    Example:
        >>> tx = optax.chain(optax.sgd(0.1), pruning.loss_sensitivity_decay(0.5))
        >>> params = {"w": jnp.array([[1.0, 1.0]])}
        >>> grads = {"w": jnp.array([[0.0, 2.0]])}
        >>> updates, state = tx.update(grads, tx.init(params), params, grads=grads)
        >>> [round(float(u), 3) for u in updates["w"][0]]  # -0.5 w, and the step alone
        [-0.5, -0.2]
    """
    name = "loss_sensitivity_decay"
    _transform.check_rate(rate)
    decays = _transform.every_leaf if prunable is None else prunable
    check_prunable(decays)

    def init(params: PyTree) -> Any:
        del params
        return LossSensitivityDecayState(jnp.zeros([], jnp.int32))

    def update(
        updates: PyTree,
        state: Any,
        params: PyTree | None = None,
        *,
        grads: PyTree | None = None,
        raw_grads: PyTree | None = None,
        **extra: Any,
    ) -> tuple[PyTree, Any]:
        del extra
        params = _transform.need_params(
            params, name, state, LossSensitivityDecayState, updates
        )
        grads = raw_grads if grads is None else grads
        grads = _transform.need("grads", grads, name)
        grads = _felt(params, grads, "grads")
        count = state.loss_sensitivity_decay_count
        scale = _transform.rate_at(rate, count)
        # S(L, w) = |dL/dw|, L the mean loss over the batch,
        # before the optimizer's step.
        slopes = jax.tree.map(jnp.abs, grads)
        updates = _decay_tree(updates, params, slopes, scale, decays)
        return updates, LossSensitivityDecayState(_transform.increment(count))

    return optax.GradientTransformationExtraArgs(init, update)
