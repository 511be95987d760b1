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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from analysis.minima import maps
from analysis.minima.claims import Claim, judge
from analysis.minima.config import Config, check
from analysis.minima.measures import arms_of, density, measure, meter
from analysis.minima.solutions import (
    BY_LAYER,
    DENSE,
    GRADUAL,
    ONE_SHOT,
    REWOUND,
    REWOUND_BY_LAYER,
    TICKET,
    Setting,
    Solution,
    cut_once,
    initial,
    read_level,
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
    config = shared.config
    short = {s.seed: s for s in read_run(gradual, DENSE, like, dense=True)}
    accepted = read_run(gradual, GRADUAL, like)
    accepted = [s for s in accepted if s.seed in config.seeds and s.level is None]
    if {s.seed for s in accepted} != set(config.seeds):
        raise ValueError(f"{gradual}: does not hold the seeds {sorted(config.seeds)}")
    at_levels = [
        begin
        for level in config.levels
        for begin in read_level(config, gradual, like, level)
    ]
    with Progress(quiet=quiet) as progress:
        train = partial(_trained, shared, place=place, clock=clock, progress=progress)
        dense = [train(short[seed]) for seed in config.seeds]
        found = [*accepted, *(train(g, epochs=left) for g, left in at_levels)]
        if one_shot is not None:
            twins = _given(one_shot, found, like)
        else:
            twins = [train(start(shared, ONE_SHOT, short[g.seed], g)) for g in found]
        more = [train(s) for g in accepted for s in _others(shared, short[g.seed], g)]
    return [*dense, *found, *twins, *more]


def _others(shared: Setting, dense: Solution, g: Solution) -> Iterator[Solution]:
    """Yield where the other twins of G begin, at the highest accepted compression."""
    config = shared.config
    if config.rewind:
        yield initial(shared, start(shared, REWOUND, dense, g))
    if config.layerwise:
        yield start(shared, BY_LAYER, dense, g)
        if config.rewind:
            yield initial(shared, start(shared, REWOUND_BY_LAYER, dense, g))
    if config.ticket:
        yield initial(shared, g._replace(arm=TICKET))


def _trained(
    shared: Setting,
    begin: Solution,
    *,
    place: runs.RunFolder,
    clock: _Clock,
    progress: Progress,
    epochs: int | None = None,
) -> Solution:
    first = shared.config.prune_epochs if epochs is None else epochs
    with (
        clock.step(f"train {begin.name}"),
        progress.stage(begin.name, 0, first + shared.config.tune_epochs) as report,
    ):
        return retrain(shared, begin, place.path, epochs=epochs, report=report)


def start(shared: Setting, arm: str, dense: Solution, like: Solution) -> Solution:
    """Return the dense weights cut once to exactly as many as another keeps."""
    by_layer = arm in (BY_LAYER, REWOUND_BY_LAYER)
    masks = cut_once(shared.config, dense, like.kept, by_layer=by_layer)
    return dense._replace(arm=arm, level=like.level, masks=masks)


def _given(
    folder: Path, gradual: list[Solution], like: tuple[Any, Any]
) -> list[Solution]:
    """Return, for each G, the solution of a run that keeps exactly as many."""
    offered = {(s.seed, s.kept): s for s in read_run(folder, ONE_SHOT, like)}
    for g in gradual:
        if (g.seed, g.kept) not in offered:
            raise ValueError(
                f"{folder}: holds no solution of seed {g.seed} that keeps {g.kept} "
                "parameters, as G does; ask for it with --keep"
            )
    return [offered[g.seed, g.kept]._replace(level=g.level) for g in gradual]


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
