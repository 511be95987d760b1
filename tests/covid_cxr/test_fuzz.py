"""Damaged and odd input: an error of the documented class, or a radiograph in [0, 1].

A few of each parser by default; 5,000 of each with ``-m slow``.
"""

import json

import numpy as np
import pytest

from covid_cxr.images import read
from covid_cxr.images.radiograph import ImageError
from covid_cxr.sources import build, own
from covid_cxr.study import read as read_study
from covid_cxr.study.example import TEXT
from tests.covid_cxr import trees
from tests.covid_cxr.study.conftest import STUDY

FEW, MANY = 20, 5000
EXTREMES = (b"\xff" * 4, b"\x00" * 4, b"\x7f\xff\xff\xff", b"1e9\x00", b"nan,", b'""\n')
OWN = trees.lines(
    "image,patient,label,view,age,sex,date,source,mask",
    "a.png,97.0,1,PA,57,M,2020-03-01,North,m/a.png",
    "b.jpg,098,0,AP,045Y,female,2021,South,",
    "c,x 1,?,L,,,,,",
)


def damaged(data, rng):
    """Return a copy with one to four kinds of damage."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, len(out) + 1))
        kind, size = rng.integers(0, 6), int(rng.integers(1, 9))
        if kind == 0:
            out = out[:at]
        elif kind == 1:
            out[at : at + size] = rng.bytes(size)
        elif kind == 2:
            out[at:at] = rng.bytes(size)
        elif kind == 3:
            del out[at : at + size]
        elif kind == 4:
            end = at + int(rng.integers(1, 200))
            out[at:at] = out[at:end]
        else:
            out[at : at + 4] = EXTREMES[rng.integers(0, len(EXTREMES))]
    return bytes(out)


def of_image(data, folder):
    path = folder / "x"
    path.write_bytes(data)
    try:
        image = read(path, max_pixels=200_000)
    except ImageError as error:
        assert str(path) in str(error) and "SECRET" not in str(error)
        return False
    assert image.pixels.dtype == np.float32 and np.isfinite(image.pixels).all()
    assert image.pixels.min() >= 0 and image.pixels.max() <= 1
    return True


def of_table(name, kind):
    """Return a parser of one table of a folder that is otherwise whole."""

    def parse(data, folder):
        root = folder / name
        if not root.exists():
            trees.TREES[name](root) if name in trees.TREES else root.mkdir()
        path = root / kind
        path.write_bytes(data)
        try:
            if name == "own":
                given = {"name": "mine", "labels": {"covid": own.Label()}}
                index = own.build(root, table=path, **given).index
            else:
                index = build(root, name).index
        except (ValueError, OSError) as error:
            assert str(error)
            return False
        for column in index.labels.values():
            assert set(column.tolist()) <= {-1, 0, 1}
        return True

    return parse


def of_study(ending):
    def parse(data, folder):
        path = folder / f"study{ending}"
        path.write_bytes(data)
        try:
            read_study(path)
        except (ValueError, OSError) as error:
            assert path.name in str(error)
            return False
        return True

    return parse


def parquet():
    import io

    import pyarrow
    from pyarrow import parquet

    head, *rows = [line.split(",") for line in OWN.splitlines()]
    columns = dict(zip(head, map(list, zip(*rows, strict=True)), strict=True))
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


PARSERS = {
    "png": (lambda: trees.png(1), of_image),
    "png, 16 bits": (
        lambda: trees.encode(trees.picture(1).astype(np.uint16) * 257),
        of_image,
    ),
    "jpeg": (lambda: trees.jpeg(1), of_image),
    "gif": (lambda: trees.gif(trees.picture(1)), of_image),
    "dicom": (lambda: trees.dicom(WindowCenter="100", WindowWidth="90"), of_image),
    "csv": (lambda: OWN.encode(), of_table("own", "own.csv")),
    "tsv": (lambda: OWN.replace(",", "\t").encode(), of_table("own", "own.tsv")),
    "parquet": (parquet, of_table("own", "own.parquet")),
    "study, JSON": (lambda: json.dumps(STUDY).encode(), of_study(".json")),
    "study, TOML": (lambda: TEXT.encode(), of_study(".toml")),
}


def run(name, count, folder):
    start, parse = PARSERS[name]
    data, rng, whole = start(), np.random.default_rng(len(name)), 0
    for _ in range(count):
        bad = damaged(data, rng)
        try:
            whole += parse(bad, folder)
        except Exception as error:
            raise AssertionError(f"{name}: {bad!r}") from error
    return whole


@pytest.mark.parametrize("name", PARSERS)
def test_damage_is_an_error_of_one_class(name, tmp_path):
    run(name, FEW, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
def test_much_damage_is_an_error_of_one_class(name, tmp_path):
    print(name, run(name, MANY, tmp_path), "of", MANY, "are still read")


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_a_damaged_public_table_is_refused_or_counted(count, tmp_path):
    root = trees.covid_chestxray(tmp_path / "covid_chestxray")
    data, rng = (root / "metadata.csv").read_bytes(), np.random.default_rng(0)
    parse = of_table("covid_chestxray", "metadata.csv")
    for _ in range(count):
        parse(damaged(data, rng), tmp_path)
