"""The command ``minima``: train or read a pair, compare, report."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args, get_type_hints

from analysis.minima import report
from analysis.minima.compare import compare
from analysis.minima.config import Config, check, defaults
from synaptax.cli.commands import option
from synaptax.runs.folder import RunFolder, config_of, fresh_path
from synaptax.training.errors import NonFiniteError

_ROOT = Path("runs")
_DESCRIPTION = """Compare a gradually pruned solution with one-shot ones.

With no option:
- LeNet-300-100 on scikit-learn's digits, three seeds;
- a minute or two of one core, and no download;
- a new folder under runs/ for solutions, measures, figures and report.md, which
  states each claim of arXiv 2004.14765 with effect, interval and verdict.
"""


@dataclasses.dataclass(frozen=True)
class Job:
    """The options of the command.

    Attributes:
        config: The defaults shown are those of the --dataset that is chosen.
        gradual: Folder of a finished run of python -m pruning to take G from.
        one_shot: Likewise for S; without it S is trained at exactly G's size.
        run_dir: Folder of the comparison; None: a new runs/minima-DATASET-MODEL-N.
        resume: Go on with the comparison in --run-dir, with the options it was begun
            with.
    """

    config: Config
    gradual: Path | None = None
    one_shot: Path | None = None
    run_dir: Path | None = None
    resume: bool = False


def run(given: Sequence[str]) -> int:
    """Run the command and return its exit code.

    Args:
        given: the options.
    """
    job = parse(given)
    check(job.config)
    if job.resume and job.run_dir is None:
        raise ValueError("resume: name the folder to go on with by --run-dir")
    folder = job.run_dir or fresh_path(
        _ROOT, f"minima-{job.config.dataset}-{job.config.model}"
    )
    print(f"run folder: {folder}", file=sys.stderr, flush=True)
    try:
        found = compare(
            job.config,
            folder,
            gradual=job.gradual,
            one_shot=job.one_shot,
            resume=job.resume,
        )
        written = report.write(found)
    except NonFiniteError as error:
        raise ValueError(str(error)) from error
    except KeyboardInterrupt:
        again = ["python", "-m", "analysis", "minima", "--resume", "--run-dir"]
        print(
            "\ninterrupted; what was done is kept. Go on with:\n  "
            f"{shlex.join([*again, str(folder)])}",
            file=sys.stderr,
        )
        return 130
    report.show(found)
    figures = sum(path.suffix == ".png" for path in written)
    print(
        f"\nwall time {found.wall_s:.0f} s; {written[0].name} and {figures} figures "
        f"are in {folder}"
    )
    return 0


def parse(given: Sequence[str]) -> Job:
    """Return the options, those of a resumed comparison as it was begun."""
    import tyro

    named = option(given, "--run-dir")
    if named is not None and "--resume" in given:
        config = config_in(Path(named))
    else:
        choices = get_args(get_type_hints(Config)["dataset"])
        dataset = option(given, "--dataset") or ""
        config = defaults(dataset if dataset in choices else "digits")
    return tyro.cli(
        Job,
        prog="python -m analysis minima",
        description=_DESCRIPTION,
        args=list(given),
        default=Job(config),
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )


def config_in(folder: Path) -> Config:
    """Return the config of the comparison in a folder.

    Raises:
        ValueError: naming the file, if there is none or it is of something else.
    """
    path = RunFolder(folder.expanduser()).config
    if not path.exists():
        raise ValueError(f"{path}: no comparison to go on with")
    return config_of(path, Config, check, of="a comparison")
