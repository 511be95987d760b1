import dataclasses
import importlib

import jax
import jax.numpy as jnp
import pytest

from pruning.experiments import _psp_cells, _results_deep, _results_psp, psp_prune
from pruning.regularisers import problem
from pruning.regularisers import train as trainer
from pruning.regularisers.config import RegulariserConfig, check
from synaptax import runs

pytestmark = pytest.mark.runs

TINY = RegulariserConfig(
    model="lenet300", dataset="digits", seeds=(0, 1), epochs=2, batch=50, limit=100
)
VARIANTS = {"psp": TINY, "none": dataclasses.replace(TINY, method="none")}


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Run one cell and copy it to a second; return the folder of the records."""
    monkeypatch.setattr(_results_psp, "RECORDED", tmp_path)
    monkeypatch.setattr(_results_deep, "RECORDED", tmp_path)
    run(["--only", "psp", "--seeds", "0", *folders(tmp_path)])
    (cell,) = _psp_cells.read(tmp_path, "psp_mnist")
    other = {**cell, "seed": 1, "test_error": cell["test_error"] / 2}
    runs.write_json(tmp_path / "psp_mnist-psp-1.json", other)
    return tmp_path


def folders(path):
    return ["--recorded", str(path), "--runs", str(path / "runs")]


def run(arguments):
    _psp_cells.run("psp_mnist", VARIANTS, description="", arguments=arguments)


def test_cells_are_recorded_one_by_one_and_never_run_again(recorded, monkeypatch):
    cells = _psp_cells.read(recorded, "psp_mnist")
    assert [(c["variant"], c["seed"]) for c in cells] == [("psp", 0), ("psp", 1)]
    assert cells[0]["command"].endswith("psp_mnist --only psp --seeds 0")
    for key in ("config", "wall_s", "versions", "device", "curves", "weights"):
        assert cells[0][key], key
    asked = []

    def train(config, path, *, resume):
        asked.append((config.method, config.seeds, resume))
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "train", train)
    with pytest.raises(KeyboardInterrupt):
        run(folders(recorded))
    assert asked == [("none", (0,), True)]  # psp is recorded in full
    # The report: mean and deviation beside the authors' logs.
    text = "\n".join(_results_psp.sections())
    mean = _results_psp.spread([100 * c["test_error"] for c in cells], ".3f")
    assert f"| psp | 2 | {mean} | 0.57 ± 0.04 |" in text
    assert "| regulariser | relu_0 | relu_1 | logits |" in text
    assert text.count("No cell has been recorded yet.") == 5


def test_the_report_of_pruning(tmp_path, monkeypatch):
    monkeypatch.setattr(_results_psp, "RECORDED", tmp_path)
    for chain, errors in (("psp", [0.02, 0.03]), ("l2", [0.04, 0.04])):
        record = {
            "chain": chain,
            "density": 0.05,
            "test_errors": errors,
            "seeds": [0, 1],
            "epochs": 3,
            "device": {"platform": "cpu", "kind": "cpu"},
            "command": "python -m x --only y",
        }
        runs.write_json(tmp_path / f"psp_prune-{chain}-0.05.json", record)
    text = "\n".join(_results_psp.pruned_table())
    assert "| compression | l2 | psp | psp less l2 |" in text
    assert "| 20x | 4.00 ± 0.00 | 2.50 ± 0.71 | -1.500 ± 0.500 |" in text


def test_the_mean_over_late_epochs():
    cell = {"curves": {"error": [0.5, 0.1, 0.2]}}
    assert _results_psp.late_error(cell, 2) == pytest.approx(15.0)


def test_differences_are_between_runs_of_one_seed():
    ours, theirs = {0: 3.0, 1: 5.0, 2: 9.0}, {1: 4.0, 0: 1.0, 7: 0.0}
    # 2 and 1: mean 1.5, variance 1/2, of two.
    assert _results_psp.difference(ours, theirs) == "+1.500 ± 0.500"
    assert _results_psp.difference({0: 1.0}, theirs) == "+0.000"
    assert _results_psp.difference({3: 1.0}, theirs) == "-"


@pytest.mark.parametrize("name", ["mnist", "fashion", "gamma", "cifar"])
def test_every_configuration_is_in_range(name):
    module = importlib.import_module(f"pruning.experiments.psp_{name}")
    for config in module.VARIANTS.values():
        check(config)


def test_each_chain_is_made_of_what_its_name_says():
    params, apply = {"w": jnp.ones((2, 3))}, lambda p, x: jax.nn.relu(x @ p["w"])
    lengths = {
        name: len(psp_prune.chain(name, 0.25, apply, 3, 5).init(params))
        for name in psp_prune.CHAINS
    }
    assert lengths == {
        "none": 2,
        "l2": 3,
        "psp": 3,
        "l2+sensitivity": 4,
        "psp+sensitivity": 4,
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", psp_prune.CHAINS)
def test_a_cell_of_pruning_keeps_what_it_should(name, monkeypatch):
    monkeypatch.setattr(psp_prune, "BEGIN", 0)
    monkeypatch.setattr(psp_prune, "END", 1)
    data = problem.load(dataclasses.replace(TINY, limit=500, validation=100))
    cell = psp_prune.cell(name, 0.25, data, (0, 1), 3)
    assert cell["kept"] == round(0.25 * cell["total"])
    assert len(cell["test_errors"]) == 2


def test_the_sweep_names_the_lowest_validation_loss(tmp_path, monkeypatch):
    monkeypatch.setattr(_results_psp, "RECORDED", tmp_path)
    for gamma, loss in (("0.01", 0.2), ("0.001", 0.1), ("0", 0.3)):
        record = {
            "variant": gamma,
            "seed": 0,
            "config": {"lr": 0.1, "momentum": 0.9, "batch": 10, "epochs": 2},
            "device": {"platform": "cpu", "kind": "cpu"},
            "versions": {"jax": "0"},
            "command": "python -m x --only y",
            "wall_s": 60,
            "test_error": 0.01,
            "penalty": 2.0,
            "curves": {"error": [0.5, 0.02], "loss": [1.0, loss]},
        }
        runs.write_json(tmp_path / f"psp_gamma-{gamma}-0.json", record)
    text = "\n".join(_results_psp.sweep())
    assert "| 0.001 | 1 | 2.000 | 0.1000 | 1.000 | 2 |" in text
    assert text.index("| 0 |") < text.index("| 0.001 |") < text.index("| 0.01 |")
    assert "The lowest mean validation loss is that of gamma = 0.001." in text
