"""Run the variants of an experiment and record what counts.

Each variant is one :class:`pruning.gradual.config.Config`; its run folder can be taken
up again after an interruption. A finished variant is summarised in a small JSON file
under ``recorded/``, from which ``RESULTS.md`` is written.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pruning.gradual.config import Config
from pruning.gradual.train import fit
from synaptax import runs

RECORDED = Path(__file__).parent / "recorded"


def moments(values: Sequence[float]) -> dict[str, float | None]:
    """Return the mean and its standard error (``None`` for a single value)."""
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return {"mean": mean, "se": None}
    variance = math.fsum((v - mean) ** 2 for v in values) / (count - 1)
    return {"mean": mean, "se": math.sqrt(variance / count)}


def spread(values: Sequence[float], form: str) -> str:
    """Return the mean, with the standard deviation if there are several."""
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return f"{mean:{form}}"
    variance = math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return f"{mean:{form}} ± {math.sqrt(variance):{form}}"


def student(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of Student's 95 % interval of a mean, of two values or more."""
    from scipy import stats

    over = moments(values)
    if over["mean"] is None or over["se"] is None:
        raise ValueError(f"values: expected two or more, got {len(values)}")
    half = float(stats.t.ppf(0.975, len(values) - 1)) * over["se"]
    return over["mean"] - half, over["mean"] + half


def summarise(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce a run's ``summary.json`` to what is recorded.

    Args:
        summary: as :func:`synaptax.runs.write_summary` wrote it.

    Returns:
        The run's circumstances and, for each target, mean and standard error over
        the seeds that reached it, with the per-seed errors and per-leaf counts.
    """
    points = summary["results"]["points"]
    sizes = {k: math.prod(v) for k, v in summary["results"]["shapes"].items()}
    targets = list(dict.fromkeys(point["target"] for point in points))
    frontier = []
    for target in targets:
        own = [p for p in points if p["target"] == target and p["reached"]]
        row: dict[str, Any] = {
            "target": target,
            "seeds_reached": len(own),
            "seeds": sum(p["target"] == target for p in points),
        }
        if own:
            for name in ("compression", "validation_error", "test_error"):
                row[name] = moments([p[name] for p in own])
            row["test_errors"] = [p["test_error"] for p in own]
            row["compressions"] = [p["compression"] for p in own]
            row["kept"] = {
                leaf: math.fsum(p["kept"][leaf] for p in own) / len(own)
                for leaf in sizes
            }
        frontier.append(row)
    circumstances = {k: v for k, v in summary.items() if k != "results"}
    return {**circumstances, "sizes": sizes, "frontier": frontier}


def run(
    experiment: str,
    variants: Mapping[str, Config],
    *,
    description: str,
    arguments: Sequence[str] | None = None,
) -> None:
    """Run an experiment's variants from the command line.

    Args:
        experiment: its name; names the run folders and the recorded files.
        variants: name -> configuration.
        description: for ``--help``.
        arguments: the command line; default: the process's.
    """
    options = parse(variants, description, arguments)
    for name in options.only:
        config = variants[name]
        if options.seeds:
            config = replace(config, seeds=tuple(options.seeds))
        folder = options.runs / experiment / name
        print(f"{experiment}, {name}: {folder}", flush=True)
        fit(config, folder, resume=True)
        record = summarise(runs.read_json(folder / "summary.json"))
        record["command"] = f"python -m pruning.experiments.{experiment} --only {name}"
        record |= {"experiment": experiment, "variant": name}
        options.recorded.mkdir(parents=True, exist_ok=True)
        runs.write_json(options.recorded / f"{experiment}-{name}.json", record)
        for row in record["frontier"]:
            print(f"  {describe(row)}", flush=True)


def parse(
    variants: Iterable[str], description: str, arguments: Sequence[str] | None
) -> argparse.Namespace:
    """Return the options of an experiment: ``only``, ``seeds``, ``runs``, ``recorded``.

    Args:
        variants: the names of its variants.
        description: for ``--help``.
        arguments: the command line; None: the process's.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = list(variants)
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the recorded")
    parser.add_argument("--runs", type=Path, default=Path("runs") / "experiments")
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    return parser.parse_args(arguments)


def describe(row: Mapping[str, Any]) -> str:
    """Return one operating point as a line of text."""
    target = {None: "accepted", 1.0: "dense"}.get(row["target"], f"{row['target']}x")
    if not row["seeds_reached"]:
        return f"{target}: not reached by any of {row['seeds']} seeds"
    error, compression = row["test_error"], row["compression"]
    spread = "" if error["se"] is None else f" +- {100 * error['se']:.3f}"
    return (
        f"{target}: {compression['mean']:.1f}x, test error "
        f"{100 * error['mean']:.3f}{spread} % "
        f"({row['seeds_reached']} of {row['seeds']} seeds)"
    )
