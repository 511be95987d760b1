"""Reading tables strictly."""

import math

import pytest

from covid_cxr.problems import Problems
from covid_cxr.sources.base import (
    Listing,
    Table,
    age_of,
    number,
    read_table,
    sex_of,
    view_of,
)
from tests.covid_cxr.trees import write


def read(tmp_path, data, **options):
    problems = Problems()
    table = read_table(
        write(tmp_path / "t.csv", data), problems, need=("a",), **options
    )
    cells = [(where, get("a"), get("b")) for where, get in table.rows()]
    return cells, problems


@pytest.mark.parametrize(
    "data",
    [
        "a,b\n1,2\n",
        "\ufeffa,b\r\n1,2\r\n",
        " A , b,\n 1 ,2,\n\n",
        'a,b\n"1","2"\n',
        "a,b\n1,2",
    ],
)
def test_marks_line_ends_blanks_and_quotes(tmp_path, data):
    cells, problems = read(tmp_path, data)
    assert [one[1:] for one in cells] == [("1", "2")]
    assert problems == []


def test_cells_of_several_lines_and_of_old_encodings(tmp_path):
    cells, _ = read(tmp_path, 'a,b\n"x\ny",\u2028z\n')
    assert cells == [("t.csv, line 3", "x\ny", "z")]
    cells, _ = read(tmp_path, "a,b\nmás,2\n".encode("latin-1"))
    assert cells[0][1] == "más"


def test_columns_that_are_not_there_are_blank(tmp_path):
    assert read(tmp_path, "a\n1\n")[0] == [("t.csv, line 2", "1", "")]


def test_rows_of_other_lengths_are_named(tmp_path):
    cells, problems = read(tmp_path, "a,b\n1\n1,2,3\n4,5,\n")
    assert [one[1:] for one in cells] == [("4", "5")]
    assert [p.path for p in problems] == ["t.csv, line 2", "t.csv, line 3"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "t.csv: the table is empty"),
        ("\n\n", "t.csv: the table is empty"),
        ("b,c\n1,2\n", "t.csv: no column 'a'; it has b, c"),
        ("a,b\n\x00,2\n", "t.csv"),
    ],
)
def test_what_is_no_table(tmp_path, data, words):
    with pytest.raises(ValueError, match=words):
        read(tmp_path, data)


def test_cells():
    problems = Problems()
    assert number("3.5", "w", "c", problems) == 3.5
    assert all(math.isnan(number(t, "w", "c", problems)) for t in ("", "nan", "?"))
    assert age_of("40", "w", problems) == 40
    assert problems == []
    assert math.isnan(number("x", "w", "c", problems))
    assert math.isnan(age_of("-1", "w", problems))
    assert view_of("", "w", problems) == "UNKNOWN"
    assert view_of("ll", "w", problems, LL="L") == "L"
    assert view_of("XY", "w", problems) == "UNKNOWN"
    assert problems.counts() == {"bad value": 3}
    assert [sex_of(t) for t in ("m", "Female", "F", "?")] == ["M", "F", "F", ""]


def test_junk_is_not_listed(tmp_path):
    for name in ("a.png", "._a.png", ".DS_Store", "Thumbs.db", "b.txt"):
        write(tmp_path / "d" / name, b"x")
    write(tmp_path / "d" / "__MACOSX" / "c.png", b"x")
    listing = Listing(tmp_path)
    assert listing.files("d") == ["d/a.png"] == listing.walk(".")
    assert listing.has("d/a.png") and not listing.has("d/A.png")
    assert not listing.has("../x") and listing.names("none") == set()


def test_kinds_of_problems_are_fixed():
    with pytest.raises(ValueError, match="kind: expected one of"):
        Problems().add("odd", "a", "b")


def test_a_column_that_is_there_twice_is_refused_where_it_is_read():
    table = Table("a.csv", ["id", "Label", "label "], [(2, ["1", "no", "yes"])])
    (_, get), *_ = table.rows()
    assert get("id") == "1"
    for read in (lambda: get("label"), lambda: table.need("id", "label")):
        with pytest.raises(ValueError, match="two columns are called 'label'"):
            read()
