"""``python -m binary overlay``: experiment laid on replica theory."""

from __future__ import annotations

import dataclasses
import importlib.util
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from binary.overlay.jobs import SMALL, Job, Overlay, check, jobs
from synaptax.runs.folder import (
    RunFolder,
    append_metrics,
    create,
    fresh_path,
    jsonable,
    read_metrics,
    write_summary,
)

_NEEDS = ("tyro", "rich", "matplotlib")
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
        overlay: Sizes and seed.
        small: Sizes for a look: a minute or two.
        run_dir: Folder of the run; None: a new runs/binary-overlay-N.
        resume: Go on with the run in --run-dir.
    """

    overlay: Overlay
    small: bool = False
    run_dir: Path | None = None
    resume: bool = False


def main(given: Sequence[str]) -> int:
    """Run the jobs, write summary and figures, print what was found.

    Args:
        given: the options.

    Returns:
        The exit code.

    Raises:
        ValueError: for an option out of range, or a folder that holds another run.
        ImportError: without the packages of the extra ``lab``.
    """
    for package in _NEEDS:  # before minutes of work, not after
        if importlib.util.find_spec(package) is None:
            raise ImportError(f"this needs {package}: pip install 'synaptax[lab]'")
    options = _parse(given)
    config = options.overlay
    check(config)
    if options.resume and options.run_dir is None:
        raise ValueError("resume: expected the folder of the run in --run-dir")
    path = options.run_dir or fresh_path("runs", "binary-overlay")
    folder = create(path, config, resume=options.resume)
    print(f"run folder: {folder.path}", file=sys.stderr, flush=True)
    try:
        results, wall = run(folder, config)
    except KeyboardInterrupt:
        again = f"python -m binary overlay --resume --run-dir {shlex.quote(str(path))}"
        print(
            f"\ninterrupted; the jobs that ended are kept. Go on with:\n  {again}",
            file=sys.stderr,
        )
        return 130
    summary = write_summary(
        folder, results, config=config, seeds=[config.seed], wall_s=wall
    )
    from binary.commands import overlay_figures
    from binary.overlay.report import overlay_sections

    names = overlay_figures.write(folder.path, summary["results"], config.alpha)
    print("\n".join(overlay_sections(summary)))
    print(f"everything is in {folder.path}: summary.json, {', '.join(names)}")
    return 0


def run(folder: RunFolder, config: Overlay) -> tuple[dict[str, Any], float]:
    """Run the jobs that the folder does not hold yet.

    Args:
        folder: keeps a line for each job that ended.
        config: what to measure.

    Returns:
        The results by job, with the theory under "theory", and the seconds they took.
    """
    from binary.overlay.theory import theory_of

    done = {line["job"]: line for line in read_metrics(folder)}
    wanted = [Job("theory", lambda: theory_of(config.alpha)), *jobs(config)]
    with _progress(len(wanted)) as report:
        for job in wanted:
            if job.name not in done:
                started = time.monotonic()
                result = jsonable(job.run())
                took = round(time.monotonic() - started, 2)
                line = {"job": job.name, "wall_s": took, "result": result}
                append_metrics(folder, line)
                done[job.name] = line
            report(f"{job.name}, {done[job.name]['wall_s']:.0f} s")
    results = {job.name: done[job.name]["result"] for job in wanted}
    return results, sum(done[job.name]["wall_s"] for job in wanted)


def _parse(given: Sequence[str]) -> _Options:
    import tyro

    base = SMALL if "--small" in given else Overlay()
    return tyro.cli(
        _Options,
        prog="python -m binary overlay",
        description=_DESCRIPTION,
        args=list(given),
        default=_Options(base),
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    """Yield a function to call after each job: a bar, or a line where no terminal."""
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
