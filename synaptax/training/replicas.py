"""One function over the replicas of a run (one a seed), in turn or at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh

from synaptax.training import sharding

AXES = ("auto", "map", "vmap", "single")


def keys_of(seeds: Sequence[int]) -> jax.Array:
    """Return the typed PRNG keys of some seeds, shape (R,).

    Example:
        >>> synaptax.training.keys_of([0, 1, 2]).shape
        (3,)
    """
    return jnp.stack([jax.random.key(seed) for seed in seeds])


def replica_of(replicas: Any, index: int) -> Any:
    """Return one replica of a tree whose leaves have a leading axis of replicas.

    Example:
        >>> both = {"w": jnp.array([[1.0], [2.0]])}
        >>> synaptax.training.replica_of(both, 1)["w"].tolist()
        [2.0]
    """
    return jax.tree.map(lambda leaf: leaf[index], replicas)


def over_replicas(
    axis: str, function: Callable[..., Any], *, mesh: Mesh | None = None
) -> Callable[..., Any]:
    """Map ``function(replica, *shared)`` over the leading axis of the replicas.

    Args:
        axis: ``map`` (one after the other), ``vmap`` (at once), ``auto``, or
            ``single``: the state is of one replica and has no such axis.
        function: of one replica.
        mesh: the devices, if there are several; replicas along their ``seeds`` axis
            run at once.

    Raises:
        ValueError: for another axis, or a mesh with ``single``.

    Example:
        >>> double = synaptax.training.over_replicas("vmap", lambda w, x: w * x)
        >>> double(jnp.array([1.0, 2.0]), jnp.array(3.0)).tolist()
        [3.0, 6.0]
    """
    if axis not in AXES:
        raise ValueError(f"axis: expected one of {', '.join(AXES)}, got {axis!r}")
    if axis == "single":
        if mesh is not None:
            raise ValueError("axis: single has no replicas to lay along a mesh")
        return function
    along = sharding.SEEDS if mesh and mesh.shape[sharding.SEEDS] > 1 else None
    if axis == "auto":
        # A batched matrix product is slower on a CPU than the same products in turn.
        in_turn = jax.default_backend() == "cpu" and along is None
        axis = "map" if in_turn else "vmap"
    if axis == "vmap":
        # With the axis named, constraints on a batch inside leave replicas where they
        # lie.
        return lambda replicas, *shared: jax.vmap(
            lambda replica: function(replica, *shared), spmd_axis_name=along
        )(replicas)
    return lambda replicas, *shared: lax.map(
        lambda replica: function(replica, *shared), replicas
    )
