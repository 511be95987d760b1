"""What a training run leaves on disk, so that a kill at any moment costs little."""

from __future__ import annotations

import dataclasses
import os
import zlib
from typing import Any

import numpy as np

from synaptax import runs
from synaptax.data.streaming import Streamed
from synaptax.runs import checkpoints


@dataclasses.dataclass
class Keeper:
    """A run that is being kept, or one that is not: then all methods do nothing.

    Attributes:
        place: the run folder, or None.
        expect: what a checkpoint must have been saved with.
        done: epochs done so far.
        history: their records.
    """

    place: runs.RunFolder | None
    expect: dict[str, Any]
    done: int
    history: list[dict[str, Any]]

    def keep(
        self, record: dict[str, Any], state: Any, *, epochs: int, every: int
    ) -> None:
        """Note an epoch's record, and save the state if it is time.

        Args:
            record: with the epoch's number from 1 under ``"epoch"``.
            state: what the next epoch needs.
            epochs: of the whole run.
            every: epochs between checkpoints; the last is always saved.
        """
        self.history.append(record)
        self.done = record["epoch"]
        if self.place is None:
            return
        runs.append_metrics(self.place, record)
        if self.done == epochs or not self.done % every:
            checkpoints.save(
                self.place.checkpoints, state, step=self.done, meta=self.expect
            )


def take_up(
    folder: str | os.PathLike[str] | None,
    config: Any,
    state: Any,
    *,
    data: Any,
    resume: bool,
) -> tuple[Keeper, Any]:
    """Begin a run, or go on with the one in the folder.

    Args:
        folder: of the run; None keeps nothing.
        config: a frozen dataclass; a run of another is refused.
        state: before the first epoch.
        data: tuples of arrays that the run is about; other data are refused.
        resume: whether the folder may hold a run.

    Returns:
        The keeper, and the state to go on from.

    Raises:
        ValueError: if the folder holds a run and ``resume`` is false, or a run of
            another config or of other data.
        OSError: if the folder cannot be written.
    """
    expect = {"data": fingerprint(*data)}
    if folder is None:
        return Keeper(None, expect, 0, []), state
    place, done = runs.create(folder, config, resume=resume), 0
    if place.checkpoints.exists():
        found = checkpoints.restore(place.checkpoints, state, expect=expect)
        state, done = found.state, found.step
    runs.keep_metrics(place, last=done)
    return Keeper(place, expect, done, runs.read_metrics(place)), state


def fingerprint(*parts: Any) -> int:
    """Return a checksum of tuples of arrays."""
    total = 0
    for part in parts:
        for leaf in part:
            for chunk in leaf.chunks() if isinstance(leaf, Streamed) else [leaf]:
                total = zlib.crc32(np.asarray(chunk).tobytes(), total)
    return total
