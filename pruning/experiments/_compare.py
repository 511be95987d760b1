"""A recorded comparison: cells that go on from the record, whoever began it."""

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


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A comparison with a record.

    Attributes:
        name: of its module and its record.
        title: network and data set, in words.
        config: what is compared.
        images: in the test set.
    """

    name: str
    title: str
    config: Comparison
    images: int = 10_000

    @property
    def command(self) -> str:
        """Return the command that goes on with it."""
        return f"python -m pruning.experiments.{self.name}"

    @property
    def file(self) -> Path:
        """Return where its record is."""
        return RECORDED / f"{self.name}.json"

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the recorded cells by name, in the order of the record."""
        if not self.file.exists():
            return {}
        cells = runs.read_json(self.file)["cells"]
        keys = ("method", "compression", "seed")
        return {Cell(*(cell[k] for k in keys)).name: cell for cell in cells}

    def record(self, folder: Path, target: Path | None = None) -> None:
        """Write the record of all cells of a run folder, beside those it has."""
        by_name = self.read()
        for file in (folder / "cells").glob("*.json"):
            cell = runs.read_json(file)
            cell.pop("run", None)
            by_name[file.stem] = cell
        cells = [by_name[c.name] for c in listing(self.config) if c.name in by_name]
        record = {
            "experiment": self.name,
            "command": self.command,
            "config": dataclasses.asdict(self.config),
            "wall_s": round(sum(cell["wall_s"] for cell in cells), 2),
            **environment(),
            "cells": cells,
        }
        runs.write_json(target or self.file, record)

    def main(self, arguments: Sequence[str] | None = None) -> None:
        """Go on with the comparison, or record what a run has so far."""
        parser = argparse.ArgumentParser(description=f"{self.title}: a comparison.")
        parser.add_argument("--runs", type=Path, default=Path("runs") / self.name)
        parser.add_argument("--record", action="store_true", help="train nothing")
        options = parser.parse_args(arguments)
        folder = options.runs
        if not options.record:
            ignore = ("data_dir", *command.GROWS)
            runs.create(folder, self.config, resume=folder.exists(), ignore=ignore)
            (folder / "cells").mkdir(exist_ok=True)
            for name, cell in self.read().items():
                file = folder / "cells" / f"{name}.json"
                if not file.exists():
                    runs.write_json(file, cell)
            command.compare(self.config, folder, resume=True)
        self.record(folder)
