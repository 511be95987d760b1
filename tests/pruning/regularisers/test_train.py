"""What a regulariser adds to a step, exact resumption, and what a run records."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pruning.regularisers import cells, problem, steps, train
from pruning.regularisers.config import METHODS, RegulariserConfig, check
from synaptax import runs, training
from synaptax.data.images import Batch
from synaptax.nets import models
from synaptax.runs import checkpoints
from synaptax.training.errors import NonFiniteError
from synaptax.training.evaluation import cross_entropy

pytestmark = pytest.mark.runs

SMALL = RegulariserConfig(
    model="lenet300",
    dataset="digits",
    method="psp+l2",
    seeds=(0, 1),
    epochs=5,
    batch=50,
    momentum=0.9,
    gamma=0.1,
    l2=0.01,
    drops=(3,),
    limit=150,
    checkpoint_every=2,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the folder and the cells of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("regularisers") / "whole"
    return folder, train.train(SMALL, folder, quiet=True)


def test_cells_hold_what_a_comparison_needs(whole):
    folder, cells = whole
    assert [cell["seed"] for cell in cells] == [0, 1]
    assert json.loads((folder / "summary.json").read_text())["results"]["cells"] == (
        cells
    )
    for cell in cells:
        curves = cell["curves"]
        assert curves["watched"] == "test"
        assert len(curves["error"]) == 5 and curves["epochs"] == [1, 2, 3, 4, 5]
        assert curves["error"][-1] == pytest.approx(cell["test_error"], rel=1e-4)
        assert list(cell["mean_squares"]) == ["relu_0", "relu_1", "logits"]
        mean = np.mean(list(cell["mean_squares"].values()))
        assert cell["penalty"] == pytest.approx(mean, rel=1e-6)
        assert cell["weights"]["name"] == "Dense_1/kernel"
        assert sum(cell["weights"]["counts"]) == 300 * 100
    assert cells[0]["curves"]["loss"] != cells[1]["curves"]["loss"]
    assert cells[0]["curves"]["train_loss"][-1] < cells[0]["curves"]["train_loss"][0]


def test_an_interrupted_run_ends_in_the_same_bits(whole, tmp_path, monkeypatch):
    _, cells = whole
    append = runs.append_metrics

    def stop_at_four(folder, record):
        if record["epoch"] == 4:
            raise KeyboardInterrupt
        append(folder, record)

    monkeypatch.setattr(runs, "append_metrics", stop_at_four)
    with pytest.raises(KeyboardInterrupt):
        train.train(SMALL, tmp_path / "run", quiet=True)
    monkeypatch.undo()
    assert train.train(SMALL, tmp_path / "run", resume=True, quiet=True) == cells
    epochs = [r["epoch"] for r in runs.read_metrics(runs.RunFolder(tmp_path / "run"))]
    assert epochs == [1, 2, 3, 4, 5]
    # Finished: nothing is run again, and another config is refused.
    again = train.train(SMALL, tmp_path / "run", resume=True, quiet=True)
    assert again == cells
    other = dataclasses.replace(SMALL, gamma=0.2)
    with pytest.raises(ValueError, match=r"gamma = 0\.1"):
        train.train(other, tmp_path / "run", resume=True, quiet=True)


@pytest.mark.parametrize("wrong", ["finite", "loss"])
def test_a_loss_that_is_not_finite_stops_the_run(wrong, tmp_path):
    config = dataclasses.replace(SMALL, method="none", checkpoint_every=1)
    data = problem.load(config)
    stage = train.stage_of(config, data, problem.network(config, data))

    def breaks(replica, number, *data):
        replica, info = stage.epoch(replica, number, *data)
        bad = (number == 2) & (replica.key == jax.random.fold_in(jax.random.key(1), 1))
        if wrong == "finite":
            return replica, info._replace(finite=info.finite & ~bad)
        loss = jnp.where(bad, jnp.inf, info.evaluation.loss)
        evaluation = info.evaluation._replace(loss=loss)
        return replica, info._replace(evaluation=evaluation)

    folder = runs.create(tmp_path, config)
    with pytest.raises(NonFiniteError, match="epoch 3: the loss of seed 1") as caught:
        training.run([stage._replace(epoch=breaks)], folder)
    assert "a smaller lr (now 0.1)" in str(caught.value)
    assert checkpoints.latest(folder.checkpoints) == 2


NET = models.network("lenet300", 10, (2, 2, 1))
PARAMS, STATS = NET.init(jax.random.key(0))
BATCH = Batch(jax.random.normal(jax.random.key(1), (6, 2, 2, 1)), jnp.arange(6))


def by_hand(method, p):
    """Compute J by hand, from the layers."""
    x, zs = BATCH.image.reshape(6, 4), []
    for name in ("Dense_0", "Dense_1", "Dense_2"):
        zs.append(x @ p[name]["kernel"] + p[name]["bias"][None])
        x = jax.nn.relu(zs[-1])
    total = cross_entropy(zs[-1], BATCH.label).mean()
    leaves = jax.tree.leaves(p)
    if "psp" in method:
        total += 0.1 * sum(jnp.mean(z**2) for z in zs) / 3
    if "l2" in method:
        total += 0.01 / 2 * sum(jnp.sum(w**2) for w in leaves)
    if method == "l1":
        total += 0.02 * sum(jnp.abs(w).sum() for w in leaves)
    return total


@pytest.mark.parametrize("method", [m for m in METHODS if m != "dropout"])
def test_the_gradient_of_each_method_is_that_of_its_objective(method):
    config = dataclasses.replace(SMALL, method=method, l1=0.02)

    @jax.jit
    def both(params):
        total = steps.objective(config, NET)
        grads, (loss, _) = jax.grad(total, has_aux=True)(
            params, STATS, BATCH, jax.random.key(2)
        )
        grads = jax.tree.map(steps.with_weight_terms(config), grads, params)
        return grads, jax.grad(lambda p: by_hand(method, p))(params), loss

    ours, by_definition, loss = both(PARAMS)
    jax.tree.map(
        lambda f, w: np.testing.assert_allclose(f, w, rtol=1e-4, atol=1e-7),
        ours,
        by_definition,
    )
    np.testing.assert_allclose(loss, by_hand("none", PARAMS), rtol=1e-5)


def test_the_learning_rate_drops_after_its_epochs():
    config = dataclasses.replace(SMALL, drops=(1, 2), momentum=0.0)
    tx = steps.optimiser(config, steps=2)
    state, sizes = tx.init(jnp.ones(1)), []
    for _ in range(6):
        update, state = tx.update(jnp.ones(1), state)
        sizes.append(float(update[0]))
    rates = [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    np.testing.assert_allclose(sizes, [-r for r in rates], rtol=1e-5)
    assert isinstance(tx, optax.GradientTransformation)


def test_a_relu_before_the_last_mean_counts_without_the_logits_too():
    """Traced only: the last ReLU of All-CNN-C is followed by no weight."""
    config = RegulariserConfig(model="allcnn_c", batch=4, logits=False)
    net = models.network("allcnn_c", 10, (8, 8, 3))
    batch = Batch(jnp.zeros((4, 8, 8, 3)), jnp.zeros(4, jnp.int32))

    def run(key):
        params, stats = net.init(key)
        return steps._penalised(config, net)(params, stats, batch, key)[1]

    info = jax.eval_shape(run, jax.random.key(0))
    assert [*info.mean_squares] == [f"relu_{n}" for n in range(9)]


@pytest.mark.parametrize(
    ("model", "entries"), [("resnet18", 17), ("mobilenet_v2", None), ("allcnn_c", 9)]
)
def test_the_cifar_networks_train_with_the_penalty_and_augmentation(model, entries):
    """Traced, not compiled: state, crops, dropout keys and every ReLU fit together."""
    config = RegulariserConfig(
        model=model, dataset="cifar10_jpeg75", batch=4, augment=True
    )
    net = models.network(model, 10, (32, 32, 3))
    tx = steps.optimiser(config, steps=2)
    data = Batch(jnp.zeros((8, 32, 32, 3)), jnp.zeros(8, jnp.int32))

    def run(key):
        replica = steps.start(net, tx, key)
        after, info = steps.epoch(
            replica,
            jnp.int32(0),
            data,
            data,
            config=config,
            net=net,
            tx=tx,
            black=(0.0, 0.0, 0.0),
        )
        assert jax.tree.structure(after) == jax.tree.structure(replica)
        return info

    info = jax.eval_shape(run, jax.random.key(0))
    paths = list(info.evaluation.mean_squares)
    assert paths[-1] == "logits"
    assert len(paths) - 1 == entries or (entries is None and len(paths) > 30)


def test_digits_grow_for_lenet5_and_pixels_may_be_normalised_otherwise():
    config = RegulariserConfig(dataset="digits", pixels=(0.5, 0.25), validation=100)
    own = problem.load(dataclasses.replace(config, model="lenet300", pixels=None))
    grown = problem.load(config)
    assert grown.train.image.shape[1:] == (16, 16, 1)
    assert len(grown.validation.label) == 100
    ink = own.test.image * own.std[0] + own.mean[0]
    expected = np.kron((ink - 0.5) / 0.25, np.ones((1, 2, 2, 1)))
    np.testing.assert_allclose(grown.test.image, expected, atol=1e-5)
    assert (grown.mean, grown.std) == ((0.5,), (0.25,))


def test_long_curves_are_thinned_with_both_ends():
    assert cells.thinned(3) == [0, 1, 2]
    shown = cells.thinned(450)
    assert len(shown) == len(set(shown)) == 51 and (shown[0], shown[-1]) == (0, 449)


def test_a_histogram_counts_every_weight_of_the_second_matrix():
    kernel = jnp.asarray([[-0.0024, 0.0001], [0.0026, 0.0049]])
    histogram = cells.histogram({"a": {"w": jnp.ones((2, 2))}, "b": {"w": kernel}})
    assert histogram == {
        "name": "b/w",
        "first": -1,
        "width": 0.0025,
        "counts": [1, 1, 2],
    }


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"method": "l3"}, "method: unknown 'l3'"),
        ({"model": "vgg"}, "model: unknown 'vgg'"),
        ({"epochs": 0}, "epochs: expected at least 1"),
        ({"gamma": -1.0}, "gamma: expected a finite number >= 0"),
        ({"lr": float("nan")}, "lr: expected a finite number"),
        ({"dropout": 1.0}, "dropout: expected a number in"),
        ({"seeds": (1, 1)}, "seeds: expected one or more, all different"),
        ({"seeds": (-1,)}, "seeds: expected integers >= 0"),
        ({"pixels": (0.5, 0.0)}, "pixels: expected a deviation > 0"),
        ({"method": "dropout"}, "lenet300 has no dropout"),
        ({"batch": 151}, "batch: expected at most 150"),
    ],
)
def test_bad_fields_are_one_clear_error(change, text, tmp_path):
    config = dataclasses.replace(SMALL)
    for name, value in change.items():  # past the tests' own check of types
        object.__setattr__(config, name, value)
    with pytest.raises(ValueError, match=text):
        train.train(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_the_defaults_are_in_range():
    check(RegulariserConfig())
