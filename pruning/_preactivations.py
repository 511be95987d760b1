"""What enters each non-linearity of a network, with no change to the network.

The post-synaptic potential of a neuron is the value that enters its non-linearity:
after the bias, after batch-norm, after the sum of a residual block, whatever the
network has there. ``apply_fn`` is traced and evaluated equation by equation
(:mod:`pruning.taps`), and those values are handed out beside its result. They are the
very values that the result is computed from: nothing is computed twice, and gradients
flow through them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from pruning import taps
from pruning._neurons import Entry, check_kinds, is_array, survey
from pruning._nonlinear import KINDS, keep
from synaptax.typing import Array, PyTree

LOGITS = "logits"


class Rules(NamedTuple):
    """Which values count as pre-activations; see :func:`preactivations`.

    Attributes:
        kinds: the kinds of non-linearity to look at.
        loss: whether the function is a loss, of which the network is a part.
        include: paths that count, whatever the rules say.
        exclude: paths that do not count.
    """

    kinds: tuple[str, ...]
    loss: bool
    include: tuple[str, ...]
    exclude: tuple[str, ...]


def preactivations(
    apply_fn: Callable[..., Any],
    *,
    nonlinearities: Collection[str] = KINDS,
    logits: bool | Callable[[Any], Array] = True,
    has_aux: bool = False,
    local: bool = False,
    loss: bool = False,
    include: Collection[str] = (),
    exclude: Collection[str] = (),
) -> Callable[..., Any]:
    """Return a function that gives a network's output and its pre-activations.

    A pre-activation z is the argument of a relu (also relu6, ``jnp.maximum(z, 0)``, a
    clip from 0), leaky_relu (``where`` and ``maximum`` by hand too), gelu, silu, elu
    (celu, selu), tanh, sigmoid (the gate of a glu), softplus (log_sigmoid), mish,
    hard_swish, hard_sigmoid, hard_tanh (a clip about 0), soft_sign, erf, or of another
    function given in two pieces by ``where(z > c, ...)``. It is found inside jit,
    vmap, remat and custom_jvp; in training mode with batch statistics and dropout as
    well. Left out are a ``max(v, 0)`` that guards a square root (the variance of a
    batch-norm) and what depends on no weight (a clip of the input). Other functions
    (sin, a maximum over pieces) are not known: name their arguments with
    ``jax.ad_checkpoint.checkpoint_name(z, "mine")`` and pass ``include=("mine",)``.
    :func:`preactivation_table` lists what is found and what is left out, and why.
    Under remat the values are right, but what is handed out is kept in memory.

    Args:
        apply_fn: ``(params, x, ...) -> y``; with ``has_aux``, ``(y, aux)``.
        nonlinearities: the kinds to look at, of :data:`pruning._nonlinear.KINDS`.
        logits: whether the output y counts as a pre-activation, under the key
            ``logits``; y must then be one array. Or a function that takes the logits
            out of all that ``apply_fn`` returns.
        has_aux: whether ``apply_fn`` returns ``(y, aux)``, such as new batch
            statistics.
        local: hand out z's whose gradient reaches only the parameters between the
            previous non-linearity and their own. Values, y and its gradient are the
            same.
        loss: whether ``apply_fn`` is a loss. Then what goes on neither to a weight nor
            to the logits (where a function takes them out) is a part of the loss.
        include: paths, or names of ``checkpoint_name``, that count all the same.
        exclude: paths that do not count.

    Returns:
        ``(params, x, *args, probes=None, **kwargs) -> (y, zs)``, or ``(y, zs, aux)``
        with ``has_aux``. ``zs`` maps a path to an array in the network's own shape
        and dtype, in the order of evaluation (an ``OrderedDict``, which keeps its
        order through jit). A path is the modules' names as far as the trace knows
        them and they differ (Flax Linen, ``jax.named_scope``), then the kind and a
        count: ``Conv_0/relu_0``, ``relu_1``. ``probes`` maps paths to arrays that are
        added to these values: the derivative with respect to a zero probe is the
        cotangent at z.

    Raises:
        ValueError: (when called) if there is no such non-linearity that depends on x,
            or one is inside a scan, while loop, branch or custom derivative rule,
            where its input cannot be taken out, or one of a loss cannot be told from
            a neuron; for an unknown kind or path; for logits that are not one array;
            for probes of an unknown path.

    Example:
        >>> tapped = pruning.preactivations(lambda w, x: jax.nn.relu(x @ w) @ w)
        >>> y, zs = tapped(jnp.eye(2), jnp.ones((3, 2)))
        >>> list(zs)
        ['relu_0', 'logits']

    Reference:
        Tartaglione et al., Post-synaptic potential regularization has potential,
        arXiv 1907.08544.
    """
    rules = _rules(nonlinearities, loss, include, exclude)

    def tapped(
        params: PyTree,
        x: Any,
        *args: Any,
        probes: Mapping[str, Array] | None = None,
        **kwargs: Any,
    ) -> Any:
        whole = lambda params, *inputs: apply_fn(params, *inputs, **kwargs)
        program, structure = taps.trace_whole(whole, params, x, *args, keep=keep)
        entries = _entries(program, structure, rules, logits)
        paths = {e.slot: e.path for e in _taken(entries, rules)}
        fixed = taps.parameter_values(program, jax.tree.leaves(params))
        inputs = jax.tree.leaves((x, *args))
        added = _checked(probes or {}, program, paths)
        leaves, zs = _collect(program, fixed, inputs, paths, added)
        result = source = jax.tree.unflatten(structure, leaves)
        if local:
            # A second run for the zs alone: the result's own gradient must not be cut.
            outer, zs = _collect(program, fixed, inputs, paths, added, detach=True)
            source = jax.tree.unflatten(structure, outer)
        if callable(logits):
            zs[LOGITS] = _logits(logits(source))
        elif logits:
            zs[LOGITS] = _logits(source[0] if has_aux else source)
        return (result[0], zs, result[1]) if has_aux else (result, zs)

    return tapped


def preactivation_table(
    apply_fn: Callable[..., Any],
    params: PyTree,
    x: Any,
    *args: Any,
    nonlinearities: Collection[str] = KINDS,
    logits: Callable[[Any], Array] | None = None,
    loss: bool = False,
    include: Collection[str] = (),
    exclude: Collection[str] = (),
    **kwargs: Any,
) -> tuple[Entry, ...]:
    """List the non-linearities of a network or a loss, and say which count and why.

    Args:
        apply_fn: as for :func:`preactivations`; so are the keyword arguments.
        params: the parameters; only shapes and dtypes are used.
        x: the input; likewise.
        *args: what else ``apply_fn`` takes.
        nonlinearities: as there.
        logits: a function that takes the logits out of the result, as there.
        loss: as there.
        include: as there.
        exclude: as there.
        **kwargs: passed to ``apply_fn``.

    Returns:
        One :class:`pruning._neurons.Entry` for each value that enters a known
        non-linearity, in the order of evaluation: its path, kind, shape and dtype,
        whether it is taken, and why not.

    Raises:
        ValueError: for an unknown kind or path.

    Example:
        >>> net = lambda w, x: jax.nn.relu(jnp.clip(x, 0, 1) @ w)
        >>> for entry in pruning.preactivation_table(net, jnp.eye(2), jnp.ones((3, 2))):
        ...     print(entry.path, entry.taken, entry.reason)
        relu_1 False depends on no weight
        relu_0 True
    """
    rules = _rules(nonlinearities, loss, include, exclude)
    whole = lambda params, *inputs: apply_fn(params, *inputs, **kwargs)
    program, structure = taps.trace_whole(whole, params, x, *args, keep=keep)
    return tuple(_entries(program, structure, rules, logits or False))


def _rules(
    kinds: Collection[str],
    loss: bool,
    include: Collection[str],
    exclude: Collection[str],
) -> Rules:
    names = [(n,) if isinstance(n, str) else tuple(n) for n in (include, exclude)]
    return Rules(check_kinds(kinds), loss, *names)


def _entries(
    program: taps.Program,
    structure: Any,
    rules: Rules,
    logits: bool | Callable[[Any], Any],
) -> list[Entry]:
    """Survey a program; the logits' slot is what ``logits`` picks of all slots."""
    slots: set[int] = set()
    if rules.loss and callable(logits):
        try:
            selection = logits(jax.tree.unflatten(structure, program.outputs))
            slots = {s for s in jax.tree.leaves(selection) if s in program.outputs}
        except Exception:  # a function that computes: then the rules must do
            slots = set()
    return survey(
        program,
        rules.kinds,
        loss=rules.loss,
        logits=slots,
        include=rules.include,
        exclude=rules.exclude,
    )


def _taken(entries: list[Entry], rules: Rules) -> list[Entry]:
    """Return the entries that count; a ValueError names one that cannot be told."""
    for entry in entries:
        if not entry.refused:
            continue
        if entry.slot < 0:
            raise ValueError(
                f"apply_fn: a {entry.kind} {entry.reason}. Unroll the loop in Python, "
                f"leave it out by exclude=({entry.path!r},), or return the "
                "pre-activations from the model and pass them to psp_penalty"
            )
        raise ValueError(
            f"apply_fn: {entry.path}, a {entry.kind} of {entry.dtype}{entry.shape}, "
            f"{entry.reason}; pass include=({entry.path!r},) if it is a neuron's, "
            f"exclude=({entry.path!r},) if not, or the network's logits"
        )
    neurons = [entry for entry in entries if entry.taken]
    if not neurons:
        raise ValueError(
            f"apply_fn: found no {' or '.join(rules.kinds)} that depends on the input "
            "through a weight; return the pre-activations from the model and pass them "
            "to psp_penalty, or name other nonlinearities"
        )
    return neurons


def _collect(
    program: taps.Program,
    fixed: dict[int, Any],
    inputs: list[Any],
    paths: Mapping[int, str],
    added: Mapping[int, Array],
    *,
    detach: bool = False,
) -> tuple[list[Any], OrderedDict[str, Array]]:
    """Run a program; return its result's leaves and the values at ``paths``' slots.

    With ``detach`` what comes after each of these values is computed from a copy
    through which no gradient flows.
    """
    zs: OrderedDict[str, Any] = OrderedDict((path, None) for path in paths.values())

    def note(slot: int, value: Any) -> Any:
        if slot not in paths:
            return value
        # With a zero probe added dy/d(probe) is dy/dz, and z is what it was.
        z = value + added[slot] if slot in added else value
        zs[paths[slot]] = z
        # Detached is what goes on, not the z that is handed out: its gradient reaches
        # the parameters back to the previous non-linearity, where it is cut.
        return lax.stop_gradient(z) if detach else z

    def visit(index: int, eqn: taps.Equation, values: list[Any]) -> list[Any]:
        del index
        outputs = taps.bind(eqn, values)
        return [note(s, v) for s, v in zip(eqn.outputs, outputs, strict=True)]

    entering = [note(s, v) for s, v in zip(program.inputs, inputs, strict=True)]
    return taps.run(program, fixed, entering, visit), zs


def _checked(
    probes: Mapping[str, Array], program: taps.Program, paths: Mapping[int, str]
) -> dict[int, Array]:
    """Return the probes by slot; a ValueError names one that fits no value."""
    slots = {path: slot for slot, path in paths.items()}
    for path, probe in probes.items():
        if path not in slots:
            raise ValueError(
                f"probes: unknown path {path!r}, expected some of {', '.join(slots)}"
            )
        aval = program.avals[slots[path]]
        if (jnp.shape(probe), probe.dtype) != (aval.shape, aval.dtype):
            raise ValueError(
                f"probes: {path} is {probe.dtype}{jnp.shape(probe)}, expected "
                f"{aval.dtype}{aval.shape}"
            )
    return {slots[path]: probe for path, probe in probes.items()}


def _logits(y: Any) -> Array:
    if not is_array(y):
        raise ValueError(
            "logits: expected one array of floats as the output of apply_fn, got "
            f"{jax.tree.structure(y)}; pass logits=False, or a function that takes "
            "them out"
        )
    return y
