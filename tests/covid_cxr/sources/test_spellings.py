"""Tables as people have them: quotes left open, packed, ids spelt in several ways."""

import gzip

import numpy as np
import pytest
from PIL import Image

from covid_cxr.sources import own
from covid_cxr.sources.base import patient_id
from covid_cxr.sources.own import Columns, Label
from tests import unchecked

HEAD = "image,patient,label,note\n"
ROWS = "a.png,1,yes,x\nb.png,2,no,y\n"


def built(folder, text, name="table.csv", **options):
    for image in "ab":
        pixels = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(folder / f"{image}.png")
    path = folder / name
    content = text.encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return own.build(
        folder, name="mine", labels={"covid": Label()}, table=path, **options
    )


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ('a.png,1,yes,"open\nb.png,2,no,y\n', 2),  # the last cell: no row was short
        (ROWS + '"c.png,3,no,z\n', 4),
        ('a.png,1,yes,"two\nlines"\nb.png,2,"no,y', 4),
    ],
)
def test_a_quote_that_is_left_open_swallows_no_row(tmp_path, rows, line):
    with pytest.raises(ValueError, match=f"table.csv, line {line}: a quote is opened"):
        built(tmp_path, HEAD + rows)


@pytest.mark.parametrize("rows", ['a.png,1,yes,5" tube\n', 'a.png,1,yes,"two\nlines"'])
def test_other_quotes_are_read(tmp_path, rows):
    assert built(tmp_path, HEAD + rows).index.path.tolist() == ["a.png"]


@pytest.mark.parametrize(
    ("name", "mark"),
    [("t.csv.gz", ","), ("t.csv.gz", ";"), ("t.tsv.gz", "\t"), ("t.csv", ";")],
)
def test_the_text_tells_what_parts_its_cells(tmp_path, name, mark):
    text = "\n" + (HEAD + ROWS).replace(",", mark)
    assert built(tmp_path, text, name).index.label("covid").tolist() == [1, 0]


@pytest.mark.parametrize(
    ("first", "second"),
    [("１", "1"), ("P1\u200b", "P1"), ("Mu\u0308", "M\xfc"), ("P\xa01", "P 1")],
)
def test_one_id_however_it_is_composed(first, second):
    assert patient_id(first) == patient_id(second)


@pytest.mark.parametrize(
    ("first", "second"), [("P1", "p1"), ("P01", "P1"), ("P-1", "P 1")]
)
def test_ids_that_are_nearly_one_are_named(tmp_path, first, second):
    rows = f"a.png,{first},yes,x\nb.png,{second},no,y\n"
    found = built(tmp_path, HEAD + rows)
    assert len(set(found.index.patient)) == 2
    assert [one.kind for one in found.problems].count("grouping") == 1
    assert "grouping" not in built(tmp_path, HEAD + ROWS).problems.counts()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Label(positive="covid"), "labels: expected lists of texts"),
        (lambda: Label(negative=(0,)), "labels: expected lists of texts"),
        (lambda: Columns(image=""), "image: expected the name of a column"),
        (lambda: Columns(patient="Label"), "label: 'label' is the column of patient"),
        (lambda: Columns(source="x", date="X"), "date: 'x' is the column of source"),
    ],
)
def test_spellings_and_columns_of_no_sense(make, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        make()


def test_a_label_may_be_another_field():
    assert Columns(label="sex").label == "sex"
    assert Columns(patient="", mask="").patient == ""
