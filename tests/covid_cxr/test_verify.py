"""``verify``: what is whole passes, what is wrong is named; see test_damage too."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from covid_cxr.__main__ import main
from covid_cxr.problems import ADVICE, KINDS
from covid_cxr.sources import build, load
from covid_cxr.verify import verify
from tests.covid_cxr import trees

SHARED = Path(
    os.environ.get(
        "TFDS_DATA_DIR", Path(__file__).parents[3] / "shared" / "data" / "tfds"
    )
).parent


@pytest.mark.parametrize("name", [name for name in trees.TREES if name != "jsrt"])
def test_whole_folders_hold_no_fault(name, tmp_path):
    report = verify(trees.TREES[name](tmp_path))
    faults = report.problems.faults()
    # CORDA's tree has the age 1823 of the real table.
    assert [p.detail[:4] for p in faults] == (["age:"] if name == "corda" else [])
    assert report.source == name
    assert report.looked == len(report.index) > 0


def test_every_kind_of_problem_has_one_sentence_of_advice():
    assert list(ADVICE) == list(KINDS)
    assert all(text and text[-1] != "." for text in ADVICE.values())


def test_tables_alone(tmp_path):
    root = trees.covid_chestxray(tmp_path)
    trees.write(root / "images" / "a.png", b"junk")
    report = verify(root, decode=False)
    assert report.problems == [] and report.looked == 0


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    root = trees.covid_chestxray(tmp_path / "set")
    assert main(["verify", str(root)]) == 0
    assert "nothing is wrong" in capsys.readouterr().out
    (root / "images" / "b.jpg").unlink()
    report = tmp_path / "report.json"
    assert main(["verify", str(root), "--json", str(report)]) == 1
    out = capsys.readouterr().out
    assert "missing: images/b.jpg: metadata.csv, line 3 names it" in out
    assert "2 usable images of 2 patients, 2 images decoded" in out
    written = json.loads(report.read_text())
    assert written["counts"] == {"missing": 1} and written["images"] == 2
    assert str(tmp_path) not in report.read_text()


def test_notes_are_counted_and_listed_on_request(tmp_path, capsys):
    root = trees.chexpert(tmp_path)
    assert main(["verify", str(root), "--tables-only"]) == 0
    out = capsys.readouterr().out
    assert "1 not a radiograph" in out and "view2_lateral" not in out
    assert main(["verify", str(root), "--notes", "--source", "chexpert"]) == 0
    assert "view2_lateral" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["verify", "no/such/folder"], "no/such/folder: no such folder"),
        (["verify", ".", "--source", "openi"], "expected 'auto' or one of"),
        (["check"], "unknown command 'check', expected one of verify"),
    ],
)
def test_errors_are_one_line(arguments, words, capsys):
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and words in err and err.count("\n") == 1


def test_help_lists_what_exists_and_warns(capsys):
    assert main(["--help"]) == main([]) == 0
    out = capsys.readouterr().out
    assert "verify" in out and "Not a diagnostic device" in out
    with pytest.raises(SystemExit) as caught:
        main(["verify", "--help"])
    assert caught.value.code == 0
    assert "--tables-only" in capsys.readouterr().out


def test_an_interrupt_is_130(monkeypatch, tmp_path, capsys):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("covid_cxr.commands.verify.verify.verify", interrupted)
    assert main(["verify", str(tmp_path)]) == 130


@pytest.mark.skipif(not (SHARED / "cxr").is_dir(), reason=f"no real films in {SHARED}")
def test_the_real_subset_has_its_known_counts():
    root = SHARED / "cxr" / "covid_chestxray"
    report = verify(root, decode=False)
    index = report.index
    assert len(index) == 319
    # 183 ids: 97 and 178 are one person, and 331a/b, 350a/b are joined.
    assert len(set(index.patient.tolist())) == 180
    assert (index.label("covid") == 1).sum() == 194
    assert (index.label("covid") == 0).sum() == 74
    assert (index.mask("lungs") != "").sum() == 192
    assert report.problems.counts() == {"unlabelled": 51}
    nih = verify(SHARED / "cxr" / "nih_pneumonia", decode=False).index
    assert len(nih) == 1000 and len(set(nih.patient.tolist())) == 682
    assert (nih.label("pneumonia") == 1).sum() == 500


@pytest.mark.parametrize(
    "name", ["x\x1b[2J.png", "x\u202egnp.png", "x\rall well.png", "x\udcff.png"]
)
def test_a_files_name_cannot_act_on_the_terminal(tmp_path, capsys, name):
    root = trees.covid_chestxray(tmp_path / "set")
    trees.write(root / "images" / name, trees.png(9))
    assert main(["verify", str(root), "--json", str(tmp_path / "r.json")]) == 1
    out = capsys.readouterr().out
    assert "unlisted: images/x\\" in out
    assert all(sign.isprintable() or sign == "\n" for sign in out)
    problems = json.loads((tmp_path / "r.json").read_text())["problems"]
    assert f"images/{name}" in [problem["path"] for problem in problems]


def test_a_folder_of_ones_own_is_checked_without_a_table(tmp_path, capsys):
    for seed, name in enumerate(("loose.png", "ill/IM0001", "ill/IM0002", "b/c.jpg")):
        bare = trees.dicom(trees.picture(seed))
        trees.write(tmp_path / name, bare if "IM" in name else trees.jpeg(seed))
    trees.write(tmp_path / "DICOMDIR", trees.dicom()[:300])
    trees.write(tmp_path / "ill/again.png", (tmp_path / "b/c.jpg").read_bytes())
    trees.write(tmp_path / "b/broken.png", b"broken")
    assert main(["verify", str(tmp_path), "--source", "folders"]) == 1
    out = capsys.readouterr().out
    assert "corrupt: b/broken.png" in out and "duplicate: b/c.jpg" in out
    assert "folders: 5 usable images" in out and "--notes" in out
    assert main(["verify", str(tmp_path), "--source", "folders", "--notes"]) == 1
    assert "grouping: .: every image counts as its own" in capsys.readouterr().out
    assert main(["verify", str(tmp_path)]) == 2
    assert "'folders' for images of your own" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["a.png", "b.png", "absent"])
def test_a_link_that_leads_nowhere_is_one_named_problem(tmp_path, target):
    root = trees.covid_chestxray(tmp_path)
    path = root / "images" / "a.png"
    path.unlink()
    path.symlink_to(target)
    (root / "images" / "b.png").symlink_to("a.png")
    faults = verify(root).problems.faults()
    assert ("corrupt", "images/a.png") in [(p.kind, p.path) for p in faults]


def test_what_shows_nothing_is_named_and_not_loaded(tmp_path):
    root = trees.covid_chestxray(tmp_path)
    black = np.zeros((48, 40), np.uint8)
    black[0, 0] = 1
    trees.write(root / "images" / "a.png", trees.encode(black))
    report = verify(root)
    assert [(p.kind, p.path) for p in report.problems] == [("contrast", "images/a.png")]
    loaded = load(build(root).index, 16)
    assert len(loaded.index) == len(report.index) == 2
    assert [p.kind for p in loaded.problems] == ["contrast"]
