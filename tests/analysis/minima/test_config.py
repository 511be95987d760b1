"""Options out of range are named; the defaults are in range."""

from dataclasses import replace

import pytest

from analysis.minima import config as configs

DIGITS = configs.defaults("digits")


@pytest.mark.parametrize("dataset", ["digits", "mnist", "fashion_mnist"])
def test_the_defaults_are_in_range(dataset):
    found = configs.defaults(dataset)
    configs.check(found)
    assert found.dataset == dataset
    asked = configs.gradual(found)
    assert asked.method == "loss-sensitivity" and asked.seeds == found.seeds
    assert asked.targets == () and asked.prune_epochs == found.prune_epochs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "vgg"}, "model: unknown 'vgg', expected one of lenet300"),
        ({"transfer": "svhn"}, "transfer: unknown 'svhn'"),
        ({"seeds": (0,)}, r"seeds: expected two or more, for an interval, got \(0,\)"),
        ({"level": 1.0}, r"level: expected a number in \(0, 1\), got 1.0"),
        ({"plane_points": 2}, "plane_points: expected at least 3, got 2"),
        ({"probes": 1}, "probes: expected at least 2"),
        ({"lanczos_steps": 1}, "lanczos_steps: expected at least 2"),
        ({"patience": 0}, "patience: expected at least 1"),
        ({"lr": float("nan")}, "lr: expected a finite number"),
        ({"validation": 0}, "validation: expected at least 1"),
        ({"levels": (0.5,)}, "levels: expected compressions >= 1"),
        ({"levels": (4.0, 4.0)}, "levels: expected different ones"),
    ],
)
def test_bad_options(change, message):
    found = replace(DIGITS)
    for name, value in change.items():  # past the checks of types in tests
        object.__setattr__(found, name, value)
    with pytest.raises(ValueError, match=message):
        configs.check(found)
