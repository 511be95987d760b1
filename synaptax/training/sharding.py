"""A run over several devices: seeds along one axis of a mesh, the batch along another.

Nothing in the training step knows of devices. The replicas of a run lie along the
mesh's ``seeds`` axis, and each batch is asked to lie along its ``batch`` axis; XLA
then adds the sums over devices that a mean over the batch needs (batch-norm's moments
too), so the result is that of one device up to the order of the sums.

The mesh may span the devices of several processes (:mod:`synaptax.runs.processes`);
then what an epoch returns is copied to all devices, so that each process can read it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from synaptax.data.images import Batch

SEEDS, BATCH = "seeds", "batch"


def make_mesh(seeds: int, batch: int) -> Mesh | None:
    """Return a mesh of ``seeds * batch`` devices, or None for a single device.

    Args:
        seeds: devices along which the replicas lie.
        batch: devices along which a batch lies.

    Raises:
        ValueError: if there are fewer devices than that.

    Example:
        >>> mesh = synaptax.training.make_mesh(seeds=2, batch=2)  # of four devices
        >>> dict(mesh.shape)
        {'seeds': 2, 'batch': 2}
    """
    if seeds == batch == 1:
        return None
    devices = jax.devices()
    if seeds * batch > len(devices):
        raise ValueError(
            f"mesh: expected at most {len(devices)} devices (those there are), "
            f"got {seeds} x {batch} = {seeds * batch}"
        )
    return Mesh(
        np.asarray(devices[: seeds * batch]).reshape(seeds, batch), (SEEDS, BATCH)
    )


def placing(mesh: Mesh | None) -> Callable[[Batch], Batch]:
    """Return what puts a batch along the mesh's batch axis, inside ``jit``.

    Example:
        >>> same = synaptax.training.placing(None)  # one device: nothing to place
        >>> same("batch")
        'batch'
    """
    if mesh is None:
        return lambda batch: batch
    along = NamedSharding(mesh, P(BATCH))
    return lambda batch: jax.tree.map(
        lambda leaf: lax.with_sharding_constraint(leaf, along), batch
    )


def spread(state: Any, mesh: Mesh | None) -> Any:
    """Return a state with its replicas along the mesh's seeds axis."""
    return state if mesh is None else _put(state, mesh, _along_seeds(mesh))


def copied(tree: Any, mesh: Mesh | None) -> Any:
    """Return a tree of which each device of the mesh holds a copy."""
    if mesh is None:
        return jax.device_put(tree)
    return _put(tree, mesh, NamedSharding(mesh, P()))


def state_and_info(mesh: Mesh | None) -> Any:
    """Return the shardings of what an epoch returns; None leaves them to XLA."""
    if mesh is None:
        return None
    copies = NamedSharding(mesh, P())
    return (copies if mesh.is_multi_process else _along_seeds(mesh)), copies


def _along_seeds(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, P(SEEDS))


def _put(tree: Any, mesh: Mesh, where: NamedSharding) -> Any:
    """Put a tree, of which each process holds the whole, on the mesh's devices."""
    if not mesh.is_multi_process:
        return jax.device_put(tree, where)

    def put(leaf: Any) -> Any:
        # A typed key has no NumPy form: its data are put, and wrapped again.
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(
                put(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf)
            )
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, where, lambda at: host[at])

    return jax.tree.map(put, tree)
