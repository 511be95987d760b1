"""A set of one's own: any table, any folder, and nothing understood by chance."""

import math
import os

import numpy as np
import pytest

from covid_cxr import sources
from covid_cxr.problems import Problems
from covid_cxr.sources import own
from covid_cxr.sources.base import patient_id
from covid_cxr.study import parse
from covid_cxr.study.data import built_of
from tests.covid_cxr import trees
from tests.covid_cxr.study.test_config import changed

HEAD = ("file", "who", "dx", "view", "age", "sex", "hospital", "lungs", "date")
ROWS = [
    ("a.png", "97.0", "Covid", "PA", "57", "M", "North", "m/a.png", "2020-03-01"),
    ("b.jpg", " 097 ", "Normal", "ap supine", "045Y", "female", "North", "", "2021"),
    ("c", "98", "NORMAL", "", "", "", "South", "", ""),
    ("d.png", "99", "covdi", "PA", "1", "F", "", "", "31.12.2020"),
    ("e.png", "99", "?", "L", "1", "F", "", "", ""),
]
COLUMNS = own.Columns(
    image="file", patient="who", label="dx", source="hospital", mask="lungs"
)
LABELS = {"covid": own.Label(positive=("covid", "COVID-19"), negative=("normal",))}


def folder(root):
    for seed, name in enumerate(("a.png", "d.png", "e.png")):
        trees.write(root / name, trees.png(seed))
    trees.write(root / "b.jpg", trees.jpeg(3))
    trees.write(root / "c.dcm", trees.dicom(trees.picture(4)))
    trees.write(root / "m" / "a.png", trees.encode(trees.box_mask()))
    return root


def table(root, kind, rows=ROWS, head=HEAD):
    path = root / f"table.{kind}"
    if kind == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        import pyarrow

        columns = [pyarrow.array(column) for column in zip(*rows, strict=True)]
        parquet.write_table(pyarrow.table(columns, names=list(head)), path)
        return path
    mark = {"csv": ",", "tsv": "\t", "semicolons.csv": ";"}[kind]
    text = [mark.join(row) for row in (head, *rows)]
    return trees.write(path, trees.lines(*text))


def built(root, path, **changes):
    given = {"columns": COLUMNS, "labels": LABELS, "name": "mine", **changes}
    return own.build(root, table=path, **given)


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_a_column_that_is_there_twice_is_refused(tmp_path, kind):
    head = [*HEAD[:-1], "dx"]
    with pytest.raises(ValueError, match=f"table.{kind}: two columns are called 'dx'"):
        built(folder(tmp_path), table(tmp_path, kind, head=head))


@pytest.mark.parametrize("kind", ["csv", "semicolons.csv", "tsv", "parquet"])
def test_every_kind_of_table_says_the_same(tmp_path, kind):
    index, problems = built(folder(tmp_path), table(tmp_path, kind))
    assert index.path.tolist() == ["a.png", "b.jpg", "c.dcm", "d.png"]
    assert index.patient.tolist() == ["mine/97", "mine/97", "mine/98", "mine/99"]
    assert index.labels["covid"].tolist() == [1, 0, 0, -1]
    assert index.source.tolist() == ["mine/North", "mine/North", "mine/South", "mine"]
    # The DICOM's header says what the table does not.
    assert index.view.tolist() == ["PA", "AP_SUPINE", "PA", "PA"]
    assert index.sex.tolist() == ["M", "F", "F", "F"]
    np.testing.assert_allclose(index.age, [57, 45, 43, 1])
    np.testing.assert_allclose(index.date[:2], [2020 + 60 / 366, 2021], atol=1e-3)
    assert math.isnan(index.date[2]) and index.flag("child").sum() == 1
    assert (index.height[:2].tolist(), index.width[0]) == ([48, 48], 40)
    assert problems.counts() == {"bad value": 1, "not a radiograph": 1}
    assert any("'covdi'" in problem.detail for problem in problems)
    loaded = sources.load(index, 32, masks=("lungs",))
    assert loaded.masked["lungs"].tolist() == [True, False, False, False]
    assert np.isfinite(loaded.files[:, :3]).all()


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("97", "97"),
        ("97.0", "97"),
        (" 097 ", "97"),
        ("000", "0"),
        ("97.5", "97.5"),
        ("p  01", "p 01"),
        ("A7", "A7"),
        ("", ""),
    ],
)
def test_spellings_of_a_number_are_one_id(text, same):
    assert patient_id(text) == same


def test_what_a_table_lacks_is_said_or_refused(tmp_path):
    root, head = folder(tmp_path), ("image", "patient", "label")
    rows = [("a.png", "1", "1"), ("b.jpg", "2", "0"), ("gone.png", "3", "1.0")]
    path = table(root, "csv", rows, head)
    plain = {"columns": own.Columns(), "labels": {"covid": own.Label()}}
    index, problems = built(root, path, **plain)
    assert index.labels["covid"].tolist() == [1, 0]
    missing = [p.detail for p in problems if p.kind == "no column"]
    assert missing == [
        "age, date, mask, sex, source, view: known by a DICOM header at most"
    ]
    assert problems.counts()["missing"] == 1
    for columns, message in (
        (own.Columns(view="position"), "no column 'position'; it has image, patient"),
        (own.Columns(patient="id"), "no column 'id'"),
        (own.Columns(label="dx"), "no column 'dx'"),
    ):
        with pytest.raises(ValueError, match=message):
            built(root, path, **{**plain, "columns": columns})
    alone = built(root, path, **{**plain, "columns": own.Columns(patient="")})
    assert alone.index.patient.tolist() == ["mine/a.png", "mine/b.jpg"]
    assert alone.problems.counts()["grouping"] == 1
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv: no such table"):
        built(root, root / "nothing.csv")


def test_paths_of_windows_and_of_this_machine_and_out_of_the_folder(tmp_path):
    root, head = folder(tmp_path / "set"), ("image", "patient", "label")
    rows = [("m\\a.png", "1", "1"), (f"{root}/a.png", "2", "0"), ("../x.png", "3", "1")]
    path = table(root, "csv", rows, head)
    plain = {"columns": own.Columns(), "labels": {"covid": own.Label()}}
    index, problems = built(root, path, **plain)
    assert index.path.tolist() == ["m/a.png", "a.png"]
    assert problems.counts()["escapes"] == 1


def test_folders_are_classes_and_dicom_needs_no_ending(tmp_path):
    for k, name in enumerate(("ill/7_1", "ill/7_2.png", "well/8_1")):
        data = trees.png(k) if name.endswith("png") else trees.dicom(trees.picture(k))
        trees.write(tmp_path / name, data)
    trees.write(tmp_path / "well" / "notes", "no image")
    trees.write(tmp_path / "loose.png", trees.png(9))
    labels = {"covid": own.Label(positive=("Ill",), negative=("well",))}
    given = {"name": "mine", "labels": labels}
    index, problems = own.build(tmp_path, **given, patients=r"(\d+)_\d")
    assert index.patient.tolist() == ["mine/7", "mine/7", "mine/8"]
    assert index.labels["covid"].tolist() == [1, 1, 0]
    assert problems.counts() == {"unlisted": 2}
    index, problems = own.build(tmp_path, **given)
    assert index.flag("ungrouped").all() and problems.counts()["grouping"] == 1
    with pytest.raises(ValueError, match="patients: '\\(' is no pattern"):
        own.build(tmp_path, **given, patients="(")


def test_a_dicom_file_without_an_ending_that_no_table_names_is_said(tmp_path):
    root = folder(tmp_path)
    trees.write(root / "IM0007", trees.dicom(trees.picture(7)))
    trees.write(root / "README", "no image")
    _, problems = built(root, table(root, "csv"))
    unlisted = [one.path for one in problems if one.kind == "unlisted"]
    assert unlisted == ["IM0007"]  # not a mask, nor a lateral view: they are named


PLAIN = {"columns": own.Columns(), "labels": {"covid": own.Label()}}


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("2020-03-01", 2020 + 60 / 366),
        ("2020-3-1 10:15", 2020 + 60 / 366),
        ("2020/03/01", 2020 + 60 / 366),
        ("20200301", 2020 + 60 / 366),
        ("1.3.2020", 2020 + 60 / 366),
        ("2020-03-01T10:11:12Z", 2020 + 60 / 366),
        ("2020", 2020),
        ("2020.0", 2020),
        *(
            (text, math.nan)
            for text in (
                *("03/04/2020", "2020-03-011", "31.12.20209", "2020111", "438911"),
                *("0020-01-01", "2020-02-31", "43891", "March 2020", "2020-03/01"),
            )
        ),
    ],
)
def test_a_date_is_what_it_says_or_a_problem(text, year):
    problems = Problems()
    found = own._date(text, "t.csv, line 2", problems)
    assert found == pytest.approx(year, nan_ok=True)
    assert len(problems) == math.isnan(year)


def test_images_of_nobody_are_not_all_one_patients(tmp_path):
    lost = ("nan", "None", "NA", "?", "", "<NA>")
    rows = [(f"{k}.png", one, "1") for k, one in enumerate(lost)]
    rows += [("a.png", "7", "1"), ("b.jpg", "Nantes", "0")]
    path = table(folder(tmp_path), "csv", rows, ("image", "patient", "label"))
    index, problems = built(tmp_path, path, **PLAIN)
    assert index.patient.tolist() == ["mine/7", "mine/Nantes"]
    assert sum("patient: expected an id" in one.detail for one in problems) == 6


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("coding", ["utf-8-sig", "utf-16", "latin-1"])
def test_marks_and_codings_of_spreadsheets(tmp_path, mark, coding):
    root = folder(tmp_path)
    trees.write(root / "Größe.png", trees.png(8))
    rows = (("image", "patient", "label"), ("Größe.png", "1", "1"), ("a.png", "2", "0"))
    path = root / "t.csv"
    path.write_bytes("\r\n".join(mark.join(row) for row in rows).encode(coding))
    index, _ = built(root, path, **PLAIN)
    assert index.path.tolist() == ["Größe.png", "a.png"]
    assert index.labels["covid"].tolist() == [1, 0]


def test_links_and_pipes_in_class_folders_are_said(tmp_path):
    root, away = tmp_path / "set", tmp_path / "away"
    trees.write(root / "ill" / "a.png", trees.png(1))
    trees.write(away / "b.png", trees.png(2))
    (root / "well").symlink_to(away)
    (root / "ill" / "c.png").symlink_to(away / "b.png")
    os.mkfifo(root / "ill" / "pipe")
    os.mkfifo(root / "ill" / "pipe.png")
    labels = {"covid": own.Label(positive=("ill",), negative=("well",))}
    index, problems = own.build(root, name="mine", labels=labels, patients=".")
    said = {one.path: (one.kind, one.detail) for one in problems}
    assert said["well"] == ("unlisted", "a link to a folder, not followed")
    assert said["ill/c.png"][0] == "escapes" and said["ill/pipe"][0] == "unlisted"
    assert index.path.tolist() == ["ill/a.png", "ill/pipe.png"]  # the reader says why
    with pytest.raises(OSError, match="pipe"):
        sources.read(index, 1)


def test_a_spelling_is_of_one_value():
    with pytest.raises(ValueError, match="'no' is spelt for two values"):
        own.Label(positive=("No",))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": "x", "labels": {"covid": {}}}, "sets.home.labels: a public layout"),
        ({"table": "x.csv", "source": "nih"}, "sets.home.source: expected none"),
        ({"table": "x.csv", "columns": {"who": "x"}}, "columns: unknown field 'who'"),
        ({"table": "x.csv", "labels": {"other": {}}}, "sets.home.labels: expected"),
    ],
)
def test_an_own_set_of_no_sense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        parse(changed("sets.home", fields))


def test_a_study_takes_it_by_name(tmp_path):
    table(folder(tmp_path), "csv")
    columns = {"image": "file", "patient": "who", "label": "dx"}
    labels = {"covid": {"positive": ["covid"], "negative": ["normal"]}}
    one = {"table": str(tmp_path / "table.csv"), "columns": columns, "labels": labels}
    config = parse(changed("sets.home", one))
    assert len(built_of(config, "home").index) == 4
    public = {**changed("sets.nih", one)}
    with pytest.raises(ValueError, match="'nih' is a public set's name"):
        parse(public)
