"""The phantom: labels, lungs, opacities, and shortcuts that do what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.phantom import (
    TRAITS,
    Cohort,
    Hospital,
    generate,
    radiographs,
    roster,
    stacks,
)
from covid_cxr.splits import assign, check_pair

NAMES = list(TRAITS)


@pytest.fixture(scope="module")
def plain():
    """Return a cohort of 256 patients without any shortcut."""
    hospitals = (Hospital("a", pneumonia=0.5), Hospital("b", pneumonia=0.5))
    return generate(jax.random.key(1), Cohort(patients=256, hospitals=hospitals))


@pytest.fixture(scope="module")
def alike():
    """Return one patient and pose: healthy, then with each trait alone, then ill."""
    count = len(NAMES) + 3
    traits = np.zeros((256, len(NAMES)), bool)
    traits[1 : len(NAMES) + 1] = np.eye(len(NAMES), dtype=bool)
    finding = np.zeros(256, np.int32)
    finding[count - 2 : count] = 1, 2
    keys = jax.random.split(jax.random.key(2))
    same = [key[jnp.zeros(256, jnp.int32)] for key in (keys[:1], keys[1:])]
    # Of the shape, and the types, that generate() has compiled already.
    drawn = radiographs(
        *same,
        jnp.asarray(finding),
        jnp.asarray(traits),
        size=64,
        contrast=jnp.float32(1),
        noise=jnp.float32(0.03),
    )
    shown = dict(zip(["none", *NAMES, "pneumonia", "covid"], range(count), strict=True))
    return {
        name: jax.tree.map(lambda part, row=row: np.asarray(part[row]), drawn)
        for name, row in shown.items()
    }


def test_films_and_table_say_the_same(plain):
    index = plain.index
    assert plain.images.shape == (256, 64, 64) and plain.images.dtype == np.float32
    assert plain.images.min() >= 0 and plain.images.max() <= 1
    covid = plain.finding == 2
    np.testing.assert_array_equal(index.label("covid") == 1, covid)
    np.testing.assert_array_equal(index.label("pneumonia") == 1, plain.finding > 0)
    np.testing.assert_array_equal(index.label("no_finding") == 1, plain.finding == 0)
    assert set(index.source.tolist()) == {"a", "b"}
    assert index.flag("synthetic").all()
    assert set(index.licence.tolist()) == {"synthetic: not a patient"}
    assert set(index.view.tolist()) == {"PA"}


def test_the_classes_are_as_frequent_as_asked(plain):
    error = np.sqrt(0.25 / 256)
    assert abs((plain.finding == 2).mean() - 0.5) < 4 * error
    assert abs((plain.finding == 1).mean() - 0.25) < 4 * error
    assert abs((plain.index.source == "a").mean() - 0.5) < 4 * error


def test_lungs_are_two_apart_of_a_lungs_size_and_dark(plain):
    right, left = plain.lungs[:, 0], plain.lungs[:, 1]
    assert not (right & left).any()
    area = (right | left).mean((1, 2))
    assert area.min() > 0.15 and area.max() < 0.4
    column = np.arange(64)
    # The right lung lies at the viewer's left.
    middle = [
        (lung.sum(1) * column).sum(1) / lung.sum((1, 2)) for lung in (right, left)
    ]
    assert (middle[0] < 32).all() and (middle[1] > 32).all()
    lungs = right | left
    inside = (plain.images * lungs).sum((1, 2)) / lungs.sum((1, 2))
    around = np.array([one[20:40, 28:36].mean() for one in plain.images])
    assert (inside < around).all()


def test_opacities_are_inside_the_lungs_and_only_of_the_ill(plain):
    healthy = plain.finding == 0
    assert np.abs(plain.opacity[healthy]).max() == 0
    assert (plain.opacity[~healthy].max((1, 2)) > 0.1).all()
    lungs = plain.lungs.any(1)
    for name in (1, 2):
        ill = plain.finding == name
        outside = plain.opacity[ill] * ~lungs[ill]
        # The lungs' edge is soft over about a pixel.
        assert outside.sum() < 0.1 * plain.opacity[ill].sum()
    sides = (plain.opacity[:, None] * plain.lungs).sum((2, 3))
    lesser = sides.min(1) / sides.max(1).clip(1e-9)
    assert (lesser[plain.finding == 1] < 0.05).all()  # one lung
    assert np.median(lesser[plain.finding == 2]) > 0.4  # both


def test_the_same_key_gives_the_same_bits_and_another_key_others():
    cohort = Cohort(patients=256)
    one, same = (generate(jax.random.key(5), cohort) for _ in "ab")
    np.testing.assert_array_equal(one.images, same.images)
    assert one.index.digest() == same.index.digest()
    other = generate(jax.random.key(6), cohort)
    assert np.abs(other.images - one.images).max() > 0.1
    assert not set(one.index.uid.tolist()) & set(other.index.uid.tolist())


def rim(image):
    sides = image[:4], image[-4:], image[4:-4, :4]
    return np.concatenate([side.ravel() for side in sides])


def test_each_trait_does_what_it_says(alike):
    none = alike["none"]
    lungs = none.lungs.any(0)
    for name in NAMES:
        changed = np.abs(alike[name].image - none.image)
        assert changed.max() > 0.1, name
    corner = (slice(0, 14), slice(48, 64))
    for name in ("marker", "border"):
        changed = np.abs(alike[name].image - none.image)
        assert changed[lungs].max() < 1e-6, name  # masking removes it
    marker = np.abs(alike["marker"].image - none.image)
    assert marker[corner].max() > 0.5
    marker[corner] = 0
    assert marker.max() < 1e-6
    assert rim(alike["border"].image).mean() < 0.5 * rim(none.image).mean()
    assert alike["intensity"].image[lungs].mean() > 1.2 * none.image[lungs].mean()
    for name in ("body", "spacing"):
        assert alike[name].lungs.sum() < 0.9 * none.lungs.sum(), name
    assert (alike["jpeg"].lungs == none.lungs).all()


def test_block_edges_stand_out_with_jpeg(alike):
    def edges(image):
        steps = np.abs(np.diff(image, axis=0))
        return steps[7::8].mean() / steps.mean()

    assert edges(alike["jpeg"].image) > 1.3 > edges(alike["none"].image)


def test_an_illness_changes_nothing_outside_the_lungs(alike):
    far = ~_grown(alike["none"].lungs.any(0), 3)
    for name in ("pneumonia", "covid"):
        changed = np.abs(alike[name].image - alike["none"].image)
        assert changed[far].max() < 1e-3
        np.testing.assert_array_equal(alike[name].lungs, alike["none"].lungs)


def _grown(mask, by):
    for _ in range(by):
        padded = np.pad(mask, 1)
        mask = padded[1:-1, 1:-1] | padded[2:, 1:-1] | padded[:-2, 1:-1]
        mask = mask | padded[1:-1, 2:] | padded[1:-1, :-2]
    return mask


@pytest.mark.parametrize("strength", [-0.8, 0.0, 0.8, 1.0])
def test_a_shortcut_has_the_correlation_asked_for(strength):
    cohort = Cohort(patients=2000, size=32, shortcuts={"border": strength})
    traits, covid = _labels(cohort)
    found = np.corrcoef(traits[:, NAMES.index("border")], covid)[0, 1]
    # The standard error of a correlation of 2000 pairs.
    assert abs(found - strength) < 4 * (1 - strength**2) / np.sqrt(2000) + 1e-9
    assert not traits[:, NAMES.index("marker")].any()


def _labels(cohort):
    from covid_cxr.phantom.generation import _draw_labels

    _, finding, traits = _draw_labels(jax.random.key(9), cohort)
    return traits, finding == 2


def test_a_hospitals_traits_follow_the_hospital_alone():
    cohort = Cohort(
        patients=256,
        hospitals=(
            Hospital("a", covid=0.9, traits={"marker": 1.0}),
            Hospital("b", covid=0.1, share=3.0),
        ),
    )
    drawn = generate(jax.random.key(3), cohort)
    at_a = drawn.index.source == "a"
    np.testing.assert_array_equal(drawn.traits["marker"], at_a)
    covid = drawn.index.label("covid")
    assert covid[at_a].mean() > 0.7 > 0.3 > covid[~at_a].mean()
    assert abs(at_a.mean() - 0.25) < 4 * np.sqrt(0.19 / 256)


def test_traits_that_a_table_tells_are_in_it():
    shortcuts = {"view": 0.0, "spacing": 0.0, "body": 0.0}
    drawn = generate(jax.random.key(4), Cohort(patients=256, shortcuts=shortcuts))
    index = drawn.index
    np.testing.assert_array_equal(index.view == "AP", drawn.traits["view"])
    np.testing.assert_array_equal(index.flag("child"), drawn.traits["body"])
    np.testing.assert_array_equal(index.age < 18, drawn.traits["body"])
    assert len(np.unique(index.spacing)) == 2
    wide = index.spacing > index.spacing.min()
    np.testing.assert_array_equal(wide, drawn.traits["spacing"])


def test_films_of_one_patient_share_an_anatomy_and_the_real_pipeline_runs():
    drawn = generate(jax.random.key(7), Cohort(patients=128, radiographs=2))
    first, second = drawn.lungs[::2].any(1), drawn.lungs[1::2].any(1)
    own = np.abs(first.mean((1, 2)) - second.mean((1, 2))).mean()
    others = np.abs(first.mean((1, 2)) - np.roll(second, 1, 0).mean((1, 2))).mean()
    assert own < others
    parts = assign(drawn.index)
    check_pair(
        drawn.index.select(parts == "train"), drawn.index.select(parts == "test")
    )


def test_the_last_chunk_is_no_other_shape():
    some = generate(jax.random.key(8), Cohort(patients=300))
    assert some.images.shape[0] == 300
    assert (some.images.max((1, 2)) > 0.3).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Cohort(patients=0), "patients, radiographs: expected >= 1"),
        (lambda: Cohort(size=8), "size: expected 32 to 1024"),
        (lambda: Cohort(hospitals=()), "hospitals: expected different names"),
        (
            lambda: Cohort(hospitals=(Hospital("a"),) * 2),
            "hospitals: expected different",
        ),
        (lambda: Cohort(target="flu"), "target: expected 'covid' or 'pneumonia'"),
        (lambda: Cohort(shortcuts={"noise": 0.1}), "trait: expected one of marker"),
        (lambda: Cohort(shortcuts={"view": 1.1}), r"shortcuts\['view'\]: expected"),
        (lambda: Cohort(noise=-1.0), "contrast, noise: expected >= 0"),
        (lambda: Hospital("a/b"), "name: expected text without '/'"),
        (lambda: Hospital("a", covid=1.5), r"covid: expected a fraction in \[0, 1\]"),
        (lambda: Hospital("a", share=0.0), "share: expected a number > 0"),
        (lambda: Hospital("a", traits={"view": 2.0}), "expected a fraction"),
    ],
)
def test_bad_configs(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_a_part_at_a_time_is_the_whole():
    cohort, key = Cohort(patients=23, radiographs=2, size=32), jax.random.key(3)
    whole, drawn = generate(key, cohort), roster(key, cohort)
    assert drawn.index.digest() == whole.index.digest()
    np.testing.assert_array_equal(drawn.finding, whole.finding)
    rows_seen = np.zeros(46, int)
    for rows, part in stacks(drawn, cohort, size=10):
        assert len(part.image) == 10
        rows_seen[rows] += 1
        # Another stack is another program: equal to rounding.
        np.testing.assert_allclose(part.image, whole.images[rows], atol=1e-5)
        np.testing.assert_array_equal(part.lungs, whole.lungs[rows])
    assert (rows_seen >= 1).all()
