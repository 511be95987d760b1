"""Sources from features, and labels dealt anew within them."""

import numpy as np

from covid_cxr.bias import shuffled_within_source, source_probe, within_source
from tests.covid_cxr.bias.cohorts import table


def test_labels_stay_in_their_source_and_patients_whole():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(50), rng.integers(1, 4, 50))
    source = np.where(patients < 25, "a", "b")
    index, label = table(patients, (patients * 7 % 5 < 2).astype(int), source)
    dealt = shuffled_within_source(index, label, seed=3)
    assert (dealt != label).any()
    for name in ("a", "b"):
        assert dealt[source == name].sum() == label[source == name].sum()
    for person in range(50):
        assert len(set(dealt[patients == person])) == 1
    other = shuffled_within_source(index, label, seed=4)
    assert (other != dealt).any()


def test_the_order_of_rows_makes_no_difference():
    index, label = table(range(30), np.arange(30) % 2, ["a", "b", "a"] * 10)
    turned = np.arange(30)[::-1]
    dealt = shuffled_within_source(index.select(turned), label[turned])
    np.testing.assert_array_equal(dealt[::-1], shuffled_within_source(index, label))


def test_what_survives_the_shuffle_is_the_source():
    rng = np.random.default_rng(0)
    label = np.arange(300) % 2
    tied = np.where(rng.random(300) < 0.1 + 0.8 * label, "a", "b")
    loose = np.where(rng.random(300) < 0.5, "a", "b")
    for source, fires in ((tied, True), (loose, False)):
        index, label = table(range(300), label, source)
        features = np.stack([source == "a", label + rng.normal(size=300)], axis=1)
        assert within_source(index, label, features).fires is fires


def test_sources_are_asked_for_by_stage():
    rng = np.random.default_rng(0)
    source = np.array(["a", "b", "c"] * 40)
    index, _ = table(range(120), [0] * 120, source)
    stages = {"early": np.eye(3)[np.arange(120) % 3], "late": rng.normal(size=(120, 2))}
    found = source_probe(index, stages)
    assert [one.fires for one in found] == [True] * 3 + [False] * 3
    assert found[1].name == "source from early, b v rest"
    two = index.select(source != "c")
    assert len(source_probe(two, {"early": stages["early"][source != "c"]})) == 1
    assert source_probe(index.select(source == "a"), {}) == []
