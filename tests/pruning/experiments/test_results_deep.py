"""The page on deep networks says what the recorded cells say, whatever that is."""

import pytest

from pruning.experiments import _results_deep, figures, psp_deep
from pruning.experiments._variants import student
from synaptax import runs

DENSE = {"none": 0.30, "l2": 0.29, "psp": 0.28, "psp+l2": 0.27}


def cell(network, method, seed, error):
    squares = {"relu_0": 1.0, "logits": 2.0}
    return {
        "variant": f"{network}-{method}",
        "method": method,
        "seed": seed,
        "test_error": error,
        "test_loss": 0.9,
        "penalty": 1.5,
        "mean_squares": squares,
        "measures": {
            "calibration": 0.05,
            "error": error,
            "noise": {"0.25": 0.5},
            "pruned": {"0.5": error + 0.01, "0.25": error + 0.05},
        },
        "curves": {
            "watched": "validation",
            "error": [0.5, error],
            "epochs": [1, 2],
            "loss": [2.0, 1.0],
            "train_loss": [2.0, 1.0],
            "mean_squares": {path: [1.0, own] for path, own in squares.items()},
        },
        "config": {"gamma": 1e-6, "normalization": "sum", "logits": False, "l2": 5e-4},
        "weights": {"name": "w", "first": 0, "width": 0.0025, "counts": [1, 2]},
        "wall_s": 120,
        "device": {"platform": "cpu", "kind": "cpu"},
        "versions": {"jax": "0"},
    }


@pytest.fixture
def records(tmp_path, monkeypatch):
    monkeypatch.setattr(_results_deep, "RECORDED", tmp_path)

    def write(network, shifts, methods=psp_deep.METHODS):
        for seed, shift in enumerate(shifts):
            for method in methods:
                error = DENSE[method] + (shift if method == "psp" else 0)
                own = cell(network, method, seed, error)
                name = f"{network}-{method}-{seed}.json"
                runs.write_json(tmp_path / f"psp_deep-{name}", own)

    return write


def test_nothing_is_claimed_of_nothing(records):
    assert "No cell has been recorded yet." in _results_deep.section()
    assert _results_deep.finding().verdict == "not tested"


@pytest.mark.parametrize(
    ("shifts", "words"),
    [
        ((0.001, 0.0, -0.001), "holds here"),
        ((0.05, -0.05, 0.0), "not told apart"),
        ((0.051, 0.05, 0.049), "the opposite in ResNet-20"),
    ],
)
def test_the_verdict_is_that_of_the_interval(records, shifts, words):
    records("resnet20", shifts)
    row = _results_deep.finding()
    assert row.verdict == words
    low, high = student([100 * (shift - 0.01) for shift in shifts])
    assert f"95 % interval {low:+.2f} to {high:+.2f} (3 seeds)" in row.ours
    assert row.values[1:3] == pytest.approx((low, high))
    text = "\n".join(_results_deep.section())
    assert words.lower() in text.lower() and "JPEG copy" in text
    assert "### All-CNN-C\n\nNot recorded yet." in text
    assert "| relu_0 | 1 | 1 | 1 | 1 |" in text


def test_two_networks_that_differ_are_told_one_by_one(records):
    records("resnet20", (0.001, -0.001))
    records("allcnn", (0.1,))
    verdict = _results_deep.finding().verdict
    assert verdict.startswith("holds in ResNet-20") or "not told" in verdict
    assert "one seed: no interval" in "\n".join(_results_deep.section())


def test_half_a_record_has_a_page(records):
    records("resnet20", (0.0,), methods=("none", "psp"))
    text = "\n".join(_results_deep.section())
    assert "| psp less l2 | test error | - | not measured |" in text


def test_compression_at_equal_error_by_hand():
    own = cell("resnet20", "psp", 0, 0.2)
    assert _results_deep.compression_at(own, 0.19) == 1
    assert _results_deep.compression_at(own, 0.21) == pytest.approx(2)
    assert _results_deep.compression_at(own, 0.23) == pytest.approx(2**1.5)
    assert _results_deep.compression_at(own, 0.5) == 4


def test_the_interval_is_students():
    # Two values: mean 2, standard error 1, t = 12.706.
    assert student([1.0, 3.0]) == pytest.approx((2 - 12.7062, 2 + 12.7062), rel=1e-5)
    with pytest.raises(ValueError, match="two or more"):
        student([1.0])


def test_the_figures_are_those_of_the_networks_recorded(records):
    records("allcnn", (0.0, 0.01))
    kinds = ("curves", "layers", "weights")
    assert list(figures.deep_networks()) == [f"psp_deep-allcnn-{k}" for k in kinds]


def test_a_strength_at_the_end_of_its_search_is_named(records, tmp_path):
    for method, strengths in (("l2", (1e-4, 1e-3)), ("psp", (1e-6, 1e-5, 1e-4))):
        for number, strength in enumerate(strengths):
            own = cell("allcnn", method, 0, 0.3 if number else 0.2)
            own["config"]["l2" if method == "l2" else "gamma"] = strength
            if method == "psp" and number == 1:
                own["curves"]["error"] = [0.5, 0.1]
            name = f"psp_deepsearch-allcnn-{method}-{strength:g}-0.json"
            runs.write_json(tmp_path / name, own)
    text = "\n".join(_results_deep.search("allcnn"))
    assert "gamma 1e-05 with sums of layers, without logits; L2 0.0001." in text
    assert "l2 is the weakest of its kind that was tried." in text
    assert "gamma is" not in text
