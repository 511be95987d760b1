"""``python -m pruning psp``: one network under several regularisers, side by side."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from pruning.gradual import figures
from pruning.regularisers import figures as plain_figures
from pruning.regularisers import train
from pruning.regularisers.config import Regulariser, RegulariserConfig, check
from synaptax import runs
from synaptax.cli.fields import Help
from synaptax.cli.options import NEW, Run, run_of

_DESCRIPTION = """Train one network under several regularisers, and compare.

With no option:
- LeNet-5 on scikit-learn's digits, enlarged to 16x16, three seeds each;
- without a regulariser, with L2, L1, dropout, and with the penalty on
  post-synaptic potentials (arXiv 1907.08544);
- about a minute, and no download.
"""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What is compared. The test set is looked at after every epoch, nothing chosen."""

    dataset: Annotated[
        Literal["digits", "mnist", "fashion_mnist"],
        Help(help="digits needs no download; the others are read through TFDS."),
    ] = "digits"
    model: Annotated[
        Literal["lenet300", "lenet5"],
        Help(help="LeNet-300-100 (dense) or LeNet-5 (20-50-500-10)."),
    ] = "lenet5"
    methods: Annotated[
        tuple[Regulariser, ...], Help(help="The regularisers, in this order.")
    ] = ("none", "l2", "l1", "dropout", "psp")
    seeds: Annotated[tuple[int, ...], Help(help="Which seeds, such as 0 1 2.")] = (
        0,
        1,
        2,
    )
    epochs: Annotated[int, Help(help="Passes over the training examples.")] = 20
    batch: Annotated[int, Help(help="Examples per step.")] = 100
    lr: Annotated[float, Help(help="Learning rate of SGD.")] = 0.05
    momentum: Annotated[float, Help(help="Momentum of SGD.")] = 0.9
    gamma: Annotated[
        float, Help(help="Weight of the post-synaptic-potential penalty.")
    ] = 1e-3
    l2: Annotated[float, Help(help="Strength of l2.")] = 1e-4
    l1: Annotated[float, Help(help="Strength of l1.")] = 1e-4
    dropout: Annotated[float, Help(help="Probability of dropout.")] = 0.5
    data_dir: Annotated[
        str | None, Help(help="Folder of prepared TFDS sets (else TFDS_DATA_DIR).")
    ] = None


@dataclasses.dataclass(frozen=True)
class _Job:
    """The options.

    Attributes:
        config: The defaults shown are those of the --dataset that is chosen.
    """

    config: Comparison
    run: Run = NEW


def defaults(dataset: str) -> Comparison:
    """Return the defaults of a data set: the authors' settings, but for digits."""
    if dataset in ("mnist", "fashion_mnist"):
        epochs = 50 if dataset == "mnist" else 150
        return Comparison(
            dataset=dataset,  # pyright: ignore[reportArgumentType]
            epochs=epochs,
            lr=0.1,
            momentum=0.0,
        )
    return Comparison()


def configs(config: Comparison) -> dict[str, RegulariserConfig]:
    """Return the run of each method; a ValueError names a field out of range."""
    if not config.methods or len(set(config.methods)) != len(config.methods):
        raise ValueError(
            f"methods: expected one or more, all different: {config.methods}"
        )
    fields = {field.name for field in dataclasses.fields(RegulariserConfig)}
    same = {k: v for k, v in vars(config).items() if k in fields}
    pixels = (0.5, 0.5) if config.dataset == "fashion_mnist" else None  # the authors'
    by_method = {}
    for method in config.methods:
        by_method[method] = RegulariserConfig(**same, method=method, pixels=pixels)
        check(by_method[method])
    return by_method


def main(given: Sequence[str], prog: str = "python -m pruning psp") -> int:
    """Train under each regulariser, draw, report; return the exit code.

    Args:
        given: the options.
        prog: what was typed to get here.
    """
    started = time.monotonic()
    with run_of(
        _Job,
        given,
        prog,
        _DESCRIPTION,
        defaults=defaults,
        stem=lambda config: f"psp-{config.dataset}-{config.model}",
        of="comparison",
    ) as (job, path):
        config, quiet = job.config, job.run.quiet
        methods = configs(config)
        folder = runs.create(path, config, resume=job.run.resume, ignore=("data_dir",))
        cells = []
        for method, own in methods.items():
            begun = runs.RunFolder(path / method).config.exists()
            cells += train.train(own, path / method, resume=begun, quiet=quiet)
        names = _draw(config, cells, path)
        wall = time.monotonic() - started
        results = {"cells": cells}
        runs.write_summary(
            folder, results, config=config, seeds=config.seeds, wall_s=wall
        )
    _show(config, cells, wall)
    print(f"everything is in {path}: {', '.join(names)}, ...")
    return 0


# --- the report ------------------------------------------------------------------


def _draw(
    config: Comparison, cells: Sequence[Mapping[str, Any]], folder: Path
) -> list[str]:
    """Write the three figures; return their names."""
    count = len(config.seeds)
    title = (
        f"{config.model} on {config.dataset}, {count} seed{'s' if count > 1 else ''}"
    )
    drawings = {
        "curves": plain_figures.curves(cells, title=title),
        "layers": plain_figures.layers(cells, title=title),
        "weights": plain_figures.weights(cells, title=title),
    }
    for name, figure in drawings.items():
        figures.save(figure, folder / "figures" / f"{name}.png")
    return [f"figures/{name}.png" for name in drawings]


def _show(config: Comparison, cells: Sequence[Mapping[str, Any]], wall: float) -> None:
    """Print what each regulariser came to after the last epoch."""
    from rich.console import Console
    from rich.table import Table

    count = len(config.seeds)
    over = "mean ± standard deviation over seeds; " if count > 1 else ""
    title = f"{config.model} on {config.dataset}, {config.epochs} epochs, {count} seed"
    errors = Table(title=title + ("s" if count > 1 else ""))
    layers = Table(
        title="mean z² on the test set", caption=f"{over}z: what enters a ReLU; logits"
    )
    paths = list(cells[0]["mean_squares"])
    for table, heads in (
        (errors, ("test error (%)", "test loss (nats)", "R")),
        (layers, paths),
    ):
        table.add_column("regulariser", no_wrap=True)
        for head in heads:
            table.add_column(head, justify="right", no_wrap=True)
    for method, own in plain_figures.by_method(cells).items():
        errors.add_row(
            method,
            _spread([100 * cell["test_error"] for cell in own], ".2f"),
            _spread([cell["test_loss"] for cell in own], ".4f"),
            _spread([cell["penalty"] for cell in own], ".3g"),
        )
        means = [
            np.mean([cell["mean_squares"][path] for cell in own]) for path in paths
        ]
        layers.add_row(method, *(f"{mean:.3g}" for mean in means))
    console = Console(highlight=False)
    for table in (errors, layers):
        console.print()
        console.print(table)
    console.print(f"\nwall time {wall:.1f} s")


def _spread(values: Sequence[float], form: str) -> str:
    """Return the mean, with the standard deviation if there are several."""
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return f"{mean:{form}}"
    return f"{mean:{form}} ± {np.std(values, ddof=1):{form}}"
