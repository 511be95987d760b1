"""Find which axes of which parameters belong together, in anybody's ``apply_fn``.

The traced program says which entries go together (:mod:`pruning._follow`); then every
group is tried out on random parameters, for it is not enough that a rule says so:

- nobody else reads them: where the claimed readers are zero, the units may change and
  the outputs do not;
- they can go: where they are silent, their constants are pushed on and they are set to
  zero, and the outputs stay.

What cannot be followed, or does not stand the trial, is refused with the reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pruning import taps
from pruning._couplings import Flat, Read, Silent, Units, flattened
from pruning._folding import deafened, entries_by_unit, erase, fold, perturbed, takes_up
from pruning._follow import Follower, Reading
from pruning._labels import Axes, Labels
from pruning._nonlinear import CONVERTING
from pruning._silence import measure, silent_units
from pruning.taps import Program
from synaptax.trees import map_named
from synaptax.typing import PyTree

Place = tuple[int, int]  # leaf, axis
# Of the largest output: what rounding makes in float32, at least, and in steps of a
# coarser dtype; how much more than that counts as a change; and draws.
NOISE, STEPS, FELT, DRAWS = 1e-5, 4, 10, 4


class Couplings(NamedTuple):
    """What was found of a network's units.

    Attributes:
        units: groups that can be taken out unit by unit.
        refused: ``path[axis]`` of every axis of a parameter that is in no group -> why.

    Example:
        >>> pruning.Couplings._fields
        ('units', 'refused')
    """

    units: tuple[Units, ...]
    refused: Mapping[str, str]


class _Traced(NamedTuple):
    """A program, what was followed through it, and the labels of each leaf's axis."""

    program: Program
    names: list[str]
    places: Mapping[Place, np.ndarray]
    labels: Labels
    readings: Sequence[Reading]


class _Group(NamedTuple):
    """Units, the places that have them with the unit of each entry, and who reads."""

    roots: Sequence[int]
    entries: Mapping[Place, np.ndarray]
    readings: Sequence[Reading]
    reads: frozenset[Place]


def couplings(apply_fn: Callable[..., Any], params: PyTree, x: Any) -> Couplings:
    """Find which axes of which parameters belong to the same units.

    A unit is a neuron, a filter, a channel, a head: an entry of a kernel's output axis
    with its bias, the norm's scale, shift and running moments, the depthwise filter
    behind, and every row that reads it, through residual sums, concatenations, slices,
    flattening and windows cut by hand. Each group is tried on random parameters.

    Args:
        apply_fn: ``(params, x) -> y``, any pytree of arrays. Of a Flax Linen module
            pass ``module.apply`` and all variables, so that moments count.
        params: shapes, and signs (a leaf without negative entries stays so in trials).
        x: inputs with a leading batch axis; the first two examples are used.

    Returns:
        The groups, named by their first kernel, and why what is in none is not.
        Streams that a layer-norm runs over are refused, as is what a loop reads.

    Example:
        >>> def network(p, x):
        ...     return jax.nn.relu(x @ p["w"] + p["b"][None]) @ p["v"]
        >>> params = {"b": jnp.ones(4), "v": jnp.ones((4, 2)), "w": jnp.ones((3, 4))}
        >>> (hidden,), refused = pruning.couplings(network, params, jnp.ones((2, 3)))
        >>> hidden.name, hidden.ties, [tuple(read[:2]) for read in hidden.reads]
        ('w', (('w', 1), ('b', 0)), [('v', 0)])
        >>> sorted(refused)
        ['v[1]', 'w[0]']
    """
    flat, x = flattened(params), map_named(_examples, x)
    traced, why = _trace(apply_fn, params, x, list(flat)), {}
    groups = _groups(traced, why)
    slots = {r.slot for group in groups for r in group.readings}
    inputs = jax.tree.leaves(x)
    measured = jax.jit(lambda leaves: measure(traced.program, leaves, inputs, slots))
    structure, run = jax.tree.structure(params), jax.jit(apply_fn)

    def outputs(flat: Flat) -> np.ndarray:
        tree = jax.tree.unflatten(structure, [flat[name] for name in traced.names])
        leaves = jax.tree.leaves(run(tree, x))
        return np.concatenate([np.asarray(y, np.float64).ravel() for y in leaves])

    noise = rounding(traced.program)
    units: list[Units] = []
    for group in groups:
        one = _named(_units(traced, group, measured), {one.name for one in units})
        stands = _tried(one, outputs, flat, noise)
        if isinstance(stands, str):
            why.update({place: stands for place in group.entries})
        else:
            units.append(stands)
    whole = {place for one in units for place in one.places()}
    refused = {
        f"{traced.names[leaf]}[{axis}]": reason
        for (leaf, axis), reason in sorted(why.items())
        if (traced.names[leaf], axis) not in whole
    }
    return Couplings(tuple(units), refused)


def _examples(name: str, leaf: Any) -> jax.Array:
    """Return the first two examples."""
    dtype = getattr(leaf, "dtype", np.float32)
    if np.ndim(leaf) == 0 or jnp.issubdtype(dtype, jax.dtypes.prng_key):
        raise ValueError(
            f"x: leaf {name}: expected numbers with a leading batch axis, got "
            f"{jax.typeof(leaf)}; let apply_fn close over what has none"
        )
    return jnp.asarray(np.asarray(leaf)[:2])


def rounding(program: Program) -> float:
    """Return what rounding makes of the largest output, by the coarsest dtype."""
    dtypes = {aval.dtype for aval in program.avals.values()}
    eps = [jnp.finfo(d).eps for d in dtypes if jnp.issubdtype(d, jnp.floating)]
    return max(NOISE, STEPS * float(max(eps, default=0)))


def _named(one: Units, taken: Collection[str]) -> Units:
    """Make the name of a group its own, where a kernel has several."""
    names = (f"{one.name}[{one.ties[0][1]}]{'+' * more}" for more in itertools.count())
    names = itertools.chain([one.name], names)
    return one._replace(name=next(name for name in names if name not in taken))


def _trace(
    apply_fn: Callable[..., Any], params: PyTree, x: Any, names: list[str]
) -> _Traced:
    abstract = jax.tree.map(jax.typeof, (params, x))
    program, _ = taps.trace_whole(apply_fn, *abstract)
    labels, places = Labels(), {}
    axes: dict[int, Axes] = {}
    for leaf, slot in enumerate(program.leaves):
        axes[slot] = []
        for axis, size in enumerate(program.avals[slot].shape):
            if size > 1:
                places[leaf, axis] = labels.fresh(size)
            axes[slot].append((places[leaf, axis],) if size > 1 else None)
    for slot in program.inputs:
        shape = program.avals[slot].shape
        axes[slot] = [None if size == 1 else () for size in shape]
    follower = Follower(program, labels)
    for output in follower.follow(axes):
        for axis in output:
            labels.fix(axis, "is the output's")
    return _Traced(program, names, places, labels, follower.readings)


def _groups(traced: _Traced, why: dict[Place, str]) -> list[_Group]:
    """Gather labels that are in the same places; say why the others are in no group."""
    labels = traced.labels
    owner = np.zeros(len(labels.parent), int)
    for number, place in enumerate(traced.places):
        owner[traced.places[place]] = number
    keys = list(traced.places)
    reads = {
        keys[owner[row]] for r in traced.readings for row in np.unique(r.rows) if row
    }
    where: dict[int, dict[Place, int]] = {}
    for place, column in traced.places.items():
        for root in labels.find(column).tolist():
            counts = where.setdefault(root, {})
            counts[place] = counts.get(place, 0) + 1
    alike: dict[Any, list[int]] = {}
    for root, counts in where.items():
        if root in labels.reasons:
            why.update({p: labels.reasons[root] for p in counts if p not in why})
        else:
            alike.setdefault(frozenset(counts.items()), []).append(root)
    groups = []
    for counts, roots in alike.items():
        places = {place for place, _ in counts}
        reason = "no kernel reads it" if not places & reads else ""
        reason = reason or ("no other parameter writes it" if places <= reads else "")
        reason = reason or ("is of one unit" if len(roots) == 1 else "")
        if reason:
            why.update({p: reason for p in places if p not in why})
            continue
        unit = np.full(len(labels.parent), -1)
        unit[roots] = np.arange(len(roots))
        entries = {
            place: unit[labels.find(column)]
            for place, column in traced.places.items()
            if place in places
        }
        mine = [r for r in traced.readings if (unit[labels.find(r.rows)] >= 0).any()]
        groups.append(_Group(roots, entries, mine, frozenset(places & reads)))
    whole = {p for group in groups for p in group.entries}
    for place in whole & {*why}:  # in part only
        del why[place]
    return groups


def _units(traced: _Traced, group: _Group, measured: Callable[..., Any]) -> Units:
    """Declare a group."""
    program = traced.program

    def name(place: Place) -> tuple[str, int]:
        return traced.names[place[0]], place[1]

    # Kernels first, in the order in which they are used.
    used = [slot for eqn in program.equations for slot in eqn.inputs]

    def order(place: Place) -> tuple[bool, int, Place]:
        slot = program.leaves[place[0]]
        return len(program.avals[slot].shape) < 2, used.index(slot), place

    ties = sorted({*group.entries} - group.reads, key=order)
    count, reads, entries = len(group.roots), [], {}
    for place, owners in group.entries.items():
        if (owners != np.arange(len(owners)) % count).any() or (
            place in ties and len(owners) != count
        ):
            entries[name(place)] = tuple(owners.tolist())
    places = sorted(group.reads)
    for place in places:
        size = int(np.count_nonzero(group.entries[place] >= 0)) // count
        reads.append(Read(*name(place), size, *_into(traced, place)))
    silent = _silent(traced, group, places, measured)
    kernel = traced.names[ties[0][0]]
    return Units(kernel, tuple(map(name, ties)), tuple(reads), silent, entries)


def _into(traced: _Traced, place: Place) -> tuple[str | None, bool]:
    """Return what is added to (or subtracted from) what a kernel's products sum to."""
    program, rows = traced.program, traced.places[place]
    mine = [r for r in traced.readings if np.isin(r.rows, rows).any()]
    slot = program.equations[mine[0].equation].outputs[0]
    while len(mine) == 1:
        users = [eqn for eqn in program.equations if slot in eqn.inputs]
        if len(users) != 1:
            break
        (eqn,) = users
        name = eqn.primitive.name
        if name in ("add", "sub") and (name == "add" or eqn.inputs[0] == slot):
            other = eqn.inputs[1 if eqn.inputs[0] == slot else 0]
            leaves = program.owners.get(other, frozenset())
            shapes = [program.avals[program.leaves[i]].shape for i in sorted(leaves)]
            kernel = program.avals[program.leaves[place[0]]].shape
            if len(leaves) == 1 and takes_up(shapes[0], kernel, place[1]):
                return traced.names[min(leaves)], name == "sub"
            break
        if name not in {*CONVERTING, "reduce_max", "reduce_window_max"}:
            break
        slot = eqn.outputs[0]
    return None, False


def _silent(
    traced: _Traced, group: _Group, places: Sequence[Place], measured: Callable
) -> Silent:
    """Return what tells which units do not depend on the input, and their constants."""
    count = len(group.roots)
    unit = np.full(len(traced.labels.parent), -1)
    unit[group.roots] = np.arange(count)
    reads = []
    for place in places:
        rows, parts = traced.places[place], []
        for reading in group.readings:
            if np.isin(reading.rows, rows).any():
                columns = [traced.labels.find(c) for c in reading.columns or ()]
                parts.append((reading, entries_by_unit(np.max(unit[columns], 0))))
        entries = int(np.count_nonzero(group.entries[place] >= 0))
        reads.append((entries // count, parts))

    def silent(flat: Flat) -> tuple[np.ndarray, list[np.ndarray]]:
        values = measured([flat[name] for name in traced.names])
        return silent_units(count, reads, values)

    return silent


def draw(flat: Flat, rng: np.random.Generator) -> Flat:
    """Return random parameters; those that have no negative entry stay without."""

    def leaf(value: np.ndarray) -> np.ndarray:
        if not jnp.issubdtype(value.dtype, jnp.floating):
            return value
        # Positive and near 1: a variance stays one.
        if value.min(initial=0) >= 0 and (value.ndim < 2 or value.any()):
            return np.asarray(rng.uniform(0.5, 1.5, value.shape), value.dtype)
        # 2 over the number of inputs: a ReLU passes on half of the mean square.
        spread = np.sqrt(2 / max(1, np.prod(value.shape[:-1])))
        return np.asarray(spread * rng.normal(size=value.shape), value.dtype)

    return {path: leaf(value) for path, value in flat.items()}


def change(before: np.ndarray, after: np.ndarray) -> float:
    """Return the largest change of the outputs over the largest output."""
    if before.shape != after.shape:
        return np.inf
    # 1e-30: of outputs that are all zero.
    return float(np.abs(before - after).max() / max(np.abs(before).max(), 1e-30))


def _tried(
    one: Units, outputs: Callable[[Flat], np.ndarray], flat: Flat, noise: float
) -> Units | str:
    """Try a group on random parameters; return it, or why it is refused.

    Where a constant is not taken up exactly (padding), or none was seen to matter, it
    has no ``into``. A draw in which the outputs do not feel the units says nothing.
    """
    safe = one._replace(
        reads=tuple(reader._replace(into=None, subtract=False) for reader in one.reads)
    )
    stands: Units | str = "the outputs do not follow it"
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        some, count = draw(flat, rng), one.count(flat)
        alive = np.ones(count, bool)
        alive[rng.permutation(count)[: max(2, count // 2)]] = False
        other = perturbed(one, some, alive, rng)
        effect = change(outputs(some), outputs(other))
        if not np.isfinite(effect):
            stands = "the outputs at random parameters are not finite"
        if not np.inf > effect > FELT * noise:
            continue
        deaf = [outputs(deafened(one, each, alive)) for each in (some, other)]
        # What may remain is rounding, or a hundredth of what the units do.
        if not change(*deaf) <= max(noise, effect / 100):
            return "the outputs follow it past the kernels that read it"
        quiet = _quiet(one, some, alive)
        if quiet is None:
            return "its units do not fall silent with their weights"
        before, zeros = outputs(quiet), dict(quiet)
        erase(one, zeros, alive)
        effect = change(before, outputs(zeros))
        for attempt in (one, safe):
            new = dict(quiet)
            survivors = fold(attempt, new)
            erase(attempt, new, survivors)
            exact = change(before, outputs(new)) <= max(noise, effect / 100)
            if exact and survivors[~alive].sum() <= 1:
                break
        else:
            return "taking silent units out changes the outputs"
        if effect > FELT * noise:
            return attempt
        stands = safe
    return stands


def _quiet(one: Units, flat: Flat, alive: np.ndarray) -> Flat | None:
    """Return parameters with dead units silent: by their kernels, or by more of it."""
    for rank in sorted({flat[path].ndim for path, _ in one.ties}, reverse=True):
        quiet = dict(flat)
        ties = tuple(tie for tie in one.ties if flat[tie[0]].ndim >= rank)
        erase(one._replace(ties=ties, reads=()), quiet, alive)
        if (one.silent(quiet)[0] | alive).all():
            return quiet
    return None
