"""Run a comparison of regularisers cell by cell, and record each cell that is done.

A cell is one method with one seed. A recorded cell is a small JSON file, and is never
run again: with the files of a repository alone, a comparison begun on one machine is
continued on another. A cell that is interrupted goes on from its run folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from pruning.experiments._variants import parse
from pruning.regularisers import train
from pruning.regularisers.config import RegulariserConfig
from synaptax import runs


def path_of(recorded: Path, experiment: str, variant: str, seed: int) -> Path:
    """Return the file of a cell."""
    return recorded / f"{experiment}-{variant}-{seed}.json"


def read(recorded: Path, experiment: str) -> list[dict[str, Any]]:
    """Return the recorded cells of an experiment, by variant and seed."""
    paths = recorded.glob(f"{experiment}-*.json")
    return sorted(map(runs.read_json, paths), key=lambda c: (c["variant"], c["seed"]))


def run(
    experiment: str,
    variants: Mapping[str, RegulariserConfig],
    *,
    description: str,
    arguments: Sequence[str] | None = None,
) -> None:
    """Run the cells that are not recorded yet, from the command line.

    Args:
        experiment: its name; names the run folders and the recorded files.
        variants: name -> configuration; its seeds are those wanted.
        description: for ``--help``.
        arguments: the command line; default: the process's.
    """
    options = parse(variants, description, arguments)
    for name in options.only:
        config = variants[name]
        config = replace(config, seeds=tuple(options.seeds or config.seeds))
        run_missing(experiment, name, config, options)


def run_missing(
    experiment: str, name: str, config: RegulariserConfig, options: argparse.Namespace
) -> None:
    """Run those seeds of one variant that are not recorded yet.

    Args:
        experiment: its name.
        name: the variant's.
        config: its configuration, with the seeds that are wanted.
        options: the folders ``runs`` and ``recorded``.
    """
    missing = [
        seed
        for seed in config.seeds
        if not path_of(options.recorded, experiment, name, seed).exists()
    ]
    for seeds in _together(missing):
        own = replace(config, seeds=seeds)
        _run_cells(experiment, name, own, options.runs, options.recorded)


def _together(seeds: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the seeds of each run: one on a CPU, all at once elsewhere."""
    if jax.default_backend() == "cpu":
        return [(seed,) for seed in seeds]
    return [tuple(seeds)] if seeds else []


def _run_cells(
    experiment: str, name: str, config: RegulariserConfig, folder: Path, recorded: Path
) -> None:
    seeds = " ".join(map(str, config.seeds))
    path = folder / experiment / f"{name}-{seeds.replace(' ', '-')}"
    print(f"{experiment}, {name}, seed {seeds}: {path}", flush=True)
    cells = train.train(config, path, resume=True)
    summary = runs.read_json(path / "summary.json")
    recorded.mkdir(parents=True, exist_ok=True)
    for cell in cells:
        record = {
            "experiment": experiment,
            "variant": name,
            "command": f"python -m pruning.experiments.{experiment} --only {name} "
            f"--seeds {seeds}",
            **{k: summary[k] for k in ("config", "wall_s", "versions", "device")},
            **cell,
        }
        runs.write_json(path_of(recorded, experiment, name, cell["seed"]), record)
        print(
            f"  seed {cell['seed']}: test error {100 * cell['test_error']:.3f} %, "
            f"loss {cell['test_loss']:.4f}, R {cell['penalty']:.3g}",
            flush=True,
        )
