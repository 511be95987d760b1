"""Take up a run of one stage where its newest checkpoint left it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from synaptax import runs
from synaptax.runs import checkpoints


def members(folder: runs.RunFolder, begin: Callable[[], Any]) -> Any:
    """Return the state of the newest checkpoint, or that at the start.

    Records of later epochs are dropped: they will be written again.

    Args:
        folder: the run.
        begin: makes the state at the start; traced for its structure otherwise.

    Raises:
        synaptax.runs.checkpoints.CheckpointError: a damaged or foreign checkpoint.
    """
    begin = jax.jit(begin)
    done = checkpoints.latest(folder.checkpoints)
    if done is None:
        runs.keep_metrics(folder, last=0)
        return begin()
    restored = checkpoints.restore(folder.checkpoints, jax.eval_shape(begin))
    runs.keep_metrics(folder, last=done)  # only now: an error changes nothing
    return restored.state
