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

from analysis.minima import maps, twins
from analysis.minima.claims import Claim, arms_of, judge
from analysis.minima.config import Config, check
from analysis.minima.config import gradual as gradual_config
from analysis.minima.measures import Meter, density, measure, meter
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
        equal: name of a twin to what was compared at equal training loss; see
            :func:`analysis.minima.twins.equal`.
        claims: with their verdicts.
        views: the verdicts against each twin, as they end and at equal training loss.
        wall_s: seconds, over all sittings.
    """

    folder: Path
    config: Config
    measures: dict[str, Any]
    maps: dict[str, Any]
    equal: dict[str, Any]
    claims: tuple[Claim, ...]
    views: dict[str, dict[str, str]]
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
    # Where the data lie does not change what is computed.
    place = runs.create(folder, config, resume=resume, ignore=("data_dir",))
    clock = _Clock(place)
    shared = setting(config, quiet=quiet)
    solutions = _solutions(shared, place, gradual, one_shot, clock, quiet)
    meters, store = meter(shared, quiet=quiet), _Store(place, clock, quiet)
    measures, landscapes = _measured(meters, solutions, store)
    matched = _equal(meters, solutions, store)
    for name, one in matched.items():
        measures[name] |= {k: one["second"][k] for k in twins.KEYS if one["levels"]}
    claims = verdicts(measures, config)
    results = {
        "claims": claims,
        "views": views(measures, matched, config),
        "measures": measures,
        "equal": matched,
        "maps": landscapes,
    }
    runs.write_summary(
        place, results, config=config, seeds=config.seeds, wall_s=clock.total()
    )
    return Comparison(
        place.path,
        config,
        measures,
        landscapes,
        matched,
        claims,
        results["views"],
        clock.total(),
    )


def verdicts(measures: Mapping[str, Any], config: Config) -> tuple[Claim, ...]:
    """Judge the claims by the measures of all solutions."""
    low = arms_of(measures, min(config.levels)) if config.levels else None
    high = arms_of(measures, None)
    # Growth from the low to the high sparsity needs both of every seed.
    complete = low is not None and low.keys() == high.keys()
    return judge(high, level=config.level, low=low if complete else None)


def views(
    measures: Mapping[str, Any], matched: Mapping[str, Any], config: Config
) -> dict[str, dict[str, str]]:
    """Judge the claims against each twin, as they end and at equal training loss.

    As they end, claim 3 is judged by the curvature as it is then. At equal loss claim
    2 is void, and claim 4 asks what training on reaches, which is the other view.

    Of twins but S only claims 1, 3 and 7 are asked there.

    Returns:
        The view's name to the claim's number (as text, for JSON) to its verdict.
    """
    seeds, by_view = arms_of(measures, None), {}
    for arm in (ONE_SHOT, BY_LAYER, TICKET, REWOUND, REWOUND_BY_LAYER):
        # The rules know one twin, one-shot: each arm takes its place in turn.
        ended = {
            seed: {**arms, ONE_SHOT: arms[arm]}
            for seed, arms in seeds.items()
            if arm in arms
        }
        if not ended:
            continue
        judged = judge(ended, level=config.level, at_end=True)
        by_view[f"{arm}, as they end"] = {str(c.number): c.verdict for c in judged}
        at_equal = {
            one["second"]["seed"]: {GRADUAL: one["first"], ONE_SHOT: one["second"]}
            for one in matched.values()
            if one["levels"] and one["second"]["arm"] == arm
        }
        if any(measures[name]["arm"] == arm for name in matched):
            judged = judge(at_equal, level=config.level)
            by_view[f"{arm}, at equal loss"] = {
                str(c.number): c.verdict
                for c in judged
                if c.number not in (2, 4) and (arm == ONE_SHOT or c.number in (1, 3, 7))
            }
    return by_view


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
        g_solutions = [*accepted, *(train(g, epochs=epochs) for g, epochs in at_levels)]
        if one_shot is not None:
            twins = _given(one_shot, g_solutions, like)
        else:
            twins = [
                train(start(shared, ONE_SHOT, short[g.seed], g)) for g in g_solutions
            ]
        more = [train(s) for g in accepted for s in _others(shared, short[g.seed], g)]
    return [*dense, *g_solutions, *twins, *more]


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


class _Store(NamedTuple):
    """Measures kept as one JSON file each, and not made again."""

    place: runs.RunFolder
    clock: _Clock
    quiet: bool

    def once(self, kind: str, name: str, function: Callable[[], Any]) -> Any:
        """Return what is in the file, made by ``function`` if there is none."""
        path = self.place.path / kind / f"{name}.json"
        if not path.exists():
            if not self.quiet:
                print(f"{kind}: {name}", file=sys.stderr, flush=True)
            path.parent.mkdir(exist_ok=True)
            with self.clock.step(f"{kind} {name}"):
                runs.write_json(path, self.place.own(runs.jsonable(function())))
        record = runs.read_json(path)
        self.place.check_own(record, path)
        return {name: value for name, value in record.items() if name != "run"}


def _measured(
    meters: Meter, solutions: list[Solution], store: _Store
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what was measured of each solution and between the pairs."""
    measures, landscapes = {}, {}
    for one in solutions:
        measures[one.name] = store.once(
            "measures", one.name, lambda s=one: measure(meters, s)
        )
    pairs = _pairs(solutions)
    for g, s in pairs:
        measures[s.name] |= store.once(
            "neurons", s.name, lambda g=g, s=s: twins.entropy_gaps(meters, g, s)
        )
    pairs = [(g, s) for g, s in pairs if s.arm == ONE_SHOT]
    for g, s in pairs:
        name = f"pair-{s.name}"
        landscapes[name] = store.once(
            "maps", name, lambda g=g, s=s: maps.pair(meters, g, s)
        )
        measures[s.name] |= {k: landscapes[name][k] for k in ("barrier", "plane_gap")}
    g, s = next((g, s) for g, s in pairs if g.level is None)
    for one in (g, s):
        name = f"spectrum-{one.name}"
        landscapes[name] = store.once(
            "maps", name, lambda one=one: density(meters, one)
        )
    if meters.config.eigenvalue_points:
        landscapes["eigenvalues"] = store.once(
            "maps", "eigenvalues", lambda: maps.eigenvalues(meters, g, s)
        )
    return measures, landscapes


def _equal(meters: Meter, solutions: list[Solution], store: _Store) -> dict[str, Any]:
    """Return each twin of the accepted G beside it at equal training loss."""
    if not meters.config.equal_epochs:
        return {}
    run, comparisons = gradual_config(meters.config), {}
    # A way holds the weights of every epoch: G's serves all its twins, and those of one
    # seed at a time are held.
    ways: dict[str, twins.Way] = {}

    def way(one: Solution) -> twins.Way:
        if one.name not in ways:
            if one.arm == GRADUAL:
                ways.clear()  # of the seed before
            ways[one.name] = twins.train_on(meters, one, run)
        return ways[one.name]

    for g, s in _pairs(solutions):
        if g.level is None and s.arm in (ONE_SHOT, BY_LAYER, TICKET):
            comparisons[s.name] = store.once(
                "equal", s.name, lambda g=g, s=s: twins.equal(meters, way(g), way(s))
            )
    return comparisons


def _pairs(solutions: list[Solution]) -> list[tuple[Solution, Solution]]:
    """Return (G, twin) of one seed and level, G after G."""
    return [
        (g, twin)
        for g in solutions
        for twin in solutions
        if g.arm == GRADUAL
        and twin.arm not in (GRADUAL, DENSE)
        and (twin.seed, twin.level) == (g.seed, g.level)
    ]
