"""The comparison from training to verdicts, a file for every step that is done.

A comparison's folder holds ``config.json``, ``gradual/`` (a run of
:mod:`pruning.gradual`), ``solutions/`` (the other networks), ``measures/`` and
``maps/`` (one JSON file each), and at the end ``summary.json``, ``report.md`` and
``figures/``. What is there is not done again.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax

from analysis.minima import maps
from analysis.minima.claims import Claim, judge
from analysis.minima.config import Config, check
from analysis.minima.measures import arms_of, density, measure, meter
from analysis.minima.solutions import (
    DENSE,
    GRADUAL,
    ONE_SHOT,
    REWOUND,
    Setting,
    Solution,
    cut_once,
    read_run,
    retrain,
    setting,
    train_gradual,
)
from synaptax import runs
from synaptax.runs.progress import Progress


class Comparison(NamedTuple):
    """What a finished comparison found.

    Attributes:
        folder: where everything is.
        config: what was asked.
        measures: solution name to its measures.
        maps: name to line, plane, eigenvalue map or spectrum.
        claims: with their verdicts.
        wall_s: seconds, over all sittings.
    """

    folder: Path
    config: Config
    measures: dict[str, Any]
    maps: dict[str, Any]
    claims: tuple[Claim, ...]
    wall_s: float


def compare(
    config: Config,
    folder: str | Path,
    *,
    gradual: Path | None = None,
    one_shot: Path | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> Comparison:
    """Run, or take up, a comparison.

    Args:
        config: what to do.
        folder: of the comparison.
        gradual: a finished run of :mod:`pruning.gradual` to take G from, instead of
            training it.
        one_shot: likewise for S; without it S is trained at exactly G's number of
            parameters.
        resume: take up the comparison in the folder.
        quiet: show no progress.

    Returns:
        The :class:`Comparison`; the folder holds the same as JSON.

    Raises:
        ValueError: a config field out of range, a folder that holds another
            comparison, a run that cannot be read or is of another network.
        OSError: a folder that cannot be written.
        FileNotFoundError: a data set that is not there.
        synaptax.training.errors.NonFiniteError: a loss that is not finite.
    """
    check(config)
    for name, run in (("gradual", gradual), ("one_shot", one_shot)):
        if run is not None and not runs.RunFolder(Path(run)).summary.exists():
            raise ValueError(f"{name}: {run} holds no finished run")
    place = runs.create(folder, config, resume=resume, ignore=("data_dir",))
    clock = _Clock(place)
    shared = setting(config, quiet=quiet)
    solutions = _solutions(shared, place, gradual, one_shot, clock, quiet)
    found, drawn = _measured(shared, solutions, place, clock, quiet)
    claims = verdicts(found, config)
    results = {"claims": claims, "measures": found, "maps": drawn}
    runs.write_summary(
        place, results, config=config, seeds=config.seeds, wall_s=clock.total()
    )
    return Comparison(place.path, config, found, drawn, claims, clock.total())


def verdicts(measures: Mapping[str, Any], config: Config) -> tuple[Claim, ...]:
    """Judge the claims by the measures of all solutions."""
    low = arms_of(measures, min(config.levels)) if config.levels else None
    high = arms_of(measures, None)
    complete = low is not None and low.keys() == high.keys()
    return judge(high, level=config.level, low=low if complete else None)


class _Clock:
    """Counts wall time over sittings, in ``metrics.jsonl``."""

    def __init__(self, folder: runs.RunFolder) -> None:
        self._folder = folder

    @contextmanager
    def step(self, name: str) -> Any:
        """Record how long a step took, or how long until it was interrupted."""
        began = time.monotonic()
        try:
            yield
        finally:
            record = {"step": name, "seconds": round(time.monotonic() - began, 3)}
            runs.append_metrics(self._folder, record)

    def total(self) -> float:
        """Return the seconds of all steps ever done in this folder."""
        return math.fsum(r["seconds"] for r in runs.read_metrics(self._folder))


def _solutions(
    shared: Setting,
    place: runs.RunFolder,
    gradual: Path | None,
    one_shot: Path | None,
    clock: _Clock,
    quiet: bool,
) -> list[Solution]:
    """Return every network of the comparison, trained or read."""
    like = shared.like
    if gradual is None:
        with clock.step("train gradual"):
            gradual = train_gradual(shared.config, place.path, quiet=quiet)
    wanted = set(shared.config.seeds)
    dense = {s.seed: s for s in read_run(gradual, DENSE, like, dense=True)}
    found = [s for s in read_run(gradual, GRADUAL, like) if s.seed in wanted]
    if {s.seed for s in found} != wanted:
        raise ValueError(f"{gradual}: does not hold the seeds {sorted(wanted)}")
    others = [] if one_shot is None else _given(one_shot, found, like)
    starts = []
    if one_shot is None:
        starts = [start(shared, ONE_SHOT, dense[g.seed], g) for g in found]
    if shared.config.rewind:
        highest = [g for g in found if g.level is None]
        starts += [_rewound(shared, dense[g.seed], g) for g in highest]
    with Progress(quiet=quiet) as progress:
        for begin in starts:
            others.append(_trained(shared, begin, place, clock, progress))
    return [*(dense[seed] for seed in shared.config.seeds), *found, *others]


def _trained(
    shared: Setting,
    begin: Solution,
    place: runs.RunFolder,
    clock: _Clock,
    progress: Progress,
) -> Solution:
    epochs = shared.config.prune_epochs + shared.config.tune_epochs
    with (
        clock.step(f"train {begin.name}"),
        progress.stage(begin.name, 0, epochs) as report,
    ):
        return retrain(shared, begin, place.path, report=report)


def start(shared: Setting, arm: str, dense: Solution, like: Solution) -> Solution:
    """Return the dense weights cut once to exactly as many as another keeps."""
    masks = cut_once(shared.config, dense, like.kept)
    return dense._replace(arm=arm, level=like.level, masks=masks)


def _rewound(shared: Setting, dense: Solution, like: Solution) -> Solution:
    """Return the same cut, on the weights that the dense network began from."""
    key = jax.random.fold_in(jax.random.key(dense.seed), 0)  # as the lab draws it
    params, stats = jax.jit(shared.net.init)(key)
    cut = start(shared, REWOUND, dense, like)
    return cut._replace(params=params, stats=stats)


def _given(
    folder: Path, gradual: list[Solution], like: tuple[Any, Any]
) -> list[Solution]:
    """Return, for each G, the solution of a run that is nearest to it in size."""
    offered = read_run(folder, ONE_SHOT, like)
    found = []
    for g in gradual:
        own = [s for s in offered if s.seed == g.seed]
        if not own:
            raise ValueError(f"{folder}: holds no solution of seed {g.seed}")
        nearest = min(own, key=lambda s: abs(s.kept - g.kept))
        found.append(nearest._replace(level=g.level))
    return found


def _measured(
    shared: Setting,
    solutions: list[Solution],
    place: runs.RunFolder,
    clock: _Clock,
    quiet: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what was measured of each solution and between the pairs."""
    meters = meter(shared, quiet=quiet)
    say = (lambda text: None) if quiet else _say
    found, drawn = {}, {}

    def once(kind: str, name: str, function: Callable[[], Any]) -> Any:
        path = place.path / kind / f"{name}.json"
        if not path.exists():
            say(f"{kind}: {name}")
            path.parent.mkdir(exist_ok=True)
            with clock.step(f"{kind} {name}"):
                runs.write_json(path, place.own(runs.jsonable(function())))
        record = runs.read_json(path)
        place.check_own(record, path)
        return {name: value for name, value in record.items() if name != "run"}

    for one in solutions:
        found[one.name] = once("measures", one.name, lambda s=one: measure(meters, s))
    pairs = _pairs(solutions)
    for g, s in pairs:
        name = f"pair-{s.name}"
        drawn[name] = once("maps", name, lambda g=g, s=s: maps.pair(meters, g, s))
        found[s.name] |= {k: drawn[name][k] for k in ("barrier", "plane_gap")}
    g, s = next((g, s) for g, s in pairs if g.level is None)
    for one in (g, s):
        name = f"spectrum-{one.name}"
        drawn[name] = once("maps", name, lambda one=one: density(meters, one))
    if shared.config.eigenvalue_points:
        drawn["eigenvalues"] = once(
            "maps", "eigenvalues", lambda: maps.eigenvalues(meters, g, s)
        )
    return found, drawn


def _pairs(solutions: list[Solution]) -> list[tuple[Solution, Solution]]:
    """Return (G, S) of one seed and level."""
    table = {(s.arm, s.seed, s.level): s for s in solutions}
    return [
        (one, table[ONE_SHOT, one.seed, one.level])
        for one in solutions
        if one.arm == GRADUAL
    ]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
