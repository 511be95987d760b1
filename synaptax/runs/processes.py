"""Several processes at one run: who writes, and when the others may read.

Each process calls :func:`join` before anything touches a device
(``Config.distributed``), runs the same program, and sees the same file system. The
first one writes the run folder; :func:`barrier` keeps the others from reading what is
not there yet. With one process all of this does nothing.
"""

from __future__ import annotations

import os
import sys
import traceback

import jax


def join() -> None:
    """Join the processes of a run by ``jax.distributed``; once in a process.

    A cluster (Slurm, Open MPI, Kubernetes, TPU) says itself where the coordinator is.
    Elsewhere the environment does: ``JAX_COORDINATOR_ADDRESS`` (host:port),
    ``JAX_NUM_PROCESSES`` and ``JAX_PROCESS_ID``.
    """
    if jax.distributed.is_initialized():
        return
    count = os.environ.get("JAX_NUM_PROCESSES")
    rank = os.environ.get("JAX_PROCESS_ID")
    jax.distributed.initialize(
        os.environ.get("JAX_COORDINATOR_ADDRESS"),
        None if count is None else int(count),
        None if rank is None else int(rank),
    )


def first() -> bool:
    """Say whether this process is the one that writes."""
    return jax.process_index() == 0


def several() -> bool:
    """Say whether this process has others beside it."""
    return jax.process_count() > 1


def barrier(name: str) -> None:
    """Wait until all processes are at the same barrier."""
    if several():
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def leave(code: int) -> None:
    """End this process now, with an exit code, if it is one of several.

    The interpreter's own end would have ``jax.distributed`` wait for the others, which
    wait for this one's part of a sum.
    """
    if jax.distributed.is_initialized():
        if sys.exc_info()[1] is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
