"""The segment command: train on synthetic films, judge, apply to a folder."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from covid_cxr.__main__ import main
from covid_cxr.commands import segment
from covid_cxr.images.resizing import square_mask
from covid_cxr.index import Row, build
from synaptax.runs import read_json
from tests.covid_cxr import trees

pytestmark = pytest.mark.runs


def drawing(count, seed=0, size=32):
    """Return films of two dark boxes on grey, and where the boxes are."""
    rng = np.random.default_rng(seed)
    lungs = np.zeros((count, 2, size, size), bool)
    for row in lungs:
        top, bottom, left, right = rng.integers(-1, 2, 4)
        row[0, 6 + top : 25 + bottom, 4 + left : 13] = True
        row[1, 6 + top : 25 + bottom, 19 : 28 + right] = True
    image = 0.7 - 0.5 * lungs.any(axis=1) + 0.03 * rng.normal(size=(count, size, size))
    rows = [Row(path=f"{k}.png", patient=f"p{k}", source="toy") for k in range(count)]
    image = np.clip(image, 0, 1).astype(np.float32)
    return SimpleNamespace(images=image, lungs=lungs, index=build(rows))


@pytest.fixture(scope="module", autouse=True)
def toy():
    """Draw boxes where the command would draw phantoms, which take long to compile."""
    patch = pytest.MonkeyPatch()
    patch.setattr(segment, "generate", lambda key, cohort: drawing(30))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def net(tmp_path_factory, toy):
    folder = tmp_path_factory.mktemp("net")
    options = "--side 32 --depth 1 --width 4 --epochs 8 --batch 2 --rate 0.02"
    assert main(["segment", "train", "phantom", str(folder), *options.split()]) == 0
    return folder


def test_training_writes_a_report(net):
    report = read_json(net / "report.json")
    assert report["radiographs"] == report["patients"] == 6
    assert report["mean"]["dice"]["value"] > 0.8
    assert "per_radiograph" not in report


def test_applying_writes_masks_where_they_were(net, tmp_path, capsys):
    drawn = drawing(1, seed=7)
    film = np.round(255 * drawn.images[0]).astype(np.uint8)
    wide = np.pad(film, ((0, 0), (20, 20)))
    (tmp_path / "in" / "deep").mkdir(parents=True)
    Image.fromarray(wide).save(tmp_path / "in" / "deep" / "wide.png")
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / "in" / "black.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    (tmp_path / "in" / "notes.txt").write_text("no film")
    given = [str(net), str(tmp_path / "in"), str(tmp_path / "out")]
    assert (
        main(["segment", "apply", *given, "--radiographs", "lungs", "--blur", "0"]) == 0
    )
    assert "of 3 masks may be used" in capsys.readouterr().out
    with open(tmp_path / "out" / "quality.csv") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"black.png", "broken.png", "deep/wide.png"}
    assert rows["broken.png"]["used"] == "no" and rows["broken.png"]["why_not"]
    row = rows["deep/wide.png"]
    assert row["used"] == "yes", row
    mask = np.asarray(Image.open(tmp_path / "out" / "masks" / "deep" / "wide.png")) > 0
    assert mask.shape == wide.shape
    truth = np.pad(drawn.lungs[0].any(axis=0), ((0, 0), (20, 20)))
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.8
    only = np.asarray(Image.open(tmp_path / "out" / "lungs" / "deep" / "wide.png"))
    np.testing.assert_array_equal(only, np.where(mask, wide, 0))


def test_every_radiograph_has_its_own_mask_and_row(net, tmp_path):
    film = np.round(255 * drawing(1, seed=7).images[0]).astype(np.uint8)
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "a.gif", "=1+1.png"):
        Image.fromarray(film).save(folder / name)
    trees.write(folder / "IM000001", trees.dicom(film))
    (folder / "gone.png").symlink_to("gone.png")
    trees.write(folder / "notes", "DICM")
    out = folder / "out"  # inside: a second run must not take masks for radiographs
    for _ in range(2):
        assert main(["segment", "apply", str(net), str(folder), str(out)]) == 0
        with open(out / "quality.csv") as file:
            rows = {row["image"]: row["used"] for row in csv.DictReader(file)}
        named = {"a.png", "a.gif", "'=1+1.png", "IM000001"}
        assert {name for name, used in rows.items() if used == "yes"} == named
        assert rows.keys() - named == {"gone.png"}
        masks = {path.name for path in (out / "masks").iterdir()}
        assert masks == {"a.png.png", "a.gif.png", "=1+1.png.png", "IM000001.png"}


@pytest.mark.parametrize(
    ("names", "targets"),
    [
        (["a.png", "b/a.jpg"], ["a.png", "b/a.png"]),
        (["a.png", "A.jpg"], ["a.png.png", "A.jpg.png"]),
        (["a.jpg", "a.png", "a.jpg.png"], ["a.jpg.png", "a.png.png", "a.jpg.png.png"]),
    ],
)
def test_no_two_outputs_share_a_name(names, targets):
    assert segment.targets_of(names) == targets


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\t=1", "\x1b[2J"])
def test_no_cell_runs(text):
    assert segment.cell(text)[0] in "'\\"


def test_judging_prints_a_table(net, capsys, tmp_path):
    given = [str(net), "phantom", "--json", str(tmp_path / "r.json")]
    assert main(["segment", "evaluate", *given]) == 0
    out = capsys.readouterr().out
    assert "30 radiographs of 30 patients" in out and "| dice |" in out
    assert read_json(tmp_path / "r.json")["unit"] == "px"


def test_a_folder_of_a_public_set_is_read(tmp_path):
    films, index = segment.radiographs_of(str(trees.montgomery(tmp_path)), 16, 2)
    assert films.image.shape == (len(index), 16, 16)
    assert films.mask.shape == (len(index), 2, 16, 16)
    assert films.mask.any()
    with pytest.raises(ValueError, match="no radiograph has a mask of lungs"):
        segment.radiographs_of(str(trees.nih(tmp_path / "nih")), 16, 1)


def test_a_mask_is_placed_where_its_square_was():
    mask = np.zeros((40, 61), bool)
    mask[4:20, 20:36] = True
    small = np.asarray(square_mask(mask, 20))
    np.testing.assert_array_equal(segment.placed(small, mask.shape), mask)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["evaluate", "{tmp}/absent", "phantom"], "segmenter.json"),
        (["apply", "{net}", "{tmp}/absent", "{tmp}/out"], "no such folder"),
        (["apply", "{net}", "{tmp}", "{tmp}/out"], "holds no image"),
        (
            ["apply", "{net}", "{tmp}", "{tmp}/out", "--radiographs", "x"],
            "radiographs: expected",
        ),
        (["train", "{tmp}/absent", "{tmp}/out"], "no such folder"),
    ],
)
def test_bad_options(net, tmp_path, capsys, given, message):
    words = [word.format(net=net, tmp=tmp_path) for word in given]
    assert main(["segment", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.strip().splitlines()) == 1
