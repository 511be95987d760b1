"""Small parts shared by the optax transforms."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.core import Tracer

from synaptax.trees import check_same_structure, map_named, named_leaves
from synaptax.typing import Array, PyTree


def every_leaf(name: str, leaf: Any) -> bool:
    """Say yes to every leaf, weights and biases alike."""
    del name, leaf
    return True


def need_params(params: PyTree | None, transform: str) -> PyTree:
    """Return ``params``, or raise a ValueError that says who needs them."""
    if params is None:
        raise ValueError(
            f"{transform}: params is missing; call update(updates, state, params)"
        )
    return params


def need(argument: str, value: Any, transform: str) -> Any:
    """Return ``value``, or raise a ValueError that names the missing argument."""
    if value is None:
        raise ValueError(
            f"{transform}: the argument {argument} is missing; call "
            f"update(updates, state, params, {argument}=...)"
        )
    return value


def increment(count: Array) -> Array:
    """Return count + 1, held at the largest integer instead of wrapping."""
    return cast(Array, optax.safe_increment(count))


def check_rate(rate: Any, argument: str = "rate") -> None:
    """Raise unless ``rate`` is a schedule, a traced value or a number >= 0."""
    if callable(rate) or isinstance(rate, Tracer):
        return
    if not (math.isfinite(float(rate)) and float(rate) >= 0):
        raise ValueError(
            f"{argument}: expected a number >= 0 or a schedule, got {rate}"
        )


def is_masked(node: Any) -> bool:
    """Say whether a tree node is what optax.masked puts in place of a leaf."""
    return isinstance(node, optax.MaskedNode)


def like(params: PyTree, tree: PyTree, *, argument: str) -> PyTree:
    """Return ``tree`` with the structure of ``params``, matched by path.

    Inside :func:`optax.masked` the parameters have holes while extra arguments come
    whole; and a tree of the same paths may come in other containers.

    Args:
        params: the tree that sets the structure.
        tree: a tree with the same leaves, or more where ``params`` has holes.
        argument: the name of the argument that holds ``tree``, for messages.

    Raises:
        ValueError: naming the argument and the leaf that is missing, unexpected or
            of another shape.
    """
    holes = any(is_masked(node) for node in jax.tree.leaves(params, is_leaf=is_masked))
    if jax.tree.structure(params) == jax.tree.structure(tree):
        check_same_structure(params, tree, argument=argument)
        return tree
    found = dict(named_leaves(tree))
    wanted = [name for name, _ in named_leaves(params)]
    if not holes:
        for name in found:
            if name not in wanted:
                raise ValueError(f"{argument}: unexpected leaf {name}")

    def pick(name: str, leaf: Any) -> Any:
        if name not in found:
            raise ValueError(f"{argument}: leaf {name} is missing")
        shape = tuple(getattr(found[name], "shape", ()))
        if shape != tuple(leaf.shape):
            raise ValueError(
                f"{argument}: leaf {name} has shape {shape}, "
                f"expected {tuple(leaf.shape)}"
            )
        return found[name]

    return map_named(pick, params)


def run_if(flag: Array, function: Callable[[Any], Any], value: Any) -> Any:
    """Return ``function(value)`` if ``flag``, else ``value``.

    A loop of one or no pass instead of ``lax.cond``: under vmap a cond computes both
    branches always, while the loop does nothing as long as no member asks for it.
    Outside jit the flag is known, and nothing needs compiling.
    """
    if not isinstance(flag, Tracer):
        return function(value) if bool(flag) else value

    def body(carry: tuple[Array, Any]) -> tuple[Array, Any]:
        return jnp.zeros_like(carry[0]), function(carry[1])

    return lax.while_loop(lambda carry: carry[0], body, (flag, value))[1]


def call_with_known(
    function: Callable[..., Any], params: PyTree, extra: dict[str, Any], transform: str
) -> Any:
    """Call ``function(params, ...)`` with those extra arguments that it names.

    Raises:
        ValueError: naming a required argument that was not passed to ``update``.
    """
    if "raw_grads" in extra:  # nnx.Optimizer.update cannot pass on a "grads"
        extra = {"grads": extra["raw_grads"], **extra}
    parameters = list(inspect.signature(function).parameters.values())[1:]
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return function(params, **extra)
    known = {}
    for one in parameters:
        if one.name in extra:
            known[one.name] = extra[one.name]
        elif one.default is one.empty and one.kind is not one.VAR_POSITIONAL:
            need(one.name, None, transform)
    return function(params, **known)
