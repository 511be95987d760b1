"""One structure for all leaves, or one for each by its path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pruning._roles import check_call, components
from pruning.structures import Structure, element

Structures = (
    Structure
    | str
    | Mapping[str, Structure | str]
    | Callable[[str, tuple[int, ...]], Structure | str]
)


def check_structures(structure: Any) -> None:
    """Raise a ValueError unless this is a structure, or says which a leaf has."""
    if isinstance(structure, Mapping):
        for one in structure.values():
            _named(one)
    elif not callable(structure):
        _named(structure)
    elif getattr(structure, "__module__", "") == element.__module__:
        raise ValueError(
            f"structure: {structure.__name__} makes a structure: write "
            f"{structure.__name__}(...)"
        )
    else:
        check_call(structure, "structure", "a function (path, shape) -> Structure")


def of_leaves(
    structure: Structures,
    paths: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    names: Sequence[str] | None = None,
) -> tuple[Structure, ...]:
    """Return the structure of each leaf, checked to fit it.

    Args:
        structure: one, a map from path to one, or a function of (path, shape).
        paths: of the leaves.
        shapes: likewise.
        names: what messages call them; default: the paths.

    Raises:
        ValueError: naming the leaf, if a map has a path that no leaf has, or a shape
            does not fit.
    """
    # A leaf has one name, in a box of NNX's too ("kernel/value").
    paths = [_plain(path) for path in paths]
    if isinstance(structure, Mapping):
        structure = {_plain(path): one for path, one in structure.items()}
        unknown = sorted(set(structure) - set(paths))
        if unknown:
            raise ValueError(f"structure: no prunable leaf is called {unknown[0]}")
    result = []
    for path, shape, name in zip(paths, shapes, names or paths, strict=True):
        if isinstance(structure, Mapping):
            one = _named(structure.get(path, "element"))
        elif callable(structure):
            one = _named(structure(path, shape))
        else:
            one = _named(structure)
        one.check(name, shape)
        result.append(one)
    return tuple(result)


def _plain(path: str) -> str:
    return "/".join(components(path))


def _named(structure: Any) -> Structure:
    if structure == "element":
        return element()
    if not isinstance(structure, Structure):
        raise ValueError(
            f"structure: expected 'element' or a Structure, got {structure!r}; or a "
            "map from path to one, or a function of (path, shape)"
        )
    return structure
