"""Every field of a run's config refuses what is out of its range, by name."""

import copy
import dataclasses
import math

import pytest

from pruning.gradual.config import Config, check

BAD = {
    "model": ["lenet", "", None],
    "dataset": ["cifar", "MNIST"],
    "method": ["sensitivity", "magnitude", "L2"],
    "seeds": [(), (1, 1), (0, -1)],
    "rate": [-1e-9, math.nan, math.inf],
    "patience": [0, -3],
    "margin": [-0.1, math.nan],
    "tolerance": [-0.1, math.inf],
    "dense_epochs": [0],
    "prune_epochs": [-1],
    "tune_epochs": [-1],
    "targets": [(0.5,), (10.0, math.nan), (math.inf,)],
    "keep": [(-1,), (10,)],  # the default method is not one-shot
    "accept": [-0.1, math.nan],
    "batch": [0],
    "lr": [-0.1, math.inf],
    "lr_drops": [(0,), (5, 5), (8, 3)],
    "prune_lr": [-0.1, math.inf],
    "tune_lr": [-0.1, math.nan],
    "tune_drops": [(-1,), (2, 1)],
    "weight_decay": [-1e-4, math.nan],
    "augment": ["flip", True],
    "momentum": [-0.1, 1.0, math.nan],
    "reduction": ["mean"],
    "output": ["probabilities"],
    "refresh": [0],
    "schedule": ["cubic", None],
    "begin": [-0.1, 1.0],
    "end": [math.nan, 1.5],
    "every": [0],
    "allocation": ["layers", "erk"],  # by default no schedule cuts
    "densities": [(0.5,)],
    "tune_shape": ["linear"],
    "tune_hold": [1.0],
    "prunable": ["kernels"],
    "rewind_epoch": [-1],
    "validation": [0, -5],
    "checkpoint_every": [0],
    "seed_axis": ["pmap"],
    "mesh": [(), (0, 1), (1, -1), (2, 1), (1, 7)],  # one seed, batches of 100
}
ELSEWHERE = {"limit", "data_dir"}  # by the data set: see test_train.py
EITHER = {"center", "distributed", "tune_shrink", "shrink_scaled", "tune_last"}
EITHER |= {"log_penalty"}


def test_the_defaults_are_in_range():
    check(Config())
    check(Config(margin=0.0, tolerance=0.0, accept=0.0, rate=0.0, tune_epochs=0))


@pytest.mark.parametrize("name, value", [(n, v) for n in BAD for v in BAD[n]])
def test_out_of_range(name, value):
    config = copy.copy(Config())
    object.__setattr__(config, name, value)  # past the tests' own check of types
    with pytest.raises(ValueError, match=f"^{name}: ") as caught:
        check(config)
    assert "\n" not in str(caught.value)


def test_every_field_is_tested():
    assert set(BAD) | ELSEWHERE | EITHER == {f.name for f in dataclasses.fields(Config)}


@pytest.mark.parametrize("method", ["one-shot", "one-shot-rewind"])
def test_one_shot_needs_targets_and_an_epoch_to_rewind_to(method):
    check(Config(method=method, targets=(10.0,)))
    check(Config(method=method, keep=(500, 0)))
    with pytest.raises(ValueError, match="targets: one-shot pruning needs"):
        check(Config(method=method))
    with pytest.raises(ValueError, match="rewind_epoch: expected at most dense_epochs"):
        check(Config(method=method, targets=(2.0,), rewind_epoch=5, dense_epochs=4))


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ("targets: a schedule needs compressions that rise", {"targets": ()}),
        ("targets: a schedule needs compressions that rise", {"targets": (9.0, 3.0)}),
        ("end: expected more than begin", {"begin": 0.9}),
        ("schedule: one-shot cuts once", {"method": "one-shot"}),
        ("densities: expected them if and only if", {"allocation": "given"}),
        ("densities: expected them if and only if", {"densities": (0.5,)}),
        (
            "densities: expected finite numbers",
            {"allocation": "given", "densities": (0.5, -1.0)},
        ),
    ],
)
def test_a_schedule_needs_targets_that_rise_and_room(message, fields):
    planned = Config(schedule="polynomial", targets=(3.0, 9.0))
    check(planned)
    with pytest.raises(ValueError, match=message):
        check(dataclasses.replace(planned, **fields))


def test_a_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().rate = 1.0  # pyright: ignore[reportAttributeAccessIssue]
