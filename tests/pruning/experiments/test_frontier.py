"""What the frontier's records say, from made-up cells, and from those that stand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pruning.experiments import _frontier, _results_frontier, frontier_far
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
    return {"variant": variant, "seed": seed, "points": points}


def test_a_row_says_the_mean_and_what_the_test_set_would_have_picked():
    cells = [cell(0, (0.02, 0.016, 0.018)), cell(1, (0.02, 0.020, 0.018))]
    table = _frontier.rows(cells)
    assert [row[1] for row in table] == ["start", ">= 27x", ">= 100x"]
    assert table[1][2:4] == ["27.0x", "29.7x"]
    assert table[1][4:] == ["2.00 ± 0.00", "1.80 ± 0.20", "1.70 ± 0.10", "2"]


def test_every_config_of_the_frontier_is_in_range():
    for config in (*VARIANTS.values(), *frontier_far.VARIANTS.values()):
        check(config)


def test_a_folded_network_is_small_and_computes_the_same():
    net = models.network("lenet300", 10, (28, 28, 1))
    params, _ = net.init(jax.random.key(0))
    for name in frontier_far.NAMES:
        kernel = params[name]["kernel"]
        units = jnp.float32(jnp.arange(kernel.shape[-1]) % 3 == 0)
        if name != frontier_far.NAMES[-1]:
            kernel = kernel * units.reshape(1, -1)
        if name == "Dense_0":
            kernel = kernel * jnp.float32(jnp.arange(784) % 2 == 0).reshape(-1, 1)
        params[name] = {**params[name], "kernel": kernel}
    small = frontier_far.small_network(params)
    weights, _ = small.init(jax.random.key(1))
    assert weights["Dense_0"]["kernel"].shape == (392, 100)
    assert weights["Dense_1"]["kernel"].shape == (100, 34)
    x = jax.random.uniform(jax.random.key(2), (5, 28, 28, 1))
    ours, whole = small.apply(weights, {}, x), net.apply(params, {}, x)
    np.testing.assert_allclose(ours, whole, atol=1e-5)
    left = _frontier.folded("lenet300", params, lambda p, x: net.apply(p, {}, x))
    assert left["units"] == [100, 34, 10]


def test_recorded_cells_name_their_circumstances_and_kept_their_outputs():
    for cell in (c for e in _results_frontier.EXPERIMENTS for c in _frontier.read(e)):
        for key in ("command", "seed", "device", "versions", "wall_s", "config"):
            assert cell.get(key) is not None, (cell["variant"], key)
        for point in cell["points"]:
            assert point["folding_moved"] <= 1e-5
            assert point["folded"] >= point["compression"] >= 0.95 * point["target"]


def test_a_far_cell_says_what_it_needs_first(tmp_path):
    with pytest.raises(FileNotFoundError, match="frontier_lenet300 --only unspecific"):
        frontier_far.prepared(frontier_far.FURTHER, tmp_path, 3)
