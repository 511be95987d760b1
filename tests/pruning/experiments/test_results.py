from pathlib import Path

from pruning.experiments import results

ROOT = Path(__file__).parents[3]


def test_results_are_what_the_recorded_runs_say():
    """RESULTS.md is generated; a figure edited by hand or left stale fails here."""
    assert (ROOT / "RESULTS.md").read_text() == results.document()


def test_every_recorded_run_names_its_circumstances():
    files = list(results.RECORDED.glob("len*.json"))
    assert files
    for path in files:
        record = results.read_json(path)
        for key in ("command", "seeds", "device", "versions", "wall_s", "config"):
            assert record.get(key), f"{path.name}: {key}"


def test_an_experiment_without_a_record_says_so():
    text = "\n".join(results.experiment_section("nothing", "Nothing", ()))
    assert "No run has been recorded yet." in text
