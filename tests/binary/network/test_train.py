"""Training of deep binary networks: results, resumption, bad options, the command."""

import copy
import dataclasses
import json

import jax
import numpy as np
import pytest

from binary.commands import mnist
from binary.network import artefact, evaluation, model
from binary.network import train as training
from binary.network.config import Config, check

pytestmark = pytest.mark.runs

SMALL = Config(
    widths=(41, 31),
    seeds=(0, 1),
    epochs=12,
    batch=50,
    lr=0.02,
    drop=0.1,
    checkpoint_every=4,
    draws=3,
)


@pytest.fixture(scope="module", autouse=True)
def standard_promotion():
    """Let optax.adam be: it raises a float to an integer power."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network") / "run"
    return training.train(SMALL, folder, quiet=True), folder


def test_the_network_learns_and_becomes_certain(run):
    networks = run[0]["networks"]
    assert [one["seed"] for one in networks] == [0, 1]
    for one in networks:
        assert one["test_binarised"] < 0.25  # chance is 0.9
        assert all(q > 0.95 for q in one["overlaps"].values())
        assert abs(one["test_binarised"] - one["test_propagated"]) < 0.05
        assert one["integer_disagreements"] <= 1  # a field at zero to rounding
        assert abs(one["integer_error"] - one["test_binarised"]) < 0.003


def test_the_training_loss_is_not_kept_under_the_name_of_another(run):
    with open(run[1] / "metrics.jsonl") as lines:
        record = json.loads(next(lines))
    assert "train_loss" in record and "validation_loss" not in record


def test_the_packed_network_is_that_of_the_run(run):
    data = training.dataset_of(SMALL)
    params, layers = training.trained(run[1], SMALL, data)
    own = {k: {n: a[0] for n, a in v.items()} for k, v in params.items()}
    packed = evaluation.packed(data, layers, own)
    pixels = evaluation.pixels_of(data, data.test.image)
    assert pixels.min() == 0 and pixels.max() == 16
    wrong = np.mean(artefact.predict(packed, pixels) != data.test.label)
    assert wrong == run[0]["networks"][0]["integer_error"]
    assert set(model.self_overlaps(own)) == {"layer_0", "layer_1", "layer_2"}


def test_an_interrupted_run_ends_in_the_same_bits(run, tmp_path, monkeypatch):
    append, calls = training.runs.append_metrics, []

    def failing(folder, record):
        calls.append(record["epoch"])
        if record["epoch"] == 7:
            raise KeyboardInterrupt
        append(folder, record)

    with monkeypatch.context() as patch:
        patch.setattr(training.runs, "append_metrics", failing)
        with pytest.raises(KeyboardInterrupt):
            training.train(SMALL, tmp_path / "run", quiet=True)
    again = training.train(SMALL, tmp_path / "run", resume=True, quiet=True)
    assert again == run[0]
    data = training.dataset_of(SMALL)
    whole, _ = training.trained(run[1], SMALL, data)
    taken_up, _ = training.trained(tmp_path / "run", SMALL, data)
    for name, own in whole.items():
        for leaf in own:
            np.testing.assert_array_equal(own[leaf], taken_up[name][leaf])


def test_straight_through_trains_the_same_network(tmp_path):
    config = dataclasses.replace(SMALL, method="straight-through", seeds=(0,))
    found = training.train(config, tmp_path / "run", quiet=True)["networks"][0]
    assert found["test_binarised"] < 0.4


def test_the_command_writes_packed_weights(tmp_path, capsys):
    words = "--dataset digits --widths 21 --epochs 2"
    folder = tmp_path / "run"
    assert mnist.main([*words.split(), "--run-dir", str(folder)]) == 0
    assert "binarised" in capsys.readouterr().out
    assert len(artefact.load(folder / "weights-0.npz").layers) == 2
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["config"]["widths"] == [21]
    with pytest.raises(ValueError, match="already holds a run"):
        mnist.main([*words.split(), "--run-dir", str(folder)])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("dataset", "cifar", "dataset: unknown 'cifar', expected one of digits"),
        ("method", "magic", "method: unknown 'magic'"),
        ("certainty", "hope", "certainty: unknown 'hope'"),
        ("epochs", 0, "epochs: expected at least 1, got 0"),
        ("lr", float("nan"), "lr: expected a finite number"),
        ("full", 0.05, "start, full: expected"),
        ("drop", 1.0, r"drop: expected a share in \[0, 1\)"),
        ("signal", 0.0, "signal: expected a number in"),
        ("widths", (), "widths: expected one or more"),
        ("seeds", (1, 1), "seeds: expected one or more, all different"),
        ("seeds", (-1,), "seeds: expected integers >= 0"),
    ],
)
def test_a_bad_option_is_named(field, value, message):
    bad = copy.copy(SMALL)
    object.__setattr__(bad, field, value)  # past the type checks of these tests
    with pytest.raises(ValueError, match=message):
        check(bad)


def test_a_batch_beyond_the_data_is_named(tmp_path):
    config = dataclasses.replace(SMALL, batch=5000)
    with pytest.raises(ValueError, match="batch: expected at most"):
        training.train(config, tmp_path / "run", quiet=True)
