"""Probes against scikit-learn; a fine-tuned trunk stays as sparse as it was."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from analysis import transfer
from tests import unchecked
from tests.analysis import networks as nets

CLASSES = nets.CLASSES


def part(seed, count=60):
    random = np.random.default_rng(seed)
    label = np.arange(count) % CLASSES
    centre = np.random.default_rng(9).normal(size=(CLASSES, 5))
    x = centre[label] + 1.2 * random.normal(size=(count, 5))
    x[:, 4] = 3.0  # never varies
    return x.astype(np.float32), label


TRAIN, VALIDATION, TEST = part(0, 150), part(1), part(2)


def test_the_linear_probe_is_scikit_learns():
    found = transfer.linear_probe(
        TRAIN, VALIDATION, TEST, CLASSES, ridges=(1e-3, 0.1, 1.0), iterations=60
    )
    scale = np.where(TRAIN[0].std(0) > 1e-6, TRAIN[0].std(0), np.inf)
    scaled = lambda x: (x - TRAIN[0].mean(0)) / scale
    for ridge, error in found.errors.items():
        oracle = LogisticRegression(C=1 / (ridge * len(TRAIN[1])), tol=1e-8)
        oracle.fit(scaled(TRAIN[0]), TRAIN[1])
        wanted = 1 - oracle.score(scaled(VALIDATION[0]), VALIDATION[1])
        assert error == pytest.approx(wanted, abs=1e-9), ridge
        if ridge == found.chosen:
            wanted = 1 - oracle.score(scaled(TEST[0]), TEST[1])
            assert found.test_error == pytest.approx(wanted, abs=1e-9)
    assert found.validation_error == min(found.errors.values())


def test_the_neighbours_are_scikit_learns():
    found = transfer.nearest_neighbours(
        TRAIN, VALIDATION, TEST, CLASSES, neighbours=(1, 4, 9), batch=25
    )
    for k, error in found.errors.items():
        oracle = KNeighborsClassifier(int(k), metric="cosine", algorithm="brute")
        oracle.fit(*TRAIN)
        wanted = np.mean(oracle.predict(VALIDATION[0]) != VALIDATION[1])
        assert error == pytest.approx(wanted, abs=1e-9), k
    assert found.validation_error == min(found.errors.values())


def trunk(params, x):
    return jax.nn.relu(x @ params["w"] + params["b"][None])


PARAMS = {
    "w": jax.random.normal(jax.random.key(0), (5, 8)),
    "b": jnp.zeros(8),
}


def test_features_come_batch_by_batch():
    x = jnp.asarray(TRAIN[0])
    found = transfer.features(trunk, PARAMS, x, batch=40)
    np.testing.assert_allclose(found, trunk(PARAMS, x), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"trunk_fn: expected features of shape"):
        transfer.features(lambda p, x: x[:, None], PARAMS, x)
    with pytest.raises(ValueError, match="trunk_fn: some features are not finite"):
        transfer.features(lambda p, x: x / 0.0, PARAMS, x)


def test_fine_tuning_learns_and_keeps_the_masks():
    mask = jax.tree.map(lambda a: jnp.asarray(np.arange(a.size) % 3 > 0), PARAMS)
    mask = jax.tree.map(lambda m, a: m.reshape(a.shape), mask, PARAMS)
    found = transfer.fine_tune(
        trunk, PARAMS, TRAIN, CLASSES, jax.random.key(1), steps=60, mask=mask
    )
    tuned = found.params[0]
    jax.tree.map(lambda a, m: np.testing.assert_array_equal(a[~m], 0), tuned, mask)
    assert not np.allclose(tuned["w"], np.where(mask["w"], PARAMS["w"], 0))
    logits = transfer.headed(trunk)(found.params, jnp.asarray(TRAIN[0]))
    assert np.mean(np.asarray(logits).argmax(1) != TRAIN[1]) < 0.25
    assert float(found.losses[-10:].mean()) < 0.7 * float(found.losses[0])


@pytest.mark.parametrize("kind", nets.NETWORKS)
def test_any_network_is_a_trunk(kind):
    apply_fn, params = nets.NETWORKS[kind](0)
    data = nets.data()
    key = jax.random.key(0)
    found = transfer.fine_tune(apply_fn, params, data, CLASSES, key, steps=2, batch=8)
    assert found.losses.shape == (2,)
    assert transfer.features(apply_fn, found.params[0], data[0]).shape == (40, CLASSES)


def test_bad_data():
    one = (TRAIN[0], np.zeros(150, np.int64))
    with pytest.raises(ValueError, match="train: every label is of class 0"):
        transfer.linear_probe(one, VALIDATION, TEST, CLASSES)
    with pytest.raises(ValueError, match="train: no example of class 3"):
        transfer.nearest_neighbours(TRAIN, VALIDATION, TEST, 4)
    with pytest.raises(ValueError, match=r"train: labels lie outside \[0, 2\)"):
        transfer.linear_probe(TRAIN, VALIDATION, TEST, 2)
    short = (VALIDATION[0], VALIDATION[1][:-1])
    with pytest.raises(ValueError, match="validation: expected features of shape"):
        transfer.linear_probe(TRAIN, short, TEST, CLASSES)
    with pytest.raises(ValueError, match="ridges: expected positive numbers"):
        transfer.linear_probe(TRAIN, VALIDATION, TEST, CLASSES, ridges=(0.0,))
    with pytest.raises(ValueError, match="neighbours: expected numbers from 1 to 150"):
        transfer.nearest_neighbours(TRAIN, VALIDATION, TEST, CLASSES, neighbours=(151,))
    key = jax.random.key(0)
    tune = lambda data=TRAIN, **options: transfer.fine_tune(
        trunk, PARAMS, data, CLASSES, key, **{"steps": 1, **options}
    )
    with pytest.raises(ValueError, match="steps: expected at least 1, got 0"):
        tune(steps=0)
    with pytest.raises(ValueError, match="mask: leaf b is missing"):
        tune(mask={"w": PARAMS["w"] > 0})
    with pytest.raises(ValueError, match="data: every label is of class 0"):
        tune(data=one)
    with pytest.raises(ValueError, match="loss, step: the value at 1 is not finite"):
        tune(data=(TRAIN[0] * np.float32(np.inf), TRAIN[1]))


def test_more_bad_data():
    half = (TEST[0], TEST[1] + 0.5)
    for probe in (transfer.linear_probe, transfer.nearest_neighbours):
        with pytest.raises(ValueError, match="test: expected integer labels"):
            probe(TRAIN, VALIDATION, half, CLASSES)
        with pytest.raises(ValueError, match=r"test: labels lie outside \[0, 3\)"):
            probe(TRAIN, VALIDATION, (TEST[0], TEST[1] + 1), CLASSES)
        with pytest.raises(ValueError, match="train: some features are not finite"):
            probe((TRAIN[0] * np.float32(np.nan), TRAIN[1]), VALIDATION, TEST, CLASSES)
    message = "neighbours: expected an integer from 1 to"
    of = lambda ks: transfer.nearest_neighbours(
        TRAIN, VALIDATION, TEST, CLASSES, neighbours=ks
    )
    with unchecked(), pytest.raises(ValueError, match=message):
        of(np.array([1.5]))
    with unchecked():
        assert set(of(np.array([1, 5])).errors) == {1.0, 5.0}
    with pytest.raises(ValueError, match=r"trunk_fn: expected features of shape"):
        transfer.fine_tune(
            lambda p, x: x[:, None], PARAMS, TRAIN, CLASSES, jax.random.key(0), steps=1
        )
