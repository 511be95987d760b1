"""The section is made of what was recorded, and of nothing else."""

from covid_cxr.experiments import _results_segmentation, results


def test_sections_hold_the_recorded_figures():
    text = "\n".join(results.sections())
    assert "## Lung segmentation" in text
    assert "| as trained | 0.9" in text
    assert "real films" in text
    assert "nan" not in text


def test_no_record_no_section(tmp_path, monkeypatch):
    monkeypatch.setattr(_results_segmentation, "RECORDED", tmp_path)
    assert _results_segmentation.sections() == []
