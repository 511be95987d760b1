"""The post-synaptic-potential penalty: what neurons receive, kept small.

Weight decay asks each weight to be small wherever it sits. This penalty asks what
arrives at a neuron to be small, on the data: large weights may stay where their inputs
cancel or are rare. Three ways in, for three places in a program: the value
(:func:`psp_penalty`), a loss function that has it added (:func:`with_psp`), and an
optax transform that adds its gradient
(:func:`pruning.transforms.psp_regularization`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pruning import _transform
from pruning._contract import accumulated
from pruning._neurons import is_array
from pruning._nonlinear import KINDS
from pruning._preactivations import preactivations
from synaptax.checks import check_flags, wide_dtype
from synaptax.trees import named_leaves
from synaptax.typing import Array, Float, PyTree

NORMALIZATIONS = ("layer-mean", "paper-half-sum", "sum", "batch-mean")


class PSPInfo(NamedTuple):
    """What :func:`with_psp` tells beside the total loss.

    Attributes:
        loss: the loss alone.
        penalty: R alone, not multiplied by its weight.
        mean_squares: the mean of z^2 of each layer, by path.
        aux: what the loss function returned beside the loss; None if nothing.
    """

    loss: Array
    penalty: Array
    mean_squares: dict[str, Array]
    aux: Any


def mean_squares(zs: PyTree) -> PyTree:
    """Return the mean of z^2 over all entries of each layer, a tree like ``zs``.

    Args:
        zs: any tree of floating arrays.

    Returns:
        Scalars in at least float32, differentiable.

    Example:
        >>> squares = pruning.mean_squares({"layer": jnp.array([[1.0, 2.0]])})
        >>> float(squares["layer"])
        2.5
    """
    return jax.tree.map(lambda z: jnp.mean(_square(z)), zs)


def psp_penalty(zs: PyTree, *, normalization: str = "layer-mean") -> Float[Array, ""]:
    r"""Return R, how large the pre-activations are.

    With L layers, layer l of shape (B, ..., N_l):

    ``layer-mean``
        :math:`R = \frac1L \sum_l \mathrm{mean}(z_l^2)`: every layer weighs the same,
        whatever its width. This is what the authors' LeNet code computes.
    ``paper-half-sum``
        :math:`R = \frac12 \sum_l \frac1B \sum z_l^2`: the sum over all neurons, the
        mean over the batch. The printed normalisation could not be verified.
    ``sum``
        :math:`R = \frac1L \sum_l \sum z_l^2`, over the batch too, as one of the
        authors' CIFAR-10 scripts has it (hence weights near 1e-7 there).
    ``batch-mean``
        :math:`R = \sum_l \mathrm{mean}((\frac1B \sum_b z_{lb})^2)`: the square of the
        mean over the batch, not the mean of the squares, so that values of opposite
        sign cancel; inside shard_map each device's own part of the batch. As another of
        their CIFAR-10 scripts has it, where the weight is divided by the learning rate.

    Args:
        zs: the pre-activations, any tree of floating arrays with a leading batch axis:
            of :func:`pruning.preactivations.preactivations`, or handed over by the
            model itself.
        normalization: one of :data:`NORMALIZATIONS`.

    Returns:
        A scalar in at least float32.

    Raises:
        ValueError: for an unknown normalization, no arrays at all, or a leaf that is
            not a floating array of rank 1 or more; names the leaf.

    Reference:
        Tartaglione et al., Post-synaptic potential regularization has potential,
        arXiv 1907.08544; the normalisations are those of the authors' code.

    Example:
        >>> zs = {"a": jnp.ones((4, 3)), "b": 3 * jnp.ones((4, 2))}
        >>> float(pruning.psp_penalty(zs))
        5.0
    """
    _check_normalization(normalization)
    layers = named_leaves(zs)
    if not layers:
        raise ValueError("zs: expected at least one array of pre-activations")
    for name, z in layers:
        if not is_array(z) or z.ndim == 0:
            form = f"{z.dtype}{z.shape}" if hasattr(z, "dtype") else type(z).__name__
            raise ValueError(
                f"zs: leaf {name} is {form}, expected floats with a batch axis"
            )
    # R = (1/L) sum_l mean(z_l^2) and its kin: layers first, each in float32 at least.
    parts = [_layer(z, normalization) for _, z in layers]
    wide = wide_dtype(*(part.dtype for part in parts))
    total = jnp.stack([part.astype(wide) for part in parts]).sum()
    # 1/L of layer-mean and sum; 1/2 of paper-half-sum; batch-mean has no
    # 1/L, as the authors' script has none.
    over = {"paper-half-sum": 2, "batch-mean": 1}.get(normalization, len(parts))
    return total / over


def with_psp(
    loss_fn: Callable[..., Any],
    weight: Any,
    *,
    normalization: str = "layer-mean",
    nonlinearities: Collection[str] = KINDS,
    logits: Callable[[Any], Array] | None = None,
    local: bool = False,
    has_aux: bool = False,
    include: Collection[str] = (),
    exclude: Collection[str] = (),
) -> Callable[..., tuple[Array, PSPInfo]]:
    r"""Return a loss function with the penalty added: one pass, forward and backward.

    .. math:: J = \mathrm{loss} + \gamma R

    The pre-activations are taken out of the evaluation of the loss itself, so that
    ``jax.value_and_grad`` of the result costs about as much as that of the loss.

    Args:
        loss_fn: ``(params, ...) -> loss``, or ``(loss, aux)`` with ``has_aux``.
        weight: gamma >= 0, a number or a traced scalar.
        normalization: see :func:`psp_penalty`.
        nonlinearities: see :func:`pruning.preactivations.preactivations`.
        logits: a function that takes the network's output out of ``aux``, to be
            counted as one more layer, as the authors do; needs ``has_aux``. By
            default the penalty is that of what enters non-linearities alone.
        local: let each layer's penalty reach only its own parameters.
        has_aux: whether ``loss_fn`` returns ``(loss, aux)``.
        include: paths that count as pre-activations although they seem to belong to
            the loss; :func:`pruning.preactivation_table` (with ``loss=True``) lists
            them. What goes on to a weight, or to the logits where they are given, is
            the network's; the rest, such as the max of a hinge, is the loss's own.
        exclude: paths that do not count.

    Returns:
        ``(params, ...) -> (J, info)`` with a :class:`PSPInfo`; use it with
        ``has_aux=True``.

    Raises:
        ValueError: for a negative weight, an unknown normalization, or logits without
            ``has_aux``; when called, as :func:`pruning.preactivations.preactivations`,
            and for a value that may be a neuron's or the loss's.

    Example:
        >>> def loss_fn(w, x):
        ...     y = jax.nn.relu(x @ w) @ w
        ...     return jnp.mean(y), y
        >>> total = pruning.with_psp(loss_fn, 1e-3, logits=lambda y: y, has_aux=True)
        >>> grad_fn = jax.value_and_grad(total, has_aux=True)
        >>> (value, info), grads = grad_fn(jnp.eye(2), jnp.ones((3, 2)))
        >>> list(info.mean_squares)
        ['relu_0', 'logits']

    Reference:
        Tartaglione et al., arXiv 1907.08544.
    """
    check_weight(weight)
    _check_normalization(normalization)
    check_flags(local=local, has_aux=has_aux)
    if logits is not None and not has_aux:
        raise ValueError("logits: taking them out of aux needs has_aux=True")
    pick = (lambda result: logits(result[1])) if logits is not None else False
    tapped = preactivations(
        loss_fn,
        nonlinearities=nonlinearities,
        logits=pick,
        has_aux=has_aux,
        local=local,
        loss=True,
        include=include,
        exclude=exclude,
    )

    def total(params: PyTree, *args: Any, **kwargs: Any) -> tuple[Array, PSPInfo]:
        loss, zs, *rest = tapped(params, *args, **kwargs)
        penalty = psp_penalty(zs, normalization=normalization)
        # Added in the wider dtype, returned in the loss's
        # own: J takes the loss's place.
        wide = wide_dtype(loss.dtype, penalty.dtype)
        extra = jnp.asarray(weight).astype(wide) * penalty.astype(wide)
        sum_ = (loss.astype(wide) + extra).astype(loss.dtype)
        return sum_, PSPInfo(loss, penalty, mean_squares(zs), rest[0] if rest else None)

    return total


def check_weight(weight: Any) -> None:
    """Raise unless a weight is a number >= 0 or traced."""
    if callable(weight):
        raise ValueError("weight: expected a number >= 0, got a function")
    _transform.check_rate(weight, "weight")


def _check_normalization(normalization: str) -> None:
    if normalization not in NORMALIZATIONS:
        raise ValueError(
            f"normalization: unknown {normalization!r}, expected one of "
            f"{', '.join(NORMALIZATIONS)}"
        )


def _square(z: Array) -> Array:
    # |z|^2, in at least float32: the square of a half overflows from 256 on.
    if jnp.issubdtype(z.dtype, jnp.complexfloating):
        return jnp.square(z.real) + jnp.square(z.imag)
    return jnp.square(z.astype(accumulated(z)))


def _layer(z: Array, normalization: str) -> Array:
    """Return one layer's share, before the factor that all layers have in common."""
    if normalization == "layer-mean":
        return jnp.mean(_square(z))
    if normalization == "batch-mean":
        # Of complex z the mean stays complex: its real part alone is not its square.
        wide = wide_dtype(z.dtype, jnp.float32)
        return jnp.mean(_square(jnp.mean(z, axis=0, dtype=wide)))
    # Over examples and neurons, (B, ..., N) -> (); paper-half-sum divides by B.
    total = jnp.sum(_square(z))
    return total if normalization == "sum" else total / z.shape[0]
