"""Learning a binary teacher: Bayes-optimal entropy, first-order point and spinodal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import minimize_scalar

from binary.theory.checks import check_alpha
from binary.theory.iteration import NotConverged, bracketed_root
from binary.theory.quadrature import gaussian_rule
from binary.theory.special import hazard, log_2cosh, log_tail, tail

_LOWEST = np.log(1e-9)  # of R_hat, at load 1.6e-9


@dataclass(frozen=True)
class TeacherStudentPoint:
    """A student that draws a solution at random, at one load.

    Attributes:
        alpha: patterns per weight.
        overlap: R, with the teacher and with another student.
        conjugate: R hat; infinite on the branch that has found the teacher.
        entropy: log of the number of solutions per weight, in nats.
        slope: d entropy / d alpha.
        generalization_error: arccos(R) / pi.
        iterations: function evaluations of the solver.
        residual: |R - R'| after one more turn of the saddle-point equations.

    Example:
        >>> point = binary.theory.teacher_student(1.0)
        >>> round(point.overlap, 6), round(point.generalization_error, 4)
        (0.560715, 0.3105)
    """

    alpha: float
    overlap: float
    conjugate: float
    entropy: float
    slope: float
    generalization_error: float
    iterations: int
    residual: float


def overlap(conjugate: float) -> float:
    """Return R as a function of its conjugate."""
    # R = int Dz tanh(sqrt(R_hat) z + R_hat)
    z, w = gaussian_rule()
    return float(w @ np.tanh(np.sqrt(conjugate) * z + conjugate))


def _fields(r: float) -> np.ndarray:
    # X = sqrt(R / (1 - R)) z
    return np.sqrt(r / (1 - r)) * gaussian_rule().nodes


def _information(r: float) -> float:
    x = _fields(r)
    # 2 int Dz G^2 / H, as 2 int Dz (G / H)^2 H: G / H is good where both underflow.
    return float(2 * (gaussian_rule().weights @ (hazard(x) ** 2 * tail(x))))


def load(conjugate: float) -> float:
    """Return the load at which the conjugate solves the saddle-point equations."""
    r = overlap(conjugate)
    # R_hat = 2 alpha / (1 - R) int Dz G(X)^2 / H(X), solved for alpha
    return float(conjugate * (1 - r) / _information(r))


def energetic(r: float) -> float:
    """Return twice the average of H log H, which is also d entropy / d alpha."""
    x = _fields(r)
    return float(2 * (gaussian_rule().weights @ (tail(x) * log_tail(x))))


def free_entropy(alpha: float, r: float, conjugate: float) -> float:
    """Return the Bayes-optimal free entropy at any order parameters."""
    z, w = gaussian_rule()
    # phi = -R_hat (1 + R) / 2 + int Dz log 2 cosh(sqrt(R_hat) z + R_hat) + alpha G_E
    entropic = w @ log_2cosh(np.sqrt(conjugate) * z + conjugate)
    return float(-0.5 * conjugate * (1 + r) + entropic + alpha * energetic(r))


@cache
def _turning_point() -> tuple[float, float]:
    # The load of the state R < 1 rises with R_hat up to the spinodal, where R_hat is
    # 3.3, and falls beyond: the first fall on a grid brackets the maximum.
    grid = np.linspace(np.log(0.05), np.log(8.0), 60)
    loads = [load(np.exp(t)) for t in grid]
    first = int(np.argmax(np.diff(loads) < 0))
    peak = minimize_scalar(
        lambda t: -load(np.exp(t)),
        bounds=(grid[first - 1], grid[first + 1]),
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(peak.x), -float(peak.fun)


def _state(log_conjugate: float, alpha: float, calls: int) -> TeacherStudentPoint:
    conjugate = float(np.exp(log_conjugate))
    r = overlap(conjugate)
    again = alpha / (1 - r) * _information(r)
    return TeacherStudentPoint(
        alpha=alpha,
        overlap=r,
        conjugate=conjugate,
        entropy=free_entropy(alpha, r, conjugate),
        slope=energetic(r),
        generalization_error=float(np.arccos(r) / np.pi),
        iterations=calls,
        residual=abs(overlap(again) - r),
    )


def teacher_student(alpha: float, *, branch: str = "metastable") -> TeacherStudentPoint:
    r"""Solve the teacher-student problem at one load.

    .. math::
        \varphi = -\tfrac12\hat R(1+R) + \int Dz\log2\cosh(\sqrt{\hat R}z+\hat R)
        + 2\alpha\int Dz\, H(X)\log H(X),\quad X=\sqrt{R/(1-R)}\,z

    Args:
        alpha: patterns per weight, > 0.
        branch: "metastable", the state R < 1 up to the spinodal, where its entropy
            may be negative; or "equilibrium", which passes to the teacher (R = 1,
            entropy 0) at the first-order point.

    Returns:
        A :class:`TeacherStudentPoint` of Python floats.

    Raises:
        ValueError: for a load that is not positive or an unknown branch.
        NotConverged: on the metastable branch above the spinodal, where it is gone.

    Example:
        >>> round(binary.theory.teacher_student(1.0).overlap, 6)
        0.560715

    Reference:
        Gyoergyi, Physical Review A 41 (1990), the binary teacher and student.
    """
    alpha = check_alpha(alpha)
    if branch not in ("metastable", "equilibrium"):
        raise ValueError(
            f"branch: expected 'metastable' or 'equilibrium', got {branch!r}"
        )
    # From there on the teacher alone, phi = 0, outweighs the state R < 1, whose phi is
    # negative.
    if branch == "equilibrium" and alpha > first_order_point().alpha:
        return TeacherStudentPoint(alpha, 1.0, float("inf"), 0.0, 0.0, 0.0, 0, 0.0)
    top, highest = _turning_point()
    if alpha > highest:
        raise NotConverged(
            f"teacher_student: no state with R < 1 at alpha = {alpha:g}, above the "
            f"spinodal {highest:.5f}"
        )
    # Up to the turning point the load rises with R_hat, so that there is one root.
    log_hat, calls = bracketed_root(
        lambda t: load(np.exp(t)) - alpha, _LOWEST, top, name="teacher_student"
    )
    return _state(log_hat, alpha, calls)


@cache
def first_order_point() -> TeacherStudentPoint:
    """Return the state R < 1 whose entropy is that of the teacher alone, zero.

    Example:
        >>> round(binary.theory.first_order_point().alpha, 3)
        1.245
    """

    def entropy(log_hat: float) -> float:
        conjugate = np.exp(log_hat)
        return free_entropy(load(conjugate), overlap(conjugate), conjugate)

    # At R_hat = 1/2, load 0.60, phi is still positive; at the spinodal it is negative.
    top, _ = _turning_point()
    log_hat, calls = bracketed_root(entropy, np.log(0.5), top, name="first_order_point")
    return _state(log_hat, load(np.exp(log_hat)), calls)


def spinodal() -> TeacherStudentPoint:
    """Return the state at the largest load where R < 1 exists.

    Example:
        >>> round(binary.theory.spinodal().alpha, 3)
        1.493
    """
    top, highest = _turning_point()
    return _state(top, highest, 0)
