"""Reference ensembles: the measures that replica theory puts on a weight and a field.

A reference configuration is drawn from one of four ensembles, and everything that is
asked about it (energies, robustness, the entropy of solutions nearby) needs only two
conditional measures: of one weight m given its Gaussian field z, and of the Gaussian u
that completes a pattern's field sqrt(q) z0 + sqrt(V) u given z0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from binary._checks import number
from binary.theory._gardner import gardner
from binary.theory.checks import check_alpha
from binary.theory.fields import normalised, satisfied_fields
from binary.theory.iteration import bracketed_root
from binary.theory.quadrature import Rule, gaussian_rule, split_rule
from binary.theory.special import hazard

# A step of 1/15 in z; stochastic() refines both where m varies more quickly.
_Z_POINTS, _M_POINTS = 241, 60


@dataclass(frozen=True)
class Ensemble:
    """A reference ensemble at its replica-symmetric saddle point.

    Attributes:
        name: which ensemble.
        alpha: patterns per weight.
        q_self: mean of m^2.
        q: overlap of two references; V = q_self - q.
        q_hat: its conjugate.
        gain: Delta = gain * field, the argument of log Phi(Delta); infinite where
            the reference has zero training error by construction.
        z: rule for the field of a weight, shape (Z,).
        m: values of a weight, shape (M,), or (2,) where it is binary.
        m_weights: their probabilities given z, shape (Z, M).
        u: rule for the rest of a pattern's field given z0 (the grid of ``z``), nodes
            of shape (1, U) or (Z, U), weights of shape (Z, U).

    Example:
        >>> ensemble = binary.theory.typical(0.5)
        >>> ensemble.name, ensemble.alpha, ensemble.m.tolist()
        ('typical', 0.5, [-1.0, 1.0])
    """

    name: str
    alpha: float
    q_self: float
    q: float
    q_hat: float
    gain: float
    z: Rule
    m: np.ndarray
    m_weights: np.ndarray
    u: Rule

    @property
    def variance(self) -> float:
        """V = q_self - q."""
        return self.q_self - self.q

    @property
    def field(self) -> np.ndarray:
        """A pattern's field sqrt(q) z0 + sqrt(V) u, shape (Z, U)."""
        return (
            np.sqrt(self.q) * self.z.nodes[:, None]
            + np.sqrt(self.variance) * self.u.nodes
        )

    def weight_average(self, values: np.ndarray) -> np.ndarray:
        """Average over m given z: values of shape (M,) or (Z, M) to shape (Z,)."""
        return np.sum(self.m_weights * values, axis=1)

    def field_average(self, values: np.ndarray) -> np.ndarray:
        """Average over u given z0: values of shape (Z, U) to shape (Z,)."""
        return np.sum(self.u.weights * values, axis=1)

    def outer(self, values: np.ndarray) -> float:
        """Average over z (or z0): values of shape (Z,) to a number."""
        return float(self.z.weights @ values)


def check_ensemble(ensemble: Any) -> None:
    """Raise unless this is an ensemble; of a point it is the attribute."""
    if not isinstance(ensemble, Ensemble):
        raise ValueError(
            "ensemble: expected an Ensemble, such as typical(0.5) or the .ensemble of "
            f"a point, got {type(ensemble).__name__}"
        )


def real_weights(
    multiplier: float, q_hat: float, z: np.ndarray, rule: Rule
) -> tuple[np.ndarray, np.ndarray]:
    """Return p(m|z) of exp(A m^2/2 + sqrt(q_hat) z m) on a rule, and its log norm."""
    m, w = rule
    exponent = 0.5 * multiplier * m**2 + np.sqrt(q_hat) * z[:, None] * m
    return normalised(exponent + np.log(w))


def binary_weights(q_hat: float, z: np.ndarray) -> np.ndarray:
    """Return p(sigma|z) for sigma = -1, +1, shape (Z, 2)."""
    up = 0.5 * (1 + np.tanh(np.sqrt(q_hat) * z))
    return np.stack([1 - up, up], axis=1)


def typical(alpha: float) -> Ensemble:
    """Return the uniform measure over binary solutions.

    Args:
        alpha: patterns per weight, below the capacity.

    Raises:
        ValueError: for a load that is not positive.
        NotConverged: where the saddle point does not exist.

    Example:
        >>> round(binary.theory.typical(0.5).q, 4)
        0.3224
    """
    state = gardner(alpha)
    z = gaussian_rule(_Z_POINTS)
    return Ensemble(
        name="typical",
        alpha=state.alpha,
        q_self=1.0,
        q=state.q,
        q_hat=state.q_hat,
        gain=np.inf,
        z=z,
        m=np.array([-1.0, 1.0]),
        m_weights=binary_weights(state.q_hat, z.nodes),
        u=satisfied_fields(state.q, 1 - state.q, z.nodes),
    )


def spherical(alpha: float, *, cut: float = 8.0) -> Ensemble:
    """Return the uniform measure over spherical solutions, binarised by their sign.

    Here the weights are real with mean square 1, and the saddle point is
    q = alpha (1 - q) int Dz (G/H)^2, q_hat = q / (1-q)^2, A = -1 / (1-q).

    Args:
        alpha: patterns per weight, below 2.
        cut: the weights, of unit variance, are integrated over [-cut, cut]; from 2 to
            20. Below 6 it is the measure of weights that are cut there.

    Raises:
        ValueError: for a load that is not positive.
        NotConverged: at or above the spherical capacity, 2.

    Example:
        >>> round(binary.theory.spherical(0.5).q, 4)
        0.3074
    """
    alpha = check_alpha(alpha)
    # outside 6, G holds less than 1e-8 of <m^2>; over more than 20, 240 nodes are few
    cut = number("cut", cut, "a number from 2 to 20", lambda c: 2 <= c <= 20)
    wide = gaussian_rule()

    def gap(q: float) -> float:
        mean = wide.weights @ hazard(np.sqrt(q / (1 - q)) * wide.nodes) ** 2
        return float(alpha * (1 - q) * mean - q)

    q, _ = bracketed_root(gap, 1e-9, 1 - 1e-5, name="spherical")
    # With this A, m given z is normal with mean sqrt(q) z and variance 1 - q.
    q_hat, multiplier = q / (1 - q) ** 2, -1 / (1 - q)
    z = gaussian_rule(_Z_POINTS)
    rule = split_rule(2 * _M_POINTS, cut)
    weights, _ = real_weights(multiplier, q_hat, z.nodes, rule)
    return Ensemble(
        name="spherical",
        alpha=alpha,
        q_self=1.0,
        q=q,
        q_hat=q_hat,
        gain=np.inf,
        z=z,
        m=rule.nodes,
        m_weights=weights,
        u=satisfied_fields(q, 1 - q, z.nodes),
    )
