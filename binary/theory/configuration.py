"""Energies of a reference: of sign(m), of a draw, after flips; and its replicon."""

from __future__ import annotations

import numpy as np

from binary.theory.checks import check_distance
from binary.theory.ensembles import Ensemble, check_ensemble
from binary.theory.special import log_tail, tail


def mode_overlaps(ensemble: Ensemble) -> tuple[float, float]:
    """Return p_m = <|m|> and t = <m> <sign m>, averaged over the field.

    Example:
        >>> spherical = binary.theory.spherical(0.5)
        >>> [round(v, 4) for v in binary.theory.mode_overlaps(spherical)]
        [0.7979, 0.2453]
    """
    check_ensemble(ensemble)
    m = ensemble.m
    p_m = ensemble.outer(ensemble.weight_average(np.abs(m)))
    t = ensemble.outer(ensemble.weight_average(m) * ensemble.weight_average(np.sign(m)))
    return p_m, t


def mode_field(ensemble: Ensemble) -> tuple[np.ndarray, float]:
    """Return the mean a (Z, U) and variance v of sign(m)'s field given z0 and u."""
    p_m, t = mode_overlaps(ensemble)
    q, variance = ensemble.q, ensemble.variance
    # With V = q_self - q, the field of sign(m) given z0 and u is normal, of
    #   a = t / sqrt(q) z0 + (p_m - t) / sqrt(V) u,
    #   v = 1 - t^2 / q - (p_m - t)^2 / V.
    mean = (t / np.sqrt(q)) * ensemble.z.nodes[:, None] + (
        (p_m - t) / np.sqrt(variance)
    ) * ensemble.u.nodes
    spread = 1 - t**2 / q - (p_m - t) ** 2 / variance
    # Where m is +-1 itself v is 0, and a rounding error below 0 without the floor.
    return mean, max(float(spread), 1e-30)


def flip_energy(ensemble: Ensemble, distance: float) -> float:
    r"""Return the training error of sign(m) with a random fraction of weights flipped.

    .. math:: E(d) = \int Dz_0 \Big\langle H\Big(
        \frac{P a}{\sqrt{1-P^2+P^2 v}}\Big)\Big\rangle_u,\quad P = 1-2d

    Args:
        ensemble: the reference.
        distance: the fraction d that is flipped, in [0, 0.5].

    Returns:
        The mean fraction of patterns in error.

    Raises:
        ValueError: for a distance outside [0, 0.5].

    Example:
        >>> typical = binary.theory.typical(0.5)
        >>> [round(binary.theory.flip_energy(typical, d), 3) for d in (0.0, 0.1, 0.5)]
        [0.0, 0.23, 0.5]
    """
    overlap = 1 - 2 * check_distance(distance)
    mean, spread = mode_field(ensemble)
    width = np.sqrt(1 - overlap**2 + overlap**2 * spread)
    return ensemble.outer(ensemble.field_average(tail(overlap * mean / width)))


def mode_energy(ensemble: Ensemble) -> float:
    """Return the mean training error of sign(m).

    Example:
        >>> round(binary.theory.mode_energy(binary.theory.spherical(0.5)), 4)
        0.2299
    """
    return flip_energy(ensemble, 0.0)


def draw_energy(ensemble: Ensemble) -> float:
    """Return the mean training error of one draw W ~ Q_m, the average of H(Delta).

    Example:
        >>> round(binary.theory.draw_energy(binary.theory.typical(0.5)), 4)
        0.0
    """
    check_ensemble(ensemble)
    # Where the gain is infinite all fields are positive: Delta is infinite, never NaN.
    error = tail(ensemble.gain * ensemble.field)
    return ensemble.outer(ensemble.field_average(error))


def loss(ensemble: Ensemble) -> float:
    """Return the mean of -log Phi(Delta) per pattern.

    Example:
        >>> round(binary.theory.loss(binary.theory.spherical(0.5)), 4)
        0.0
    """
    check_ensemble(ensemble)
    cost = -log_tail(-ensemble.gain * ensemble.field)
    return ensemble.outer(ensemble.field_average(cost))


def replicon(ensemble: Ensemble) -> float:
    r"""Return the de Almeida-Thouless eigenvalue; RS is stable while it is below 1.

    .. math:: \lambda = \alpha \int Dz_0 \Big[\frac{1-\mathrm{Var}_u}{V}\Big]^2
        \int Dz\, [\mathrm{Var}_m]^2

    Example:
        >>> binary.theory.replicon(binary.theory.typical(0.5)) < 1
        True
    """
    check_ensemble(ensemble)
    u, m = ensemble.u.nodes, ensemble.m
    var_u = ensemble.field_average(u**2) - ensemble.field_average(u) ** 2
    var_m = ensemble.weight_average(m**2) - ensemble.weight_average(m) ** 2
    stiffness = ensemble.outer(((1 - var_u) / ensemble.variance) ** 2)
    return ensemble.alpha * stiffness * ensemble.outer(var_m**2)
