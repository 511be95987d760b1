"""The report says what it must, and names no patient."""

import csv
import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from covid_cxr import CAUTION
from covid_cxr.study import report, summaries
from covid_cxr.study.blocks import Bullets, Heading, Table, Text, as_html, as_markdown
from covid_cxr.study.summaries import GRID, collect, roc_band

pytestmark = pytest.mark.runs


@pytest.fixture(scope="module")
def written(study):
    config, folder, _ = study
    return [path.read_text() for path in report.write(config, folder)]


def test_both_reports_carry_the_caution_and_every_part(written, study):
    _, folder, _ = study
    for text in written:
        assert text.count(CAUTION) == 1
        for part in (
            "What may be believed",
            "Bias probes",
            "Reporting checklist",
            "Youden",
            "linear, border only",
            "ALARM",
            "integrated gradients",
            "Radiographs without the disease",
            "equalised whole before their lungs were cut out",
            "Cells that differ in one thing",
            "calibration slope",
            "temperature",
            "threshold",
            "Subgroups",
        ):
            assert part in text, part
    names = {path.name for path in (folder / "figures").iterdir()}
    assert {"contact.png", "matrix.png", "roc-own.png", "reliability-own.png"} <= names
    assert sum(name.startswith("saliency-") for name in names) == 2
    assert written[1].count("data:image/png;base64,") == len(names)
    assert "roc-ordinary.png" not in names  # one class


def test_no_file_names_a_patient_or_a_film(written, study, held):
    _, folder, _ = study
    names = set()
    for index in held.whole.values():
        names |= set(index.patient) | set(index.path)
        names |= {name.split("/")[-1] for name in names}
    assert len(names) > 300
    for path in folder.rglob("*"):
        if path.suffix in (".md", ".html", ".csv", ".json", ".jsonl", ".npz"):
            content = path.read_bytes().decode("latin-1")
            assert not [name for name in names if name in content], path.name


def test_the_table_of_results(written, study):
    _, folder, _ = study
    rows = list(csv.DictReader(io.StringIO((folder / "results.csv").read_text())))
    areas = [row for row in rows if row["metric"] == "auc" and row["test"] == "own"]
    assert len(areas) == 2
    for row in areas:
        assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
    names = {row["metric"] for row in rows}
    assert {"sensitivity", "dor", "brier", "calibration_slope"} <= names


def test_a_band_holds_its_curve(study):
    config, folder, _ = study
    row = next(r for r in collect(config, folder).rows if r.test == "own")
    band = roc_band(row, 50)
    assert (band["low"] <= band["y"]).all() and (band["y"] <= band["high"]).all()
    assert (np.diff(band["y"]) >= 0).all()
    area = np.trapezoid(band["y"], band["x"])
    assert abs(area - row.report.metrics["auc"].value) < 0.03


def test_a_band_holds_the_middle_95_percent_of_its_resamples(study, monkeypatch):
    row = next(iter(collect(*study[:2]).rows))
    draws = np.random.default_rng(0).permutation(np.linspace(-1, 2, 1001))
    resampled = SimpleNamespace(draws={f"{i:02d}": draws for i in range(GRID)})
    monkeypatch.setattr(summaries, "bootstrap", lambda *given, **more: resampled)
    band = roc_band(row, 1001)
    np.testing.assert_allclose(band["low"], -1 + 3 * 0.025, rtol=1e-9)
    np.testing.assert_allclose(band["high"], -1 + 3 * 0.975, rtol=1e-9)


def test_nothing_finished_is_an_error(study, tmp_path):
    with pytest.raises(ValueError, match="no finished cell"):
        report.write(study[0], tmp_path)


def test_blocks_are_escaped():
    blocks = [
        Heading(1, "a <b>"),
        Text("x & y", caution=True),
        Bullets(["one"]),
        Table(("p|q",), [["r|s"], [0.5]]),
    ]
    page = as_html(blocks, "<t>")
    assert "a &lt;b&gt;" in page and "x &amp; y" in page and "<t>" not in page
    text = as_markdown(blocks, Path())
    assert (
        "a &lt;b&gt;" in text
        and "> **x & y**" in text
        and "| r/s |" in text
        and "| 0.5 |" in text
    )


def test_text_of_a_config_stays_text_in_markdown():
    evil = "<script>x</script> [a](b) *c* _d_ e_f `g` h|i\nj &lt;"
    content = [Heading(1, evil), Text(evil), Bullets([evil]), Table([evil], [[evil]])]
    text = as_markdown(content, Path())
    assert "<script" not in text and "e_f" in text and "&amp;lt;" in text
    for mark in ("[a]", " *c", " _d", " `g"):
        assert mark not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 3 and {row.count("|") for row in rows} == {2}
