"""The comparison in deep networks: its search, its order, resumption to the bit."""

import argparse
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pruning.experiments import _psp_cells, psp_deep
from pruning.regularisers import steps
from pruning.regularisers.config import METHODS, check
from synaptax import runs
from synaptax.data.images import Batch
from synaptax.nets import models
from synaptax.nets.resnets import ResNet

pytestmark = pytest.mark.runs

TINY = replace(
    psp_deep.BASE,
    model=f"{__name__}:tiny",
    dataset="digits",
    method="psp+l2",
    seeds=(0,),
    epochs=3,
    drops=(1, 2),
    batch=25,
    validation=50,
    limit=100,
    normalization="sum",
    logits=False,
)


def tiny(classes, shape):
    """Return a residual network with batch-norm, on blocks."""
    del shape
    return psp_deep.OnBlocks(ResNet(classes, (2, 4), 1))


def options(path, **more):
    return argparse.Namespace(runs=path / "runs", recorded=path, seeds=None, **more)


@pytest.mark.slow
def test_a_cell_that_is_killed_ends_in_the_same_bits(tmp_path, monkeypatch):
    append = runs.append_metrics

    def stop_at_two(folder, record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt
        append(folder, record)

    monkeypatch.setattr(runs, "append_metrics", stop_at_two)
    with pytest.raises(KeyboardInterrupt):
        _psp_cells.run_missing("psp_deep", "tiny", TINY, options(tmp_path / "killed"))
    monkeypatch.undo()
    cells = []
    for name in ("killed", "whole"):
        _psp_cells.run_missing("psp_deep", "tiny", TINY, options(tmp_path / name))
        (cell,) = _psp_cells.read(tmp_path / name, "psp_deep")
        cells.append({k: v for k, v in cell.items() if k != "wall_s"})
    assert cells[0] == cells[1]
    measures = cells[0]["measures"]
    assert set(measures) == {"calibration", "error", "noise", "pruned"}
    assert measures["error"] == pytest.approx(cells[0]["test_error"])


def trial(method, error, loss, **settings):
    curves = {"error": [0.0, error], "loss": [0.0, loss]}
    config = {"gamma": 1.0, "normalization": "sum", "logits": False, "l2": 9.0}
    return {"method": method, "curves": curves, "config": {**config, **settings}}


def test_the_lowest_validation_error_is_chosen_of_equals_the_lowest_loss():
    cells = [
        trial("none", 0.0, 0.0),
        trial("psp", 0.3, 0.1),
        trial("psp", 0.2, 2.0, gamma=0.5),
        trial("psp", 0.2, 1.0, gamma=0.1, normalization="layer-mean", logits=True),
        trial("l2", 0.4, 1.0, l2=1e-3),
    ]
    assert psp_deep.chosen(cells) == {
        "gamma": 0.1,
        "normalization": "layer-mean",
        "logits": True,
        "l2": 1e-3,
    }
    with pytest.raises(ValueError, match="search of l2 has not been run"):
        psp_deep.chosen(cells[:2])


def test_the_search_comes_first_and_its_strengths_go_into_every_cell(
    tmp_path, monkeypatch
):
    asked = []

    def record(experiment, variant, config, given):
        check(config)
        asked.append((experiment, variant, config))
        if experiment == "psp_deepsearch":
            method = config.method
            cell = trial(method, 0.1, config.gamma, gamma=config.gamma, l2=config.l2)
            path = _psp_cells.path_of(tmp_path, experiment, variant, 0)
            runs.write_json(path, {**cell, "variant": variant, "seed": 0})

    monkeypatch.setattr(_psp_cells, "run_missing", record)
    psp_deep.run(options(tmp_path, only=list(psp_deep.SEEDS)))
    cells = [one for one in asked if one[0] == "psp_deep"]
    assert len(asked) - len(cells) == 2 * len(psp_deep.SETTINGS)
    assert len(cells) == len(psp_deep.METHODS) * 5
    assert {config.gamma for *_, config in cells} == {1e-6}  # the lowest loss above
    assert set(psp_deep.METHODS) < set(METHODS)
    variant, config = cells[7][1:]
    assert variant == "allcnn-psp+l2" and config.seeds == (0,)
    assert config.model.endswith("psp_deep:allcnn")


def test_blocks_of_pixels_become_channels_and_nothing_is_lost():
    seen = []

    class Keep(models.nn.Module):
        def __call__(self, x, *, train=False):
            seen.append(x)
            return x.mean((1, 2))

    x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    psp_deep.OnBlocks(Keep()).apply({}, x)
    assert seen[0].shape == (2, 2, 3, 12)
    block = np.asarray(x[1, 2:4, 4:6]).reshape(-1)
    np.testing.assert_array_equal(seen[0][1, 1, 2], block)


@pytest.mark.parametrize("name", ["resnet20", "allcnn"])
def test_the_networks_have_half_and_a_quarter_of_the_width(name):
    config = psp_deep.of_network(name, psp_deep.BASE)
    check(config)
    net = models.network(config.model, 10, (32, 32, 3))
    params, stats = jax.eval_shape(net.init, jax.random.key(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count == {"resnet20": 68698, "allcnn": 88964}[name]
    assert jax.tree.leaves(stats)


@pytest.mark.slow
@pytest.mark.parametrize("network", list(psp_deep.SEEDS))
@pytest.mark.parametrize("setting", list(psp_deep.SETTINGS))
def test_every_trial_of_the_search_can_be_traced(network, setting):
    """The last ReLU of All-CNN-C once stopped the search half-way."""
    config = psp_deep.of_network(network, psp_deep.SETTINGS[setting])
    net = models.network(config.model, 10, (32, 32, 3))
    batch = Batch(jnp.zeros((4, 32, 32, 3)), jnp.zeros(4, jnp.int32))

    def slope(key):
        params, stats = net.init(key)
        grad_fn = jax.grad(steps.objective(config, net), has_aux=True)
        return grad_fn(params, stats, batch, key)

    jax.eval_shape(slope, jax.random.key(0))
