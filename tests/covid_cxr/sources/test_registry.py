"""Which source a folder is, and reading through the table."""

import numpy as np
import pytest

from covid_cxr import sources
from covid_cxr.index import concatenate
from tests.covid_cxr import trees


@pytest.mark.parametrize("name", trees.TREES)
def test_every_layout_is_told_from_the_others(name, tmp_path):
    if name == "jsrt":
        (tmp_path / "All247images").mkdir()
    else:
        trees.TREES[name](tmp_path)
    assert sources.detect(tmp_path).name == name


def test_every_source_has_a_tree():
    assert set(trees.TREES) | {"bimcv_neg"} == set(sources.SOURCES)


def test_an_unclear_folder(tmp_path):
    with pytest.raises(ValueError, match="it has that of none of them"):
        sources.build(tmp_path)
    trees.rsna(tmp_path)
    trees.corda_paper(tmp_path)
    with pytest.raises(ValueError, match=r"it has that of rsna, corda\. Name it"):
        sources.build(tmp_path)
    assert len(sources.build(tmp_path, "corda").index) == 3
    with pytest.raises(ValueError, match="source: expected 'auto' or one of nih"):
        sources.build(tmp_path, "openi")
    with pytest.raises(NotADirectoryError, match="none: no such folder"):
        sources.build(tmp_path / "none")


def test_a_table_of_several_sources_reads_each_its_own_way(tmp_path):
    built = [
        sources.build(trees.TREES[name](tmp_path / name)).index
        for name in ("covid_chestxray", "rsna", "montgomery")
    ]
    index = concatenate(built)
    loaded = sources.load(index, 32, masks=("lungs",))
    assert loaded.images.shape == (8, 32, 32)
    assert loaded.problems == []
    assert loaded.masked["lungs"].tolist() == [True] + [False] * 5 + [True] * 2
    film = sources.read(index, 3)
    np.testing.assert_allclose(film.pixels, trees.picture(20) / 255, atol=1e-6)
    # Left and right are joined, and lie where they lie in the film.
    lungs = loaded.masks["lungs"][-1]
    np.testing.assert_array_equal(lungs, lungs[:, ::-1])
    assert lungs[12, 12] and not lungs[:5].any()


def test_lungs_of_two_sizes(tmp_path):
    root = trees.montgomery(tmp_path)
    small = trees.encode(trees.box_mask((20, 20)))
    trees.write(root / "ManualMask/leftMask/MCUCXR_0001_0.png", small)
    index, _ = sources.build(root)
    with pytest.raises(ValueError, match="differ in size"):
        sources.read_mask(index, 0)
    loaded = sources.load(index, 16, masks=("lungs",))
    assert loaded.problems.counts() == {"corrupt": 1}
    assert loaded.masked["lungs"].tolist() == [False, True]


def test_what_cannot_be_read_is_left_out_and_named(tmp_path):
    root = trees.covid_chestxray(tmp_path)
    trees.write(root / "images" / "b.jpg", b"junk")
    empty = np.zeros((48, 40), np.uint8)
    trees.write(root / "annotations" / "lungs" / "a.png", trees.encode(empty))
    index, _ = sources.build(root)
    seen = []
    loaded = sources.load(
        index,
        16,
        masks=("lungs",),
        fit="pad",
        progress=lambda rows: (seen.append(row) or row for row in rows),
    )
    assert loaded.index.path.tolist() == ["images/a.png", "images/c.PNG"]
    assert loaded.images.shape == (2, 16, 16) and seen == [0, 1, 2]
    assert loaded.problems.counts() == {"empty mask": 1, "corrupt": 1}
    assert not loaded.masked["lungs"].any()
