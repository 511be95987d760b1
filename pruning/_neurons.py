"""Which non-linearities of a traced function are neurons of the network.

The rules are those of what surrounds one. A neuron's value depends on the data through
a weight, or through a product or a convolution: a clip of the input does not. And it
goes on to a weight, or to the network's output: what a loss makes of the output, such
as the max(0, .) of a hinge, does not. Where the two cannot be told apart it is an error
that names the value, and ``include`` and ``exclude`` settle it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pruning._nonlinear import KINDS, hidden, matches
from pruning.taps import Equation, Program

# What a loss makes of the output of a network, as a rule: not hidden layers.
_OF_OUTPUTS = {"sigmoid", "softplus", "tanh", "hard_sigmoid", "hard_tanh", "erf"}


class Entry(NamedTuple):
    """A value that enters a non-linearity.

    Attributes:
        path: its name, ``Conv_0/relu_0``: the modules as far as the trace knows them
            and they differ, the kind, a count.
        kind: one of :data:`KINDS`, or the name given by ``checkpoint_name``.
        slot: where the value is written; -1 if it cannot be taken out.
        shape: of the value; empty if it cannot be taken out.
        dtype: likewise.
        taken: whether it counts as a pre-activation.
        reason: why it does not, or why that cannot be told; empty if it does.
        refused: whether this is an error unless the entry is excluded or included.
    """

    path: str
    kind: str
    slot: int
    shape: tuple[int, ...]
    dtype: Any
    taken: bool
    reason: str
    refused: bool


class _Candidate(NamedTuple):
    kind: str
    slot: int
    scope: tuple[str, ...]
    reason: str
    refused: bool


def survey(
    program: Program,
    kinds: Collection[str],
    *,
    loss: bool,
    logits: Collection[int] = (),
    include: Collection[str] = (),
    exclude: Collection[str] = (),
) -> list[Entry]:
    """Return what enters each non-linearity, once each, in the order of evaluation.

    Args:
        program: traced with ``keep=``:func:`pruning._nonlinear.keep`.
        kinds: those wanted, of :data:`KINDS`.
        loss: whether the function is a loss, whose own non-linearities do not count;
            of a network all that depend on a weight do.
        logits: the slots of the network's output, where known.
        include: paths, or names given by :func:`jax.ad_checkpoint.checkpoint_name`,
            that count whatever the rules say.
        exclude: paths that do not count.

    Raises:
        ValueError: if ``include`` or ``exclude`` names what there is not.
    """
    rules = _Rules(program, loss, logits)
    whole = {one.equation: one for one in matches(program)}
    parts = frozenset().union(*(one.within for one in whole.values()))
    values: dict[tuple[int, str], _Candidate] = {}
    for index, eqn in enumerate(program.equations):
        label = eqn.params.get("name") if eqn.primitive.name == "name" else None
        if label in include:
            slot = eqn.outputs[0]
            values[slot, ""] = _Candidate(str(label), slot, (), "", False)
        elif index in whole:
            kind, slot = whole[index].kind, whole[index].slot
            if kind in kinds and slot in rules.driven:
                reason, refused = rules.judge(kind, slot, eqn)
                one = _Candidate(kind, slot, eqn.scope, reason, refused)
                values.setdefault((slot, ""), one)
        elif index not in parts:
            for kind in sorted({*hidden(eqn)} & {*kinds}):
                if rules.may_hide_neurons(eqn):
                    reason = f"is inside {eqn.primitive.name}, whose values cannot be "
                    one = _Candidate(kind, -1, eqn.scope, reason + "taken out", True)
                    values[index, kind] = one
    return _settled(program, list(values.values()), include, exclude)


def _settled(
    program: Program,
    values: Sequence[_Candidate],
    include: Collection[str],
    exclude: Collection[str],
) -> list[Entry]:
    paths = _paths(values)
    for argument, names in (("include", include), ("exclude", exclude)):
        for name in names:
            if name not in paths:
                listing = ", ".join(paths) or "none"
                raise ValueError(f"{argument}: no {name!r} is there, only {listing}")
    entries = []
    for path, one in zip(paths, values, strict=True):
        reason, refused = one.reason, one.refused
        if path in exclude:
            reason, refused = "excluded", False
        elif path in include and one.slot >= 0:
            reason, refused = "", False
        aval = program.avals.get(one.slot)
        shape = () if aval is None else tuple(aval.shape)
        dtype = None if aval is None else aval.dtype
        entries.append(
            Entry(path, one.kind, one.slot, shape, dtype, not reason, reason, refused)
        )
    return entries


def _paths(values: Sequence[_Candidate]) -> list[str]:
    """Name each by its scopes, those left out that all neurons share, and a count.

    Neurons are counted first, so that their names do not depend on the others.
    """
    sure = [one for one in values if not one.reason] or values
    columns = zip(*(one.scope for one in sure), strict=False)
    depth = sum(1 for _ in takewhile(lambda names: len({*names}) == 1, columns))
    counts: dict[str, int] = {}
    paths = [""] * len(values)
    for first in (True, False):
        for index, one in enumerate(values):
            if (not one.reason) is not first:
                continue
            stem = "/".join((*one.scope[depth:], one.kind))
            counts[stem] = counts.get(stem, -1) + 1
            bare = one.kind not in KINDS and counts[stem] == 0  # a name of one's own
            paths[index] = stem if bare else f"{stem}_{counts[stem]}"
    return paths


class _Rules:
    """What the surroundings of a value say of it."""

    def __init__(self, program: Program, loss: bool, logits: Collection[int]) -> None:
        self.program, self.loss, self.known = program, loss, bool(logits)
        self.driven = _driven(program)
        self.writer = {s: eqn for eqn in program.equations for s in eqn.outputs}
        self.fed: set[int] = set()
        for eqn in program.equations:
            if not self.driven.isdisjoint(eqn.inputs) and self._meets(eqn):
                self.fed.update(eqn.outputs)
        useful, self.sources = self._useful(set(logits))
        self.useful = useful if loss else None

    def _meets(self, eqn: Equation) -> bool:
        """Say whether an equation reads a weight, or what met one already."""
        product = eqn.primitive.name in ("dot_general", "conv_general_dilated")
        return product or any(
            s in self.fed or s in self.program.owners for s in eqn.inputs
        )

    def _useful(self, logits: set[int]) -> tuple[set[int], set[int]]:
        """Return what goes on to a weight or the logits; and the inputs that do."""
        useful = set(logits)
        batches = {
            self.program.avals[s].shape[0]
            for s in self.program.inputs
            if self.program.avals[s].shape
        }
        for eqn in reversed(self.program.equations):
            # A weight meets data here, of an axis as long as a batch:
            # what enters goes on to a weight.
            layer = any(
                s in self.program.owners and self.program.avals[s].shape
                for s in eqn.inputs
            ) and any(
                s in self.driven and batches & {*self.program.avals[s].shape}
                for s in eqn.inputs
            )
            if layer or not useful.isdisjoint(eqn.outputs):
                useful.update(eqn.inputs)
        return useful, useful & {*self.program.inputs}

    def may_hide_neurons(self, eqn: Equation) -> bool:
        """Say whether what an equation has inside may be neurons."""
        if self.driven.isdisjoint(eqn.inputs) or not self._meets(eqn):
            return False
        return self.useful is None or not self.useful.isdisjoint(eqn.outputs)

    def judge(self, kind: str, slot: int, eqn: Equation) -> tuple[str, bool]:
        """Return why a value is no neuron, empty if it is one; and whether to refuse.

        To refuse is to say that it cannot be told.
        """
        aval = self.program.avals[slot]
        if not aval.shape:
            return "is a scalar, without a batch axis", False
        if slot not in self.fed:
            return "depends on no weight", False
        if self.useful is None or not self.useful.isdisjoint(eqn.outputs):
            return "", False
        if self.known:
            return "does not go on to the logits: part of the loss", False
        if len(aval.shape) == 1 or kind in _OF_OUTPUTS or self._of_targets(slot):
            return "goes on to no weight: part of the loss", False
        return (
            "goes on to no weight, so that it cannot be told from a part of the loss",
            True,
        )

    def _of_targets(self, slot: int) -> bool:
        """Say whether a value depends on data that the network does not read."""
        pending, ancestors = [slot], set()
        targets = {*self.program.inputs} - self.sources
        while pending:
            current = pending.pop()
            if current in targets:
                return True
            if current in self.writer and current not in ancestors:
                ancestors.add(current)
                pending += self.writer[current].inputs
        return False


def _driven(program: Program) -> set[int]:
    """Return the slots that depend on data: on the inputs, but not through a key.

    Drawing random numbers takes a ``max(., 0)`` that is no neuron.
    """
    driven = set(program.inputs)
    for eqn in program.equations:
        from_key = any(
            jnp.issubdtype(program.avals[s].dtype, jax.dtypes.prng_key)
            for s in eqn.inputs
        )
        if not from_key and not driven.isdisjoint(eqn.inputs):
            driven.update(eqn.outputs)
    return driven


def check_kinds(nonlinearities: Collection[str]) -> tuple[str, ...]:
    """Return the kinds wanted; a ValueError names one that is not known."""
    kinds = (nonlinearities,) if isinstance(nonlinearities, str) else nonlinearities
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(
                f"nonlinearities: unknown {kind!r}, expected some of {', '.join(KINDS)}"
            )
    return tuple(kinds)


def is_array(value: Any) -> bool:
    """Say whether a value is one array of floating or complex numbers."""
    return hasattr(value, "shape") and jnp.issubdtype(value.dtype, jnp.inexact)
