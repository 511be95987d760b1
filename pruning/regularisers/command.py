"""``python -m pruning psp``: one network under several regularisers, side by side."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import shlex
import sys
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
from synaptax.cli.commands import option
from synaptax.cli.fields import Help

_ROOT = Path("runs")
_NEEDS = ("tyro", "rich", "orbax", "matplotlib")
_DESCRIPTION = """Train one network under several regularisers, and compare.

With no option:
- LeNet-5 on scikit-learn's digits, enlarged to 16x16, three seeds each;
- without a regulariser, with L2, L1, dropout, and with the penalty on
  post-synaptic potentials (arXiv 1907.08544);
- about a minute, and no download.
"""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What is compared. The test set is looked at after every epoch, nothing chosen.

    The defaults shown are those of the --dataset that is chosen.
    """

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
    run_dir: Annotated[
        Path | None, Help(help="Folder; None: a new runs/psp-DATASET-MODEL-N.")
    ] = None
    resume: Annotated[
        bool,
        Help(
            help="Take up an interrupted comparison: the one in --run-dir, with the "
            "options it was begun with, or else the newest unfinished one under runs/ "
            "that was begun with these options."
        ),
    ] = False


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


def configs(job: Comparison) -> dict[str, RegulariserConfig]:
    """Return the run of each method; a ValueError names a field out of range."""
    if not job.methods or len(set(job.methods)) != len(job.methods):
        raise ValueError(f"methods: expected one or more, all different: {job.methods}")
    shared = {field.name for field in dataclasses.fields(RegulariserConfig)}
    same = {k: v for k, v in vars(job).items() if k in shared}
    pixels = (0.5, 0.5) if job.dataset == "fashion_mnist" else None  # the authors'
    found = {}
    for method in job.methods:
        found[method] = RegulariserConfig(**same, method=method, pixels=pixels)
        check(found[method])
    return found


def run(given: Sequence[str]) -> int:
    """Run the comparison and return the exit code: 0, or 130 if interrupted.

    Args:
        given: the options.
    """
    started = time.monotonic()
    for package in _NEEDS:  # before minutes of training, not after
        if importlib.util.find_spec(package) is None:
            raise ImportError(f"this needs {package}: pip install 'synaptax[lab]'")
    job = _held(_parse(given))
    wanted = configs(job)
    folder = runs.create(
        job.run_dir or (_newest(job) if job.resume else _fresh(job)),
        job,
        resume=job.resume,
        ignore=("data_dir", "run_dir", "resume"),
    )
    print(f"run folder: {folder.path}", file=sys.stderr, flush=True)
    cells = []
    try:
        for method, config in wanted.items():
            cells += train.train(config, folder.path / method, resume=job.resume)
    except KeyboardInterrupt:
        again = shlex.join(["--resume", "--run-dir", str(folder.path)])
        print(
            "\ninterrupted; what was done is kept. Go on with:\n"
            f"  python -m pruning psp {again}",
            file=sys.stderr,
        )
        return 130
    runs.write_summary(
        folder,
        {"cells": cells},
        config=job,
        seeds=job.seeds,
        wall_s=time.monotonic() - started,
    )
    drawn = _draw(job, cells, folder.path)
    _show(job, cells, time.monotonic() - started)
    print(f"everything is in {folder.path}: {', '.join(drawn)}, ...")
    return 0


def _parse(given: Sequence[str]) -> Comparison:
    import tyro

    named = option(given, "--dataset")
    return tyro.cli(
        Comparison,
        prog="python -m pruning psp",
        description=_DESCRIPTION,
        args=list(given),
        default=defaults("digits" if named is None else named),
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def _held(job: Comparison) -> Comparison:
    """Return the comparison that a named folder holds, if it is to be resumed."""
    if not job.resume or job.run_dir is None:
        return job
    path = runs.RunFolder(job.run_dir.expanduser()).config
    if not path.exists():
        return job
    found = runs.read_json(path)
    try:
        lists = {k: tuple(v) for k, v in found.items() if isinstance(v, list)}
        held = Comparison(**{**found, **lists})
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{path}: not the config of a comparison: {error}") from error
    return dataclasses.replace(
        held, run_dir=job.run_dir, resume=True, data_dir=job.data_dir or held.data_dir
    )


def _stem(job: Comparison) -> str:
    return f"psp-{job.dataset}-{job.model}"


def _fresh(job: Comparison) -> Path:
    return runs.fresh_path(_ROOT, _stem(job))


def _newest(job: Comparison) -> Path:
    """Return the folder of the newest comparison with these options, unfinished."""
    ignored = ("data_dir", "run_dir", "resume")
    wanted = {k: v for k, v in runs.jsonable(job).items() if k not in ignored}
    found = []
    for path in _ROOT.glob(f"{_stem(job)}-*/config.json"):
        held = runs.read_json(path)
        alike = all(held.get(key) == value for key, value in wanted.items())
        if alike and not (path.parent / "summary.json").exists():
            found.append((path.stat().st_mtime_ns, path.parent))
    if not found:
        raise ValueError(
            f"resume: no unfinished comparison with these options under {_ROOT}; name "
            "its folder with --run-dir"
        )
    return max(found)[1]


# --- the report ------------------------------------------------------------------


def _draw(
    job: Comparison, cells: Sequence[Mapping[str, Any]], folder: Path
) -> list[str]:
    """Write the three figures; return their names."""
    count = len(job.seeds)
    title = f"{job.model} on {job.dataset}, {count} seed{'s' if count > 1 else ''}"
    drawn = {
        "curves": plain_figures.curves(cells, title=title),
        "layers": plain_figures.layers(cells, title=title),
        "weights": plain_figures.weights(cells, title=title),
    }
    for name, figure in drawn.items():
        figures.save(figure, folder / "figures" / f"{name}.png")
    return [f"figures/{name}.png" for name in drawn]


def _show(job: Comparison, cells: Sequence[Mapping[str, Any]], wall: float) -> None:
    """Print what each regulariser came to after the last epoch."""
    from rich.console import Console
    from rich.table import Table

    count = len(job.seeds)
    over = "mean ± standard deviation over seeds; " if count > 1 else ""
    title = f"{job.model} on {job.dataset}, {job.epochs} epochs, {count} seed"
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
