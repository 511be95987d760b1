"""The TFDS builder writes and reads examples without TensorFlow."""

import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")

from covid_cxr import sources
from covid_cxr.images import square
from covid_cxr.study import cells, parse, predictions, run, training
from covid_cxr.tfds_builder import builder_class, examples, prepare
from tests.covid_cxr import trees
from tests.covid_cxr.train.tiny import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a manual_dir with a CORDA of 80 films of 40 patients."""
    root = tmp_path_factory.mktemp("manual")
    rows = []
    for i in range(80):
        path = f"m/F{i}"
        rows.append(f"{i // 2},1,1,CR,M,61,1,{i // 2 % 2},{path},M")
        trees.write(root / "corda" / path, trees.dicom(trees.picture(i)))
    trees.write(root / "corda" / "corda.csv", trees.lines(trees.CORDA, *rows))
    return root


@pytest.fixture(scope="module")
def builder(folder, tmp_path_factory):
    """Return the builder of the prepared set."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return prepare("corda_64", folder, tmp_path_factory.mktemp("prepared"))


def test_examples_are_written_and_read_without_tensorflow(folder, builder):
    read = {name: builder.as_data_source(name) for name in builder.info.splits}
    assert set(read) == {"train", "validation", "test"}
    assert sum(map(len, read.values())) == 80
    people = {
        name: {example["patient"].decode() for example in source}
        for name, source in read.items()
    }
    assert not people["train"] & people["test"]
    assert not people["train"] & people["validation"]
    index = sources.build(folder / "corda").index
    example = read["train"][0]
    row = index.uid.tolist().index(example["id"].decode())
    wanted = np.rint(square(sources.read(index, row).pixels, 64) * 255)
    np.testing.assert_array_equal(example["image"][..., 0], wanted)
    assert example["image"].dtype == np.uint8 and not example["lungs"].any()
    assert example["covid"] == index.label("covid")[row]
    assert example["age"] == 61
    assert "tensorflow" not in sys.modules


def test_configs_and_instructions():
    chosen = builder_class()
    names = [one.name for one in chosen.BUILDER_CONFIGS]
    assert set(names) == {f"{n}_{s}" for n in sources.SOURCES for s in (64, 224)}
    assert "<manual_dir>/<config name>" not in chosen.MANUAL_DOWNLOAD_INSTRUCTIONS
    with pytest.raises(ValueError, match="config: expected one of nih_64"):
        prepare("nih_65", ".", ".")


def test_masks_come_along_and_a_broken_film_stops_it(tmp_path):
    root = trees.covid_chestxray(tmp_path)
    index = sources.build(root).index
    made = dict(examples(index, 32))
    assert list(made) == index.uid.tolist()
    trees.write(root / "images" / "b.jpg", b"junk")
    with pytest.raises(OSError, match=r"b\.jpg"):
        list(examples(index, 32))


def test_a_prepared_set_is_the_table_that_it_was_made_of(folder, builder):
    made, first = (
        sources.build(builder.data_path, "tfds"),
        sources.build(folder / "corda"),
    )
    assert set(made.index.source) == {"tfds:corda"}
    assert set(made.index.patient) == set(first.index.patient)  # so overlaps are seen
    for name in ("covid", "pneumonia"):
        assert sorted(made.index.label(name)) == sorted(first.index.label(name))
    parts = [made.index.flag(f"prepared_{p}") for p in ("train", "validation", "test")]
    assert (np.sum(parts, axis=0) == 1).all()
    example = builder.as_data_source("train")[3]
    row = made.index.path.tolist().index("train/3")
    pixels = sources.read(made.index, row).pixels
    np.testing.assert_array_equal(np.rint(pixels * 255), example["image"][..., 0])
    assert not sources.has_mask(made.index, row)


def test_what_is_no_prepared_set_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no prepared set"):
        sources.build(tmp_path, "tfds")


@pytest.mark.runs
def test_a_prepared_set_feeds_a_study(builder, tmp_path, monkeypatch):
    # The smallest network: what is tested is the way from records to scores.
    monkeypatch.setattr(training, "network", lambda config: tiny())
    given = {
        "name": "prepared",
        "sets": {"home": {"path": str(builder.data_path), "source": "tfds"}},
        "encoders": {"small": {"architecture": "resnet10", "width": 4}},
        "mixes": {"home": {"kind": "target", "target": "home"}},
        "tests": ["own"],
        **{"side": 48, "seeds": [0], "epochs": 1, "batch": 8, "replicates": 50},
        **{"bias": False, "keep": False},
    }
    config = parse(given)
    run(config, tmp_path)
    own = predictions(tmp_path, cells(config)[0].key)["own"]
    assert set(own["label"]) == {0, 1} and np.isfinite(own["score"]).all()
    patients = {p.split("/")[-1] for p in map(str, own["patient"])}
    assert len(own["label"]) == 2 * len(patients)
