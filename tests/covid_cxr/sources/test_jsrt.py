"""JSRT: raw big-endian words, dark film high, masks from two folds."""

import numpy as np
import pytest

from covid_cxr import sources
from tests.covid_cxr import trees
from tests.covid_cxr.trees import write


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return trees.jsrt(tmp_path_factory.mktemp("jsrt"))


def test_the_table(root):
    index, problems = sources.build(root)
    assert problems == []
    assert index.labels["nodule"].tolist() == [1, 0]
    assert index.flag("scr_fold1").tolist() == [True, False]
    assert index.mask("right_lung")[0] == "scratch/fold1/masks/right lung/JPCLN001.gif"
    assert set(index.masks) == {
        "left_lung",
        "right_lung",
        "heart",
        "left_clavicle",
        "right_clavicle",
    }


def test_words_are_big_endian_and_dark_is_high(root):
    index, _ = sources.build(root)
    film = sources.read(index, 0)
    words = trees.picture(110, (64, 64)).astype(float) * 16
    assert film.pixels.shape == (2048, 2048)
    np.testing.assert_allclose(film.pixels[::32, ::32], 1 - words / 4095, atol=1e-6)
    assert film.bits == 12 and film.spacing == 0.175
    assert film.flags == {"inverted"}


def test_masks_are_palette_pictures_of_half_the_size(root):
    index, _ = sources.build(root)
    mask = sources.read_mask(index, 1, "left_lung")
    np.testing.assert_array_equal(mask, trees.box_mask((1024, 1024)) == 255)


def test_values_over_twelve_bits_are_clipped_and_flagged(tmp_path):
    words = np.zeros((2048, 2048), ">u2")
    words[0, 0], words[0, 1] = 5000, 4095
    write(tmp_path / "All247images" / "JPCNN002.IMG", words.tobytes())
    film = sources.read(sources.build(tmp_path).index, 0)
    assert film.pixels[0, :3].tolist() == [0, 0, 1]
    assert "clipped" in film.flags


def test_a_mask_in_both_folds(root, tmp_path):
    import shutil

    shutil.copytree(root, tmp_path / "copy")
    masks = tmp_path / "copy" / "scratch"
    source = masks / "fold1" / "masks" / "heart" / "JPCLN001.gif"
    shutil.copy(source, masks / "fold2" / "masks" / "heart" / "JPCLN001.gif")
    index, problems = sources.build(tmp_path / "copy")
    assert index.mask("heart").tolist()[0] == ""
    assert problems.counts() == {"ambiguous": 1}
