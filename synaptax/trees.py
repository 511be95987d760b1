"""Paths, predicates and structure checks shared by every tree function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Prunable = Callable[[str, Any], bool]


def path_name(path: tuple[Any, ...]) -> str:
    """Return a leaf's path as text, e.g. ``params/Dense_0/kernel``.

    Args:
        path: a key path as :func:`jax.tree_util.tree_flatten_with_path` gives it.

    Returns:
        The keys joined by ``/``; ``"(root)"`` for a tree that is one leaf.
    """
    parts = []
    for key in path:
        # A mapping's key, an attribute's name, a sequence's index.
        for attribute in ("key", "name", "idx"):
            if hasattr(key, attribute):
                parts.append(str(getattr(key, attribute)))
                break
        else:
            parts.append(str(key))
    return "/".join(parts) or "(root)"


def named_leaves(tree: Any) -> list[tuple[str, Any]]:
    """Return ``(path name, leaf)`` pairs of ``tree`` in flattening order."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [(path_name(path), leaf) for path, leaf in leaves]


def map_named(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Map ``function(path name, leaf, *others)`` over ``tree`` and ``rest``."""
    return jax.tree_util.tree_map_with_path(
        lambda path, *leaves: function(path_name(path), *leaves), tree, *rest
    )


def with_arrays(tree: Any) -> Any:
    """Return a tree whose Python numbers are arrays, as optax takes them too."""
    return jax.tree.map(lambda x: x if hasattr(x, "dtype") else jnp.asarray(x), tree)


def check_same_structure(expected: Any, given: Any, *, argument: str) -> None:
    """Raise unless ``given`` has the structure and leaf shapes of ``expected``.

    Args:
        expected: the tree that sets the structure, usually the parameters.
        given: the tree to check.
        argument: the name of the argument that holds ``given``, for the message.

    Raises:
        ValueError: naming ``argument`` and the first path that differs.
    """
    expected_leaves, leaves = named_leaves(expected), named_leaves(given)
    expected_names, leaf_of = dict(expected_leaves), dict(leaves)
    for name, _ in expected_leaves:
        if name not in leaf_of:
            raise ValueError(f"{argument}: leaf {name} is missing")
    for name, _ in leaves:
        if name not in expected_names:
            raise ValueError(f"{argument}: unexpected leaf {name}")
    for name, leaf in expected_leaves:
        shape = tuple(getattr(leaf_of[name], "shape", ()))
        expected_shape = tuple(np.shape(leaf))
        if shape != expected_shape:
            raise ValueError(
                f"{argument}: leaf {name} has shape {shape}, expected {expected_shape}"
            )
    # The same paths and shapes in other containers, such as a list for a tuple.
    structure, other = jax.tree.structure(expected), jax.tree.structure(given)
    if structure != other:
        raise ValueError(
            f"{argument}: tree structure {other} differs from the expected {structure}"
        )
