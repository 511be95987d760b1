"""The TFDS builder writes and reads examples without TensorFlow."""

import sys

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")

from covid_cxr import sources
from covid_cxr.images import square
from covid_cxr.tfds_builder import builder_class, examples, prepare
from tests.covid_cxr import trees


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a manual_dir with a CORDA of 30 films of 15 patients."""
    root = tmp_path_factory.mktemp("manual")
    rows = []
    for i in range(30):
        path = f"m/F{i}"
        rows.append(f"{i // 2},1,1,CR,M,61,1,{i // 2 % 2},{path},M")
        trees.write(root / "corda" / path, trees.dicom(trees.picture(i)))
    trees.write(root / "corda" / "corda.csv", trees.lines(trees.CORDA, *rows))
    return root


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_examples_are_written_and_read_without_tensorflow(folder, tmp_path):
    builder = prepare("corda_64", folder, tmp_path)
    read = {name: builder.as_data_source(name) for name in builder.info.splits}
    assert set(read) == {"train", "validation", "test"}
    assert sum(map(len, read.values())) == 30
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
