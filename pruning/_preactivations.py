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
from itertools import takewhile
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from pruning import taps
from pruning._nonlinear import KINDS, Entry, check_kinds, entries, is_array, keep
from synaptax.typing import Array, PyTree

LOGITS = "logits"


def preactivations(
    apply_fn: Callable[..., Any],
    *,
    nonlinearities: Collection[str] = KINDS,
    logits: bool | Callable[[Any], Array] = True,
    has_aux: bool = False,
    local: bool = False,
) -> Callable[..., Any]:
    """Return a function that gives a network's output and its pre-activations.

    A pre-activation z is what enters a relu (also relu6, ``jnp.maximum(z, 0)``, a clip
    from 0), leaky_relu, gelu, silu (also ``z * sigmoid(z)``), elu or tanh; found
    inside jit, vmap, remat and custom_jvp; in training mode with batch statistics and
    dropout as well. A ``max(v, 0)`` that guards a square root (the variance of a
    batch-norm) is no neuron and left out. Under remat the values are right, but what
    is handed out is kept in memory, of course.

    Args:
        apply_fn: ``(params, x, ...) -> y``; with ``has_aux``, ``(y, aux)``.
        nonlinearities: the kinds to look at, of relu, leaky_relu, gelu, silu, elu,
            tanh.
        logits: whether the output y counts as a pre-activation, under the key
            ``logits``; y must then be one array. Or a function that takes the logits
            out of all that ``apply_fn`` returns.
        has_aux: whether ``apply_fn`` returns ``(y, aux)``, such as new batch
            statistics.
        local: hand out z's whose gradient reaches only the parameters between the
            previous non-linearity and their own. Values, y and its gradient are the
            same.

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
            where its input cannot be taken out; for an unknown kind; for logits that
            are not one array; for probes of an unknown path.

    Example:
        >>> tapped = preactivations(lambda w, x: jax.nn.relu(x @ w) @ w)
        >>> y, zs = tapped(jnp.eye(2), jnp.ones((3, 2)))
        >>> list(zs)
        ['relu_0', 'logits']

    Reference:
        Tartaglione et al., Post-synaptic potential regularization has potential,
        arXiv 1907.08544.
    """
    kinds = check_kinds(nonlinearities)

    def tapped(
        params: PyTree,
        x: Any,
        *args: Any,
        probes: Mapping[str, Array] | None = None,
        **kwargs: Any,
    ) -> Any:
        def whole(params: PyTree, *inputs: Any) -> Any:
            return apply_fn(params, *inputs, **kwargs)

        program, structure = taps.trace_whole(whole, params, x, *args, keep=keep)
        found = entries(program, kinds)
        if not found:
            raise ValueError(
                f"apply_fn: found no {' or '.join(kinds)} that depends on the input; "
                "return the pre-activations from the model and pass them to "
                "psp_penalty, or name other nonlinearities"
            )
        paths = dict(zip([e.slot for e in found], _paths(found), strict=True))
        fixed = taps.parameter_values(program, jax.tree.leaves(params))
        inputs = jax.tree.leaves((x, *args))
        added = _checked(probes or {}, program, paths)
        leaves, zs = _collect(program, fixed, inputs, paths, added)
        result = seen = jax.tree.unflatten(structure, leaves)
        if local:
            outer, zs = _collect(program, fixed, inputs, paths, added, detach=True)
            seen = jax.tree.unflatten(structure, outer)
        if callable(logits):
            zs[LOGITS] = _logits(logits(seen))
        elif logits:
            zs[LOGITS] = _logits(seen[0] if has_aux else seen)
        return (result[0], zs, result[1]) if has_aux else (result, zs)

    return tapped


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
        z = value + added[slot] if slot in added else value
        zs[paths[slot]] = z
        return lax.stop_gradient(z) if detach else z

    def visit(index: int, eqn: taps.Equation, values: list[Any]) -> list[Any]:
        del index
        outputs = taps.bind(eqn, values)
        return [note(s, v) for s, v in zip(eqn.outputs, outputs, strict=True)]

    entering = [note(s, v) for s, v in zip(program.inputs, inputs, strict=True)]
    return taps.run(program, fixed, entering, visit), zs


def _paths(found: list[Entry]) -> list[str]:
    """Name each entry by its scopes, those left out that all share, and a count."""
    columns = zip(*(entry.scope for entry in found), strict=False)
    shared = sum(1 for _ in takewhile(lambda names: len({*names}) == 1, columns))
    counts: dict[str, int] = {}
    names = []
    for entry in found:
        stem = "/".join((*entry.scope[shared:], entry.kind))
        counts[stem] = counts.get(stem, -1) + 1
        names.append(f"{stem}_{counts[stem]}")
    return names


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
