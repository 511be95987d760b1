"""The curves of ``python -m binary theory``: each a table of numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from binary.theory import (
    NotConverged,
    binary_entropy,
    capacity,
    critical_beta,
    first_order_point,
    flip_energy,
    franz_parisi_curve,
    gardner,
    reference,
    spinodal,
    stochastic,
    teacher_student,
)

CurveName = Literal[
    "gardner",
    "capacity",
    "teacher-student",
    "stochastic",
    "replicon",
    "bc",
    "robustness",
    "franz-parisi",
]


_LOAD, _NORM = "load (patterns / weights)", "q*, mean square of m"


@dataclasses.dataclass(frozen=True)
class Theory:
    """Which curve, and where.

    Attributes:
        curve: gardner: entropy against load; capacity: against margin;
            teacher-student: overlap against load; stochastic: loss and energies against
            q*; replicon: the beta where RS becomes unstable, against q*; bc: energy and
            overlaps of sign(m) against q*; robustness: error after flips against
            distance; franz-parisi: entropy of solutions against distance.
        alpha: Load, where it is not the axis.
        beta: Inverse temperature.
        q_star: Squared norm, where it is not the axis.
        kappa: Margin of the gardner curve.
        reference: Around what: typical, spherical, stochastic or control.
        low: Where the axis begins; None: where the curve does.
        high: Where it ends; None: where the curve does.
        points: Points on the axis.
        out: Folder for CURVE.csv and CURVE.png.
    """

    curve: CurveName = "gardner"
    alpha: float = 0.55
    beta: float = 20.0
    q_star: float = 0.9
    kappa: float = 0.0
    reference: str = "stochastic"
    low: float | None = None
    high: float | None = None
    points: int = 25
    out: Path = Path("runs/theory")


class Panel(NamedTuple):
    """What one axis of the figure shows: lines of one quantity.

    Attributes:
        label: of the axis, with its unit.
        lines: (column, name) of each.
        logarithmic: whether values span decades.
        limit: (value, name) of a level that is worth a line.
    """

    label: str
    lines: tuple[tuple[str, str], ...]
    logarithmic: bool = False
    limit: tuple[float, str] | None = None


class Curve(NamedTuple):
    """A table and how to draw it.

    Attributes:
        axis: the first column.
        label: of the axis, with units.
        rows: the points; all have the same columns.
        panels: of the figure, one quantity each.
        marks: (axis value, text) of special points.
        missing: axis values without a point.
    """

    axis: str
    label: str
    rows: list[dict[str, float]]
    panels: tuple[Panel, ...]
    marks: tuple[tuple[float, str], ...] = ()
    missing: tuple[float, ...] = ()


def _axis(config: Theory, low: float, high: float) -> list[float]:
    low = low if config.low is None else config.low
    high = high if config.high is None else config.high
    if config.points < 1 or not low <= high:
        raise ValueError(
            f"points, low, high: expected points >= 1 and low <= high, got "
            f"{config.points}, {low:g} and {high:g}"
        )
    return [float(x) for x in np.linspace(low, high, config.points)]


def _pick(point: Any, *names: str) -> dict[str, float]:
    return {name: getattr(point, name) for name in names}


def _points(
    solve: Callable[[float], Any], values: Sequence[float]
) -> tuple[list[Any], tuple[float, ...]]:
    """Return the points that were found, and the values that have none.

    Raises:
        NotConverged: if there is none at all.
    """
    points, missing = [], []
    for value in values:
        try:
            points.append(solve(value))
        except NotConverged as error:
            missing.append(value)
            # One lost point is a gap in the curve; a curve of gaps is an error.
            if len(missing) == len(values):
                raise NotConverged(
                    f"no point of the curve was found: {error}"
                ) from error
    return points, tuple(missing)


def _gardner(config: Theory) -> Curve:
    top = capacity(config.kappa)
    loads = _axis(config, 0.02, top.alpha)
    points, missing = _points(lambda a: gardner(a, config.kappa), loads)
    names = ("alpha", "q", "q_hat", "entropy", "replicon")
    rows = [_pick(point, *names) for point in points]
    panels = (
        Panel("entropy per weight (nats)", (("entropy", "solutions"),)),
        Panel("overlap q of two solutions", (("q", "q"),)),
    )
    marks = ((top.alpha, f"capacity {top.alpha:.4f}"),)
    return Curve("alpha", _LOAD, rows, panels, marks, missing)


def _capacity(config: Theory) -> Curve:
    points, missing = _points(capacity, _axis(config, 0.0, 2.0))
    rows = [
        _pick(point, "kappa", "alpha", "q", "q_hat", "replicon") for point in points
    ]
    panels = (
        Panel("capacity (patterns / weights)", (("alpha", "capacity"),)),
        Panel("overlap q of two solutions at capacity", (("q", "q"),)),
    )
    label = "margin (standard deviations)"
    return Curve("kappa", label, rows, panels, missing=missing)


def _teacher_student(config: Theory) -> Curve:
    end, turn = spinodal(), first_order_point()
    points, missing = _points(teacher_student, _axis(config, 0.05, end.alpha))
    names = ("alpha", "overlap", "conjugate", "entropy", "generalization_error")
    rows = [_pick(point, *names) for point in points]
    panels = (
        Panel("overlap with the teacher", (("overlap", "a random solution"),)),
        Panel("generalisation error", (("generalization_error", "its error"),)),
        Panel("entropy per weight (nats)", (("entropy", "solutions"),)),
    )
    marks = (
        (turn.alpha, f"first order {turn.alpha:.4f}"),
        (end.alpha, f"spinodal {end.alpha:.4f}"),
    )
    return Curve("alpha", _LOAD, rows, panels, marks, missing)


def _along_q_star(config: Theory) -> tuple[list[Any], tuple[float, ...]]:
    return _points(
        lambda q_star: stochastic(config.alpha, q_star, config.beta),
        _axis(config, 0.05, 0.95),
    )


def _stochastic(config: Theory) -> Curve:
    names = ("q_star", "q", "q_hat", "multiplier", "free_entropy", "loss")
    energies = ("energy_draw", "energy_mode", "replicon")
    points, missing = _along_q_star(config)
    rows = [_pick(point, *names, *energies) for point in points]
    errors = (("energy_draw", "a draw"), ("energy_mode", "sign(m)"))
    panels = (
        Panel("loss per pattern (nats)", (("loss", "loss"),)),
        Panel("training error (share of patterns)", errors),
        Panel("replicon", (("replicon", "replicon"),), limit=(1.0, "RS stable below")),
    )
    return Curve("q_star", _NORM, rows, panels, missing=missing)


def _bc(config: Theory) -> Curve:
    names = ("q_star", "energy_mode", "mean_abs", "alignment", "replicon")
    points, missing = _along_q_star(config)
    rows = [_pick(point, *names) for point in points]
    line = (("energy_mode", "sign(m)"),)
    panels = (Panel("training error of sign(m) (share of patterns)", line, True),)
    return Curve("q_star", _NORM, rows, panels, missing=missing)


def _replicon(config: Theory) -> Curve:
    points, missing = _points(
        lambda q_star: critical_beta(config.alpha, q_star),
        # At load 0.55 RS becomes unstable between q* of about 0.77 and 0.95.
        _axis(config, 0.75, 0.95),
    )
    names = ("q_star", "beta", "q", "replicon", "energy_mode")
    rows = [_pick(point, *names) for point in points]
    panels = (Panel("beta where RS becomes unstable (1 / nats)", (("beta", "beta"),)),)
    return Curve("q_star", _NORM, rows, panels, missing=missing)


def _robustness(config: Theory) -> Curve:
    ensemble = _reference(config)
    rows = [
        {"distance": d, "error": flip_energy(ensemble, d)}
        for d in _axis(config, 0.0, 0.5)
    ]
    label = "training error after random flips (share of patterns)"
    panels = (Panel(label, (("error", "error"),)),)
    return Curve("distance", "fraction of flipped weights", rows, panels)


def _franz_parisi(config: Theory) -> Curve:
    points = franz_parisi_curve(_reference(config), _axis(config, 0.01, 0.5))
    missing = tuple(p.distance for p in points if not p.converged)
    if len(missing) == len(points):
        raise NotConverged(f"franz-parisi: no point was found among {len(points)}")
    names = ("distance", "entropy", "coupling", "q", "s1", "s0")
    rows = [
        {**_pick(p, *names), "all_weights": binary_entropy(p.distance)}
        for p in points
        if p.converged
    ]
    lines = (("entropy", "solutions"), ("all_weights", "all weight vectors"))
    panels = (Panel("entropy per weight (nats)", lines),)
    label = "Hamming distance per weight"
    return Curve("distance", label, rows, panels, missing=missing)


def _reference(config: Theory) -> Any:
    return reference(
        config.reference, config.alpha, q_star=config.q_star, beta=config.beta
    )


CURVES: dict[str, Callable[[Theory], Curve]] = {
    "gardner": _gardner,
    "capacity": _capacity,
    "teacher-student": _teacher_student,
    "stochastic": _stochastic,
    "replicon": _replicon,
    "bc": _bc,
    "robustness": _robustness,
    "franz-parisi": _franz_parisi,
}
