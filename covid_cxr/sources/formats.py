"""Tables of the three kinds that people have: CSV, TSV and Parquet."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from covid_cxr.problems import Problems
from covid_cxr.sources.base import Table, read_table


def read_any(path: Path, problems: Problems) -> Table:
    """Return a table, by the ending of its name: .parquet, .tsv, or else CSV.

    CSV is parted by commas, or by the semicolons or tabs of a head without a comma. A
    ``.gz`` behind the ending is passed over.

    Args:
        path: the file.
        problems: where rows of the wrong length go.

    Raises:
        FileNotFoundError: naming the table.
        ValueError: naming the table, if it cannot be read as one.
        ImportError: naming the extra, for Parquet without pyarrow.
    """
    ending = Path(path.name.removesuffix(".gz")).suffix.lower()
    if ending in (".parquet", ".pq"):
        return _parquet(path)
    tabs = "\t" if ending in (".tsv", ".tab") else ""
    return read_table(path, problems, need=(), delimiter=tabs)


def _parquet(path: Path) -> Table:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such table")
    try:
        from pyarrow import parquet
    except ImportError as error:
        needs = "needs pyarrow: pip install 'synaptax[cxr]'"
        raise ImportError(f"reading {path.name} {needs}") from error
    try:
        # Not read_table, which fails on a name that is there twice: Table names it.
        content = parquet.ParquetFile(path).read()
        cells = [list(map(_text, column.to_pylist())) for column in content.columns]
    except Exception as error:  # pyarrow has an error of its own for each damage
        kind = type(error).__name__
        raise ValueError(f"{path.name}: not a Parquet table ({kind})") from None
    rows = enumerate(map(list, zip(*cells, strict=True)), start=1)
    return Table(path.name, content.column_names, list(rows))


def _text(value: Any) -> str:
    """Return a value of a typed column as a text table would have it."""
    if value is None or value != value:
        return ""
    day = isinstance(value, datetime.datetime)
    return str(value.date()) if day else str(value)
