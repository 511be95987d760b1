"""Class selectivity against scikit-learn and plain loops."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.feature_selection import f_classif
from sklearn.metrics import mutual_info_score

from analysis import selectivity

CLASSES = 4
RANDOM = np.random.default_rng(0)
LABEL = RANDOM.integers(0, CLASSES, 203)
VALUES = np.maximum(
    RANDOM.normal(size=(203, 6)) + RANDOM.normal(size=(CLASSES, 6))[LABEL], 0
).astype(np.float32)
VALUES[:, 4] = 0  # a dead unit
VALUES[:, 5] = LABEL == 2  # one class alone


def itself(params, x):
    return params * x


def batches(size=50):
    for i in range(0, len(LABEL), size):
        label = jnp.asarray(LABEL[i : i + size])
        yield jnp.asarray(VALUES[i : i + size]), label


@pytest.fixture(scope="module")
def found():
    return selectivity.moments(itself, jnp.float32(1), batches(), CLASSES)


def test_the_sums_do_not_depend_on_the_batch(found):
    other = selectivity.moments(itself, jnp.float32(1), batches(203), CLASSES)
    np.testing.assert_array_equal(found.on, other.on)
    np.testing.assert_array_equal(found.examples, np.bincount(LABEL))
    np.testing.assert_allclose(found.squares, other.squares, rtol=1e-5)


def test_the_selectivity_index_by_a_loop(found):
    index = selectivity.class_selectivity(found)
    for unit in range(4):
        means = np.array([VALUES[c == LABEL, unit].mean() for c in range(CLASSES)])
        top, rest = means.max(), np.delete(means, means.argmax()).mean()
        assert index[unit] == pytest.approx((top - rest) / (top + rest), rel=1e-5)
    assert index[4] == 0 and index[5] == pytest.approx(1)


def test_the_explained_variance_is_that_of_anova(found):
    share = selectivity.explained_variance(found)
    ratio, _ = f_classif(VALUES[:, :4].astype(np.float64), LABEL)
    within, between = len(LABEL) - CLASSES, CLASSES - 1
    np.testing.assert_allclose(
        share[:4], ratio * between / (ratio * between + within), rtol=1e-4
    )
    assert share[4] == 0 and share[5] == pytest.approx(1, abs=1e-5)


def test_the_mutual_information_is_scikit_learns(found):
    bits = selectivity.mutual_information(found)
    wanted = [mutual_info_score(LABEL, VALUES[:, i] > 0) / np.log(2) for i in range(6)]
    np.testing.assert_allclose(bits, wanted, atol=1e-9)


def test_bad_data():
    x = jnp.asarray(VALUES)

    def of(labels, params=1.0, classes=CLASSES):
        pairs = [(x, jnp.asarray(labels))]
        return selectivity.moments(itself, jnp.float32(params), pairs, classes)

    with pytest.raises(ValueError, match="classes: expected at least 2, got 1"):
        of(LABEL, classes=1)
    with pytest.raises(ValueError, match=r"labels: some lie outside \[0, 4\)"):
        of(LABEL + 1)
    with pytest.raises(ValueError, match="labels: no example of class 4"):
        of(LABEL, classes=5)
    with pytest.raises(ValueError, match="all are of one class"):
        of(np.zeros_like(LABEL))
    with pytest.raises(ValueError, match="activations: some are not finite"):
        of(LABEL, params=np.inf)
    with pytest.raises(ValueError, match="batches: expected at least one"):
        selectivity.moments(itself, jnp.float32(1), [], CLASSES)
    with pytest.raises(ValueError, match="activations: expected none below 0"):
        selectivity.class_selectivity(of(LABEL, params=-1.0))


def test_labels_of_another_kind_are_named():
    x = jnp.ones((6, 2))
    of = lambda batches: selectivity.moments(lambda p, x: x, None, batches, 2)
    for label in (jnp.array([0, 1, 0, 1, 0, 0.5]), jnp.zeros((6, 1), jnp.int32)):
        with pytest.raises(ValueError, match=r"labels: expected integers of shape"):
            of([(x, label)])
    with pytest.raises(ValueError, match="labels: expected one for each of 6 examples"):
        of([(x, jnp.array([0, 1, 1]))])
    whole = of([(x[:0], np.zeros(0, int)), (x, [0, 1, 0, 1, 0, 1])])
    assert whole.examples.tolist() == [3, 3]
