"""Several findings: what is unknown has no part in a loss, a gradient or an area."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr import findings, sources
from covid_cxr.metrics import auc_interval
from covid_cxr.study import parse
from tests.covid_cxr import trees

LABEL = np.array([[1, 0, -1], [0, -1, -1], [-1, -1, -1], [1, 1, 0]], np.int32)


def test_the_loss_is_the_mean_over_what_is_known():
    logits = jax.random.normal(jax.random.key(0), LABEL.shape)
    found = findings.masked_cross_entropy(logits, jnp.asarray(LABEL))
    for image, row in enumerate(np.asarray(logits, np.float64)):
        terms = [
            np.log1p(np.exp(-z if y else z))
            for z, y in zip(row, LABEL[image], strict=True)
            if y >= 0
        ]
        wanted = np.mean(terms) if terms else 0
        np.testing.assert_allclose(found[image], wanted, rtol=1e-5)


def test_the_gradient_of_an_unknown_label_is_zero_even_at_infinite_logits():
    logits = jnp.where(jnp.asarray(LABEL) < 0, 1e30, 0.5)
    loss = lambda z: findings.masked_cross_entropy(z, jnp.asarray(LABEL)).sum()
    gradient = np.asarray(jax.grad(loss)(logits))
    assert (gradient[LABEL < 0] == 0).all() and (gradient[LABEL >= 0] != 0).all()


def test_areas_are_those_of_the_images_that_know_a_finding():
    rng = np.random.default_rng(0)
    label = rng.integers(-1, 2, (60, 2))
    label[:, 1] = -1
    score, patient = rng.normal(size=(60, 2)) + label, np.arange(60) // 2
    found = findings.areas(["edema", "mass"], label, score, patient=patient)
    known = label[:, 0] >= 0
    wanted = auc_interval(label[known, 0], score[known, 0], patient=patient[known])
    assert found["edema"].area == wanted
    assert found["edema"].images + found["edema"].unknown == 60
    assert np.isnan(found["mass"].area.value) and found["mass"].unknown == 60


def test_labels_of_a_source_keep_what_is_not_known(tmp_path):
    index = sources.build(trees.vindr(tmp_path)).index
    found = findings.labels(index, ["pneumonia", "nodule_mass"])
    assert found.tolist() == [[1, -1], [0, 0]]
    with pytest.raises(ValueError, match="no image knows 'covid'; the table has"):
        findings.labels(index, ["covid"])
    with pytest.raises(ValueError, match="names: expected different labels"):
        findings.labels(index, ["pneumonia", "pneumonia"])


def test_a_study_refuses_several_labels_by_name():
    given = {
        "name": "several",
        "sets": {"home": {"phantom": {"patients": 64}}},
        "encoders": {"small": {"architecture": "resnet10", "width": 4}},
        "mixes": {"home": {"kind": "target", "target": "home"}},
        "tests": ["own"],
        "label": ["covid", "pneumonia"],
    }
    with pytest.raises(ValueError, match="label"):
        parse(given)
    several = given | {"label": "covid"}
    several["encoders"] = {"small": {"architecture": "resnet10", "classes": 2}}
    with pytest.raises(ValueError, match=r"encoders\.small\.classes: expected 1"):
        parse(several)


@pytest.mark.parametrize(
    ("label", "score", "words"),
    [
        (np.zeros((4, 3)), np.zeros((4, 3)), r"label: expected \(N, 2\)"),
        (np.zeros((4, 2)), np.zeros((4, 3)), r"score: expected \(4, 2\)"),
        (np.full((4, 2), 2), np.zeros((4, 2)), "label: expected 1, 0, or -1"),
        (np.zeros((4, 2)), np.full((4, 2), np.nan), "score: expected finite"),
    ],
)
def test_what_makes_no_sense_is_named(label, score, words):
    with pytest.raises(ValueError, match=words):
        findings.areas(["a", "b"], label, score)
