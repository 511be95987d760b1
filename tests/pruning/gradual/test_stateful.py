"""Whole runs of a network with batch-norm: state, augmentation, rates, exact counts."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pruning.gradual import train
from pruning.gradual.config import Config
from pruning.gradual.methods import stepwise
from pruning.gradual.outcome import load_network, load_points
from pruning.gradual.train import fit
from synaptax import runs
from synaptax.data.images import Batch, Dataset
from synaptax.nets import models, resnets
from synaptax.trees import named_leaves
from tests.pruning.gradual.small_runs import Stop, arrays, outcome_of

pytestmark = pytest.mark.runs

GRADUAL = Config(
    model="resnet20",
    method="sensitivity-unspecific",
    dataset="cifar10_jpeg75",
    batch=20,
    dense_epochs=3,
    prune_epochs=6,
    tune_epochs=2,
    patience=1,
    tolerance=0.5,
    momentum=0.9,
    rate=1e-3,
    lr=0.05,
    lr_drops=(2,),
    weight_decay=5e-5,
    augment="crop-flip",
    prunable="weights",
    accept=1.0,
    checkpoint_every=2,
)


def colours(count, seed):
    """Return pictures whose class is their brightest channel."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, count).astype(np.int32)
    image = rng.normal(size=(count, 8, 8, 3)).astype(np.float32)
    image += 2 * np.eye(3, dtype=np.float32)[label][:, None, None]
    return Batch(image, label)


@pytest.fixture(scope="module", autouse=True)
def small_network():
    """Put a data set of colours and a ResNet of two blocks in place of the real."""
    held = colours(40, 1)
    # Labels of other examples: the validation loss rises, so that the run cuts.
    held = held._replace(label=np.roll(held.label, 7))
    parts = colours(60, 0), held, colours(40, 2)
    data = Dataset("colours", 3, *parts, mean=(0.1,) * 3, std=(1.0,) * 3)
    entry = models._TABLE["resnet20"]._replace(
        module=lambda classes, conv="auto": resnets.ResNet(
            classes, (4, 8), 1, conv=conv
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "load", lambda *args, **kwargs: data)
        patch.setitem(models._TABLE, "resnet20", entry)
        yield data


@pytest.fixture(scope="module")
def gradual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stateful") / "gradual"
    return fit(GRADUAL, folder, quiet=True), folder


def stopped_at(config, folder, epoch):
    """Run until the record of an epoch is to be written."""
    append = runs.append_metrics

    def dying(where, record):
        if record["epoch"] == epoch:
            raise Stop
        append(where, record)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(runs, "append_metrics", dying)
        fit(config, folder, resume=True, quiet=True)


@pytest.mark.slow
def test_a_run_stopped_in_two_stages_ends_in_the_same_bits(gradual, tmp_path):
    _, folder = gradual
    for epoch in (5, 11):
        stopped_at(GRADUAL, tmp_path, epoch)
    fit(GRADUAL, tmp_path, resume=True, quiet=True)
    for part in ("snapshots", "tuned"):
        names = sorted(p.name for p in (folder / part).iterdir())
        assert names == sorted(p.name for p in (tmp_path / part).iterdir())
        for name in names:
            assert arrays(folder / part / name) == arrays(tmp_path / part / name)
    assert outcome_of(folder) == outcome_of(tmp_path)


def test_points_come_back_with_the_state_they_were_judged_by(gradual, small_network):
    result, folder = gradual
    net = load_network(folder)
    loaded = load_points(folder)
    assert [p.point for p in loaded] == list(result.points) and len(loaded) == 2
    apply = jax.jit(net.apply)
    for point, *tree in loaded:
        logits = apply(tree[0], tree[1], small_network.test.image)
        params, stats, mask = jax.device_get(tree)
        wrong = np.argmax(logits, 1) != small_network.test.label
        assert wrong.mean() == pytest.approx(point.test_error, abs=1e-6)
        kept = {name: np.count_nonzero(leaf) for name, leaf in named_leaves(params)}
        assert kept == point.kept
        assert jax.tree.structure(mask) == jax.tree.structure(params)
        jax.tree.map(lambda w, m: np.testing.assert_array_equal(w[~m], 0), params, mask)
        variances = [v for n, v in named_leaves(stats) if n.endswith("var")]
        assert variances and all((v != 1).any() for v in variances)
    dense, tuned = jax.device_get(loaded)
    assert all(leaf.all() for leaf in jax.tree.leaves(dense.mask))
    assert tuned.point.compression > 1
    for name, leaf in named_leaves(tuned.mask):
        assert leaf.ndim >= 2 or leaf.all(), f"{name} was not to be cut"


def test_an_unfinished_run_has_no_points(gradual, tmp_path):
    folder = shutil.copytree(gradual[1], tmp_path / "run")
    (folder / "summary.json").unlink()
    with pytest.raises(ValueError, match=r"expected a finished run, .* summary\.json"):
        load_points(folder)


@pytest.mark.slow
def test_one_shot_keeps_exactly_the_number_asked_for(tmp_path):
    config = dataclasses.replace(
        GRADUAL,
        method="one-shot-rewind",
        keep=(501, 400),
        dense_epochs=1,
        lr_drops=(),
        tune_epochs=1,
    )
    result = fit(config, tmp_path, quiet=True)
    kept = [
        sum(int(leaf.sum()) for leaf in jax.tree.leaves(p.mask))
        for p in load_points(tmp_path)[1:]
    ]
    assert kept == [501, 400]
    assert [sum(p.kept.values()) for p in result.points[1:]] == kept
    total = sum(result.points[0].kept.values())
    assert result.points[1].target == pytest.approx(total / 501)


def test_a_number_that_cannot_be_kept_is_refused(tmp_path):
    config = dataclasses.replace(GRADUAL, method="one-shot", keep=(10,), targets=())
    with pytest.raises(ValueError, match=r"keep: expected numbers from \d+ .* got 10"):
        fit(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_augmentation_is_for_training_images(gradual, tmp_path):
    plain = dataclasses.replace(
        GRADUAL,
        augment="none",
        dense_epochs=1,
        prune_epochs=0,
        tune_epochs=0,
        lr_drops=(),
    )
    fit(plain, tmp_path, quiet=True)
    moved, still = (
        runs.read_metrics(runs.RunFolder(folder))[0]
        for folder in (gradual[1], tmp_path)
    )
    assert moved["train_loss"] != still["train_loss"]


def test_the_rate_falls_to_a_tenth_after_the_epochs_named():
    rate = stepwise(0.1, (80, 120), 450)
    steps = jnp.array([0, 80 * 450 - 1, 80 * 450, 120 * 450 - 1, 120 * 450])
    np.testing.assert_allclose(
        [rate(step) for step in steps], [0.1, 0.1, 0.01, 0.01, 0.001], rtol=1e-5
    )
    assert stepwise(0.1, (), 450) == 0.1
