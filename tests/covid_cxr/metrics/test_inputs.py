"""What is no label, score, patient, number or key is named, whatever it is."""

import jax
import numpy as np
import pytest

from covid_cxr.metrics import (
    FIXED,
    auc,
    auc_interval,
    decide,
    inputs,
)

LABEL, SCORE = [0, 1] * 4, [0.1, 0.9, 0.4, 0.3, 0.2, 0.8, 0.6, 0.7]


def test_kinds_of_number_give_one_area():
    for kind in (np.float16, np.float32, np.float64):
        assert auc(LABEL, np.array(SCORE, kind)) == auc(LABEL, SCORE)
    called = decide(SCORE, FIXED).tolist()
    same = auc(np.array(LABEL, bool), np.array(called, np.int8))
    assert auc(LABEL, called) == same


@pytest.mark.parametrize(
    ("label", "score", "message"),
    [
        ([[0], [1, 0]], [1, 2], "label: expected an array"),
        ([0, 1], [[1], [2, 3]], "score: expected an array"),
        ([0, 1], [None, 1], "score: expected 2 numbers, got object"),
        ([0, 1], [1j, 1], "score: expected 2 numbers, got complex"),
        ([0, 1], [2**70, 1], "score: expected 2 numbers"),
        ([0, 1], [2**60, 2**60 + 1], "score: integers beyond"),
        ([0, 1], [np.inf, 1], "score: 1 of 2 values are not finite"),
        (["0", "1"], [1, 2], "label: expected only 0 and 1"),
        ([0, np.nan], [1, 2], "label: expected only 0 and 1"),
    ],
)
def test_labels_and_scores_of_no_sense_are_named(label, score, message):
    with pytest.raises(ValueError, match=message):
        auc(label, score)


@pytest.mark.parametrize("lost", [None, np.nan, np.datetime64("NaT")])
def test_a_patient_that_is_missing_is_no_patient(lost):
    # All of these would be one patient, and every interval too wide or too narrow.
    with pytest.raises(ValueError, match="patient: 2 of 8 identifiers are missing"):
        auc_interval(LABEL, SCORE, patient=[lost, lost, *range(6)])
    with pytest.raises(ValueError, match="patient: expected identifiers of one kind"):
        patient = np.array([1, "1", *range(6)], object)
        auc_interval(LABEL, SCORE, patient=patient)


def test_counts_thresholds_and_keys_of_another_kind_are_named():
    # Of the helpers: the tests' own check of annotations is quicker elsewhere.
    with pytest.raises(ValueError, match="threshold: expected a number, got 'high'"):
        inputs.number("threshold", "high")
    for bad in (20.5, "20", None):
        with pytest.raises(ValueError, match="replicates: expected a whole number"):
            inputs.whole("replicates", bad)
    assert inputs.whole("trials", np.int64(3)) == 3
    with pytest.raises(ValueError, match="key: expected jax"):
        inputs.check_key(0)
    inputs.check_key(jax.random.PRNGKey(0))
