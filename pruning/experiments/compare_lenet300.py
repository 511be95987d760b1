"""LeNet-300-100 on MNIST: eleven methods, six compressions, one budget.

Each cell is one network, trained for 40 epochs at batch 1000 (55,000 examples, 2,200
updates); see :class:`pruning.comparison.config.Comparison`. Rates are the same for all
and were tuned on no data. Cells go seed by seed and compression by compression, so that
what is recorded is whole columns; recorded cells are never trained again, and with the
record alone a comparison begun on one machine goes on on another.

Command: ``python -m pruning.experiments.compare_lenet300``; with ``--record`` what a
run has so far is recorded, and nothing trained.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pruning.comparison import command
from pruning.comparison.cells import Cell, listing
from pruning.comparison.config import Comparison
from pruning.experiments._variants import RECORDED
from synaptax import runs
from synaptax.runs.machine import environment

CONFIG = Comparison(
    dataset="mnist",
    model="lenet300",
    methods=(
        "magnitude",
        "one-shot",
        "l2",
        "sensitivity",
        "ac-dc",
        "grasp",
        "snip",
        "synflow",
        "static",
        "rigl",
        "straight-through",
    ),
    # Hard ones first: what a short run leaves out is where all methods agree.
    compressions=(50.0, 200.0, 10.0, 100.0, 20.0, 2.0),
    seeds=(0, 1, 2, 3, 4),
    budget=40,
    batch=1000,
    lr=0.1,
    rate=5e-4,
)

RECORD = RECORDED / "compare_lenet300.json"
IMAGES = 10_000  # of the test set


def record(folder: Path, target: Path = RECORD) -> None:
    """Write the record of all cells of a run folder."""
    known = read(target)
    for file in (folder / "cells").glob("*.json"):
        cell = runs.read_json(file)
        cell.pop("run", None)
        known[file.stem] = cell
    cells = [known[c.name] for c in listing(CONFIG) if c.name in known]
    made = {
        "experiment": "compare_lenet300",
        "command": "python -m pruning.experiments.compare_lenet300",
        "config": dataclasses.asdict(CONFIG),
        "wall_s": round(sum(cell["wall_s"] for cell in cells), 2),
        **environment(),
        "cells": cells,
    }
    runs.write_json(target, made)


def read(target: Path = RECORD) -> dict[str, dict[str, Any]]:
    """Return the recorded cells by name, in the order of the record."""
    if not target.exists():
        return {}
    found = runs.read_json(target)["cells"]
    keys = ("method", "compression", "seed")
    return {Cell(*(cell[k] for k in keys)).name: cell for cell in found}


def main(arguments: Sequence[str] | None = None) -> None:
    """Go on with the comparison, or record what a run has so far."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/compare_lenet300"))
    parser.add_argument("--record", action="store_true", help="train nothing")
    options = parser.parse_args(arguments)
    folder = options.runs
    if not options.record:
        ignore = ("data_dir", *command.GROWS)
        runs.create(folder, CONFIG, resume=folder.exists(), ignore=ignore)
        (folder / "cells").mkdir(exist_ok=True)
        for name, cell in read().items():
            file = folder / "cells" / f"{name}.json"
            if not file.exists():
                runs.write_json(file, cell)
        command.compare(CONFIG, folder, resume=True)
    record(folder)


if __name__ == "__main__":
    main()
