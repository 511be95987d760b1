import json

import pytest

from pruning.experiments import _variants, lenet5_fashion, lenet5_mnist, lenet300_mnist
from pruning.gradual.config import check

pytestmark = pytest.mark.runs

SUMMARY = {
    "seeds": [0, 1],
    "wall_s": 12.0,
    "results": {
        "shapes": {"w": [2, 3], "b": [3]},
        "points": [
            {
                "seed": seed,
                "target": 2.0,
                "reached": seed < 2,
                "compression": 2.0 + seed,
                "kept": {"w": 3 - seed, "b": 1},
                "validation_error": 0.5,
                "test_error": 0.1 + 0.2 * seed,
            }
            for seed in (0, 1, 2)
        ],
    },
}


def test_moments_by_hand():
    assert _variants.moments([0.5]) == {"mean": 0.5, "se": None}
    found = _variants.moments([1.0, 2.0, 3.0])
    assert found["mean"] == 2.0
    assert found["se"] == pytest.approx((1 / 3) ** 0.5)


def test_a_point_counts_only_the_seeds_that_reached_it():
    record = _variants.summarise(SUMMARY)
    (row,) = record["frontier"]
    assert (row["seeds_reached"], row["seeds"]) == (2, 3)
    assert row["test_error"]["mean"] == pytest.approx(0.2)
    assert row["test_error"]["se"] == pytest.approx(0.1)
    assert row["compressions"] == [2.0, 3.0]
    assert row["kept"] == {"w": 2.5, "b": 1.0}
    assert record["sizes"] == {"w": 6, "b": 3} and record["wall_s"] == 12.0
    assert "2 of 3 seeds" in _variants.describe(row)
    json.dumps(record)


def test_a_point_that_no_seed_reached_is_said_so():
    points = [{**p, "reached": False} for p in SUMMARY["results"]["points"]]
    summary = {**SUMMARY, "results": {**SUMMARY["results"], "points": points}}
    (row,) = _variants.summarise(summary)["frontier"]
    assert row["seeds_reached"] == 0 and "test_error" not in row
    assert "not reached" in _variants.describe(row)


@pytest.mark.parametrize("module", [lenet300_mnist, lenet5_mnist, lenet5_fashion])
def test_every_variant_is_a_valid_run(module):
    for config in module.VARIANTS.values():
        check(config)


@pytest.mark.slow
def test_an_experiment_runs_records_and_is_taken_up_again(tmp_path):
    config = _variants.Config(
        dense_epochs=1, prune_epochs=1, tune_epochs=1, targets=(1.0,), limit=200
    )
    arguments = [
        "--runs", str(tmp_path / "runs"),
        "--recorded", str(tmp_path / "recorded"),
        "--seeds", "3",
    ]  # fmt: skip
    for _ in range(2):  # the second time finds the run finished
        _variants.run("tiny", {"only": config}, description="", arguments=arguments)
        record = json.loads((tmp_path / "recorded" / "tiny-only.json").read_text())
        assert record["seeds"] == [3] and record["variant"] == "only"
        assert {row["target"] for row in record["frontier"]} == {1.0, None}
