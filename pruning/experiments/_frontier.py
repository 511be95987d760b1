"""The frontier's cells: one config with one seed, recorded as it ends.

A recorded cell is never run again; one that was interrupted goes on from its run
folder. The compression is told both ways: with all parameters that are not zero, and
after dead units are folded away with their biases.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pruning.experiments import _psp_cells
from pruning.experiments._fold import fold_dead_units
from pruning.experiments._psp_cells import path_of
from pruning.experiments._variants import RECORDED, moments, parse
from pruning.gradual.config import Config
from pruning.gradual.outcome import load_network, load_points
from pruning.gradual.train import fit
from synaptax import runs
from synaptax.nets.lenets import LeNet300

LECUN = "pruning.experiments._frontier:lenet300_lecun"
LAYERS = {
    "lenet300": ("Dense_0", "Dense_1", "Dense_2"),
    LECUN: ("Dense_0", "Dense_1", "Dense_2"),
    "lenet5": ("Conv_0", "Conv_1", "Dense_0", "Dense_1"),
}


def lenet300_lecun(classes: int, shape: tuple[int, ...], **options: Any) -> LeNet300:
    """Return LeNet-300-100 with initial weights of variance 1 / inputs, biases 0."""
    del shape
    return LeNet300(classes, initialiser="lecun", **options)


def read(experiment: str, recorded: Path = RECORDED) -> list[dict[str, Any]]:
    """Return the recorded cells, by variant and seed."""
    return _psp_cells.read(recorded, experiment)


def folded(model: str, params: Any, apply_fn: Any) -> dict[str, Any]:
    """Return what is left after folding, and how far the outputs move by it.

    Args:
        model: one of :data:`LAYERS`.
        params: its parameters.
        apply_fn: ``(params, x) -> logits``.

    Raises:
        ValueError: if the outputs on random images move by more than rounding.
    """
    names = LAYERS[model]
    result = fold_dead_units([(params[n]["kernel"], params[n]["bias"]) for n in names])
    # Folded in float64, computed in float32 as the run computes.
    small = {
        name: {"kernel": jnp.float32(kernel), "bias": jnp.float32(bias)}
        for name, (kernel, bias) in zip(names, result.layers, strict=True)
    }
    x = jax.random.uniform(jax.random.key(0), (64, 28, 28, 1))
    before, after = apply_fn(params, x), apply_fn(small, x)
    difference = float(jnp.abs(after - before).max() / jnp.abs(before).max())
    if not difference <= 1e-5:
        raise ValueError(
            f"params: folding moved the outputs by {difference:.1e} of them"
        )
    units = [int(one.sum()) for one in result.alive]
    return {"kept": result.kept, "units": units, "moved": difference}


def record_of(path: Path, experiment: str, name: str, seed: int) -> dict[str, Any]:
    """Return what is recorded of a finished run of one seed."""
    summary = runs.read_json(path / "summary.json")
    net = load_network(path)
    model = summary["config"]["model"]
    points, sizes = [], summary["results"]["shapes"].values()
    total = sum(math.prod(shape) for shape in sizes)
    for point, params, stats, _ in load_points(path):
        folding = folded(model, params, lambda p, x, s=stats: net.apply(p, s, x))
        points.append(
            {
                **point._asdict(),
                "folded": total / folding["kept"],
                "folded_kept": folding["kept"],
                "folded_units": folding["units"],
                "folding_moved": folding["moved"],
            }
        )
    lines = [json.loads(x) for x in (path / "metrics.jsonl").read_text().splitlines()]
    return {
        "experiment": experiment,
        "variant": name,
        "seed": seed,
        "command": f"python -m pruning.experiments.{experiment} --only {name} "
        f"--seeds {seed}",
        **{k: summary[k] for k in ("config", "wall_s", "versions", "device")},
        "epochs": len(lines),
        "points": points,
    }


def run(
    experiment: str,
    variants: Mapping[str, Config],
    *,
    description: str,
    arguments: Sequence[str] | None = None,
) -> None:
    """Run the cells that are not recorded yet, seed by seed, then print the table."""
    options = parse(variants, description, arguments)
    options.recorded.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        for seed in options.seeds or variants[name].seeds:
            file = path_of(options.recorded, experiment, name, seed)
            if file.exists():
                continue
            path = options.runs / experiment / f"{name}-{seed}"
            print(f"{experiment}, {name}, seed {seed}: {path}", flush=True)
            fit(replace(variants[name], seeds=(seed,)), path, resume=True, quiet=True)
            runs.write_json(file, record_of(path, experiment, name, seed))
    print(table(read(experiment, options.recorded)), flush=True)


HEAD = (
    *("variant", "asked", "all biases", "folded", "validation", "test"),
    *("lowest test", "seeds"),
)


def rows(cells: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return a row for each variant and target: means over its seeds.

    "Lowest test" is what choosing on the test set would have given: of each run the
    lowest test error among its points at that compression or more.
    """
    result = []
    for name in dict.fromkeys(cell["variant"] for cell in cells):
        own = [cell for cell in cells if cell["variant"] == name]
        validation = own[0]["config"]["validation"] or 5000  # too few say nothing
        targets = dict.fromkeys(p["target"] for p in own[0]["points"])
        for place, target in enumerate(targets):
            points = [p for c in own for p in c["points"] if p["target"] == target]
            lowest = [
                min(p["test_error"] for p in c["points"] if p["target"] >= target)
                for c in own
            ]
            mean = lambda key, points=points: float(np.mean([p[key] for p in points]))
            result.append(
                [
                    name,
                    f">= {target:g}x" if place else "start",
                    f"{mean('compression'):.1f}x",
                    f"{mean('folded'):.1f}x",
                    "-"
                    if validation < 1000
                    else percent([p["validation_error"] for p in points]),
                    percent([p["test_error"] for p in points]),
                    percent(lowest),
                    str(len(points)),
                ]
            )
    return result


def percent(fractions: Sequence[float]) -> str:
    """Return a mean with its standard error, in percent."""
    one = moments(fractions)
    mean, error = one["mean"], one["se"]
    assert mean is not None
    return f"{100 * mean:.2f}" + ("" if error is None else f" ± {100 * error:.2f}")


def table(cells: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of all recorded cells as Markdown."""
    from synaptax.reports.tables import markdown

    return "\n".join(markdown(HEAD, rows(cells)))
