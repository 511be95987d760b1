"""``python -m pruning``: train a network, prune it gradually, and say what is left.

With no argument this is the main job on scikit-learn's digits. A first argument that
is no option names a command; the main job is the command ``prune``.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np

from pruning._report import Tally, report, to_text
from pruning.gradual import figures, snapshots
from pruning.gradual.config import Config, check
from pruning.gradual.outcome import Point, Result
from pruning.gradual.train import fit
from synaptax.cli.commands import option
from synaptax.runs.files import replacing
from synaptax.runs.folder import RunFolder, config_of, fresh_path
from synaptax.training.errors import NonFiniteError

_ROOT = Path("runs")
_DATASETS = get_args(get_type_hints(Config)["dataset"])
_MAY_DIFFER = ("data_dir", "checkpoint_every")  # between a run and its resumption
_NEEDS = ("tyro", "rich", "orbax", "matplotlib")
# A line that begins with a letter would be joined to the one before.
_DESCRIPTION = """Train a network, shrink and prune it gradually, fine-tune it, report.

With no option:
- LeNet-300-100 on scikit-learn's digits, pruned by output sensitivity;
- about half a minute, and no download;
- a new folder under runs/ for config, metrics, summary, figures, checkpoints.
"""


def defaults(dataset: str) -> Config:
    """Return the config of the main job for a data set.

    An epoch of digits has 11 steps where one of MNIST has 550. So digits gets
    momentum, more epochs, more patience, a stronger shrink term, and a looser bound
    on its small and noisy validation set, of which one example is 0.3 %: the accepted
    point is the sparsest that errs on no more of them than the dense network.

    Args:
        dataset: the data set's name.

    Returns:
        What the options then change field by field.
    """
    if dataset == "digits":
        return Config(
            rate=3e-4,
            patience=10,
            tolerance=0.2,
            momentum=0.9,
            dense_epochs=60,
            prune_epochs=300,
            tune_epochs=40,
            accept=0.0,
            checkpoint_every=50,
        )
    return Config(dataset=dataset)  # pyright: ignore[reportArgumentType]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, 2 on an error, 130 if interrupted.

    Args:
        arguments: the command line after the program's name; default: this process's.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = given.pop(0) if given and not given[0].startswith("-") else "prune"
    try:
        if name not in _COMMANDS:
            raise ValueError(
                f"unknown command {name!r}, expected one of {', '.join(_COMMANDS)}; "
                "options begin with --, see --help"
            )
        return _COMMANDS[name](given)
    except (ValueError, OSError, ImportError, NonFiniteError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def prune(given: Sequence[str]) -> int:
    """Run the main job: train dense, prune gradually, fine-tune, report, draw.

    Args:
        given: the options.

    Returns:
        The exit code.
    """
    started = time.monotonic()
    for package in _NEEDS:  # before minutes of training, not after
        if importlib.util.find_spec(package) is None:
            raise ImportError(f"this needs {package}: pip install 'synaptax[lab]'")
    config, run_dir, resume = _parse(given)
    check(config)
    if run_dir is None:
        run_dir = _newest_unfinished(config) if resume else _fresh(config)
    print(f"run folder: {run_dir}", file=sys.stderr, flush=True)
    try:
        result = fit(config, run_dir, resume=resume)
        drawn = _write(result)
    except KeyboardInterrupt:
        again = f"python -m pruning --resume --run-dir {shlex.quote(str(run_dir))}"
        print(
            f"\ninterrupted; what was done is kept. Go on with:\n  {again}",
            file=sys.stderr,
        )
        return 130
    _show(result, time.monotonic() - started)
    print(f"everything is in {run_dir}: {', '.join(drawn)}, ...")
    return 0


_COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "prune": prune,
    "psp": lambda given: importlib.import_module("pruning.regularisers.command").run(
        given
    ),
}


# --- options ---------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Job:
    """The options of the main job.

    Attributes:
        config: The defaults shown are those of the --dataset that is chosen.
        run_dir: Folder of the run; None: a new runs/DATASET-MODEL-METHOD-N.
        resume: Take up an interrupted run, to the same bits: the one in --run-dir,
            with the options it was begun with, or else the newest unfinished one
            under runs/ that was begun with these options.
    """

    config: Config
    run_dir: Path | None = None
    resume: bool = False


def _parse(given: Sequence[str]) -> tuple[Config, Path | None, bool]:
    """Return (config, run folder or None, resume) as the options say."""
    import tyro

    named = option(given, "--run-dir")
    dataset = option(given, "--dataset") or ""
    config = defaults(dataset if dataset in _DATASETS else "digits")
    if named is not None and "--resume" in given:
        config = _config_in(Path(named)) or config
    job = tyro.cli(
        _Job,
        prog="python -m pruning",
        description=_DESCRIPTION,
        args=list(given),
        default=_Job(config),
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    return job.config, job.run_dir, job.resume


def _config_in(folder: Path) -> Config | None:
    """Return the config of the run in a folder, or None if there is no run."""
    path = RunFolder(folder.expanduser()).config
    if not path.exists():
        return None
    return config_of(path, Config, check, of="a run")


def _fresh(config: Config) -> Path:
    return fresh_path(_ROOT, f"{config.dataset}-{config.model}-{config.method}")


def _newest_unfinished(config: Config) -> Path:
    """Return the folder of the newest run of a config that has no summary yet."""
    same = {
        key: value
        for key, value in dataclasses.asdict(config).items()
        if key not in _MAY_DIFFER
    }
    found = []
    for path in _ROOT.glob("*/config.json"):
        folder = RunFolder(path.parent)
        try:
            other = dataclasses.asdict(_config_in(path.parent) or config)
        except ValueError:
            continue  # some other program's folder
        alike = all(other[key] == value for key, value in same.items())
        if alike and not folder.summary.exists():
            latest = folder.metrics if folder.metrics.exists() else path
            found.append((latest.stat().st_mtime_ns, path.parent))
    if not found:
        raise ValueError(
            f"resume: no unfinished run with these options under {_ROOT}; name its "
            "folder with --run-dir"
        )
    return max(found)[1]


# --- the report ------------------------------------------------------------------


def _shown(result: Result) -> list[Point]:
    """Return the point to show, of each seed: accepted, or the last target."""
    pruned = _pruned(result)
    targets = [p.target for p in pruned]
    wanted = None if None in targets else targets[-1]
    return [p for p in pruned if p.target == wanted]


def _pruned(result: Result) -> tuple[Point, ...]:
    """Return the fine-tuned points; the dense ones come before them."""
    return result.points[len(result.config.seeds) :]


def _write(result: Result) -> list[str]:
    """Write report.txt and the figures of the first seed's point; return the names."""
    point = _shown(result)[0]
    index = _pruned(result).index(point)
    tuned = snapshots.listing(result.folder / "tuned")[index]
    params, mask = snapshots.read(
        result.folder / "tuned", tuned, dict.fromkeys(result.shapes, 0)
    )
    with replacing(result.folder / "report.txt") as file:
        file.write((to_text(report(params, mask)) + "\n").encode())
    drawn = figures.write(result.folder, point=index)
    return ["report.txt", *(str(p.relative_to(result.folder)) for p in drawn)]


def _show(result: Result, wall: float) -> None:
    """Print what is kept, what it costs in error, and how long it took."""
    from rich.console import Console

    console = Console(highlight=False)
    console.print()
    console.print(_layers(result))
    console.print()
    console.print(_points(result))
    console.print(
        f"\nwall time {wall:.1f} s; training took {result.wall_s:.1f} s of it"
        if result.wall_s <= wall
        else f"\nwall time {wall:.1f} s; training took {result.wall_s:.1f} s in all"
    )


def _layers(result: Result) -> Any:
    """Return the table of what each leaf keeps, in the mean over the seeds."""
    from rich.table import Table

    config, points = result.config, _shown(result)
    wanted = points[0].target
    where = "accepted" if wanted is None else f"{wanted:g}x"
    who = f"seed {points[0].seed}"
    if len(points) > 1:
        who = f"mean of {len(points)} seeds"
    table = Table(
        title=f"{config.model} on {config.dataset}, {config.method}: the {where} "
        f"operating point, {who}",
        caption="compression: total / kept, of the entries that the row names",
    )
    for head in ("entries", "shape", "kept", "total", "density", "compression"):
        left = head in ("entries", "shape")
        table.add_column(head, justify="left" if left else "right", no_wrap=True)

    def add(name: str, shape: str, leaves: Sequence[str]) -> None:
        kept = sum(p.kept[leaf] for p in points for leaf in leaves) / len(points)
        total = sum(math.prod(result.shapes[leaf]) for leaf in leaves)
        exact = Tally(kept, total)  # pyright: ignore[reportArgumentType]
        number = f"{kept:,.0f}" if len(points) == 1 else f"{kept:,.1f}"
        table.add_row(
            name,
            shape,
            number,
            f"{total:,}",
            f"{100 * exact.density:.2f} %",
            f"{exact.compression:.1f}x" if kept else "none kept",
        )

    for name, shape in result.shapes.items():
        add(name, "x".join(map(str, shape)), [name])
    table.add_section()
    add("weights", "", [n for n, shape in result.shapes.items() if len(shape) > 1])
    add("all parameters", "", list(result.shapes))
    return table


def _points(result: Result) -> Any:
    """Return the table of the errors of every operating point."""
    from rich.table import Table

    several = len(result.config.seeds) > 1
    table = Table(title="mean ± standard error over the seeds" if several else None)
    table.add_column("operating point")
    for head in ("compression\n(all parameters)", "validation\nerror", "test\nerror"):
        table.add_column(head, justify="right")
    size = sum(math.prod(shape) for shape in result.shapes.values())
    pruned = _pruned(result)
    rows = {"dense": list(result.points[: len(result.config.seeds)])}
    for target in dict.fromkeys(p.target for p in pruned):
        name = "accepted" if target is None else f"target {target:g}x"
        rows[name] = [p for p in pruned if p.target == target]
    for name, own in rows.items():
        missed = sum(not p.reached for p in own)
        if missed:
            name += f" (not reached by {missed} of {len(own)})"
        kept = float(np.mean([sum(p.kept.values()) for p in own]))
        table.add_row(
            name,
            f"{size / max(kept, 1):.1f}x",
            _percent([p.validation_error for p in own]),
            _percent([p.test_error for p in own]),
        )
    return table


def _percent(fractions: Sequence[float]) -> str:
    """Return the mean in percent, with its standard error if there are several."""
    mean = 100 * float(np.mean(fractions))
    if len(fractions) < 2:
        return f"{mean:.2f} %"
    error = 100 * float(np.std(fractions, ddof=1)) / math.sqrt(len(fractions))
    return f"{mean:.2f} ± {error:.2f} %"


if __name__ == "__main__":
    sys.exit(main())
