"""The curvature benchmark's table and checks; the timing itself is not tested."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from analysis import operators
from analysis.benchmarks import curvature
from analysis.benchmarks.curvature import Timing


def test_rows_take_the_best_of_the_runs():
    timings = {
        "synaptax hvp": [Timing(2.0, 1.0, 5.0), Timing(3.0, 0.5, 5.0)],
        "other hvp": [Timing(8.0, 4.0, 5.0), Timing(6.0, 2.0, 5.0)],
        "synaptax lanczos": [Timing(40.0, 10.0, 1.0)],
    }
    rows = {(row["task"], row["by"]): row for row in curvature.rows_of(timings)}
    other = rows["hvp", "other"]
    assert other["best_s"] == 6 and other["median_s"] == 7 and other["core_s"] == 2
    assert other["times_ours"] == 3 and other["times_ours_cores"] == 4
    assert other["products_per_core_s"] == 0.5
    assert rows["lanczos", "synaptax"]["products_per_core_s"] == 2


def test_rates_count_each_product_of_lanczos():
    rows = [{"task": "hvp", "best_s": 0.5}, {"task": "lanczos", "best_s": 4.0}]
    one, many = curvature.with_rates(rows, 2e9, 8e9, "best_s")
    assert one["gflop_s"] == 4 and one["fraction"] == 0.5
    assert many["gflop_s"] == curvature.STEPS / 2
    assert many["fraction"] == curvature.STEPS / 16


def test_products_that_differ_are_refused():
    curvature.check_agreement({"synaptax hvp": 2.0, "other hvp": 2.001})
    with pytest.raises(RuntimeError, match=r"other hvp: <v, H v> is 2.1, ours 2"):
        curvature.check_agreement({"synaptax hvp": 2.0, "other hvp": 2.1})


def test_our_tasks_give_the_quadratic_form_and_the_largest_eigenvalue():
    values = jnp.linspace(1.0, 3.0, 30)
    matvec = jax.tree_util.Partial(jnp.multiply, values)
    tasks = curvature.ours(operators.from_matvec(matvec, 30), jnp.ones(30))
    found = {name: task() for name, task in tasks.items()}
    assert found["synaptax hvp"].value == pytest.approx(60)
    assert found["synaptax lanczos"].value == pytest.approx(3, rel=1e-2)
    assert all(each.seconds > 0 for each in found.values())


def test_layers_in_torch_order():
    keys = np.arange(800 * 500, dtype=np.float32).reshape(4, 4, 50, 500)
    tree = {
        "Conv_0": {"kernel": np.zeros((5, 5, 1, 20)), "bias": np.zeros(20)},
        "Conv_1": {"kernel": np.zeros((5, 5, 20, 50)), "bias": np.zeros(50)},
        "Dense_0": {"kernel": keys.reshape(800, 500), "bias": np.zeros(500)},
        "Dense_1": {"kernel": np.zeros((500, 10)), "bias": np.zeros(10)},
    }
    leaves = curvature.in_torch_order(tree)
    shapes = [(20, 1, 5, 5), (20,), (50, 20, 5, 5), (50,), (500, 800), (500,)]
    assert [leaf.shape for leaf in leaves] == [*shapes, (10, 500), (10,)]
    # Unit 7's weight from filter 3 at row 1, column 2.
    assert leaves[4].reshape(500, 50, 4, 4)[7, 3, 1, 2] == keys[1, 2, 3, 7]


def test_no_peers_where_they_cannot_be_imported(tmp_path):
    try:
        import torch  # noqa: F401
    except ImportError:
        peers = curvature.Peers(sys.executable, tmp_path / "none.npz", 10)
        assert peers.tasks() == {}
        peers.close()
