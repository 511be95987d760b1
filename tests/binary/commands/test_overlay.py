"""``python -m binary overlay``: jobs, resumption, errors; no heavy work."""

import json

import pytest

from binary import __main__ as program
from binary.commands import overlay
from binary.experiments._results_theory import RECORDED
from binary.overlay import theory as overlay_theory
from binary.overlay.jobs import SMALL, Job, Overlay, jobs
from synaptax.runs import read_json

pytestmark = pytest.mark.runs

pytest.importorskip("tyro")
pytest.importorskip("matplotlib")


@pytest.fixture
def recorded():
    return read_json(RECORDED / "overlay.json")["results"]


@pytest.fixture
def quick(monkeypatch, recorded):
    """Jobs that return what was recorded, and the names of those that ran."""
    ran: list[str] = []

    def replace(name):
        def run():
            ran.append(name)
            return recorded[name]

        return Job(name, run)

    names = [job.name for job in jobs(SMALL)]
    monkeypatch.setattr(overlay, "jobs", lambda config: [replace(n) for n in names])
    monkeypatch.setattr(overlay_theory, "theory_of", lambda alpha: recorded["theory"])
    monkeypatch.setattr(
        "binary.commands.overlay_figures.write", lambda *_: ["figure.png"]
    )
    return ran


def test_jobs_have_names_of_their_own():
    names = [job.name for job in jobs(Overlay())]
    assert len(set(names)) == len(names) == 12


def test_a_run_is_kept_and_reported(quick, tmp_path, capsys):
    folder = tmp_path / "run"
    assert overlay.main(["--small", "--run-dir", str(folder)]) == 0
    summary = read_json(folder / "summary.json")
    assert summary["config"]["size"] == SMALL.size
    assert set(summary["results"]) == {"theory", *quick}
    assert "experiment on theory" in capsys.readouterr().out


def test_an_interrupted_run_goes_on_with_the_rest(quick, monkeypatch, tmp_path, capsys):
    folder = str(tmp_path / "run")
    listed = overlay.jobs(SMALL)

    def stop():
        raise KeyboardInterrupt

    broken = [*listed[:2], Job(listed[2].name, stop), *listed[3:]]
    monkeypatch.setattr(overlay, "jobs", lambda config: broken)
    assert program.main(["overlay", "--small", "--run-dir", folder]) == 130
    assert "--resume" in capsys.readouterr().err
    assert len(quick) == 2
    monkeypatch.setattr(overlay, "jobs", lambda config: listed)
    assert overlay.main(["--small", "--run-dir", folder, "--resume"]) == 0
    assert len(quick) == len(listed)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len({json.loads(line)["job"] for line in lines}) == len(listed) + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--alpha", "0.9"], "alpha: expected a load between 0 and 0.83"),
        (["--alpha", "0"], "alpha: expected a load between 0 and 0.83"),
        (["--size", "200"], "size: expected an odd number"),
        (["--instances", "1"], "instances: expected at least 2"),
        (["--resume"], "resume: name the folder"),
    ],
)
def test_options_out_of_range_are_named(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        overlay.main(options)
