"""Small runs that several test modules look at, compiled and run once."""

import contextlib
import dataclasses
import os

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

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


@pytest.fixture(scope="session")
def own_programs(tmp_path_factory):
    """Return the folder of the programs that only these tests of one process share."""
    return str(tmp_path_factory.mktemp("compiled"))


@contextlib.contextmanager
def compiling_once(folder):
    """Keep compiled programs in a folder, those of commands started meanwhile too.

    Equal bits are asked for below, and those are promised by one compiled program. In
    the folder that all processes of a test run share, a program may be another's.
    """
    name = "jax_compilation_cache_dir"
    before = getattr(jax.config, name)
    jax.config.update(name, folder)
    compilation_cache.reset_cache()
    jax.clear_caches()  # a program in memory may have come from another folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name.upper(), folder)
        assert os.environ[name.upper()] == folder
        yield
    jax.config.update(name, before)
    compilation_cache.reset_cache()


@pytest.fixture(scope="module", autouse=True)
def compiled(own_programs):
    """Compile each distinct program of these runs once, whoever asks for it."""
    with compiling_once(own_programs):
        yield


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
def whole(tmp_path_factory, own_programs):
    """Return an uninterrupted run, its folder and how often it saw the test set."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    seen = []

    def watched(*args, **kwargs):
        seen.append(Watched(load(*args, **kwargs)))
        return seen[-1]

    with compiling_once(own_programs), pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "load", watched)
        result = fit(SMALL, folder, quiet=True)
    return result, folder, seen[0].asked


@pytest.fixture(scope="session")
def part(tmp_path_factory, own_programs):
    """Return a folder that stopped at epoch 9, with a checkpoint of epoch 7."""
    folder = tmp_path_factory.mktemp("part") / "run"
    with compiling_once(own_programs):
        interrupted(folder, half_a_line_at(9))
    runs.keep_metrics(runs.RunFolder(folder))  # without the half line
    assert checkpoints.latest(folder / "checkpoints") == 7
    assert lines_of(folder / "metrics.jsonl") == 8
    return folder
