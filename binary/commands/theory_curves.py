"""The curves of ``python -m binary theory``: each a table of numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
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


class Curve(NamedTuple):
    """A table and how to draw it.

    Attributes:
        axis: the first column.
        label: of the axis, with units.
        rows: the points; all have the same columns.
        drawn: (column, label) of each line that the figure shows.
        logarithmic: whether the figure's values span decades.
        marks: (axis value, text) of special points.
        missing: axis values without a point.
    """

    axis: str
    label: str
    rows: list[dict[str, float]]
    drawn: Sequence[tuple[str, str]]
    logarithmic: bool = False
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


def _gardner(config: Theory) -> Curve:
    top = capacity(config.kappa)
    rows = [
        _pick(gardner(a, config.kappa), "alpha", "q", "q_hat", "entropy", "replicon")
        for a in _axis(config, 0.02, top.alpha)
    ]
    drawn = (("entropy", "entropy per weight (nats)"), ("q", "overlap q"))
    marks = ((top.alpha, f"capacity {top.alpha:.4f}"),)
    return Curve("alpha", "load M/N", rows, drawn, marks=marks)


def _capacity(config: Theory) -> Curve:
    rows = [
        {"kappa": k, **_pick(capacity(k), "alpha", "q", "q_hat", "replicon")}
        for k in _axis(config, 0.0, 2.0)
    ]
    drawn = (("alpha", "capacity M/N"), ("q", "overlap q at capacity"))
    return Curve("kappa", "margin (standard deviations)", rows, drawn)


def _teacher_student(config: Theory) -> Curve:
    end, turn = spinodal(), first_order_point()
    rows = [
        _pick(
            teacher_student(a),
            "alpha",
            "overlap",
            "conjugate",
            "entropy",
            "generalization_error",
        )
        for a in _axis(config, 0.05, end.alpha)
    ]
    drawn = (
        ("overlap", "overlap with the teacher"),
        ("generalization_error", "generalisation error"),
        ("entropy", "entropy per weight (nats)"),
    )
    marks = (
        (turn.alpha, f"first order {turn.alpha:.4f}"),
        (end.alpha, f"spinodal {end.alpha:.4f}"),
    )
    return Curve("alpha", "load M/N", rows, drawn, marks=marks)


def _along_q_star(config: Theory) -> Iterator[Any]:
    for q_star in _axis(config, 0.05, 0.95):
        yield stochastic(config.alpha, q_star, config.beta)


def _stochastic(config: Theory) -> Curve:
    names = ("q_star", "q", "q_hat", "multiplier", "free_entropy", "loss")
    energies = ("energy_draw", "energy_mode", "replicon")
    rows = [_pick(p, *names, *energies) for p in _along_q_star(config)]
    drawn = (
        ("loss", "loss per pattern (nats)"),
        ("energy_draw", "error of a draw"),
        ("energy_mode", "error of sign(m)"),
        ("replicon", "replicon (RS stable below 1)"),
    )
    return Curve("q_star", "q*", rows, drawn)


def _bc(config: Theory) -> Curve:
    names = ("q_star", "energy_mode", "mean_abs", "alignment", "replicon")
    rows = [_pick(p, *names) for p in _along_q_star(config)]
    drawn = (("energy_mode", "training error of sign(m)"),)
    return Curve("q_star", "q*", rows, drawn, logarithmic=True)


def _replicon(config: Theory) -> Curve:
    rows, missing = [], []
    for q_star in _axis(config, 0.75, 0.95):
        try:
            point = critical_beta(config.alpha, q_star)
        except NotConverged:
            missing.append(q_star)
            continue
        rows.append(_pick(point, "q_star", "beta", "q", "replicon", "energy_mode"))
    if not rows:
        raise NotConverged("replicon: stable up to beta = 100 at every q* asked for")
    drawn = (("beta", "inverse temperature where RS becomes unstable"),)
    return Curve("q_star", "q*", rows, drawn, missing=tuple(missing))


def _robustness(config: Theory) -> Curve:
    ensemble = _reference(config)
    rows = [
        {"distance": d, "error": flip_energy(ensemble, d)}
        for d in _axis(config, 0.0, 0.5)
    ]
    drawn = (("error", "training error after random flips"),)
    return Curve("distance", "fraction of flipped weights", rows, drawn)


def _franz_parisi(config: Theory) -> Curve:
    points = franz_parisi_curve(_reference(config), _axis(config, 0.01, 0.5))
    rows = [
        {
            **_pick(p, "distance", "entropy", "coupling", "q", "s1", "s0"),
            "all_weights": binary_entropy(p.distance),
        }
        for p in points
    ]
    drawn = (
        ("entropy", "entropy of solutions (nats)"),
        ("all_weights", "entropy of all weights (nats)"),
    )
    return Curve("distance", "Hamming distance per weight", rows, drawn)


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
