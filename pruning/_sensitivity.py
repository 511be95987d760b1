"""How strongly a network's output feels each weight (arXiv 1810.11764).

The sensitivity of the output to a parameter is ``S(y, w) = sum_k alpha_k |dy_k/dw|``
with ``alpha_k >= 0``: a first derivative of the outputs, not of the loss. (Of a complex
weight |.| is the modulus: the steepest slope over all directions in the plane.)
Averaged over a batch before or after the absolute value it has two readings; both
are here, exact, together with the slow one that defines them.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer

from pruning import _contract, taps
from pruning._batch_axis import check_examples_apart
from pruning._contract import accumulated
from pruning._definition import (
    ApplyFn,
    cotangents_of,
    floating,
    no_sensitivity,
    reference_abs_mean,
    reference_mean_abs,
)
from pruning._output_weights import checked_weights, positive
from pruning._varying import mean_over, vary, varying_axes
from synaptax.checks import wide_dtype
from synaptax.trees import named_leaves, with_arrays
from synaptax.typing import Array, PyTree

# Examples are taken in chunks, so that the per-example products of a chunk stay
# within a cache (CPU) or a modest part of the memory (elsewhere). Bytes.
_CHUNK_BYTES = {"cpu": 20 << 20, "other": 1 << 30}

# A batch size that no axis of a real network is likely to have.
_PROBE_BATCH = 23


def insensitivity(sensitivity: PyTree) -> PyTree:
    """Return ``max(0, 1 - S)`` leaf by leaf (arXiv 1810.11764).

    Example:
        >>> pruning.insensitivity({"w": jnp.array([0.25, 3.0])})["w"].tolist()
        [0.75, 0.0]
    """
    # The bounded insensitivity of the paper, in [0, 1]. S is not rescaled by its
    # largest value: a weight with S >= 1 does not decay at all.
    return jax.tree.map(
        lambda s: jnp.maximum(jnp.ones((), s.dtype) - s, jnp.zeros((), s.dtype)),
        with_arrays(sensitivity),
    )


def sensitivity(
    apply_fn: ApplyFn,
    params: PyTree,
    x: Any,
    alpha: Any,
    *,
    reduction: str = "mean_abs",
    method: str = "auto",
    support: int | None = None,
    chunk: int | None = None,
) -> PyTree:
    """Return S(y, w) for every parameter, averaged over a batch.

    ``reduction="mean_abs"`` is the mean over examples of the per-example sensitivity,
    ``(1/B) sum_b sum_k alpha_bk |dy_bk/dw|``; ``"abs_mean"`` takes the mean first,
    ``sum_k |(1/B) sum_b alpha_bk dy_bk/dw|``, and is never larger.

    Args:
        apply_fn: the network, ``(params, x) -> y`` with y of shape (B, C).
        params: any pytree of arrays; leaves of integers get zeros.
        x: array (or tree of arrays) with a leading batch axis of size B.
        alpha: non-negative weights of the outputs, shape (C,) or (B, C); see
            :func:`unspecific` and :func:`specific`.
        reduction: ``"mean_abs"`` or ``"abs_mean"``.
        method: ``"taps"`` (exact, at about the price of a gradient), ``"reference"``
            (the definition, by ``vmap(jacrev)``: B*C*P memory), or ``"auto"``: taps.
        support: a promise that each row of ``alpha`` has at most this many non-zero
            entries; that many backward passes are made instead of C. Give 1 with
            :func:`specific`. Under ``"abs_mean"`` it then also brings the sum over
            classes inside the absolute value: one pass, as the authors' later code
            does it.
        chunk: examples taken at a time; chosen from the memory it needs if None.

    Returns:
        A tree like ``params``, each leaf >= 0 and in the leaf's dtype (of a complex
        leaf, in its real dtype). Inside ``jax.shard_map``, with x spread over devices
        and ``params`` the same on all, the batch is that of all devices.

    Raises:
        ValueError: if ``alpha`` has another width or negative entries, ``x`` has no
            common batch axis, ``apply_fn`` does not return real (B, C) for every B, a
            parameter is not finite, or examples are mixed (``"mean_abs"`` only).
            Values are checked only where they are known, that is outside ``jit``.

    Reference: arXiv 1810.11764, definition and choices of alpha. The mean
    over a batch is not fixed by the text that we could read.

    Example:
        >>> apply_fn = lambda params, x: x @ params["w"]
        >>> x = jnp.array([[1.0, -2.0], [3.0, 0.0]])  # |dy_k/dw_ik| = |x_i|
        >>> params = {"w": jnp.ones((2, 2))}
        >>> S = pruning.sensitivity(apply_fn, params, x, pruning.unspecific(2))
        >>> S["w"].tolist()
        [[1.0, 1.0], [0.5, 0.5]]
    """
    params = with_arrays(params)
    batch, classes, dtype = _shapes(apply_fn, params, x)
    # As wide as y before anything is divided: float64 networks keep float64's digits.
    if support is not None:
        positive("support", support)
    rows = checked_weights(alpha, batch, classes, support)
    rows = rows.astype(wide_dtype(rows.dtype, dtype))
    _check_finite(params)
    if chunk is not None:
        positive("chunk", chunk)
    if not isinstance(reduction, str) or reduction not in ("mean_abs", "abs_mean"):
        raise ValueError(f"reduction: expected mean_abs or abs_mean, got {reduction!r}")
    if not isinstance(method, str) or method not in ("auto", "taps", "reference"):
        raise ValueError(f"method: expected auto, taps or reference, got {method!r}")
    axes = varying_axes((x, alpha)) - varying_axes(params)
    mean = mean_over(axes)
    # No gradient flows back through S: the paper's update takes it as a constant.
    # Derivatives of this device alone: |.| and the mean over devices are taken here.
    params = vary(lax.stop_gradient(params), axes)
    if reduction == "abs_mean":
        if method == "reference":
            return reference_abs_mean(apply_fn, params, x, rows, batch, support, mean)
        return _abs_mean(apply_fn, params, x, rows, batch, support, axes)
    check_apart(apply_fn, params, x)
    if method == "reference":
        local = reference_mean_abs(apply_fn, params, x, rows)
    else:
        local = _mean_abs(apply_fn, params, x, rows, batch, support, chunk)
    return jax.tree.map(mean, local) if axes else local


# --- what is asked for -----------------------------------------------------------


def _shapes(apply_fn: ApplyFn, params: Any, x: Any) -> tuple[int, int, Any]:
    """Return (B, C, dtype of y), or raise naming the argument at fault."""
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(x)]
    sizes = {shape[0] if shape else None for shape in shapes}
    if len(sizes) != 1 or None in sizes or 0 in sizes:
        raise ValueError(
            f"x: expected a leading batch axis of one size >= 1, got shapes {shapes}"
        )
    (batch,) = sizes
    y = jax.eval_shape(apply_fn, params, x)
    if not hasattr(y, "shape") or len(y.shape) != 2 or y.shape[0] != batch:
        forms = jax.tree.map(lambda leaf: tuple(leaf.shape), y)
        raise ValueError(
            f"apply_fn: expected one output of shape (B, C) with B = {batch}, got "
            f"{forms}"
        )
    if not jnp.issubdtype(y.dtype, jnp.floating):  # pyright: ignore
        raise ValueError(
            f"apply_fn: expected floating outputs, got {y.dtype}; of complex ones, say "  # pyright: ignore
            "which real numbers count, such as jnp.abs(y)"
        )
    return int(batch), int(y.shape[1]), y.dtype  # pyright: ignore


def _check_finite(params: Any) -> None:
    """Raise on a parameter that is not finite, where its value is known."""
    for name, leaf in named_leaves(params):
        if isinstance(leaf, Tracer) or not taps.differentiable(leaf):
            continue
        if not bool(jnp.isfinite(leaf).all()):
            raise ValueError(f"params: leaf {name} has a value that is not finite")


def check_apart(apply_fn: ApplyFn, params: Any, x: Any) -> None:
    """Raise a ValueError if examples are mixed, as by batch statistics."""
    program = taps.trace(apply_fn, params, x, batch=_PROBE_BATCH)
    check_examples_apart(program, _PROBE_BATCH)


# --- fast ------------------------------------------------------------------------


def _abs_mean(
    apply_fn: ApplyFn,
    params: Any,
    x: Any,
    rows: Array,
    batch: int,
    support: int | None,
    across: frozenset[str],
) -> Any:
    """One backward pass over the batch for each output, |.| after the mean."""
    mean = mean_over(across)

    def compute(part: Any) -> list[Array]:
        rebuild, moving = part
        y, pull = jax.vjp(lambda p: apply_fn(rebuild(p), x), moving)
        passes = cotangents_of(rows, batch, support)
        if passes.ndim == 2:
            passes = jnp.broadcast_to(passes, (batch, *passes.shape))
        # (B, K, C) -> (K, B, C): alpha_bk e_k / B, one cotangent of the
        # whole batch for each pass. Divided in the rows' dtype, which is
        # as wide as y's, before the cast.
        passes = (jnp.swapaxes(passes, 0, 1) / batch).astype(y.dtype)

        def add(total: list[Array], cotangent: Array) -> tuple[list[Array], None]:
            (gradient,) = pull(vary(cotangent, varying_axes(y)))
            # Of many devices the mean is taken before |.| too: their batch is one.
            # t <- t + |(1/B) sum_b alpha_bk dy_bk/dw|, summed over k by the scan
            new = [
                t + jnp.abs(mean(g)).astype(t.dtype)
                for t, g in zip(total, gradient, strict=True)
            ]
            return new, None

        zeros = [jnp.zeros(leaf.shape, accumulated(leaf)) for leaf in moving]
        own = varying_axes((y, moving, passes))
        zeros = vary(zeros, own - across)
        return lax.scan(add, zeros, passes)[0]

    return floating(compute, params)


def _mean_abs(
    apply_fn: ApplyFn,
    params: Any,
    x: Any,
    rows: Array,
    batch: int,
    support: int | None,
    chunk: int | None,
) -> Any:
    """Per-example sensitivities by taps, a chunk of examples at a time."""
    # Traced for one example, and mapped over examples in _chunk_sums: what a meeting
    # reads and gets back is then that example's own.
    program = taps.trace(apply_fn, params, x, batch=1)
    if program.output not in program.active:
        # y does not look at x: nothing to tap, and nothing worth being fast about.
        return reference_mean_abs(apply_fn, params, x, rows)
    plans = _contract.plan(program)
    leaves, structure = jax.tree.flatten(params)
    # (1/B) sum_b sum_k alpha_bk |dy_bk/dw| = sum_b sum_k |(alpha_bk / B) dy_bk/dw|, for
    # alpha >= 0: the factors go into the cotangents, once.
    cotangents = cotangents_of(rows, batch, support) / batch
    cotangents = vary(cotangents, varying_axes((leaves, x)))
    if chunk is None:
        chunk = _chunk(program, plans, cotangents.shape[-2], batch)
    chunk = min(chunk, batch)
    fixed = taps.parameter_values(program, leaves)

    def part(examples: list[Any], cots: Array) -> list[Array]:
        return _chunk_sums(program, plans, fixed, examples, cots)

    def add(total: list[Array], arguments: Any) -> tuple[list[Array], None]:
        values = part(*arguments)
        return [t + v for t, v in zip(total, values, strict=True)], None

    inputs = jax.tree.leaves(x)
    if chunk == batch:
        sums = part(inputs, cotangents)
    else:
        zeros = [
            jnp.zeros(leaves[p.leaf].shape, accumulated(leaves[p.leaf])) for p in plans
        ]
        zeros = vary(zeros, varying_axes((leaves, inputs, cotangents)))
        sums, _ = lax.scan(add, zeros, _chunked(inputs, cotangents, batch, chunk))
    out = [no_sensitivity(leaf) for leaf in leaves]
    for p, total in zip(plans, sums, strict=True):
        # The sums run in float32 at least; the leaf's own dtype comes back here, once.
        out[p.leaf] = total.astype(out[p.leaf].dtype)
    return jax.tree.unflatten(structure, out)


def _chunked(
    inputs: list[Any], cotangents: Array, batch: int, chunk: int
) -> tuple[list[Any], Array]:
    """Cut examples and cotangents into chunks, the last filled up at no weight."""
    missing = -batch % chunk
    if cotangents.ndim == 2:
        cotangents = jnp.broadcast_to(cotangents, (batch, *cotangents.shape))
    # Filled up with the last example, whose derivatives are as finite as the rest.
    inputs = [
        jnp.concatenate([leaf, jnp.repeat(leaf[-1:], missing, axis=0)])
        for leaf in inputs
    ]
    cotangents = jnp.pad(cotangents, ((0, missing), (0, 0), (0, 0)))
    in_chunks = lambda a: a.reshape(-1, chunk, *a.shape[1:])
    return [in_chunks(leaf) for leaf in inputs], in_chunks(cotangents)


def _chunk_sums(
    program: taps.Program,
    plans: list[_contract.LeafPlan],
    fixed: dict[int, Any],
    examples: list[Any],
    cotangents: Array,
) -> list[Array]:
    """Return sum_b sum_k |dy_bk/dw| of each planned leaf over one chunk."""
    uses = sorted({use for p in plans for use in p.uses})

    def one(example: list[Any], cots: Array) -> Any:
        inputs = [leaf[None] for leaf in example]
        y, pull, records = jax.vjp(
            lambda probes: taps.evaluate(program, fixed, inputs, probes),
            taps.zero_probes(program, uses),
            has_aux=True,
        )
        # alpha_bk dy_bk/dz at each meeting's output z, for all K passes. The rows may
        # be wider than y; a cotangent has to have y's dtype.
        deltas = jax.vmap(lambda cot: pull(cot[None].astype(y.dtype))[0])(cots)
        return records, deltas

    # Axes from here on: (chunk, ...) of the records, (chunk, K, ...) of the deltas.
    per_example = 0 if cotangents.ndim == 3 else None
    records, deltas = jax.vmap(one, in_axes=(0, per_example))(examples, cotangents)
    recording = _contract.Seen(program, fixed, records, deltas)
    return [_contract.absolute_sum(p, recording) for p in plans]


def _chunk(
    program: taps.Program, plans: list[_contract.LeafPlan], passes: int, batch: int
) -> int:
    """Choose how many examples to take at a time from the memory each needs."""
    # Held for each example and pass: |dy/dw| of the leaves that need it apart,
    # and the cotangents of all tapped outputs.
    apart = sum(
        math.prod(program.avals[program.leaves[p.leaf]].shape) for p in plans if p.apart
    )
    uses = {use for p in plans for use in p.uses}
    cotangents = sum(
        math.prod(program.avals[slot].shape)
        for use in uses
        for slot in program.equations[use].outputs
    )
    budget = _CHUNK_BYTES["cpu" if jax.default_backend() == "cpu" else "other"]
    # 4 bytes a number. Of float64 a chunk takes twice the budget, which is a
    # guide to speed and no bound on the memory.
    limit = max(1, budget // (4 * passes * (apart + cotangents)))
    if limit >= batch:
        return batch
    # The largest divisor in reach wastes nothing; else fill up the last chunk.
    divisors = [d for d in range(1, limit + 1) if batch % d == 0]
    return divisors[-1] if 2 * divisors[-1] >= limit else limit
