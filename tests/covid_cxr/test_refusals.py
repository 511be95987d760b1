"""Rows, parts, hashes and findings that would be taken for others are refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr import findings, manifest, protocols, splits
from covid_cxr.embedding import embed
from covid_cxr.hashes import near_duplicates
from covid_cxr.index import Row, build, order
from tests import unchecked

NAN = float("nan")
TABLE = build(
    [Row(f"{i}.png", f"p{i // 2}", "home", labels={"covid": i % 2}) for i in range(8)]
)
HASHES = np.zeros((8, 4), np.uint64)
FEATURES = np.random.default_rng(0).random((6, 3))
LABEL, SCORE = np.array([[1, 0], [0, 1], [1, -1]]), np.ones((3, 2))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"patient": None}, "patient: expected text, got None"),
        ({"patient": NAN}, "patient: expected text, got nan"),
        ({"labels": {"covid": 1.5}}, "expected -1, 0 or 1, got 1.5"),
        ({"labels": {"covid": "1"}}, "expected -1, 0 or 1, got '1'"),
        ({"labels": {"covid": None}}, "expected -1, 0 or 1, got None"),
        ({"masks": {"lungs": None}}, "expected a path, got None"),
        ({"flags": "child"}, "flags: expected a set of names"),
        ({"height": 1.5}, "height: expected an integer"),
        ({"age": -5.0}, "age: expected 0 to 150 years"),
        ({"age": float("inf")}, "age: expected 0 to 150 years"),
        ({"spacing": 0.0}, "spacing: expected > 0"),
    ],
)
def test_a_row_holds_what_it_says(fields, message):
    row = {"path": "a.png", "patient": "p", "source": "home", **fields}
    with unchecked(), pytest.raises(ValueError, match=message):
        build([Row(**row)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TABLE.select([1.5]), "rows: expected booleans or positions"),
        (lambda: TABLE.select(np.ones(8)), "rows: expected booleans or positions"),
        (lambda: splits.assign(TABLE, labels="covid"), "labels: the table has no 'c'"),
        (lambda: splits.assign(TABLE, labels=["covd"]), "the table has no 'covd'"),
        (lambda: splits.assign(TABLE, by_source="no"), "by_source: expected True or"),
        (lambda: splits.assign(TABLE, {"a": "1"}), "fractions.'a'.: expected a share"),
        (lambda: splits.assign(TABLE, [0.5, 0.5]), "fractions: expected parts to"),
        (lambda: splits.assign(TABLE, seed=1.5), "seed: expected an integer"),
        (lambda: order(["a", "b"], None), "seed: expected an integer"),
        (lambda: splits.folds(TABLE, 5), "count: 4 patients do not fill 5 folds"),
        (lambda: splits.folds(TABLE, 2.5), "count: expected an integer"),
        (lambda: splits.assign_images(TABLE, test=-0.1), "test: expected a share"),
        (lambda: splits.assign_images(TABLE, test=NAN), "test: expected a share"),
        (
            lambda: splits.assign_images(TABLE, validation=1.2),
            "validation: expected a share",
        ),
        (
            lambda: splits.shared(TABLE, TABLE, hashes=(HASHES[:3], HASHES)),
            "hashes: expected .8, 4., got .3, 4.",
        ),
        (
            lambda: splits.shared(TABLE, TABLE, hashes=(HASHES, None)),
            "hashes: expected .8, 4.",
        ),
        (lambda: near_duplicates(HASHES[:, :3]), "first: expected uint64"),
        (lambda: near_duplicates(HASHES, HASHES.astype(int)), "second: expected uint"),
        (lambda: near_duplicates(HASHES, within=NAN), "within: expected an integer"),
        (lambda: manifest.freeze(TABLE, np.zeros(8), {}), "parts: expected 8 names"),
        (lambda: manifest.freeze(TABLE, [""] * 8, {}), "parts: expected 8 names"),
        (lambda: protocols.cut(TABLE, -1), "count: expected an integer >= 0"),
        (lambda: findings.areas(["a", "a"], LABEL, SCORE), "names: expected diff"),
        (lambda: findings.areas("ab", LABEL, SCORE), "names: expected different"),
        (
            lambda: findings.areas(
                ["a", "b"], np.ma.array(LABEL, mask=LABEL > 0), SCORE
            ),
            "label: values are masked",
        ),
        (lambda: findings.areas(["a", "b"], LABEL, SCORE * 1j), "score: expected fin"),
        (lambda: embed(FEATURES.astype(str), "pca"), "features: expected numbers"),
        (lambda: embed(FEATURES * 0, "pca"), "features: expected rows that differ"),
        (lambda: embed(FEATURES, perplexity="5"), "perplexity: expected in"),
        (lambda: embed(FEATURES, seed=-1), "seed: expected an integer from 0"),
    ],
)
def test_refused_by_name(call, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("label", [0.5, 2, NAN, np.uint8(255)])
def test_a_target_that_is_none_has_no_loss(label):
    # The -1 of unknown is 255 in an unsigned array, and was a target of 255.
    labels = jnp.full((2, 2), label)
    with unchecked(), pytest.raises(ValueError, match="label: expected 1, 0, or a neg"):
        findings.masked_cross_entropy(jnp.zeros((2, 2)), labels)


def test_a_manifest_may_be_named_by_text(tmp_path):
    frozen = manifest.freeze(TABLE, splits.assign(TABLE), {"seed": 0})
    digest = manifest.write(str(tmp_path / "split.json"), frozen)
    assert manifest.read(str(tmp_path / "split.json")).digest() == digest
