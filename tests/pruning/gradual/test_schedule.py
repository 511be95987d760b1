"""Training by a schedule: densities, rates and scores by hand, and a whole run."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pruning
from pruning.gradual import schedule, snapshots
from pruning.gradual.config import Config
from pruning.gradual.train import fit
from synaptax import runs
from synaptax.data.images import load
from synaptax.nets import models
from tests.pruning.gradual.small_runs import SMALL, arrays, outcome_of, tuned

NET = models.network("lenet300", 10, (8, 8, 1))
TOTAL = 64 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10
BIASES = 410
PLANNED = dataclasses.replace(
    SMALL,
    seeds=(0,),
    schedule="polynomial",
    end=0.75,
    prune_epochs=4,
    dense_epochs=2,
    tune_epochs=2,
    targets=(3.0, 20.0),
    prunable="weights",
    tune_shape="cosine",
    tune_hold=0.5,
    tune_lr=0.1,
    tune_shrink=True,
    tune_last=True,
    shrink_scaled=True,
    log_penalty=True,
)


def test_the_schedule_ends_at_the_last_target_to_the_weight():
    config = dataclasses.replace(PLANNED, prune_epochs=20, begin=0.1, end=0.9)
    plan: Any = schedule.schedule_of(config, NET, 10)
    assert (plan.begin, plan.end, plan.every) == (20, 180, 10)
    weights = TOTAL - BIASES
    assert int(plan.kept(180, weights)) == TOTAL // 20 - BIASES
    # 1 - (17/20 - 2/20) / (16/20) is 1/16: after 17 epochs 1/16^3 is to go
    left = (1 / 16) ** 3 * (1 - plan.density) + plan.density
    assert int(plan.kept(170, weights)) == pytest.approx(left * weights, abs=1)


def test_the_epochs_of_targets_are_those_after_which_they_hold():
    config = dataclasses.replace(PLANNED, prune_epochs=20, end=0.9)
    plan: Any = schedule.schedule_of(config, NET, 10)
    epochs = schedule.epochs_of_targets(config, NET, 10)
    assert list(epochs) == [3.0, 20.0] and epochs[20.0] == 19  # at its first step
    kept = [
        int(plan.kept(10 * (epochs[3.0] + at), TOTAL - BIASES)) + BIASES
        for at in (-2, -1)
    ]
    assert kept[1] <= TOTAL / 3 < kept[0]


@pytest.mark.parametrize("name", ["periodic", "one-shot"])
def test_other_schedules_end_there_too(name):
    config = dataclasses.replace(PLANNED, schedule=name)
    plan: Any = schedule.schedule_of(config, NET, 10)
    assert int(plan.kept(plan.last(39), TOTAL - BIASES)) == pytest.approx(
        TOTAL // 20 - BIASES, abs=1
    )
    assert schedule.epochs_of_targets(config, NET, 10)[20.0] <= 4


def test_too_small_a_budget_and_densities_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="keeps fewer than the 410 parameters"):
        schedule.schedule_of(dataclasses.replace(PLANNED, targets=(200.0,)), NET, 10)
    given = dataclasses.replace(PLANNED, allocation="given", densities=(0.1,))
    with pytest.raises(ValueError, match="one for each of Dense_0/kernel, Dense_1"):
        schedule.pruner(given, NET, 10, 10)


def test_the_learning_rate_is_held_and_falls_and_the_shrink_term_with_it():
    config = Config(tune_lr=0.2, tune_epochs=4, tune_hold=0.5)
    rate = schedule.learning_rate(config, 10)
    steps = jnp.asarray([0, 20, 30, 40, 50])
    np.testing.assert_allclose(jax.vmap(rate)(steps), [0.2, 0.2, 0.1, 0, 0], atol=1e-7)
    shrink = schedule.scaled(1e-4, rate, 0.1)
    assert float(shrink(30)) == pytest.approx(1e-4)
    assert schedule.scaled(1e-4, 0.05, 0.1) == pytest.approx(5e-5)


def test_scores_that_make_layers_comparable():
    tree = {"a": jnp.asarray([[3.0, -1.0], [0.0, 2.0]]), "b": jnp.zeros((1, 2))}
    got = schedule.lamp(tree)
    np.testing.assert_allclose(got["a"], [[1, 1 / 14], [0, 4 / 13]], rtol=1e-6)
    np.testing.assert_array_equal(got["b"], np.zeros((1, 2)))
    got = schedule.over_scale(tree)
    root = np.sqrt(14 / 3)
    np.testing.assert_allclose(got["a"], np.abs(tree["a"]) / root, rtol=1e-6)
    np.testing.assert_array_equal(got["b"], np.zeros((1, 2)))


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planned") / "run"
    return fit(PLANNED, folder, quiet=True), folder


@pytest.mark.runs
def test_a_run_by_a_schedule_reaches_its_targets(planned):
    result, folder = planned
    metrics = runs.read_metrics(runs.RunFolder(folder))
    assert [m["stage"] for m in metrics] == ["dense"] * 2 + ["prune"] * 4 + ["tune"] * 2
    logged = [m["penalty"] for m in metrics if "penalty" in m]
    assert np.shape(logged) == (4, 1) and np.min(logged) > 0  # the pruning stage's
    sizes = [m["compression"][0] for m in metrics if "compression" in m]
    assert sizes == sorted(sizes) and sizes[0] < 3 <= sizes[2]
    assert sizes[3] == TOTAL / (TOTAL // 20)
    points = [(p.seed, p.target, p.reached) for p in result.points[1:]]
    assert points == [(0, target, True) for target in PLANNED.targets]
    for index, point in enumerate(result.points[1:]):
        assert point.compression >= point.target
        params, masks = tuned(folder, index)
        kept = sum(int(mask.sum()) for mask in masks.values())
        if point.target == 20.0:
            assert kept == TOTAL // 20
        for name, weight in params.items():
            assert not weight[~masks[name]].any()
            assert masks[name].all() or name.endswith("kernel")
        # the last epoch's, at a learning rate near 0, not the best of two
        assert metrics[-1]["validation_error"][index] == pytest.approx(
            point.validation_error, abs=1e-7
        )


@pytest.mark.runs
def test_the_penalty_that_is_logged_is_that_of_the_weights(planned):
    folder = planned[1]
    data = load("digits", limit=PLANNED.limit, progress=False).validation
    image = jnp.asarray(data.image[: PLANNED.batch])
    alpha = pruning.unspecific(10)
    (record,) = [
        s for s in snapshots.listing(folder / "snapshots") if s.compression >= 20
    ]
    params, _, _ = snapshots.read_all(folder / "snapshots", 0, record.name)
    params = jax.tree.map(jnp.asarray, params)
    felt = pruning.sensitivity(lambda p, x: NET.apply(p, {}, x), params, image, alpha)
    value = pruning.sensitivity_penalty(
        params, felt, prunable=lambda name, leaf: leaf.ndim > 1
    )
    metrics = runs.read_metrics(runs.RunFolder(folder))
    assert metrics[record.epoch - 1]["penalty"][0] == pytest.approx(
        float(value), rel=1e-5
    )


@pytest.mark.slow
@pytest.mark.runs
def test_a_run_by_a_schedule_goes_on_to_the_same_bits(planned, tmp_path, monkeypatch):
    append = runs.append_metrics

    def dying(folder, record):
        if record["epoch"] == 6:  # the last of the pruning stage
            raise KeyboardInterrupt
        append(folder, record)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "append_metrics", dying)
        with pytest.raises(KeyboardInterrupt):
            fit(PLANNED, tmp_path / "run", quiet=True)
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 5
    fit(PLANNED, tmp_path / "run", resume=True, quiet=True)
    ours, theirs = (
        {path.name: arrays(path) for path in folder.glob("*/*.npz")}
        for folder in (tmp_path / "run", planned[1])
    )
    assert ours == theirs and len(ours) == 5  # dense, two cuts, two tuned
    summary, metrics = outcome_of(tmp_path / "run")
    assert (summary, metrics) == outcome_of(planned[1])
