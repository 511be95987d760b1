"""The binary perceptron that stores random patterns: Gardner entropy and capacity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from binary.theory.checks import check_alpha, check_margin
from binary.theory.iteration import bracketed_root
from binary.theory.quadrature import gaussian_rule
from binary.theory.special import hazard, log_2cosh, log_tail

# Of q_hat: loads from 1.6e-9 to 1.18 at kappa = 0, on both sides of the capacity.
_LOG_RANGE = (np.log(1e-9), np.log(60.0))


@dataclass(frozen=True)
class GardnerPoint:
    """The replica-symmetric state of the storage problem at one load.

    Attributes:
        alpha: patterns per weight.
        kappa: margin, in units of the standard deviation of the pre-activation.
        q: overlap of two typical solutions.
        q_hat: its conjugate.
        entropy: log of the number of solutions per weight, in nats.
        slope: d entropy / d alpha.
        replicon: the RS state is locally stable while this is below 1.
        iterations: function evaluations of the solver.
        residual: |q - q'| after one more turn of the saddle-point equations.

    Example:
        >>> point = binary.theory.gardner(0.55)
        >>> round(point.entropy, 6), round(point.q, 4)
        (0.271721, 0.3564)
    """

    alpha: float
    kappa: float
    q: float
    q_hat: float
    entropy: float
    slope: float
    replicon: float
    iterations: int
    residual: float


def overlap(q_hat: float) -> float:
    """Return q as a function of its conjugate, the average of tanh^2."""
    # q = int Dz tanh^2(sqrt(q_hat) z)
    z, w = gaussian_rule()
    return float(w @ np.tanh(np.sqrt(q_hat) * z) ** 2)


def reduced_fields(q: float, kappa: float) -> np.ndarray:
    """Return X = (kappa + sqrt(q) z) / sqrt(1 - q) on the Gaussian grid."""
    return (kappa + np.sqrt(q) * gaussian_rule().nodes) / np.sqrt(1 - q)


def load(q_hat: float, kappa: float) -> float:
    """Return the load at which q_hat solves the saddle-point equations."""
    q = overlap(q_hat)
    # q_hat = alpha / (1 - q) int Dz (G / H)^2(X), solved for alpha
    mean = gaussian_rule().weights @ hazard(reduced_fields(q, kappa)) ** 2
    return float(q_hat * (1 - q) / mean)


def energetic(q: float, kappa: float) -> float:
    """Return the average of log H(X), which is also d entropy / d alpha."""
    # G_E = int Dz log H(X); phi is stationary in q and q_hat, so that d phi / d alpha
    # is what alpha multiplies.
    return float(gaussian_rule().weights @ log_tail(reduced_fields(q, kappa)))


def free_entropy(alpha: float, q: float, q_hat: float, kappa: float = 0.0) -> float:
    """Return the RS free entropy at any order parameters (stationary at the saddle).

    It is the action of :func:`gardner`: the saddle point of Krauth and Mezard (1989).
    """
    z, w = gaussian_rule()
    # phi = -q_hat (1 - q) / 2 + int Dz log 2 cosh(sqrt(q_hat) z) + alpha G_E
    entropic = w @ log_2cosh(np.sqrt(q_hat) * z)
    return float(-0.5 * q_hat * (1 - q) + entropic + alpha * energetic(q, kappa))


def replicon(alpha: float, q: float, q_hat: float, kappa: float = 0.0) -> float:
    """Return the de Almeida-Thouless eigenvalue: RS is stable while it is below 1."""
    z, w = gaussian_rule()
    x = reduced_fields(q, kappa)
    # With GH = G(X) / H(X):
    # lambda = alpha int Dz [GH (GH - X) / (1 - q)]^2 int Dz sech^4(sqrt(q_hat) z)
    ratio = hazard(x)
    energetic_part = w @ (ratio * (ratio - x) / (1 - q)) ** 2
    entropic_part = w @ (1 - np.tanh(np.sqrt(q_hat) * z) ** 2) ** 2
    return float(alpha * energetic_part * entropic_part)


def gardner(alpha: float, kappa: float = 0.0) -> GardnerPoint:
    r"""Solve the storage problem of the binary perceptron at one load.

    .. math::
        \varphi = -\tfrac12\hat q(1-q) + \int Dz \log 2\cosh(\sqrt{\hat q} z)
        + \alpha \int Dz \log H\left(\frac{\kappa+\sqrt q z}{\sqrt{1-q}}\right)

    The load is an explicit function of the conjugate, so one bracketed root in it
    gives the state to rounding.

    Args:
        alpha: patterns per weight, > 0. Above the capacity the entropy is negative:
            no solution exists there, and the number is a formal continuation.
        kappa: margin, zero by default.

    Returns:
        A :class:`GardnerPoint` of Python floats.

    Raises:
        ValueError: for a load that is not positive or a margin that is not finite.
        NotConverged: where the equations have no solution.

    Example:
        >>> round(binary.theory.gardner(0.55).entropy, 6)
        0.271721

    Reference:
        Krauth and Mezard, Storage capacity of memory networks with binary couplings
        (1989); Baldassi et al., arXiv 1710.09825.
    """
    alpha, kappa = check_alpha(alpha), check_margin(kappa)
    # The load rises with q_hat over the whole range: the root is the only one.
    log_hat, calls = bracketed_root(
        lambda t: load(np.exp(t), kappa) - alpha, *_LOG_RANGE, name="gardner"
    )
    q_hat = float(np.exp(log_hat))
    q = overlap(q_hat)
    mean = gaussian_rule().weights @ hazard(reduced_fields(q, kappa)) ** 2
    return GardnerPoint(
        alpha=alpha,
        kappa=kappa,
        q=q,
        q_hat=q_hat,
        entropy=free_entropy(alpha, q, q_hat, kappa),
        slope=energetic(q, kappa),
        replicon=replicon(alpha, q, q_hat, kappa),
        iterations=calls,
        residual=abs(overlap(alpha / (1 - q) * float(mean)) - q),
    )


@cache
def _capacity(kappa: float) -> GardnerPoint:
    def entropy(log_hat: float) -> float:
        q_hat = np.exp(log_hat)
        return free_entropy(load(q_hat, kappa), overlap(q_hat), q_hat, kappa)

    # Along the saddle points phi falls from log 2 at load 0 to below 0 past capacity.
    log_hat, _ = bracketed_root(entropy, *_LOG_RANGE, name="capacity")
    return gardner(load(np.exp(log_hat), kappa), kappa)


def capacity(kappa: float = 0.0) -> GardnerPoint:
    """Return the state at the load where the entropy vanishes.

    Args:
        kappa: margin, zero by default.

    Returns:
        A :class:`GardnerPoint`; its ``alpha`` is the capacity.

    Raises:
        ValueError: for a margin that is not finite.
        NotConverged: where the entropy does not change sign.

    Example:
        >>> round(binary.theory.capacity().alpha, 5)
        0.83308
    """
    return _capacity(check_margin(kappa))
