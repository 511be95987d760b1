"""Reference ensembles by name."""

from __future__ import annotations

from binary.theory._control import control
from binary.theory._stochastic import stochastic
from binary.theory.ensembles import Ensemble, spherical, typical

REFERENCES = ("typical", "spherical", "stochastic", "control")


def reference(
    name: str, alpha: float, *, q_star: float = 0.9, beta: float = 20.0
) -> Ensemble:
    """Return a reference ensemble by its name.

    Args:
        name: "typical" (uniform over binary solutions), "spherical" (over real ones,
            binarised), "stochastic" (magnetisations at q* and beta) or "control"
            (binary control variables at q* and beta).
        alpha: patterns per weight, > 0.
        q_star: mean of m^2, for the last two.
        beta: inverse temperature, for the last two.

    Raises:
        ValueError: for an unknown name or an argument out of range.
        NotConverged: where the saddle point is not found.

    Example:
        >>> binary.theory.reference("typical", 0.5).q_self
        1.0
    """
    if name == "typical":
        return typical(alpha)
    if name == "spherical":
        return spherical(alpha)
    if name == "stochastic":
        return stochastic(alpha, q_star, beta).ensemble
    if name == "control":
        return control(alpha, q_star, beta).ensemble
    raise ValueError(
        f"reference: expected one of {', '.join(REFERENCES)}, got {name!r}"
    )
