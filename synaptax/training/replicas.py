"""One function over the networks of a run, in turn or at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax.sharding import Mesh

from synaptax.training import sharding


def over_replicas(
    axis: str, function: Callable[..., Any], *, mesh: Mesh | None = None
) -> Callable[..., Any]:
    """Map ``function(member, *shared)`` over the leading axis of the members.

    Args:
        axis: ``map`` (one after the other), ``vmap`` (at once) or ``auto``.
        function: of one member.
        mesh: the devices, if there are several; members along their ``seeds`` axis
            run at once.
    """
    along = sharding.SEEDS if mesh and mesh.shape[sharding.SEEDS] > 1 else None
    if axis == "auto":
        # A batched matrix product is slower on a CPU than the same products in turn.
        in_turn = jax.default_backend() == "cpu" and along is None
        axis = "map" if in_turn else "vmap"
    if axis == "vmap":
        return lambda members, *shared: jax.vmap(
            lambda m: function(m, *shared), spmd_axis_name=along
        )(members)
    return lambda members, *shared: lax.map(lambda m: function(m, *shared), members)
