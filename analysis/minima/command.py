"""The command ``minima``: train or read a pair, compare, report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import get_args, get_type_hints

from analysis.minima import report
from analysis.minima.compare import compare
from analysis.minima.config import Config, defaults
from synaptax.cli.options import NEW, Run, run_of
from synaptax.cli.program import needs

_DATASETS = get_args(get_type_hints(Config)["dataset"])
_DESCRIPTION = """Compare a gradually pruned solution with one-shot ones.

G is pruned gradually. S is the same dense network cut once, to G's size, and trained
on; by layer: each layer cut to the same share. R is S rewound to its initial weights
before that training, T is G's mask on them. They are compared at exactly equal
sparsity, as they end and, trained on under their masks, at equal training loss.

With no option:

- LeNet-300-100 on scikit-learn's digits, three seeds;
- about four minutes of one core, and no download;
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
    """

    config: Config
    gradual: Path | None = None
    one_shot: Path | None = None
    run: Run = NEW


def main(given: Sequence[str], prog: str = "python -m analysis minima") -> int:
    """Run the comparison and return the exit code.

    Args:
        given: the options.
        prog: what was typed to get here.
    """
    with run_of(
        Job,
        given,
        prog,
        _DESCRIPTION,
        defaults=lambda name: defaults(name if name in _DATASETS else "digits"),
        stem=lambda config: f"minima-{config.dataset}-{config.model}",
        of="comparison",
        last=lambda config: "report.md",
    ) as (job, folder):
        needs("matfree", extra="analysis")
        comparison = compare(
            job.config,
            folder,
            gradual=job.gradual,
            one_shot=job.one_shot,
            resume=job.run.resume,
            quiet=job.run.quiet,
        )
        written = report.write(comparison)
    report.show(comparison)
    figures = sum(path.suffix == ".png" for path in written)
    print(
        f"\nwall time {comparison.wall_s:.0f} s; {written[0].name} and {figures} "
        f"figures are in {folder}"
    )
    return 0
