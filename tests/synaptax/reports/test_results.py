"""RESULTS.md and its pages say what the records say, and link to what is there."""

import re
from pathlib import Path

import pytest

from synaptax.reports import results

ROOT = Path(__file__).parents[3]
# The list of the pages, for the site, is written by hand.
PAGES = sorted(
    path for path in (ROOT / results.PAGES).glob("*.md") if path.name != "index.md"
)


@pytest.fixture(scope="module")
def parts():
    return results.contributions()


def test_what_is_committed_is_what_the_records_say(parts, tmp_path):
    """A figure edited by hand or left stale fails here; two writings are the same."""
    for path in results.write(tmp_path, parts):
        assert (ROOT / path).read_bytes() == (tmp_path / path).read_bytes(), path
    assert {path.name for path in PAGES} == {
        f"{page.name}.md" for part in parts for page in part.pages
    }


def test_results_are_one_sitting():
    lines = (ROOT / "RESULTS.md").read_text().splitlines()
    assert len(lines) <= results.LONGEST == 150


@pytest.mark.parametrize("path", [ROOT / "RESULTS.md", *PAGES], ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert "://" in target or (path.parent / target).exists(), target


def test_every_number_found_is_one_of_the_records(parts):
    """Each number in a row of findings is a computed value, as it is printed."""
    findings = [finding for part in parts for finding in part.findings]
    assert len(findings) > 20
    for finding in findings:
        for record in finding.records:
            assert (ROOT / record).is_file(), record
        text = re.sub(
            r"\d+ (seeds|epochs|%?folds|comparisons|instances)", "", finding.ours
        )
        text = re.sub(r"N = \d+|load [\d.]+|of 200|at \d+ to \d+x|COVID-19", "", text)
        for token in re.findall(r"(?<![\w.])[-+]?\d+(?:\.\d+)?", text):
            digits = len(token.partition(".")[2])
            printed = {f"{value:.{digits}f}" for value in finding.values}
            assert token.lstrip("+") in printed, (finding.claim, token, finding.values)


def test_every_recorded_picture_is_shown_and_small(parts):
    shown = {ROOT / picture.path for part in parts for picture in part.pictures}
    recorded = set(ROOT.glob("*/experiments/recorded/*.png"))
    assert shown == recorded
    assert all(path.stat().st_size <= 300_000 for path in recorded)
    headline = [p for part in parts for p in part.pictures if p.headline]
    assert len(headline) == 5


def test_too_long_a_document_is_refused():
    miss = results.Miss("this", "that", False)
    with pytest.raises(ValueError, match=r"RESULTS\.md: \d+ lines, expected at most"):
        results.document([results.Contribution(misses=(miss,) * 150)])
