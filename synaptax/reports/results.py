"""What was found, on one page, and a page for each paper: made from records alone.

Command: ``python -m synaptax.reports.results``, in a checkout. Each package that has
recorded something offers a module ``PACKAGE.experiments.results`` with a function
``contribution()``; this module puts the contributions together into ``RESULTS.md``
and ``docs/results/PAGE.md``. Whatever it prints comes from the JSON files under
``*/experiments/recorded``, but the papers' own figures, which carry a tag that says
how they are known, and the notes of a page, which are written by hand.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os.path
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from synaptax.reports.tables import markdown
from synaptax.runs.files import replacing

PACKAGES = ("pruning", "analysis", "binary", "covid_cxr")
PAGES = Path("docs") / "results"
LONGEST = 150  # lines of RESULTS.md

_HEAD = """# Results

Written by `python -m synaptax.reports.results` from the JSON files in
`*/experiments/recorded`. Errors are in percent. Operating points are chosen on
validation data, and the test set is evaluated once, unless a page says otherwise.
How a paper's own figure is known: READ (in its text), LOG (the authors' published
logs), ABS (its abstract), MEM (remembered, not verified: a hint,
not a target). ± is a standard error, `a to b` a 95 % interval; the number of seeds is
in parentheses.
"""


class Finding(NamedTuple):
    """A claim of a paper, and what was measured of it.

    Attributes:
        claim: what the paper says.
        paper: its own figure, with the tag of its evidence.
        ours: what was measured, with its interval and seeds.
        verdict: in a few words.
        page: the name of the page that tells more.
        values: the numbers in ``ours``, as computed from the records.
        records: the records' paths, from the root of the checkout.
    """

    claim: str
    paper: str
    ours: str
    verdict: str
    page: str
    values: tuple[float, ...]
    records: tuple[str, ...]


class Ratio(NamedTuple):
    """A performance measured side by side with something else.

    Attributes:
        what: what was done.
        ours: what it took here.
        other: what it was held against, and what that took.
        ratio: how they compare.
        machine: on what.
        record: the record's path.
    """

    what: str
    ours: str
    other: str
    ratio: str
    machine: str
    record: str


class Picture(NamedTuple):
    """A recorded figure.

    Attributes:
        path: of the PNG file, from the root of the checkout.
        caption: what it shows, on what data, from how much.
        page: the page it belongs to.
        headline: whether RESULTS.md shows it.
    """

    path: str
    caption: str
    page: str
    headline: bool = False


class Miss(NamedTuple):
    """Something that was aimed at and not reached.

    Attributes:
        what: it was, and by how much it was missed.
        why: the cause.
        measured: whether the cause was measured; otherwise it is a guess.
    """

    what: str
    why: str
    measured: bool


class Page(NamedTuple):
    """A page of ``docs/results``.

    Attributes:
        name: of the file, without its ending.
        title: the heading.
        lines: the text, as Markdown.
    """

    name: str
    title: str
    lines: tuple[str, ...]


class Contribution(NamedTuple):
    """What one package adds."""

    pages: tuple[Page, ...] = ()
    findings: tuple[Finding, ...] = ()
    ratios: tuple[Ratio, ...] = ()
    pictures: tuple[Picture, ...] = ()
    misses: tuple[Miss, ...] = ()


def contributions() -> list[Contribution]:
    """Return what the packages of this installation offer, in a fixed order."""
    offered = []
    for package in PACKAGES:
        name = f"{package}.experiments.results"
        if (
            importlib.util.find_spec(f"{package}.experiments") is not None
            and importlib.util.find_spec(name) is not None
        ):
            offered.append(importlib.import_module(name).contribution())
    return offered


def document(parts: Sequence[Contribution]) -> str:
    """Return RESULTS.md as text.

    Raises:
        ValueError: if it is longer than one sitting: :data:`LONGEST` lines.
    """
    lines = [_HEAD, "## What the papers claim, and what was found", ""]
    rows = [
        [
            finding.claim,
            finding.paper,
            finding.ours,
            f"**{finding.verdict}**",
            f"[{finding.page}]({(PAGES / finding.page).as_posix()}.md)",
        ]
        for part in parts
        for finding in part.findings
    ]
    lines += markdown(("claim", "paper", "here", "verdict", "more"), rows)
    lines += ["", "## Performance, side by side in one run", ""]
    ratios = [ratio for part in parts for ratio in part.ratios]
    lines += markdown(
        ("what", "here", "held against", "ratio", "machine"),
        [[*ratio[:-1]] for ratio in ratios],
    )
    lines += ["", "## Five figures", ""]
    for picture in _pictures(parts):
        if picture.headline:
            lines += _shown(picture, picture.path)
    lines += ["## What was missed, and why", ""]
    for heading, measured in (("Known causes:", True), ("Guesses:", False)):
        misses = [m for part in parts for m in part.misses if m.measured == measured]
        lines += [heading, "", *(f"- {m.what}: {m.why}" for m in misses), ""]
    text = "\n".join(lines).rstrip() + "\n"
    if (length := text.count("\n")) > LONGEST:
        raise ValueError(f"RESULTS.md: {length} lines, expected at most {LONGEST}")
    return text


def page_text(page: Page, pictures: Iterable[Picture]) -> str:
    """Return one page of ``docs/results``, its figures at the head of its tables."""
    lines = [f"# {page.title}", "", "[All results](../../RESULTS.md)", ""]
    figures = [_shown(p, os.path.relpath(p.path, PAGES)) for p in pictures]
    first = figures[0] if figures else []  # the others after the tables they belong to
    rest = [line for own in figures[1:] for line in own]
    if rest:
        rest = ["", "## Figures", "", *rest]
    return "\n".join([*lines, *first, *page.lines, *rest]).rstrip() + "\n"


def write(root: Path, parts: Sequence[Contribution]) -> list[Path]:
    """Write RESULTS.md and the pages below ``root``; return their paths."""
    texts = {Path("RESULTS.md"): document(parts)}
    for part in parts:
        for page in part.pages:
            own = [p for p in _pictures(parts) if p.page == page.name]
            texts[PAGES / f"{page.name}.md"] = page_text(page, own)
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(root / path) as file:
            file.write(text.encode())
    return list(texts)


def _shown(picture: Picture, path: str) -> list[str]:
    """Return a figure and its caption as Markdown; the first sentence is its title."""
    title = picture.caption.replace("**", "").split(". ")[0].rstrip(".")
    return [f"![{title}]({path})", "", picture.caption, ""]


def _pictures(parts: Sequence[Contribution]) -> list[Picture]:
    return [picture for part in parts for picture in part.pictures]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the results from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path())
    options = parser.parse_args(arguments)
    parts = contributions()
    if not parts:
        raise SystemExit("no experiments are installed: run this in a checkout")
    for path in write(options.root, parts):
        print(f"written: {path}")


if __name__ == "__main__":
    main()
