"""A report as a list of blocks, to be written as Markdown and as HTML alike."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from synaptax.reports.tables import cell, markdown

_STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; font-size: 14px }
th, td { border: 1px solid #bbb; padding: .25rem .6rem; text-align: left }
th { background: #eee }
.caution { border: 2px solid #d55e00; padding: .6rem 1rem; font-weight: bold }
img { max-width: 100% }
"""


class Heading(NamedTuple):
    """A heading; level 1 is the title."""

    level: int
    text: str


class Text(NamedTuple):
    """A paragraph; ``caution`` sets it in a box."""

    text: str
    caution: bool = False


class Bullets(NamedTuple):
    """A list."""

    items: Sequence[str]


class Table(NamedTuple):
    """A table; cells are text or numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[Any]]


class Figure(NamedTuple):
    """A figure in a file beside the report."""

    path: Path
    caption: str


Block = Heading | Text | Bullets | Table | Figure


def as_markdown(blocks: Iterable[Block], folder: Path) -> str:
    """Return blocks as Markdown; figures by their path relative to a folder.

    Text comes from configs and tables: it is escaped, and stays on its line.
    """
    lines: list[str] = []
    for block in blocks:
        if isinstance(block, Heading):
            lines.append("#" * block.level + " " + _plain(block.text))
        elif isinstance(block, Text):
            text = _plain(block.text)
            lines.append(f"> **{text}**" if block.caution else text)
        elif isinstance(block, Bullets):
            lines += [f"- {_plain(item)}" for item in block.items]
        elif isinstance(block, Table):
            rows = [[_in_table(one) for one in row] for row in block.rows]
            lines += markdown([_in_table(one) for one in block.head], rows)
        else:
            path = block.path.relative_to(folder).as_posix()
            lines.append(f"![{_plain(block.caption)}]({quote(path)})")
        lines.append("")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line: no tag, link, emphasis."""
    line = re.sub(r"&(?=#?\w+;)", "&amp;", " ".join(text.split()))
    line = line.replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", line)


def _in_table(value: Any) -> str:
    return _plain(cell(value)).replace("|", "/")  # a bar would begin another cell


def as_html(blocks: Iterable[Block], title: str) -> str:
    """Return blocks as one HTML page, figures inside it."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        kind = ' class="caution"' if block.caution else ""
        return f"<p{kind}>{html.escape(block.text)}</p>"
    if isinstance(block, Bullets):
        items = "".join(f"<li>{html.escape(item)}</li>" for item in block.items)
        return f"<ul>{items}</ul>"
    if isinstance(block, Table):
        head = _row("th", block.head)
        return f"<table>{head}{''.join(_row('td', row) for row in block.rows)}</table>"
    data = base64.b64encode(block.path.read_bytes()).decode()
    caption = html.escape(block.caption)
    return f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"></figure>'


def _row(tag: str, cells: Sequence[Any]) -> str:
    return (
        "<tr>"
        + "".join(f"<{tag}>{html.escape(cell(one))}</{tag}>" for one in cells)
        + "</tr>"
    )
