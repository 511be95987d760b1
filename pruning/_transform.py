"""Small parts shared by the optax transforms."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.core import Tracer

from pruning._roles import components
from pruning._varying import varying_axes
from synaptax.checks import check_number
from synaptax.trees import (
    check_same_structure,
    map_named,
    named_leaves,
    with_arrays,
)
from synaptax.typing import Array, PyTree


def every_leaf(name: str, leaf: Any) -> bool:
    """Say yes to every leaf, weights and biases alike."""
    del name, leaf
    return True


def need_params(
    params: PyTree | None, transform: str, state: Any, kind: type, updates: PyTree
) -> PyTree:
    """Return ``params``, Python numbers as arrays; check what comes with them."""
    check_state(state, kind, transform)
    if params is None:
        raise ValueError(
            f"{transform}: params is missing; call update(updates, state, params)"
        )
    check_same_structure(params, updates, argument=f"{transform}: updates")
    return with_arrays(params)


def check_state(state: Any, kind: type, transform: str) -> None:
    """Raise unless a state, or a field of one, is of the kind that init returns."""
    if not isinstance(state, kind):
        raise ValueError(
            f"{transform}: the state has a {type(state).__name__}, expected "
            f"{kind.__name__}; one that was restored without a template is made of "
            "dicts and lists: restore it into tx.init(params)"
        )


def with_extra(inner: Any, transform: str) -> optax.GradientTransformationExtraArgs:
    """Return an inner transform that takes extra arguments, checked to be one."""
    if not (hasattr(inner, "init") and hasattr(inner, "update")):
        raise ValueError(
            f"{transform}: inner: expected an optax transform, such as optax.sgd(0.1), "
            f"got {inner!r}"
        )
    return optax.with_extra_args_support(inner)


@jax.jit  # outside jit, jax.debug_nans would raise for the NaN that is not taken
def nan_unless(good: Array, value: Array) -> Array:
    """Return ``value``, NaN where it is not ``good``."""
    return jnp.where(good, value, jnp.asarray(jnp.nan, value.dtype))


def density_or_nan(density: Any) -> Array:
    """Return a density as float32, NaN where it is not in [0, 1].

    What is above 1 by the rounding of float32 counts as 1.
    """
    value = jnp.asarray(density, jnp.float32)
    return nan_unless((value >= 0) & (value <= 1 + 1e-6), jnp.minimum(value, 1))


def differs(wanted: Array, held: Array) -> Array:
    """Say whether one density is asked for where another holds; not if it is NaN."""
    # Relative, for densities near 0; float32 rounds by less than 1e-7.
    return (jnp.abs(wanted - held) > 1e-5 * held) | (wanted >= 0) & jnp.isnan(held)


def nan_where(bad: Array, updates: PyTree) -> PyTree:
    """Return updates that are NaN if ``bad``: what is wrong must be seen."""

    def leaf(update: Array) -> Array:
        inexact = jnp.issubdtype(update.dtype, jnp.inexact)
        return nan_unless(~bad, update) if inexact else update

    return jax.tree.map(leaf, updates)


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
    if callable(rate):
        return
    good = lambda rate: math.isfinite(rate) and rate >= 0
    check_number(argument, rate, "a number >= 0 or a schedule", good)


def rate_at(rate: Any, count: Array) -> Array:
    """Return a rate or what its schedule says, NaN where that is below 0."""
    value = jnp.asarray(rate(count) if callable(rate) else rate)
    if not jnp.issubdtype(value.dtype, jnp.floating):
        value = value.astype(jnp.float32)
    return nan_unless(value >= 0, value)


def is_masked(node: Any) -> bool:
    """Say whether a tree node is what optax.masked puts in place of a leaf."""
    return isinstance(node, optax.MaskedNode)


def has_holes(tree: PyTree) -> bool:
    """Say whether a tree lacks leaves, as inside optax.masked and optax.partition."""
    return any(is_masked(node) for node in jax.tree.leaves(tree, is_leaf=is_masked))


@contextlib.contextmanager
def holes_explained(params: PyTree, transform: str, way: str) -> Iterator[None]:
    """Say of an error inside, where ``params`` has holes, that this is why."""
    try:
        yield
    except Exception as error:
        if not has_holes(params):
            raise
        raise ValueError(
            f"{transform}: params has holes, for it stands inside optax.masked or "
            f"optax.partition, and the network cannot be evaluated with them; {way}"
        ) from error


def refuse_two_views(params: PyTree, transform: str, way: str) -> None:
    """Raise where a network's parameters come twice, as optax.lookahead has them."""
    if isinstance(params, optax.LookaheadParams):
        raise ValueError(
            f"{transform}: params is optax.LookaheadParams, two views of one network, "
            f"which cannot be taken as one; {way}"
        )


def check_shared(params: PyTree, tree: PyTree, argument: str, way: str) -> None:
    """Raise if devices of jax.shard_map share a weight, but not what belongs to it.

    Each would decide on the weight by its own share of the batch.
    """
    for (name, weight), leaf in zip(
        named_leaves(params), jax.tree.leaves(tree), strict=True
    ):
        axes = varying_axes(leaf) - varying_axes(weight)
        if axes:
            raise ValueError(
                f"{argument}: leaf {name} differs between the devices along "
                f"{', '.join(sorted(axes))}, while its weight does not; {way}"
            )


def pure(tree: Any) -> Any:
    """Return a tree without Flax NNX's boxes; of an NNX model, its parameters."""
    from flax import nnx

    if isinstance(tree, nnx.Module):
        tree = nnx.state(tree, nnx.Param)
    return nnx.as_pure(tree)


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
    if isinstance(params, optax.LookaheadParams) and not isinstance(tree, type(params)):
        raise ValueError(
            f"{argument}: params is optax.LookaheadParams, two views of one network; "
            "give each its own, LookaheadParams(tree, tree)"
        )
    if jax.tree.structure(params) == jax.tree.structure(tree):
        check_same_structure(params, tree, argument=argument)
        return tree
    by_path = {_unboxed(name): leaf for name, leaf in named_leaves(tree)}
    expected = {_unboxed(name) for name, _ in named_leaves(params)}

    def pick(name: str, leaf: Any) -> Any:
        name = _unboxed(name)
        if name not in by_path:
            raise ValueError(f"{argument}: leaf {name} is missing")
        shape, target = jnp.shape(by_path[name]), jnp.shape(leaf)
        if shape != target:
            raise ValueError(
                f"{argument}: leaf {name} has shape {shape}, expected {target}"
            )
        return by_path[name]

    result = map_named(pick, params)
    if not has_holes(params):
        for name in by_path:
            if name not in expected:
                raise ValueError(f"{argument}: unexpected leaf {name}")
    return result


def _unboxed(name: str) -> str:
    return "/".join(components(name))


def run_if(flag: Array, function: Callable[[Any], Any], value: Any) -> Any:
    """Return ``function(value)`` if ``flag``, else ``value``.

    A loop of one or no pass instead of ``lax.cond``: under vmap a cond computes both
    branches always, while the loop does nothing as long as no replica asks for it.
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
    arguments = {}
    for one in parameters:
        if one.name in extra:
            arguments[one.name] = extra[one.name]
        elif one.default is one.empty and one.kind is not one.VAR_POSITIONAL:
            need(one.name, None, transform)
    return function(params, **arguments)


Factory = TypeVar("Factory", bound=Callable[..., Any])


class _Whole(NamedTuple):
    """Holds an argument that optax.inject_hyperparams must not take for a schedule."""

    value: Any


class _Signature(inspect.Signature):
    """A signature whose bound arguments are held, but for some."""

    injectable: tuple[str, ...] = ()

    def bind(self, *args: Any, **kwargs: Any) -> inspect.BoundArguments:
        bound = super().bind(*args, **kwargs)
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            if name not in self.injectable:
                bound.arguments[name] = _Whole(value)
        return bound


def injectable(*names: str) -> Callable[[Factory], Factory]:
    """Make a factory fit for :func:`optax.inject_hyperparams` as it stands.

    That function takes every callable argument for a schedule and every number for a
    hyperparameter. A network is no schedule, and a number of steps is static.

    Args:
        *names: the arguments that are hyperparameters: numbers or schedules.
    """

    def decorate(factory: Factory) -> Factory:
        signature = inspect.signature(factory)

        @functools.wraps(factory)
        def made(*args: Any, **kwargs: Any) -> Any:
            for name, value in list(kwargs.items()):
                if not isinstance(value, _Whole):
                    continue
                kwargs[name] = value.value
                if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                    kwargs.update(kwargs.pop(name))
            return factory(*args, **kwargs)

        own = _Signature(
            list(signature.parameters.values()),
            return_annotation=signature.return_annotation,
        )
        own.injectable = names
        made.__signature__ = own  # pyright: ignore[reportAttributeAccessIssue]
        return cast(Factory, made)

    return decorate
