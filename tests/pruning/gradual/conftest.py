"""Small runs that several test modules look at, compiled and run once."""

import dataclasses

import pytest

from pruning.gradual import train
from pruning.gradual.train import fit
from synaptax import runs
from synaptax.data.images import Dataset, load
from synaptax.runs import checkpoints
from tests.pruning.gradual.small_runs import (
    SMALL,
    half_a_line_at,
    interrupted,
    lines_of,
)


class Watched(Dataset):
    """A data set that counts how often its test part is asked for."""

    def __init__(self, data):
        for field in dataclasses.fields(Dataset):
            object.__setattr__(self, field.name, getattr(data, field.name))
        object.__setattr__(self, "asked", 0)

    def __getattribute__(self, name):
        if name == "test":
            object.__setattr__(self, "asked", self.asked + 1)
        return object.__getattribute__(self, name)


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Return an uninterrupted run, its folder and how often it saw the test set."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    seen = []

    def watched(*args, **kwargs):
        seen.append(Watched(load(*args, **kwargs)))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "load", watched)
        result = fit(SMALL, folder, quiet=True)
    return result, folder, seen[0].asked


@pytest.fixture(scope="session")
def part(tmp_path_factory):
    """Return a folder that stopped at epoch 9, with a checkpoint of epoch 7."""
    folder = tmp_path_factory.mktemp("part") / "run"
    interrupted(folder, half_a_line_at(9))
    runs.keep_metrics(runs.RunFolder(folder))  # without the half line
    assert checkpoints.latest(folder / "checkpoints") == 7
    assert lines_of(folder / "metrics.jsonl") == 8
    return folder
