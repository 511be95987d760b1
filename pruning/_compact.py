"""Dead units taken out for good: the same function by a smaller network.

A unit (neuron, filter, channel, head) is *silent* when its output does not depend on
the input, and *unheard* when no weight reads it. What an unheard unit does matters to
nobody: it goes. A silent unit puts out a constant a_c. With W_c the weights that read
it, the next layer gets the sum over c of W_c a_c, whatever the input:

- without padding that sum is the same at every place, and goes into the next bias,
  b <- b + sum_c W_c a_c (or, with batch-norm behind, into its mean);
- with padding it is not, for a_c meets zeros at the border. Then one silent unit stays
  and speaks for all: W_0 <- sum_c W_c a_c / a_0, which is exact at the border too.

Taking units out makes others unheard or silent, so it is done until nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from pruning import _couplings
from pruning._couplings import Flat, Units
from pruning.masks import apply_mask
from synaptax.typing import PyTree


@dataclass(frozen=True, eq=False)
class Compacted:
    """A network without its dead units.

    Attributes:
        module: the smaller Flax module.
        params: its parameters.
        stats: its running moments; ``{}`` without batch-norm.
        kept: name of the units -> indices of those that are left.
        error: largest difference of the outputs over the largest output, measured on
            the input that was given.

    Example:
        >>> [field for field in pruning.Compacted.__dataclass_fields__]
        ['module', 'params', 'stats', 'kept', 'error']
    """

    module: Any
    params: PyTree
    stats: PyTree
    kept: Mapping[str, np.ndarray]
    error: float

    def apply_fn(self, params: PyTree, x: Any) -> Any:
        """Return the smaller network's output."""
        return _outputs(self.module, params, self.stats, x)


def compact(
    module: Any,
    params: PyTree,
    x: Any,
    *,
    mask: PyTree | None = None,
    stats: PyTree | None = None,
    units: Sequence[Units] | None = None,
    smaller: Callable[[Mapping[str, int]], Any] | None = None,
    tolerance: float = 1e-5,
) -> Compacted:
    """Take dead units out for good.

    Args:
        module: a Flax Linen module: a bundled one (LeNet-300-100, LeNet-5, VGG-16, the
            ResNets, MobileNet-v2, the transformer), or any with ``units`` and
            ``smaller``. Streams that residual sums tie together stay whole.
        params: its parameters, zeros where they are pruned.
        x: inputs on which old and new outputs are compared.
        mask: applied first, if given.
        stats: running moments, of a network with batch-norm.
        units: what may go, from :class:`pruning.Units`; default: told from the module.
        smaller: name of the units -> number left, to the smaller module.
        tolerance: largest difference of outputs, over the largest output.

    Returns:
        The smaller network. Every group keeps at least one unit.

    Raises:
        ValueError: if the module is not known, a path or an axis that was declared is
            not there, a parameter is not finite, or the outputs differ by more than
            ``tolerance``: then a declaration does not say what the network does.

    Example:
        >>> from synaptax.nets.lenets import LeNet300
        >>> net, x = LeNet300(3, widths=(5, 4)), jnp.ones((2, 2, 2, 1))
        >>> params = net.init(jax.random.key(0), x)["params"]
        >>> mask = pruning.magnitude_mask(params, 0.6, structure=pruning.neuron())
        >>> params = pruning.apply_mask(params, mask)
        >>> small = pruning.compact(net, params, x)
        >>> small.error < 1e-5, sum(w.size for w in jax.tree.leaves(small.params)) < 64
        (True, True)
    """
    if (units is None) != (smaller is None):
        raise ValueError("units, smaller: expected both or neither")
    params = params if mask is None else apply_mask(params, mask)
    stats = stats or {}
    variables = {"params": params, "batch_stats": stats}
    flat: Flat = {
        path: np.asarray(leaf)
        for path, leaf in traverse_util.flatten_dict(variables, sep="/").items()
    }
    for path, leaf in flat.items():
        if not np.isfinite(leaf.astype(np.float32)).all():
            raise ValueError(f"params: leaf {path} is not finite")
    declared = units is not None
    if units is None or smaller is None:
        units, smaller = _couplings.of_module(module, flat)
    for one in units:
        _check(one, flat)
        if declared:
            _perturb(one, module, flat, x)
    kept = {one.name: np.arange(one.count(flat)) for one in units}
    changed = True
    while changed:
        changed = False
        for one in units:
            alive = _fold(one, flat)
            if not alive.all():
                _remove(one, flat, alive)
                kept[one.name] = kept[one.name][alive]
                changed = True
    new = jax.tree.map(jnp.asarray, traverse_util.unflatten_dict(flat, sep="/"))
    new_stats = new.get("batch_stats", {})
    module_now = smaller({name: len(index) for name, index in kept.items()})
    before = np.asarray(_outputs(module, params, stats, x), np.float64)
    after = np.asarray(_outputs(module_now, new["params"], new_stats, x), np.float64)
    error = float(np.abs(after - before).max() / max(np.abs(before).max(), 1e-30))
    if not error <= tolerance:
        raise ValueError(
            f"compact: the outputs differ by {error:.1e} of the largest, more than "
            f"{tolerance:g}: the declared units are not what the network does"
        )
    return Compacted(module_now, new["params"], new_stats, kept, error)


def _outputs(module: Any, params: PyTree, stats: PyTree, x: Any) -> Any:
    """Return a module's outputs; by a compiled program, as it would be used."""
    variables = {"params": params, **({"batch_stats": stats} if stats else {})}
    return jax.jit(module.apply)(variables, x)


def _check(one: Units, flat: Flat) -> None:
    """Raise a ValueError unless what is declared of the units is there."""
    count = one.count(flat)
    places = [(path, axis, 1) for path, axis in one.ties]
    places += [(read.kernel, read.axis, read.repeat) for read in one.reads]
    for path, axis, repeat in places:
        if path not in flat:
            raise ValueError(f"units {one.name}: there is no leaf {path}")
        shape = flat[path].shape
        if axis >= len(shape) or shape[axis] != repeat * count:
            raise ValueError(
                f"units {one.name}: axis {axis} of {path} {shape} is not {repeat} x "
                f"{count} units"
            )


def _perturb(one: Units, module: Any, flat: Flat, x: Any) -> None:
    """Raise a ValueError if something else reads the units than what is declared.

    Where no declared kernel reads them, whatever is tied to them may change and the
    outputs may not.
    """

    def outputs(flat: Flat) -> np.ndarray:
        tree = traverse_util.unflatten_dict(flat, sep="/")
        stats = tree.get("batch_stats", {})
        return np.asarray(_outputs(module, tree["params"], stats, x), np.float64)

    deaf = {**flat, **{r.kernel: np.zeros_like(flat[r.kernel]) for r in one.reads}}
    draw, other = np.random.default_rng(0), dict(deaf)
    heads = {read.kernel for read in one.reads}
    # Positive and near 1, so that a variance stays one.
    for path in sorted({path for path, _ in one.ties} - heads):
        factor = draw.uniform(0.5, 1.5, deaf[path].shape)
        other[path] = ((deaf[path] + 1) * factor).astype(deaf[path].dtype)
    before, after = outputs(deaf), outputs(other)
    if np.abs(after - before).max() > 1e-5 * max(np.abs(before).max(), 1.0):
        raise ValueError(
            f"units {one.name}: the outputs follow them where "
            f"{', '.join(read.kernel for read in one.reads) or 'nothing'} reads none: "
            "a reader or a tie is not declared as it is"
        )


class _Reading(NamedTuple):
    """A kernel as what reads each unit: (units, repeat, ..., outputs), in float64."""

    value: np.ndarray
    restore: Callable[[np.ndarray], np.ndarray]


def _reading(read: _couplings.Read, kernel: np.ndarray) -> _Reading:
    first = np.moveaxis(kernel, read.axis, 0)
    count = first.shape[0] // read.repeat
    split = first.reshape(read.repeat, count, *first.shape[1:]).swapaxes(0, 1)

    def restore(value: np.ndarray) -> np.ndarray:
        merged = value.swapaxes(0, 1).reshape(-1, *first.shape[1:])
        return np.moveaxis(merged, 0, read.axis).astype(kernel.dtype)

    return _Reading(split.astype(np.float64), restore)


def _fold(one: Units, flat: Flat) -> np.ndarray:
    """Push the constants of silent units on; return which units are to stay."""
    readings = [_reading(read, flat[read.kernel]) for read in one.reads]
    heard = np.zeros(one.count(flat), bool)
    for reading in readings:
        heard |= reading.value.any(axis=tuple(range(1, reading.value.ndim)))
    silent, constant = one.silent(flat)
    constant = np.asarray(constant, np.float64)
    speaks = constant.reshape(len(constant), -1).any(1)
    mute = silent & heard & ~speaks  # puts out zeros
    folds = silent & heard & speaks
    if not all(read.into for read in one.reads) and folds.any():
        # Someone pads, or has nothing to take the constant up: one unit speaks for all.
        speaker = int(np.argmax(np.where(folds, np.abs(constant), -1)))
        share = np.where(folds, constant, 0) / constant[speaker]
        for read, reading in zip(one.reads, readings, strict=True):
            value = reading.value
            value[speaker] = np.tensordot(share, value, axes=1)
            flat[read.kernel] = reading.restore(value)
        folds[speaker] = False
    else:
        for read, reading in zip(one.reads, readings, strict=True):
            wide = constant[:, None]  # a unit's repeats share its constant
            wide = wide.reshape(*wide.shape, *(1,) * (reading.value.ndim - wide.ndim))
            # sum_c W_c a_c, over all but the output axis
            pushed = (wide * reading.value)[folds]
            pushed = pushed.sum(axis=tuple(range(pushed.ndim - 1)))
            if read.into:
                taker = flat[read.into]
                sign = -1 if read.subtract else 1
                flat[read.into] = (taker + sign * pushed).astype(taker.dtype)
    alive = heard & ~mute & ~folds
    if not alive.any():  # a layer of no units is no layer: keep one that is not read
        alive[0] = True
        for read, reading in zip(one.reads, readings, strict=True):
            reading.value[0] = 0
            flat[read.kernel] = reading.restore(reading.value)
    return alive


def _remove(one: Units, flat: Flat, alive: np.ndarray) -> None:
    """Cut dead units out of every leaf that has an axis of them."""
    for path, axis in one.ties:
        flat[path] = np.compress(alive, flat[path], axis)
    for read in one.reads:
        every = np.tile(alive, read.repeat)
        flat[read.kernel] = np.compress(every, flat[read.kernel], read.axis)
