from pruning.experiments import results
from synaptax.runs import read_json


def test_every_recorded_run_names_its_circumstances():
    files = list(results.RECORDED.glob("len*.json"))
    assert files
    for path in files:
        record = read_json(path)
        for key in ("command", "seeds", "device", "versions", "wall_s", "config"):
            assert record.get(key), f"{path.name}: {key}"


def test_an_experiment_without_a_record_says_so():
    text = "\n".join(results.experiment_section("nothing", "Nothing", ()))
    assert "No run has been recorded yet." in text


def test_a_row_promises_no_more_than_it_holds():
    """A point named by a least compression has at least that."""
    for name, *_ in results.PAPER:
        for path in results.RECORDED.glob(f"{name}-*.json"):
            for row in results.frontier_rows(read_json(path)):
                if row[1].startswith(">= ") and row[2] != "-":
                    asked, got = (float(cell.strip(">= x")) for cell in row[1:3])
                    assert got >= asked, (path.name, row)
