"""``python -m binary overlay``: experiment laid on replica theory."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from binary.overlay.jobs import SMALL, Job, Overlay, check, jobs
from synaptax.cli.options import NEW, Run, run_of
from synaptax.runs import (
    RunFolder,
    append_metrics,
    create,
    jsonable,
    read_metrics,
    write_summary,
)

_DESCRIPTION = """Measure at finite N what replica theory predicts, and draw both.

- ascent at fixed q*: loss and error of sign(m) against the RS curves;
- Metropolis samples of m at (beta, q*): energies against the RS point;
- around solutions of free and annealed ascent, and around samples: entropy of
  solutions by belief propagation and errors after flips, against S(d) and E(d);
- teacher-student: how often ascent finds the teacher, around the spinodal.

Each job is kept in the run folder as it ends; --resume goes on with the rest.
"""


@dataclasses.dataclass(frozen=True)
class _Options:
    """The options of the overlay.

    Attributes:
        config: Sizes and seed.
        small: Sizes for a look: a minute or two.
    """

    config: Overlay
    small: bool = False
    run: Run = NEW


def main(given: Sequence[str], prog: str = "python -m binary overlay") -> int:
    """Run the jobs, write figures and summary, print what was found.

    Args:
        given: the options.
        prog: what was typed to get here.

    Returns:
        The exit code.

    Raises:
        ValueError: for an option out of range, or a folder that holds another run.
    """
    with run_of(
        _Options,
        given,
        prog,
        _DESCRIPTION,
        defaults=lambda dataset: SMALL if "--small" in given else Overlay(),
        check=check,
        stem=lambda config: "binary-overlay",
    ) as (options, path):
        config = options.config
        folder = create(path, config, resume=options.run.resume)
        results, wall = run(folder, config, quiet=options.run.quiet)
        from binary.commands import overlay_figures
        from binary.overlay.report import overlay_sections

        names = overlay_figures.write(path, results, config.alpha)
        summary = write_summary(
            folder, results, config=config, seeds=[config.seed], wall_s=wall
        )
    print("\n".join(overlay_sections(summary)))
    print(f"everything is in {path}: summary.json, {', '.join(names)}")
    return 0


def run(
    folder: RunFolder, config: Overlay, *, quiet: bool = False
) -> tuple[dict[str, Any], float]:
    """Run the jobs that the folder does not hold yet.

    Args:
        folder: keeps a line for each job that ended.
        config: what to measure.
        quiet: show no progress.

    Returns:
        The results by job, with the theory under "theory", and the seconds they took.
    """
    from binary.overlay.theory import theory_of

    records = {}
    for line in read_metrics(folder):
        folder.check_own(line, folder.metrics)
        records[line["job"]] = line
    queue = [Job("theory", lambda: theory_of(config.alpha)), *jobs(config)]
    with _progress(len(queue), quiet) as report:
        for job in queue:
            if job.name not in records:
                started = time.monotonic()
                result = jsonable(job.run())
                took = round(time.monotonic() - started, 2)
                line = folder.own({"job": job.name, "wall_s": took, "result": result})
                append_metrics(folder, line)
                records[job.name] = line
            report(f"{job.name}, {records[job.name]['wall_s']:.0f} s")
    results = {job.name: records[job.name]["result"] for job in queue}
    return results, sum(records[job.name]["wall_s"] for job in queue)


@contextmanager
def _progress(total: int, quiet: bool) -> Iterator[Any]:
    """Yield a function to call after each job: a bar, or a line where no terminal."""
    if quiet:
        yield lambda text: None
        return
    if not sys.stderr.isatty():
        count = iter(range(1, total + 1))
        yield lambda text: print(
            f"{next(count)}/{total}  {text}", file=sys.stderr, flush=True
        )
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("overlay", total=total)

        def report(text: str) -> None:
            bar.update(task, advance=1, description=text)

        yield report
