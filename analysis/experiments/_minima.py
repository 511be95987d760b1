"""Run a comparison of minima and record what counts.

The run folder can be taken up again after an interruption. A finished comparison is
reduced to a JSON file under ``recorded/``, with its figures beside it, from which
``RESULTS.md`` is written.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.minima import report
from analysis.minima.compare import compare
from analysis.minima.config import Config
from synaptax import runs

RECORDED = Path(__file__).parent / "recorded"
_SHAPES = ("histograms",)  # drawn, not recorded


def reduced(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce a comparison's ``summary.json`` to what is recorded.

    Args:
        summary: as :func:`synaptax.runs.write_summary` wrote it.

    Returns:
        The circumstances, the claims and views, the measures without their histograms,
        and the curvature at equal training loss.
    """
    results = summary["results"]
    measures = {
        name: {key: value for key, value in one.items() if key not in _SHAPES}
        for name, one in results["measures"].items()
    }
    circumstances = {key: value for key, value in summary.items() if key != "results"}
    equal = {
        name: {"losses": pair["losses"], "levels": pair["levels"]}
        for name, pair in results["equal"].items()
    }
    judged = {"claims": results["claims"], "views": results["views"]}
    return {**circumstances, **judged, "measures": measures, "equal": equal}


def run(
    experiment: str,
    config: Config,
    *,
    description: str,
    note: str = "",
    arguments: Sequence[str] | None = None,
) -> None:
    """Run an experiment from the command line.

    Args:
        experiment: its name; names the run folder and the recorded files.
        config: what to do.
        description: for ``--help``.
        note: a sentence for RESULTS.md on how far the run went.
        arguments: the command line; default: the process's.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs") / "experiments")
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    parser.add_argument("--gradual", type=Path, help="a finished run to take G from")
    options = parser.parse_args(arguments)
    comparison = compare(
        config, options.runs / experiment, gradual=options.gradual, resume=True
    )
    written = report.write(comparison)
    record = reduced(runs.read_json(comparison.folder / "summary.json"))
    record["command"] = f"python -m analysis.experiments.{experiment}"
    record |= {"experiment": experiment, "note": note, "figures": []}
    options.recorded.mkdir(parents=True, exist_ok=True)
    for path in written:
        if path.suffix == ".png":
            name = f"{experiment}-{path.name}"
            shutil.copyfile(path, options.recorded / name)
            record["figures"].append(name)
    runs.write_json(options.recorded / f"{experiment}.json", record)
    report.show(comparison)
