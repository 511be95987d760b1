"""Which leaves are weights, and which of them are stacks of layers.

A leaf's role is told by its path, its dtype and its shape together, because none of
them suffices: the bias of a multi-head projection has two axes, everything under a
scanned stack has one axis more, and a table of positions is an integer matrix.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from synaptax.trees import Prunable, named_leaves

Stacked = Callable[[str, Any], int]

# Words in a leaf's own name that say that it shifts or scales a whole unit.
_SHIFTS = {"bias", "biases", "beta", "offset", "shift"}
_SCALES = {"scale", "scales", "alpha", "gamma", "slope", "temperature"}
_STATISTICS = {"mean", "var", "running_mean", "running_var"}
# Words in its module's name that make a "weight" the scale of a normalisation.
_NORMS = {"norm", "layernorm", "batchnorm", "groupnorm", "rmsnorm", "instancenorm"}
_NORMS |= {"ln", "bn", "gn", "rms"}
_ANY_WEIGHT = re.compile(r"(w|weight|kernel)(_?\d*)")
_ANY_BIAS = re.compile(r"b(_?\d*)")


def words(component: str) -> set[str]:
    """Return the words of a path's component: of ``LayerNorm_0``, layer and norm."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", component)
    return set(re.sub(r"[\W\d_]+", " ", text).lower().split())


def components(name: str) -> list[str]:
    """Split a path; a box around the leaf (NNX, Linen metadata) is no part of it."""
    parts = name.split("/")
    return parts[:-1] if len(parts) > 1 and parts[-1] == "value" else parts


def acts_on_units(name: str) -> bool:
    """Say whether a path is that of a bias or a scale: one number for each unit."""
    *parents, last = components(name)
    if words(last) & (_SHIFTS | _SCALES) or last in _STATISTICS:
        return True
    norm = bool(parents) and bool(words(parents[-1]) & _NORMS)
    return norm and last in ("weight", "w", "g", "b")


def weights_only(name: str, leaf: Any) -> bool:
    """Say whether a leaf is prunable by default: a kernel or an embedding.

    These are the floating (or complex) leaves with two axes or more that are neither
    a bias nor a scale by their path: not those named ``bias``, ``beta``, ``offset``,
    ``shift``, ``scale``, ``alpha``, ``gamma``, ``slope`` or ``temperature``, alone or
    as a word of the name (``relative_position_bias``), nor the ``weight`` of a module
    named for a normalisation (``norm1``, ``ln_f``, ``LayerNorm_0``). Axes of 1 say
    nothing: a (1, n) leaf may be the kernel of a layer of one input, or a vector to be
    broadcast, which its name or ``prunable=`` must tell. So it is for Flax Linen and
    NNX, Equinox, Haiku and trees of one's own; where names tell nothing, as in a list
    of arrays, the axes decide. Functions that see the whole tree also take a ``b``
    for a bias where a ``w`` of more axes stands beside it.

    Args:
        name: the path, such as ``Dense_0/kernel``.
        leaf: an array, or anything with a shape and a dtype. A boolean leaf is taken
            for a mask, of which only path and shape are asked.

    Returns:
        Whether it is a weight.

    Example:
        >>> kernel, bias = jnp.ones((2, 3)), jnp.ones(3)
        >>> of = pruning.weights_only
        >>> of("dense/kernel", kernel), of("dense/bias", bias)
        (True, False)
    """
    dtype = getattr(leaf, "dtype", None)
    if dtype is None or len(leaf.shape) < 2 or acts_on_units(name):
        return False
    return bool(jnp.issubdtype(dtype, jnp.inexact)) or dtype == np.dtype(bool)


def check_prunable(prunable: Any) -> None:
    """Raise a ValueError that names ``prunable`` unless it is a predicate."""
    form = "a function (path, leaf) -> bool, such as lambda path, leaf: leaf.ndim > 1"
    if not callable(prunable):
        raise ValueError(
            f"prunable: expected {form}; got {type(prunable).__name__}. For a tree of "
            "booleans use optax.masked"
        )
    check_call(prunable, "prunable", form)


def check_call(function: Callable[..., Any], name: str, form: str) -> None:
    """Raise a ValueError unless a function takes a path and one argument more."""
    try:
        inspect.signature(function).bind("path", None)
    except TypeError as error:
        raise ValueError(f"{name}: expected {form}; {error}") from None
    except ValueError:  # a builtin without a signature
        pass


class Leaf(NamedTuple):
    """A leaf, its path and whether it is prunable."""

    name: str
    value: Any
    prunable: bool


def leaves_of(tree: Any, prunable: Prunable) -> list[Leaf]:
    """Return the leaves of a tree in flattening order, told apart by a predicate.

    A leaf without entries is never prunable.

    Raises:
        ValueError: if ``prunable`` is no predicate, or does not answer yes or no.
    """
    check_prunable(prunable)
    leaves = named_leaves(tree)
    biases = _plain_biases(leaves) if prunable is weights_only else set()
    return [
        Leaf(name, leaf, name not in biases and _answer(prunable, name, leaf))
        for name, leaf in leaves
    ]


def _answer(prunable: Prunable, name: str, leaf: Any) -> bool:
    array = leaf if hasattr(leaf, "shape") else np.asarray(leaf)
    answer = prunable(name, array)
    if isinstance(answer, bool | np.bool_):
        # Of a layer of width 0 there is nothing to prune.
        return bool(answer) and 0 not in array.shape
    raise ValueError(
        f"prunable: expected True or False for leaf {name}, got "
        f"{type(answer).__name__}; it is called with (path, leaf)"
    )


def _plain_biases(named: Sequence[tuple[str, Any]]) -> set[str]:
    """Return the paths of each ``b`` that stands beside a ``w`` of more axes."""
    ranks: dict[tuple[str, str], int] = {}
    for name, leaf in named:
        *parents, last = components(name)
        weight = _ANY_WEIGHT.fullmatch(last)
        if weight:
            ranks["/".join(parents), weight[2]] = np.ndim(leaf)
    biases = set()
    for name, leaf in named:
        *parents, last = components(name)
        bias = _ANY_BIAS.fullmatch(last)
        if bias and np.ndim(leaf) < ranks.get(("/".join(parents), bias[1]), 0):
            biases.add(name)
    return biases


def stacked_axes(tree: Any) -> list[int]:
    """Return how many leading axes of each leaf count layers, mostly 0.

    A scan or a vmap over layers keeps the parameters of L layers in one leaf with an
    axis of size L in front. A subtree is such a stack if all its leaves share that
    axis and its biases and scales, which have one axis by their role, have one more;
    or, where it has neither, if a module's name says so (``ScanBlock_0`` of Linen).

    Args:
        tree: the parameters, or any tree of their paths and shapes.

    Returns:
        One number for each leaf, in flattening order.
    """
    leaves = named_leaves(tree)
    biases = [components(name) for name in _plain_biases(leaves)]
    entries = [(components(name), tuple(np.shape(x))) for name, x in leaves]
    kernels: dict[tuple[str, ...], list[tuple[str, tuple[int, ...]]]] = {}
    for (*parents, last), shape in entries:
        if _ANY_WEIGHT.fullmatch(last) and len(shape) >= 2:
            kernels.setdefault(tuple(parents), []).append((last, shape))
    vectors = [
        _vector_axes(parts, shape, kernels)
        if parts in biases or acts_on_units("/".join(parts))
        else None
        for parts, shape in entries
    ]
    members: dict[tuple[str, ...], list[int]] = {}
    for index, (parts, _) in enumerate(entries):
        for depth in range(len(parts)):
            members.setdefault(tuple(parts[:depth]), []).append(index)
    axes = [0] * len(entries)
    for prefix, inside in members.items():
        counts = [extra for i in inside if (extra := vectors[i]) is not None]
        shapes = [entries[i][1] for i in inside]
        extra = min(counts) if counts else _named_scan(prefix, shapes)
        front = {shape[:extra] for shape in shapes}
        if extra and len(front) == 1 and all(len(shape) > extra for shape in shapes):
            for i in inside:
                axes[i] = max(axes[i], extra)
    return axes


def _named_scan(prefix: tuple[str, ...], shapes: list[tuple[int, ...]]) -> int:
    scan = bool(prefix) and re.match(r"(Scan|Vmap)[A-Z]", prefix[-1]) is not None
    return int(scan and all(len(shape) >= 3 for shape in shapes))


def _vector_axes(
    parts: list[str],
    shape: tuple[int, ...],
    kernels: Mapping[tuple[str, ...], list[tuple[str, tuple[int, ...]]]],
) -> int | None:
    """Return the axes that a bias or scale has in front of its own, else None.

    None too where that cannot be told: a bias with several axes of its own, as the
    multi-head projection has, ends like the kernel beside it.
    """
    if not shape:
        return None
    for name, kernel in kernels.get(tuple(parts[:-1]), ()):
        if len(shape) >= 2 and shape == kernel[-len(shape) :]:
            return None
        # Equinox: outputs first, the bias of a convolution shaped to be broadcast.
        ones = (kernel[0], *(1,) * (len(kernel) - 2))
        if name.startswith("weight") and shape == ones:
            return 0
    return len(shape) - 1


def layers_of(
    shapes: Sequence[tuple[int, ...]], axes: Sequence[int]
) -> list[tuple[int, tuple[int, ...]]]:
    """Say where each layer lies: in which leaf, and at which place of its stack.

    Args:
        shapes: of the leaves.
        axes: for each, the number of leading axes that count layers.

    Returns:
        The index of a leaf and the layer's place in it; () where nothing is stacked.
    """
    return [
        (index, tuple(map(int, place)))
        for index, (shape, extra) in enumerate(zip(shapes, axes, strict=True))
        for place in np.ndindex(*shape[:extra])
    ]


def restacked(
    layers: Sequence[Any],
    origin: Sequence[tuple[int, tuple[int, ...]]],
    shapes: Sequence[tuple[int, ...]],
) -> list[Any]:
    """Put the layers of :func:`layers_of` together again, in the leaves' shapes."""
    parts: list[list[Any]] = [[] for _ in shapes]
    for layer, (index, _) in zip(layers, origin, strict=True):
        parts[index].append(layer)
    return [
        own[0] if own[0].shape == shape else jnp.stack(own).reshape(shape)
        for own, shape in zip(parts, shapes, strict=True)
    ]
