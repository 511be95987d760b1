"""The entropy of solutions at a given distance from the sign of a reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

from binary._checks import number
from binary.theory._gardner import gardner
from binary.theory.checks import check_distance, listed
from binary.theory.ensembles import Ensemble, check_ensemble
from binary.theory.iteration import NotConverged, fixed_point
from binary.theory.quadrature import gaussian_rule
from binary.theory.special import hazard, log_2cosh, log_tail

_INNER, _TABLE = 81, 800
_FIRST = 0.45
_LIMIT = 120  # evaluations of the map at one point
_NEGLIGIBLE = 1e-15


@dataclass(frozen=True)
class FranzParisiPoint:
    """Solutions at Hamming distance d from the binarised reference.

    Attributes:
        reference: the name of the ensemble.
        alpha: patterns per weight.
        distance: d, the fraction of weights that differ.
        entropy: S(d), log of the number of solutions per weight, in nats. Negative
            where typically there is none.
        coupling: gamma = -dS/dP, P = 1 - 2d: the field along sign(m) that brings the
            measure over solutions to this distance.
        q: overlap Q of two counted solutions.
        s1: overlap of a counted solution with the m it surrounds.
        s0: its overlap with an independent m.
        iterations: evaluations of the fixed-point map.
        residual: largest change of (Q, s1, s0) in one more turn.
        converged: False where no saddle point was found: only what was asked for
            (``distance``, or ``coupling``) is a number then, the rest NaN.

    Example:
        >>> point = binary.theory.franz_parisi(binary.theory.typical(0.55), 0.3)
        >>> point.distance, point.converged, round(point.entropy, 4)
        (0.3, True, 0.2705)
    """

    reference: str
    alpha: float
    distance: float
    entropy: float
    coupling: float
    q: float
    s1: float
    s0: float
    iterations: int
    residual: float
    converged: bool = True


class _Conjugates(NamedTuple):
    q: float
    s1: float
    s0: float
    energy: float


class _Overlaps(NamedTuple):
    p: float
    q: float
    s1: float
    s0: float
    entropy: float


def binary_entropy(distance: float) -> float:
    """Return -d log d - (1-d) log(1-d), the entropy of all weights at distance d.

    Example:
        >>> round(binary.theory.binary_entropy(0.5), 4)  # log 2
        0.6931
    """
    d = check_distance(distance)
    return 0.0 if d == 0 else float(-d * np.log(d) - (1 - d) * np.log1p(-d))


def _smoothed(
    functions: Sequence[Callable[[np.ndarray], np.ndarray]],
    width: float,
    low: float,
    high: float,
) -> CubicSpline:
    """Return x -> (E f(x + width * z) for each f) on [low, high] as one spline."""
    z, w = gaussian_rule(_INNER)
    grid = np.linspace(low, high, _TABLE)
    points = grid[:, None] + width * z
    return CubicSpline(grid, np.stack([f(points) @ w for f in functions], axis=1))


def _span(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    # Nodes without weight would stretch the table over fields that do not count.
    support = values[weights > _NEGLIGIBLE]
    return float(support.min()), float(support.max())


class _Saddle:
    """The saddle-point equations around one ensemble."""

    def __init__(self, ensemble: Ensemble) -> None:
        check_ensemble(ensemble)
        self.of = ensemble
        z = ensemble.z.weights[:, None]
        self.field_weights = z * ensemble.u.weights
        self.weight_weights = z * ensemble.m_weights
        self.sign = np.sign(ensemble.m)

    def conjugates(self, q: float, s1: float, s0: float, alpha: float) -> _Conjugates:
        """Return the energetic side: (Q hat, s1 hat, s0 hat) and G_E."""
        of = self.of
        # With V = q_self - q, a solution's field is h = b + c z1, z1 normal:
        #   b = s0 / sqrt(q) z0 + (s1 - s0) / sqrt(V) u, (Z, U),
        #   c^2 = Q - s0^2 / q - (s1 - s0)^2 / V.
        z0, u, variance = of.z.nodes[:, None], of.u.nodes, of.variance
        b = (s0 / np.sqrt(of.q)) * z0 + ((s1 - s0) / np.sqrt(variance)) * u
        c2 = q - s0**2 / of.q - (s1 - s0) ** 2 / variance
        root = np.sqrt(1 - q)

        def first(h: np.ndarray) -> np.ndarray:
            return hazard(-h / root) / root

        # L = log H(X) with X = -h / sqrt(1 - Q): G_E = <L>, L' = GH(X) / sqrt(1 - Q),
        # and <L''> is the slope along b of the average of L'.
        low, high = _span(b, self.field_weights)
        table = _smoothed(
            (lambda h: log_tail(-h / root), first, lambda h: first(h) ** 2),
            np.sqrt(max(c2, 0.0)),
            low,
            high,
        )
        inside = np.clip(b, low, high)
        value, slope, square = np.moveaxis(table(inside), -1, 0)
        curvature = table.derivative()(inside)[..., 1]
        w = self.field_weights
        tilt = (s1 - s0) / variance
        bend = float(np.sum(w * curvature))
        along_u = float(np.sum(w * slope * u)) / np.sqrt(variance)
        along_z = float(np.sum(w * slope * z0)) / np.sqrt(of.q)
        # Q_hat = alpha <L'^2>
        # s1_hat = alpha {<L' u> / sqrt(V) - <L''> (s1 - s0) / V}
        # s0_hat = -alpha {<L' (z0 / sqrt(q) - u / sqrt(V))>
        #                  + <L''> ((s1 - s0) / V - s0 / q)}
        return _Conjugates(
            q=alpha * float(np.sum(w * square)),
            s1=alpha * (along_u - bend * tilt),
            s0=-alpha * (along_z - along_u + bend * (tilt - s0 / of.q)),
            energy=float(np.sum(w * value)),
        )

    def overlaps(
        self, hat: _Conjugates, coupling: float, overlap: float | None
    ) -> tuple[_Overlaps, float]:
        """Return the entropic side; with ``overlap`` given, solve for the coupling."""
        of, sign = self.of, self.sign
        # theta = s0_hat / sqrt(q_hat) z + sqrt(Q_hat - s0_hat^2 / q_hat) eta
        #         + gamma sign(m) + (s1_hat - s0_hat) m, (Z, M), with eta normal;
        # G_S = <log 2 cosh theta>
        width = np.sqrt(max(hat.q - hat.s0**2 / of.q_hat, 0.0))
        base = (hat.s0 / np.sqrt(of.q_hat)) * of.z.nodes[:, None] + (
            hat.s1 - hat.s0
        ) * of.m
        w = self.weight_weights
        low, high = _span(base, w)
        # Room for the steps of the coupling; beyond it the table is held at its end.
        reach = max(abs(low), abs(high)) + abs(coupling) + 4.0
        table = _smoothed(
            (np.tanh, lambda t: np.tanh(t) ** 2, log_2cosh), width, -reach, reach
        )

        def at(value: float) -> np.ndarray:
            return table(np.clip(base + value * sign, -reach, reach))

        if overlap is not None:
            coupling = self._coupling(at, coupling, overlap)
        values = at(coupling)
        tanh, square, entropy = np.moveaxis(values, -1, 0)
        mean_m = of.weight_average(of.m)
        # P = <sign(m) tanh theta>, Q = <tanh^2 theta>,
        # s1 = <m tanh theta>, s0 = int Dz <m> <tanh theta>
        return _Overlaps(
            p=float(np.sum(w * sign * tanh)),
            q=float(np.sum(w * square)),
            s1=float(np.sum(w * of.m * tanh)),
            s0=of.outer(mean_m * of.weight_average(tanh)),
            entropy=float(np.sum(w * entropy)),
        ), coupling

    def _coupling(
        self, at: Callable[[float], np.ndarray], start: float, overlap: float
    ) -> float:
        """Newton's method: d<sign tanh>/d coupling is 1 - <tanh^2>, positive."""
        value, w = start, self.weight_weights
        for _ in range(60):
            # After 60 steps solve() refuses an overlap that is not met.
            values = at(value)
            gap = float(np.sum(w * self.sign * values[..., 0])) - overlap
            if abs(gap) < 1e-12:
                break
            # Where every tanh is saturated the slope is 0.
            slope = max(1 - float(np.sum(w * values[..., 1])), 1e-6)
            value -= float(np.clip(gap / slope, -2.0, 2.0))
        return value

    def solve(
        self,
        start: np.ndarray,
        coupling: float,
        overlap: float | None,
        name: str,
    ) -> FranzParisiPoint:
        """Solve at a fixed overlap, or at a fixed coupling if ``overlap`` is None."""
        of = self.of

        def step(x: np.ndarray) -> np.ndarray:
            nonlocal coupling
            hat = self.conjugates(*map(float, x), alpha=of.alpha)
            new, coupling = self.overlaps(hat, coupling, overlap)
            return np.array([new.q, new.s1, new.s0])

        point = fixed_point(
            step, start, project=self._project, tolerance=1e-9, limit=_LIMIT, name=name
        )
        q, s1, s0 = map(float, point.value)
        hat = self.conjugates(q, s1, s0, of.alpha)
        new, coupling = self.overlaps(hat, coupling, overlap)
        if overlap is not None and abs(new.p - overlap) > 1e-8:
            raise NotConverged(f"{name}: overlap off by {new.p - overlap:.3g}")
        # S = -gamma P - s1_hat s1 + s0_hat s0 - Q_hat (1 - Q) / 2 + G_S + alpha G_E
        return FranzParisiPoint(
            reference=of.name,
            alpha=of.alpha,
            distance=0.5 * (1 - new.p),
            entropy=float(
                -coupling * new.p
                - hat.s1 * s1
                + hat.s0 * s0
                - 0.5 * hat.q * (1 - q)
                + new.entropy
                + of.alpha * hat.energy
            ),
            coupling=coupling,
            q=q,
            s1=s1,
            s0=s0,
            iterations=point.iterations,
            residual=point.residual,
        )

    def _project(self, x: np.ndarray) -> np.ndarray:
        # Fields are divided by sqrt(1 - Q).
        return np.array([np.clip(x[0], 1e-6, 1 - 1e-7), *np.clip(x[1:], 1e-9, 1.0)])

    def guess(self, overlap: float) -> np.ndarray:
        """Return (Q, s1, s0) of weights that are sign(m) with random flips."""
        of = self.of
        mean = of.weight_average(of.m)
        t = of.outer(mean * of.weight_average(self.sign))
        p_m = of.outer(of.weight_average(np.abs(of.m)))
        # s1 = P <|m|>, s0 = P <m> <sign m>; Q = P^2, at least that of any two solutions
        q = max(gardner(of.alpha).q, overlap**2)
        return self._project(np.array([q, overlap * p_m, overlap * t]))


def franz_parisi_curve(
    ensemble: Ensemble, distances: Sequence[float] | np.ndarray
) -> list[FranzParisiPoint]:
    r"""Return S(d) around the binarised configurations of an ensemble.

    .. math:: S(d) = \lim_N \frac1N E\,\Big\langle \log \sum_W
        1[\mathcal H(W)=0]\,\delta\big(N(1-2d) - \sum_i \mathrm{sign}(m_i) W_i\big)
        \Big\rangle

    One code serves every ensemble; RS in the counted solutions. The curve is followed
    outwards from d = 0.45, each point started at its neighbour.

    Args:
        ensemble: the reference: :func:`typical`, :func:`spherical`, or the
            ``ensemble`` of a stochastic or control point.
        distances: fractions of differing weights, each in (0, 0.5].

    Returns:
        One point for each distance, in the order given; ``converged`` says of each
        whether its saddle point was found. Close to the reference it may be lost.

    Raises:
        ValueError: for no distance, or one outside (0, 0.5].

    Example:
        >>> curve = binary.theory.franz_parisi_curve(binary.theory.typical(0.55), [0.3])
        >>> round(curve[0].entropy, 4)
        0.2705
    """
    fractions = [check_distance(d) for d in listed(distances, "distances")]
    if not fractions or min(fractions) == 0:
        raise ValueError(
            "distance: expected fractions in (0, 0.5], at least one, got "
            f"{[float(d) for d in fractions]}"
        )
    saddle = _Saddle(ensemble)
    solved: dict[float, FranzParisiPoint] = {}
    for path in (
        sorted((d for d in fractions if d <= _FIRST), reverse=True),
        sorted(d for d in fractions if d > _FIRST),
    ):
        # From 0.45 inwards, then outwards: a point starts at the last one found.
        start, coupling = None, 0.0
        for d in _ladder(path):
            overlap = 1 - 2 * d
            name = f"franz_parisi({ensemble.name}, d={d:g})"
            guess = saddle.guess(overlap) if start is None else start
            try:
                point = saddle.solve(guess, coupling, overlap, name)
            except NotConverged:
                solved[d] = _lost(ensemble, distance=d)
                continue  # the next one starts at the last that was found
            solved[d] = point
            start, coupling = np.array([point.q, point.s1, point.s0]), point.coupling
    return [solved[d] for d in fractions]


def _lost(
    ensemble: Ensemble, *, distance: float = np.nan, coupling: float = np.nan
) -> FranzParisiPoint:
    """Return the mark of a point that was not found."""
    nan = float("nan")
    return FranzParisiPoint(
        reference=ensemble.name,
        alpha=ensemble.alpha,
        distance=distance,
        entropy=nan,
        coupling=coupling,
        q=nan,
        s1=nan,
        s0=nan,
        iterations=_LIMIT,
        residual=nan,
        converged=False,
    )


def _ladder(path: list[float]) -> list[float]:
    """Insert stepping stones where neighbouring distances are far apart."""
    if not path:
        return []
    rungs, here = [], _FIRST
    for d in path:
        while here / d > 1.6:
            here /= 1.4
            rungs.append(here)
        if d not in rungs:
            rungs.append(d)
        here = d
    return rungs


def franz_parisi(ensemble: Ensemble, distance: float) -> FranzParisiPoint:
    """Return S(d) at one distance; see :func:`franz_parisi_curve`.

    Raises:
        NotConverged: when the saddle point is not found.

    Example:
        >>> point = binary.theory.franz_parisi(binary.theory.typical(0.55), 0.3)
        >>> round(point.entropy, 4)
        0.2705
    """
    point = franz_parisi_curve(ensemble, [distance])[0]
    if not point.converged:
        raise NotConverged(
            f"franz_parisi({ensemble.name}, d={distance:g}): no saddle point after "
            f"{point.iterations} iterations"
        )
    return point


def franz_parisi_coupled(
    ensemble: Ensemble, couplings: Sequence[float] | np.ndarray
) -> list[FranzParisiPoint]:
    """Return the points of the curve at given couplings gamma, in the order given.

    At gamma = 0 solutions are not attracted: the point is the maximum of S(d), where
    S is the Gardner entropy and d the typical distance.

    Args:
        ensemble: the reference.
        couplings: fields along sign(m), finite and >= 0.

    Returns:
        One point for each; ``converged`` says whether its saddle point was found.

    Raises:
        ValueError: for a coupling that is negative or not finite.

    Example:
        >>> typical = binary.theory.typical(0.55)
        >>> points = binary.theory.franz_parisi_coupled(typical, [0.5])
        >>> points[0].coupling, points[0].converged
        (0.5, True)
    """
    expected = "finite numbers >= 0"
    gammas = [
        number("couplings", g, expected, lambda x: 0 <= x < np.inf)
        for g in listed(couplings, "couplings")
    ]
    if not gammas:
        raise ValueError("couplings: expected at least one number")
    saddle = _Saddle(ensemble)
    solved: dict[float, FranzParisiPoint] = {}
    start = saddle.guess(ensemble.q)
    # From gamma = 0 up, each point starting at the one before.
    for gamma in sorted(gammas):
        name = f"franz_parisi({ensemble.name}, coupling={gamma:g})"
        try:
            point = saddle.solve(start, gamma, None, name)
        except NotConverged:
            solved[gamma] = _lost(ensemble, coupling=gamma)
            continue
        solved[gamma], start = point, np.array([point.q, point.s1, point.s0])
    return [solved[g] for g in gammas]
