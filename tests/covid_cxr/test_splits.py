"""Splits: properties over random cohorts, the paper's counts, refused pairs."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from covid_cxr.hashes import perceptual_hashes
from covid_cxr.index import Row, build
from covid_cxr.splits import (
    THREE,
    OverlapError,
    assign,
    assign_images,
    check_pair,
    folds,
    order,
    shared,
)
from tests.covid_cxr.trees import picture


@st.composite
def cohorts(draw):
    """Return rows of up to 60 patients of 1 to 6 films from up to 3 sources."""
    rows = []
    patients = draw(
        st.lists(
            st.tuples(
                st.integers(0, 2),  # source
                st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=6),
            ),
            min_size=1,
            max_size=60,
        )
    )
    for person, (source, labels) in enumerate(patients):
        for film, label in enumerate(labels):
            rows.append(
                Row(
                    f"{person}_{film}.png",
                    f"s{source}/{person}",
                    f"s{source}",
                    labels={"covid": label},
                )
            )
    return rows


def fast(**options):
    return hypothesis.settings(deadline=None, max_examples=40, **options)


@fast()
@hypothesis.given(cohorts(), st.integers(0, 5))
def test_no_patient_is_on_two_sides(rows, seed):
    index = build(rows)
    parts = assign(index, seed=seed)
    for patient in np.unique(index.patient):
        assert len(np.unique(parts[index.patient == patient])) == 1
    for a in THREE:
        for b in set(THREE) - {a}:
            one, other = index.select(parts == a), index.select(parts == b)
            assert shared(one, other) == ()


@fast()
@hypothesis.given(cohorts(), st.integers(0, 5))
def test_every_stratum_is_shared_out_to_within_its_largest_patient(rows, seed):
    index = build(rows)
    parts = assign(index, seed=seed)
    top = {p: index.labels["covid"][index.patient == p].max() for p in index.patient}
    value = np.array([top[p] for p in index.patient])
    for source in np.unique(index.source):
        for label in np.unique(value):
            here = (index.source == source) & (value == label)
            if not here.any():
                continue
            largest = np.unique(index.patient[here], return_counts=True)[1].max()
            for name, share in THREE.items():
                found = (parts[here] == name).sum()
                assert found - share * here.sum() < largest
                # What the others are over, this one may lack.
                assert share * here.sum() - found < largest * (len(THREE) - 1)


@fast()
@hypothesis.given(cohorts(), st.integers(0, 5), st.randoms())
def test_the_order_of_the_rows_makes_no_difference(rows, seed, random):
    index, order = build(rows), list(range(len(rows)))
    random.shuffle(order)
    np.testing.assert_array_equal(
        assign(index, seed=seed)[order], assign(index.select(order), seed=seed)
    )


def cohort(positives=297, negatives=150, films=1):
    count = positives + negatives
    return build(
        Row(f"{i}.png", f"c/{i // films}", "c", labels={"covid": int(i < positives)})
        for i in range(count)
    )


def counts(index, parts):
    covid = index.labels["covid"]
    return {
        name: tuple(int((covid[parts == name] == value).sum()) for value in (0, 1))
        for name in THREE
    }


def test_the_published_split_has_the_papers_counts():
    index = cohort()
    assert counts(index, assign_images(index)) == {
        "train": (84, 165),
        "validation": (21, 42),
        "test": (45, 90),
    }


def test_the_published_split_leaks_patients_and_is_refused():
    index = cohort(films=3)
    parts = assign_images(index)
    train, test = index.select(parts == "train"), index.select(parts == "test")
    with pytest.raises(OverlapError, match=r"\d+ shared patients, such as c/"):
        check_pair(train, test)
    passed = check_pair(train, test, allow=("patients",))
    assert [one.kind for one in passed] == ["patients"]


def test_the_repaired_split_has_nearly_the_same_counts():
    index = cohort(films=3)
    found = counts(index, assign(index))
    for name, wanted in {"train": (84, 166), "test": (45, 89)}.items():
        assert np.abs(np.subtract(found[name], wanted)).max() <= 3


def test_another_seed_is_another_split_and_the_same_seed_the_same():
    index = cohort()
    np.testing.assert_array_equal(assign(index, seed=1), assign(index, seed=1))
    assert (assign(index, seed=1) != assign(index, seed=2)).any()


def test_a_patient_may_come_from_two_sources():
    no = {"covid": 0}
    rows = [
        Row("a.dcm", "nih/1", "rsna", labels=no, flags=frozenset({"matched"})),
        Row("b.png", "nih/1", "nih", labels=no),
        *(Row(f"{i}.png", f"nih/{i}", "nih", labels=no) for i in range(2, 9)),
    ]
    parts = assign(build(rows))
    assert parts[0] == parts[1]


def test_folds_cover_everything_once_and_stay_level():
    index = cohort(films=2)
    parts = folds(index, 5, seed=3)
    assert sorted(set(parts.tolist())) == [f"fold{i}" for i in range(5)]
    sizes = [(parts == f"fold{i}").sum() for i in range(5)]
    assert max(sizes) - min(sizes) <= 4


def test_the_order_is_fixed_by_names_alone():
    names = ["a", "b", "c", "d", "e"]
    first = [names[i] for i in order(names, 7)]
    again = [names[::-1][i] for i in order(names[::-1], 7)]
    assert first == again != [names[i] for i in order(names, 8)]


def one(source, name="a", patient=None, *flags):
    return build(
        [
            Row(
                f"{name}.png",
                patient or f"{source}/{name}",
                source,
                flags=frozenset(flags),
            )
        ]
    )


def test_known_overlaps_of_sources_are_refused_unless_settled_by_patient():
    nih = one("nih", "b", "nih/7")
    with pytest.raises(OverlapError, match="rsna and nih: every RSNA radiograph is"):
        check_pair(one("rsna"), nih)
    with pytest.raises(OverlapError, match="sources"):
        check_pair(nih, one("rsna"))  # either way round
    assert check_pair(one("rsna"), nih, allow=("sources",))[0].kind == "sources"
    # With the match table the patients' names settle it, one way
    assert check_pair(one("rsna", "a", "nih/1", "matched"), nih) == ()
    # or the other.
    with pytest.raises(OverlapError, match="1 shared patients, such as nih/7"):
        check_pair(one("rsna", "a", "nih/7", "matched"), nih)


def test_patients_that_are_not_known_are_refused():
    with pytest.raises(OverlapError, match="grouping, such as rsna, whose patients"):
        check_pair(
            one("rsna", "a", None, "ungrouped"), one("rsna", "b", None, "ungrouped")
        )
    check_pair(
        one("rsna", "a", None, "ungrouped"), one("corda", "b", None, "ungrouped")
    )


def test_the_same_picture_under_another_name_is_refused():
    train, test = one("s", "a"), one("t", "b")
    films = np.stack([picture(1, (64, 64)), picture(2, (64, 64))]).astype(np.float32)
    hashes = perceptual_hashes(films)
    again = perceptual_hashes(films[:1] * 0.7 + 12)
    check_pair(train, test, hashes=(hashes[:1], hashes[1:]))
    with pytest.raises(OverlapError, match=r"s/a\.png and t/b\.png \(\d+ bits apart\)"):
        check_pair(train, test, hashes=(hashes[:1], again))
    check_pair(train, test, hashes=(hashes[:1], again), allow=("duplicates",))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda i: assign(i, {"a": 0.5, "b": 0.4}), "fractions: expected positive"),
        (lambda i: assign(i, {"a": 1.5, "b": -0.5}), "fractions: expected positive"),
        (lambda i: folds(i, 1), "count: expected at least 2 folds"),
        (lambda i: check_pair(i, i, allow=("all",)), "allow: expected some of"),
    ],
)
def test_bad_arguments(call, words):
    with pytest.raises(ValueError, match=words):
        call(cohort(3, 3))


def test_the_published_split_needs_every_label():
    index = build([Row("a.png", "s/1", "s")])
    with pytest.raises(ValueError, match="covid: expected to be known"):
        assign_images(index)


def test_no_labels_and_no_source_to_keep_in_proportion():
    index = cohort(30, 30)
    parts = assign(index, labels=(), by_source=False)
    assert abs((parts == "test").sum() - 18) <= 1
