"""What the frontier's records say, from made-up cells, and from those that stand."""

import jax
import jax.numpy as jnp
import pytest

from pruning.experiments import _frontier, _results_frontier, frontier_search
from pruning.experiments.frontier_lenet300 import VARIANTS
from pruning.gradual.config import check
from synaptax.nets import models


def cell(seed, errors, variant="unspecific", validation=0.02):
    points = [
        {
            "target": target,
            "compression": target,
            "folded": 1.1 * target,
            "validation_error": validation,
            "test_error": error,
        }
        for target, error in zip((1.0, 27.0, 100.0), errors, strict=True)
    ]
    config = {"validation": None}
    return {"variant": variant, "seed": seed, "points": points, "config": config}


def test_a_row_says_the_mean_and_what_the_test_set_would_have_picked():
    cells = [cell(0, (0.02, 0.016, 0.018)), cell(1, (0.02, 0.020, 0.018))]
    table = _frontier.rows(cells)
    assert [row[1] for row in table] == ["start", ">= 27x", ">= 100x"]
    assert table[1][2:4] == ["27.0x", "29.7x"]
    assert table[1][4:] == ["2.00 ± 0.00", "1.80 ± 0.20", "1.70 ± 0.10", "2"]


def test_every_config_of_the_frontier_is_in_range():
    for config in (*VARIANTS.values(), *frontier_search.VARIANTS.values()):
        check(config)


def test_folding_is_checked_on_the_outputs():
    net = models.network("lenet300", 10, (28, 28, 1))
    params, _ = net.init(jax.random.key(0))
    for name in ("Dense_0", "Dense_1"):
        kernel = params[name]["kernel"]
        units = jnp.float32(jnp.arange(kernel.shape[-1]) % 3 == 0)
        params[name] = {**params[name], "kernel": kernel * units.reshape(1, -1)}
    left = _frontier.folded("lenet300", params, lambda p, x: net.apply(p, {}, x))
    assert left["units"] == [100, 34, 10] and left["moved"] <= 1e-5
    other = lambda p, x: jnp.tanh(net.apply(p, {}, x)) + p["Dense_0"]["bias"].sum()
    with pytest.raises(ValueError, match="params: folding moved the outputs"):
        _frontier.folded("lenet300", params, other)


def test_recorded_cells_name_their_circumstances_and_kept_their_outputs():
    for cell in _frontier.read(_results_frontier.EXPERIMENT):
        for key in ("command", "seed", "device", "versions", "wall_s", "config"):
            assert cell.get(key) is not None, (cell["variant"], key)
        for point in cell["points"]:
            assert point["folding_moved"] <= 1e-5
            assert point["folded"] >= point["compression"] >= 0.95 * point["target"]


def test_a_verdict_names_what_is_missing():
    verdict = _results_frontier.verdict
    assert verdict({"mean": 0.0160}, 1.65, 5) == "met"
    assert verdict({"mean": 0.0175}, 1.65, 5) == "missed by 0.10 points"
    assert verdict({"mean": 0.0160}, 1.65, 3) == "met, with 3 of 5 seeds"
    short = verdict({"mean": 0.0160}, 1.65, 5, short_of=True)
    assert short == "met, a little short of the compression"


def test_too_few_held_out_examples_give_no_validation_error():
    one = cell(0, (0.02, 0.016, 0.018)) | {"config": {"validation": 100}}
    assert [row[4] for row in _frontier.rows([one])] == ["-", "-", "-"]
    assert _results_frontier.retrained(one)
    assert not _results_frontier.retrained(cell(0, (0.02, 0.016, 0.018)))
