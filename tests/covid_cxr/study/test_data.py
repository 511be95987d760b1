"""Each set is read once and preprocessed once a kind, whatever is trained on it."""

import collections
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from covid_cxr.images import equalise
from covid_cxr.index import concatenate
from covid_cxr.phantom import generate
from covid_cxr.segmentation import lungs_only
from covid_cxr.study import cells, data, parse, preparation, run, training
from covid_cxr.train import StageConfig, Trained
from tests.covid_cxr.study.conftest import STUDY

ENCODERS = {name: {"architecture": "resnet10", "width": 4} for name in "ab"}
MIXES = {name: {"kind": "target", "target": "home"} for name in ("x", "y")}


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """Return a count of radiographs read, and preprocessed by kind; no network."""
    counts = collections.Counter()
    fill, preprocess = preparation.fill, preparation.preprocess_stack

    def counted_fill(create, *, parts, **options):
        def noted():
            for part in parts():
                counts["read"] += len(part.images)
                yield part

        counts["fill"] += 1
        return fill(create, parts=noted, **options)

    def counted_preprocess(kind, images, lungs):
        counts[kind] += len(images)
        return preprocess(kind, images, lungs)

    monkeypatch.delenv("SYNAPTAX_CACHE", raising=False)
    monkeypatch.setattr(data, "fill", counted_fill)
    monkeypatch.setattr(preparation, "preprocess_stack", counted_preprocess)
    trained = Trained({}, {}, np.ones(2, int), [], StageConfig())
    monkeypatch.setattr(training, "fit", lambda *a, **k: trained)
    score = lambda net, trained, image: np.tile(np.arange(len(image)) / 999, (2, 1))
    monkeypatch.setattr(training, "predict", score)
    return counts


def test_sets_are_prepared_once_for_all_encoders_and_mixes(counted, tmp_path):
    config = parse({**STUDY, "bias": False, "encoders": ENCODERS, "mixes": MIXES})
    run(config, tmp_path)
    assert len(cells(config)) == 2 * 2 * 2
    # Two sets of 120 and 64, two kinds: four preparations, of which one is none.
    assert counted == {"fill": 2, "read": 184, "masked": 184}
    # Done, the radiographs are gone from the study's folder.
    assert not (tmp_path / "prepared").exists()


def test_a_study_that_goes_on_takes_its_caches(counted, tmp_path, monkeypatch):
    config = parse({**STUDY, "bias": False, "encoders": ENCODERS})
    fit = training.fit

    def killed(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", killed)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path)
    caches = sorted((tmp_path / "prepared").glob("*.json"))
    assert len(caches) == 2 and counted["fill"] == 2
    # A damaged one, and it alone, is made anew.
    image = next((tmp_path / "prepared").glob("*-image~masked.npy"))
    content = bytearray(image.read_bytes())
    content[-1] ^= 1
    image.write_bytes(content)
    monkeypatch.setattr(training, "fit", fit)
    run(config, tmp_path)
    assert counted["fill"] == 3


def test_studies_share_a_cache_folder_and_not_other_content(
    counted, tmp_path, monkeypatch
):
    monkeypatch.setenv("SYNAPTAX_CACHE", str(tmp_path / "cache"))
    base = {**STUDY, "bias": False}
    for name, changes in (
        ("first", {}),
        ("again", {"name": "other", "epochs": 3}),
        ("smaller", {"side": 32}),
    ):
        run(parse({**base, **changes}), tmp_path / name)
    assert counted["fill"] == 4
    assert len(list((tmp_path / "cache" / "radiographs").glob("*.json"))) == 4


def test_what_is_prepared_is_what_the_images_say():
    config = parse(
        {**STUDY, "preprocessing": ["none", "masked", "lungs", "lungs-equalised"]}
    )
    held = data.library(config)
    one = config.sets["home"]
    cohort = dataclasses.replace(one.phantom, size=config.side)
    phantom = generate(jax.random.key(one.seed), cohort)
    lungs = phantom.lungs.any(axis=1)
    whole = held.whole["home"]
    assert whole.digest() == phantom.index.digest()
    plain = held.select(whole)
    np.testing.assert_array_equal(np.asarray(plain.lungs), lungs)
    np.testing.assert_allclose(plain.pixels(), phantom.images, atol=0.6 / 65535)
    # The reference goes image by image, on what the cache holds.
    for kind, of in (
        ("masked", lambda x, m: lungs_only(equalise(x), m)),
        ("lungs", lungs_only),
        ("lungs-equalised", lambda x, m: lungs_only(equalise(x, m), m)),
    ):
        got = held.select(whole, kind).pixels()
        for row in (0, 7, 119):
            expected = of(jnp.asarray(plain.pixels()[row]), jnp.asarray(lungs[row]))
            np.testing.assert_allclose(got[row], expected, atol=1e-5, err_msg=kind)


def test_rows_of_several_sets_come_in_the_tables_order(held):
    tables = [held.whole[name].select([5, 2]) for name in ("ordinary", "home")]
    some = held.select(concatenate(tables), "masked")
    assert some.row.tolist() == [5, 2, 5, 2]
    for position, name in ((1, "ordinary"), (2, "home")):
        alone = held.select(held.whole[name], "masked").pixels()
        row = some.row[position]
        np.testing.assert_array_equal(some.pixels()[position], alone[row])
    np.testing.assert_array_equal(
        held.hashes(some.index)[1], held.hashes(held.whole["ordinary"])[2]
    )


def test_integers_stand_for_the_nearest_value():
    values = np.linspace(0, 1, 4001, dtype=np.float32)
    back = preparation.unit(preparation.quantised(values))
    assert np.abs(back - values).max() <= 0.51 / preparation.TOP
    assert preparation.quantised([-1.0, 2.0]).tolist() == [0, preparation.TOP]


def test_what_an_uncertain_label_means_is_said_in_the_set(tmp_path):
    from covid_cxr.study.data import built_of
    from tests.covid_cxr import trees

    place = {"path": str(trees.mimic(tmp_path)), "source": "mimic"}
    given = {
        "name": "told",
        "label": "pneumonia",
        "encoders": {"small": {"architecture": "resnet10", "width": 4}},
        "mixes": {"m": {"kind": "target", "target": "m"}},
        "tests": ["own"],
    }
    config = parse(given | {"sets": {"m": place | {"uncertain": "ones"}}})
    assert built_of(config, "m").index.label("pneumonia").tolist() == [1, 1, 0]
    with pytest.raises(ValueError, match="uncertain: expected one of"):
        built_of(parse(given | {"sets": {"m": place}}), "m")
    place |= {"source": "nih", "uncertain": "ones"}
    with pytest.raises(ValueError, match="with uncertain: expected one of chexpert"):
        parse(given | {"sets": {"m": place}})
