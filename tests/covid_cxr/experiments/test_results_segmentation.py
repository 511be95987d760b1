"""The section is made of what was recorded, and of nothing else."""

from covid_cxr.experiments import _results_segmentation, results
from synaptax.runs import write_json

ESTIMATE = {"value": 0.91, "low": 0.89, "high": 0.93, "note": ""}
COVID = {
    "command": "python -m somewhere",
    "config": {"net": {"depth": 3, "width": 8}, "epochs": 20},
    "side": 64,
    "folds": 3,
    "films": 192,
    "patients": 108,
    "core_s": 180.0,
    "mean": dict.fromkeys(("dice", "iou", "hd95"), ESTIMATE),
    "worst": [0.5, 0.6],
    "median": 0.93,
    "by_view": {"PA": [100, 0.92]},
    "accepted": 180,
    "dice_accepted": 0.92,
    "dice_abstained": None,
    "across": {"real on phantom": ESTIMATE},
}


def test_sections_hold_the_recorded_figures():
    text = "\n".join(results.contribution().pages[0].lines)
    assert "## Lung segmentation" in text
    assert "| as trained | 0.9" in text
    assert "nan" not in text


def test_a_record_on_real_films(tmp_path, monkeypatch):
    monkeypatch.setattr(_results_segmentation, "RECORDED", tmp_path)
    assert _results_segmentation.sections() == []
    write_json(tmp_path / "segmentation_covid.json", COVID)
    text = "\n".join(_results_segmentation.sections())
    assert "| 192 real radiographs | 0.910 (0.890 to 0.930) |" in text
    assert "uses 180 of 192 masks: mean Dice 0.920 on those." in text
