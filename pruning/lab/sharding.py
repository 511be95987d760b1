"""A run over several devices: seeds along one axis of a mesh, the batch along another.

Nothing in the training step knows of devices. The members of a run lie along the
mesh's ``seeds`` axis, and each batch is asked to lie along its ``batch`` axis; XLA
then adds the sums over devices that a mean over the batch needs (batch-norm's moments
too), so the result is that of one device up to the order of the sums.

Across processes, each calls :func:`join` first (``Config.distributed``), before
anything touches a device; the mesh then spans the devices of all of them, every
process runs the same program, and all see one file system.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from pruning.lab.data import Batch

SEEDS, BATCH = "seeds", "batch"


def make_mesh(seeds: int, batch: int) -> Mesh | None:
    """Return a mesh of ``seeds * batch`` devices, or None for a single device.

    Args:
        seeds: devices along which the members lie.
        batch: devices along which a batch lies.

    Raises:
        ValueError: if there are fewer devices than that.
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


def join() -> None:
    """Join the processes of a run by ``jax.distributed``; once in a process.

    Coordinator, number of processes and rank come from the cluster (Slurm, Open MPI,
    Kubernetes, TPU pods); elsewhere from the environment variables
    ``JAX_COORDINATOR_ADDRESS``, ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID``.
    """
    if not jax.distributed.is_initialized():
        jax.distributed.initialize()


def placing(mesh: Mesh | None) -> Callable[[Batch], Batch]:
    """Return what puts a batch along the mesh's batch axis, inside ``jit``."""
    if mesh is None:
        return lambda batch: batch
    along = NamedSharding(mesh, P(BATCH))
    return lambda batch: jax.tree.map(
        lambda leaf: lax.with_sharding_constraint(leaf, along), batch
    )


def spread(members: Any, mesh: Mesh | None) -> Any:
    """Return members with their leading axis along the mesh's seeds axis."""
    return members if mesh is None else jax.device_put(members, _along_seeds(mesh))


def copied(tree: Any, mesh: Mesh | None) -> Any:
    """Return a tree of which each device of the mesh holds a copy."""
    return jax.device_put(tree, None if mesh is None else NamedSharding(mesh, P()))


def members_and_info(mesh: Mesh | None) -> Any:
    """Return the shardings of what an epoch returns; None leaves them to XLA."""
    return None if mesh is None else (_along_seeds(mesh), NamedSharding(mesh, P()))


def _along_seeds(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, P(SEEDS))
