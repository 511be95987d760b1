from pruning.experiments import _results_compare, results
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


def test_the_gate_is_judged_by_pairs_of_a_seed():
    cell = lambda method, seed, error: {
        "method": method,
        "compression": 50.0,
        "seed": seed,
        "test_error": error,
    }
    cells = [cell("l2", seed, 0.02 + 0.001 * seed) for seed in range(3)]
    gaps = (0.001, 0.002, 0.003)
    cells += [
        cell("sensitivity", seed, 0.02 + 0.001 * seed + gap)
        for seed, gap in enumerate(gaps)
    ]
    text = "\n".join(_results_compare.gate([*cells, cell("l2", 7, 0.5)]))
    # t of 2 degrees: 4.303 * 0.1 / sqrt(3) = 0.248 points
    assert "50x +0.20 (3)" in text
    assert "+0.200, 95 % interval -0.048 to +0.448: not told apart" in text
    assert _results_compare.gate(cells[:4]) == []
