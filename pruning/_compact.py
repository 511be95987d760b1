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
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pruning import _couplings, taps
from pruning._couplings import Flat, Smaller, Units, flattened
from pruning._find_couplings import change, couplings, draw, rounding
from pruning._folding import cut, deafened, erase, fold, perturbed, takes_up
from pruning.masks import apply_mask
from synaptax.checks import check_number
from synaptax.trees import named_leaves
from synaptax.typing import PyTree


@dataclass(frozen=True, eq=False)
class Compacted:
    """A network without its dead units.

    Attributes:
        module: the smaller Flax module, or the function that was given.
        params: its parameters, in the old dtypes.
        stats: its running moments; ``{}`` without batch-norm.
        kept: name of the units -> ascending indices of those that are left.
        error: largest absolute difference of the outputs over the largest output,
            measured on the input that was given.
        refused: of couplings that were found by tracing, ``path[axis]``, or the name of
            a group -> why it stays whole.

    Example:
        >>> [field for field in pruning.Compacted.__dataclass_fields__]
        ['module', 'params', 'stats', 'kept', 'error', 'refused']
    """

    module: Any
    params: PyTree
    stats: PyTree
    kept: Mapping[str, np.ndarray]
    error: float
    refused: Mapping[str, str] = field(default_factory=dict)

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
    tolerance: float | None = None,
) -> Compacted:
    """Take dead units out for good.

    Args:
        module: a bundled Flax Linen module (LeNet-300-100, LeNet-5, VGG-16, the
            ResNets, MobileNet-v2, the transformer; streams that residual sums tie
            together stay whole); any other with ``smaller``; or a function
            ``(params, x) -> y`` that reads its widths from its parameters.
        params: its parameters, zeros where they are pruned.
        x: inputs on which old and new outputs are compared.
        mask: applied first, if given.
        stats: running moments, of a network with batch-norm.
        units: what may go, from :class:`pruning.Units`; default: known of a bundled
            module, found by :func:`pruning.couplings` of others (of a module with
            ``module.apply`` and ``{"params": params, "batch_stats": stats}``). For a
            module they need ``smaller`` beside them.
        smaller: name of the units -> number left, to the smaller module.
        tolerance: largest difference of outputs, over the largest output; default:
            1e-5, and where the network computes in float16 or bfloat16 anywhere, 4
            times that dtype's eps (0.004, 0.03).

    Returns:
        The smaller network. Every group keeps at least one unit.

    Raises:
        ValueError: if a module is not known and no ``smaller`` given, a path or an axis
            that was declared is not there, two leaves have one path, a parameter is not
            finite, or the outputs differ by more than ``tolerance``: then the units are
            not what the network does.

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
    if tolerance is not None:
        check_number("tolerance", tolerance, "a number >= 0", lambda size: size >= 0)
    params = params if mask is None else apply_mask(params, mask)
    net = _Network.of(module, params, stats or {}, x)
    flat = flattened(net.tree)
    for path, leaf in flat.items():
        if not np.isfinite(leaf.astype(np.float32)).all():
            raise ValueError(f"params: leaf {path} is not finite")
    declared = units is not None
    units, smaller, refused = _resolved(net, flat, units, smaller)
    before = net.outputs(flat)
    for one in units:
        _check(one, flat)
        if declared:
            _perturb(one, net.outputs, flat)
    new, alive = _without_dead(units, flat)
    survivors = {name: np.flatnonzero(stays) for name, stays in alive.items()}
    module_now = smaller(_Left({name: len(index) for name, index in survivors.items()}))
    small = net._replace(module=module_now)
    error = change(before, small.outputs(new))
    if tolerance is None:
        tolerance = net.rounding()
    if not error <= tolerance:
        raise ValueError(
            f"compact: the outputs differ by {error:.1e} of the largest, more than "
            f"tolerance={tolerance:g}: the units that were "
            f"{'declared' if declared else 'found'} are not what the network does"
        )
    return Compacted(module_now, *small.split(new), survivors, error, refused)


class _Left(dict[str, int]):
    """How many units are left; who asks for others is told of which."""

    def __missing__(self, name: str) -> int:
        raise KeyError(f"smaller: no units {name!r}; there are {', '.join(self)}")


class _Network(NamedTuple):
    """A module with its variables, or a function with its parameters; and inputs."""

    module: Any
    tree: PyTree
    x: Any

    @classmethod
    def of(cls, module: Any, params: PyTree, stats: PyTree, x: Any) -> _Network:
        if hasattr(module, "apply"):
            return cls(module, {"params": params, "batch_stats": stats}, x)
        if stats:
            raise ValueError("stats: a function takes its moments within params")
        return cls(module, params, x)

    @property
    def is_module(self) -> bool:
        return hasattr(self.module, "apply")

    @property
    def apply_fn(self) -> Callable[..., Any]:
        return self.module.apply if self.is_module else self.module

    def rounding(self) -> float:
        return rounding(taps.trace_whole(self.apply_fn, self.tree, self.x)[0])

    def filled(self, flat: Flat) -> PyTree:
        leaves = [jnp.asarray(flat[path]) for path, _ in named_leaves(self.tree)]
        return jax.tree.unflatten(jax.tree.structure(self.tree), leaves)

    def split(self, flat: Flat) -> tuple[PyTree, PyTree]:
        tree = self.filled(flat)
        return (tree["params"], tree["batch_stats"]) if self.is_module else (tree, {})

    def outputs(self, flat: Flat) -> np.ndarray:
        # In float64 from here on: a comparison that rounds nothing itself.
        leaves = jax.tree.leaves(_outputs(self.module, *self.split(flat), self.x))
        return np.concatenate([np.asarray(y, np.float64).ravel() for y in leaves])


def _resolved(
    net: _Network, flat: Flat, units: Sequence[Units] | None, smaller: Smaller | None
) -> tuple[Sequence[Units], Smaller, Mapping[str, str]]:
    """Return what may go, what makes the smaller network, and what was refused."""
    as_module = net.is_module or not callable(net.module)
    if as_module and units is None and smaller is None:
        return *_couplings.of_module(net.module, flat), {}
    if as_module and smaller is None:
        raise ValueError("units, smaller: expected both or neither, or smaller alone")
    refused: dict[str, str] = {}
    if units is None:
        units, why = couplings(net.apply_fn, net.tree, net.x)
        refused.update(why)
        if not net.is_module:
            units, why = _can_go(units, net.outputs, flat, net.rounding())
            refused.update(why)
    return units, smaller or (lambda left: net.module), refused


def _can_go(
    units: Sequence[Units],
    apply_fn: Callable[[Flat], np.ndarray],
    flat: Flat,
    noise: float,
) -> tuple[list[Units], dict[str, str]]:
    """Take one unit out of every group; return the groups that bear it, why not."""
    flat = draw(flat, np.random.default_rng(1))

    def reason(some: Sequence[Units]) -> str:
        alive = {one.name: np.arange(one.count(flat)) > 0 for one in some}
        zeros = dict(flat)
        for one in some:
            erase(one, zeros, alive[one.name])
        try:
            after = apply_fn(cut(some, flat, alive))
        except Exception as error:  # whatever a network raises for shapes
            first = str(error).partition("\n")[0]
            return f"apply_fn does not run with fewer: {first}"
        same = change(apply_fn(zeros), after) <= noise
        return "" if same else "apply_fn computes something else with fewer"

    if not reason(units):
        return list(units), {}
    reasons = {one.name: reason([one]) for one in units}
    good = [one for one in units if not reasons[one.name]]
    return good, {name: why for name, why in reasons.items() if why}


def _without_dead(
    units: Sequence[Units], flat: Flat
) -> tuple[Flat, dict[str, np.ndarray]]:
    """Fold until nothing changes; return the smaller parameters, who is left."""
    flat = dict(flat)
    alive = {one.name: np.ones(one.count(flat), bool) for one in units}
    changed = True
    while changed:
        changed = False
        for one in units:
            stays = fold(one, flat, alive[one.name])
            if (alive[one.name] & ~stays).any():
                alive[one.name] &= stays
                erase(one, flat, alive[one.name])
                changed = True
    return cut(units, flat, alive), alive


def _outputs(module: Any, params: PyTree, stats: PyTree, x: Any) -> Any:
    """Return a network's outputs; by a compiled program, as it would be used."""
    if not hasattr(module, "apply"):
        return jax.jit(module)(params, x)
    variables = {"params": params, **({"batch_stats": stats} if stats else {})}
    return jax.jit(module.apply)(variables, x)


def _check(one: Units, flat: Flat) -> None:
    """Raise a ValueError unless what is declared of the units is there."""
    count = one.count(flat)
    places = [(path, axis, 1) for path, axis in one.ties]
    places += [(reader.kernel, reader.axis, reader.repeat) for reader in one.reads]
    for path, axis, repeat in places:
        if path not in flat:
            raise ValueError(f"units {one.name}: there is no leaf {path}")
        shape = flat[path].shape
        size = len(one.entries.get((path, axis), ())) or repeat * count
        if axis >= len(shape) or shape[axis] != size:
            raise ValueError(
                f"units {one.name}: axis {axis} of {path} {shape} is not {repeat} x "
                f"{count} units"
            )
    for reader in one.reads:
        if reader.into is None:
            continue
        if reader.into not in flat:
            raise ValueError(f"units {one.name}: there is no leaf {reader.into}")
        leaf, kernel = flat[reader.into].shape, flat[reader.kernel].shape
        if not takes_up(leaf, kernel, reader.axis):
            raise ValueError(
                f"units {one.name}: {reader.into} {leaf} has not one entry for each "
                f"output of {reader.kernel} {kernel}"
            )


def _perturb(one: Units, outputs: Callable[[Flat], np.ndarray], flat: Flat) -> None:
    """Raise a ValueError if something else reads the units than what is declared.

    Where no declared kernel reads them, whatever is tied to them may change and the
    outputs may not.
    """
    none = np.zeros(one.count(flat), bool)
    other = perturbed(one, flat, none, np.random.default_rng(0))
    before, after = (outputs(deafened(one, f, none)) for f in (flat, other))
    # 1e-5 of the largest output, or of 1: as NOISE, what
    # float32 makes of it by rounding.
    if np.abs(after - before).max() > 1e-5 * max(np.abs(before).max(), 1.0):
        raise ValueError(
            f"units {one.name}: the outputs follow them where "
            f"{', '.join(reader.kernel for reader in one.reads) or 'nothing'} reads "
            "none: a reader or a tie is not declared as it is"
        )
