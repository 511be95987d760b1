"""What a pruned network still costs: weights, bytes, multiply-adds, seconds.

Every number is an integer count or a ratio of two of them, and every ratio names its
denominator: the *prunable weights* or *all parameters*. Only latencies are measured,
on this device, and only where they are asked for.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pruning import _costs
from pruning._compact import Compacted
from pruning._roles import Leaf, leaves_of, weights_only
from pruning._transform import like, pure
from pruning.masks import apply_mask
from synaptax.checks import check_boolean, check_integer, is_traced
from synaptax.trees import Prunable, named_leaves
from synaptax.typing import PyTree


class Tally(NamedTuple):
    """How many of how many entries are kept.

    Attributes:
        kept: an integer.
        total: an integer, the denominator.
    """

    kept: int
    total: int

    @property
    def density(self) -> float:
        """Return kept / total; NaN if there is nothing to keep."""
        return self.kept / self.total if self.total else math.nan

    @property
    def compression(self) -> float:
        """Return total / kept; inf if nothing is kept, NaN if there was nothing."""
        if self.kept:
            return self.total / self.kept
        return math.inf if self.total else math.nan


class LeafReport(NamedTuple):
    """What one leaf costs.

    Attributes:
        path: its path, such as ``Dense_0/kernel``.
        shape: its shape.
        prunable: whether the predicate counts it among the prunable weights.
        entries: kept and total entries.
        dense_bytes: bytes of the leaf as it is.
        sparse_bytes: bytes of one bit per entry and the kept values; of the leaf as
            it is if it keeps everything, for then it needs no bits.
        multiply_adds: per example, with zeros (``total``) and without (``kept``);
            None for a leaf that is not 2D, whose count depends on its use.
        encodings: encoding to bytes, of :data:`pruning._costs.ENCODINGS`; a leaf that
            keeps everything is dense in each.
    """

    path: str
    shape: tuple[int, ...]
    prunable: bool
    entries: Tally
    dense_bytes: int
    sparse_bytes: int
    multiply_adds: Tally | None
    encodings: dict[str, int]


class Form(NamedTuple):
    """What one form of the network costs to run.

    Attributes:
        name: "dense", "with zeros" or "compacted".
        parameters: entries held.
        multiply_adds: of one example, as the program does them: ``total``, and
            ``kept`` of them whose weight is not zero.
        latency: batch to measured seconds; empty where nothing was measured.
    """

    name: str
    parameters: int
    multiply_adds: Tally
    latency: dict[int, float]


@dataclass(frozen=True)
class Report:
    """What a network costs, leaf by leaf and in all.

    Attributes:
        leaves: one for each leaf, in flattening order.
        forms: what each form costs to run; empty without an ``apply_fn``.
    """

    leaves: tuple[LeafReport, ...]
    forms: tuple[Form, ...] = ()

    @property
    def prunable_weights(self) -> Tally:
        """Count the leaves that the predicate calls prunable."""
        return _sum(leaf.entries for leaf in self.leaves if leaf.prunable)

    @property
    def all_parameters(self) -> Tally:
        """Count every leaf, prunable or not."""
        return _sum(leaf.entries for leaf in self.leaves)

    @property
    def multiply_adds(self) -> Tally:
        """Count one example's multiply-adds in the dense (2D) kernels alone."""
        each = (leaf.multiply_adds for leaf in self.leaves)
        return _sum(tally for tally in each if tally is not None)

    @property
    def dense_bytes(self) -> int:
        """Return the bytes of all leaves as they are."""
        return sum(leaf.dense_bytes for leaf in self.leaves)

    @property
    def sparse_bytes(self) -> int:
        """Return the bytes of all leaves as bits and kept values."""
        return sum(leaf.sparse_bytes for leaf in self.leaves)

    @property
    def encodings(self) -> dict[str, int]:
        """Return the bytes of all leaves in each encoding."""
        return {
            name: sum(leaf.encodings[name] for leaf in self.leaves)
            for name in _costs.ENCODINGS
        }

    def __str__(self) -> str:
        """Return :func:`to_text` of it."""
        return to_text(self)

    def _repr_html_(self) -> str:
        """Return it for a notebook."""
        return f"<pre>{html.escape(to_text(self))}</pre>"


def report(
    params: PyTree,
    mask: PyTree | None = None,
    *,
    prunable: Prunable = weights_only,
    apply_fn: Callable[..., Any] | None = None,
    x: Any = None,
    compacted: Compacted | None = None,
    batches: Sequence[int] = (),
) -> Report:
    """Count what a pruned network keeps and what that costs.

    Args:
        params: any pytree of concrete arrays, or an NNX model (its ``nnx.Param``);
            with a mask, of anything that has a shape and a dtype, such as
            :class:`jax.ShapeDtypeStruct`.
        mask: boolean tree of the same structure and shapes, True = kept. Default:
            what is not exactly zero is kept.
        prunable: which leaves are the prunable weights, a predicate on (path, leaf).
        apply_fn: ``(params, x) -> y``: its multiply-adds are counted by tracing.
        x: inputs for it.
        compacted: from :func:`pruning.compact`, to be set beside.
        batches: sizes of batches at which to measure latency, such as (1, 128).

    Returns:
        A frozen :class:`Report` of Python integers.

    Raises:
        ValueError: if the mask's structure, shapes or dtypes do not fit, if there are
            no values to count, or ``apply_fn`` and ``x`` do not come together.

    Example:
        >>> counted = pruning.report({"kernel": np.eye(4, dtype=np.float32)})
        >>> counted.prunable_weights
        Tally(kept=4, total=16)
        >>> counted.dense_bytes, counted.sparse_bytes
        (64, 18)
    """
    params = pure(params)
    try:
        batches = [check_integer("batches", size, 1) for size in batches]
    except TypeError as error:  # no sequence
        raise ValueError(
            f"batches: expected sizes such as (1, 128), got {batches!r}"
        ) from error
    if mask is not None:
        mask = like(params, mask, argument="mask")
        check_boolean(mask)
    source, argument = (params, "params") if mask is None else (mask, "mask")
    if is_traced(source):
        raise ValueError(f"{argument}: expected concrete arrays, got traced ones")
    counts = [
        _nonzeros(f"{argument}: leaf {name}", x) for name, x in named_leaves(source)
    ]
    return Report(
        tuple(
            _leaf(role, number)
            for role, number in zip(leaves_of(params, prunable), counts, strict=True)
        ),
        _forms(apply_fn, params, mask, x, compacted, batches),
    )


def to_text(counted: Report) -> str:
    """Return a report as a plain-text table, two total rows at its end.

    Args:
        counted: from :func:`report`.

    Returns:
        Lines without a final newline; a leaf's own compression is over that leaf.

    Example:
        >>> counted = pruning.report({"kernel": np.eye(4, dtype=np.float32)})
        >>> text = pruning.to_text(counted)
        >>> text.split()[:3]
        ['leaf', 'shape', 'kept']
    """
    head = ("leaf", "shape", "kept", "total", "density", "compression", "bytes")
    rows = [
        _row(
            leaf.path,
            "x".join(map(str, leaf.shape)) or "scalar",
            leaf.entries,
            f"{leaf.dense_bytes:,} -> {leaf.sparse_bytes:,}",
        )
        for leaf in counted.leaves
    ]
    size = f"{counted.dense_bytes:,} -> {counted.sparse_bytes:,}"
    totals = [
        _row("prunable weights", "", counted.prunable_weights, ""),
        _row("all parameters", "", counted.all_parameters, size),
    ]
    lines = _align([head, *rows, *totals])
    rule = "-" * max(map(len, lines))
    body = [lines[0], rule, *lines[1 : 1 + len(rows)], rule, *lines[1 + len(rows) :]]
    work = counted.multiply_adds
    notes = [
        "compression: total / kept of the row; bytes: dense -> bitmask and values",
    ]
    notes.append(
        "bytes by encoding: "
        + ", ".join(f"{name} {n:,}" for name, n in counted.encodings.items())
    )
    if counted.forms:
        notes += ["", *_form_lines(counted.forms)]
    elif work.total:
        notes.append(
            f"multiply-adds of the dense kernels, per example: {work.total:,} with the "
            f"zeros, {work.kept:,} without"
        )
    return "\n".join([*body, "", *notes])


def _nonzeros(where: str, leaf: Any) -> int:
    if not hasattr(leaf, "__array__"):
        raise ValueError(f"{where} is a {type(leaf).__name__}, expected an array")
    return int(np.count_nonzero(np.asarray(leaf)))


def _leaf(role: Leaf, kept: int) -> LeafReport:
    name, leaf, prunable = role
    shape = tuple(int(n) for n in leaf.shape)
    total, width = math.prod(shape), np.dtype(leaf.dtype).itemsize
    entries = Tally(kept, total)
    # One bit an entry, rounded up to bytes, and the values kept.
    sparse = total * width if kept == total else -(-total // 8) + kept * width
    return LeafReport(
        name,
        shape,
        prunable,
        entries,
        total * width,
        sparse,
        entries if len(shape) == 2 else None,
        _costs.encoded_bytes(leaf, kept)
        if kept < total
        else dict.fromkeys(_costs.ENCODINGS, total * width),
    )


def _forms(
    apply_fn: Callable[..., Any] | None,
    params: PyTree,
    mask: PyTree | None,
    x: Any,
    compacted: Compacted | None,
    batches: Sequence[int],
) -> tuple[Form, ...]:
    """Return what the network costs dense, with zeros and compacted."""
    if (apply_fn is None) != (x is None):
        raise ValueError("apply_fn, x: expected both or neither")
    if apply_fn is None:
        if compacted is not None or batches:
            raise ValueError("compacted, batches: need apply_fn and x")
        return ()
    zeros = params if mask is None else apply_mask(params, mask)
    # What a dense network would be: values do not matter, only that none is zero.
    dense = jax.tree.map(lambda w: jnp.where(w == 0, jnp.ones_like(w), w), params)
    networks = [("dense", apply_fn, dense), ("with zeros", apply_fn, zeros)]
    if compacted is not None:
        networks.append(("compacted", compacted.apply_fn, compacted.params))
    calls = [(function, tree) for _, function, tree in networks]
    timings = {
        size: _costs.latencies(calls, _costs.batch_of(x, size)) for size in batches
    }
    return tuple(
        Form(
            name,
            sum(leaf.size for leaf in jax.tree.leaves(tree)),
            Tally(*reversed(_costs.multiply_adds(function, tree, x))),
            {size: seconds[index] for size, seconds in timings.items()},
        )
        for index, (name, function, tree) in enumerate(networks)
    )


def _form_lines(forms: Sequence[Form]) -> list[str]:
    """Return the table of forms, and which saving is real."""
    batches = list(forms[0].latency)
    head = ["form", "parameters", "multiply-adds", "of non-zeros"]
    rows = [head + [f"ms at batch {size}" for size in batches]]
    for form in forms:
        work = form.multiply_adds
        row = [form.name, *(f"{n:,}" for n in (form.parameters, work.total, work.kept))]
        rows.append(row + [f"{1e3 * form.latency[size]:.3f}" for size in batches])
    lines = _align(rows, left=1)
    # The first two forms are always there, in this order: see _forms.
    dense, zeros = forms[0].multiply_adds, forms[1].multiply_adds
    if zeros.kept:
        lines.append(
            f"on paper: {dense.total / zeros.kept:.1f}x fewer multiply-adds if zeros "
            "were skipped; a dense product does not skip them"
        )
    for form in forms[1:]:
        for size in batches:
            ratio = forms[0].latency[size] / form.latency[size]
            real = "real" if ratio > 1.1 else "no saving"
            lines.append(
                f"measured: {form.name} at batch {size}: {ratio:.2f}x as fast as "
                f"dense: {real}"
            )
    if not batches:
        lines.append("nothing was measured: batches=(1, 128) measures latency here")
    return lines


def _sum(tallies: Any) -> Tally:
    counts = list(tallies)
    return Tally(sum(t.kept for t in counts), sum(t.total for t in counts))


def _row(name: str, shape: str, entries: Tally, size: str) -> tuple[str, ...]:
    density = f"{100 * entries.density:.2f} %" if entries.total else "-"
    ratio = f"{entries.compression:.1f}x" if entries.kept else "none kept"
    compression = ratio if entries.total else "-"
    survivors, total = f"{entries.kept:,}", f"{entries.total:,}"
    return (name, shape, survivors, total, density, compression, size)


def _align(rows: Sequence[Sequence[str]], left: int = 2) -> list[str]:
    """Return the rows as lines: text columns to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
