"""Cells are run once each, whatever happens in between."""

import numpy as np
import pytest

from covid_cxr.study import cells, parse, predictions, run
from covid_cxr.study.matrix import path_of
from synaptax.runs import read_json
from tests.covid_cxr.study.conftest import STUDY

pytestmark = pytest.mark.runs


def test_a_killed_study_goes_on_with_the_unfinished_cell(study):
    _, _, log = study
    assert log["unfinished"] is False
    # One training of the first cell, one of the second that was killed, one again.
    assert log["fits"] == 3
    assert log["same"]


def test_a_cell_holds_scores_and_rows_but_no_names(study):
    config, folder, _ = study
    cell = cells(config)[0]
    found = predictions(folder, cell.key)
    assert {"validation", "own", "ordinary"} <= set(found)
    own = found["own"]
    count = len(own["label"])
    assert own["score"].shape == (2, count)
    assert own["patient"].dtype.kind == "i" and own["row"].dtype.kind == "i"
    assert set(own["label"]) == {0, 1}
    record = read_json(path_of(folder, cell.key))
    assert record["tests"]["own"]["images"] == count
    assert record["threshold"]["rule"] == "youden"
    assert len(record["epoch"]) == 2


def test_the_probes_are_in_the_records(study):
    config, folder, _ = study
    data = read_json(path_of(folder, "data~border~none"))
    fired = {one["name"] for one in data["probes"] if one["fires"]}
    assert "linear, border only" in fired
    masked = read_json(path_of(folder, "data~border~masked"))
    assert "linear, border only" not in {
        one["name"] for one in masked["probes"] if one["fires"]
    }
    record = read_json(path_of(folder, cells(config)[0].key))
    assert record["probed_on"] == "own"
    assert {one["method"] for one in record["saliency"]} == {
        "grad-cam",
        "integrated gradients",
    }
    transfer = record["transfer"]["ordinary"]
    assert 0 <= transfer["called_pneumonia"]["value"] <= 1
    assert "own" not in record["transfer"]


def test_the_axes_make_the_cells():
    config = parse(
        {
            **STUDY,
            "pretrainings": {"none": {}, "lungs": {"set": "ordinary"}},
            "encoders": {"a": {"architecture": "resnet10"}, "b": {}},
        }
    )
    assert len(cells(config)) == len(set(cells(config))) == 2 * 2 * 1 * 2


def test_another_study_in_the_folder_is_refused(study):
    config, folder, _ = study
    with pytest.raises(ValueError, match="epochs = 2, not 3"):
        run(parse({**STUDY, "epochs": 3}), folder)
    assert np.isfinite(predictions(folder, cells(config)[0].key)["own"]["score"]).all()
