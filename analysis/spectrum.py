r"""The density of eigenvalues, by stochastic Lanczos quadrature.

Each probe of random signs v gives a quadrature rule for
:math:`v^T f(A) v / v^T v`: nodes are the eigenvalues of Lanczos' T, weights the squared
first entries of its eigenvectors, behind the guard of :mod:`analysis.lanczos`. The mean
over probes estimates the density of eigenvalues; the spread of the probes gives its
Monte-Carlo error.

Reference: Ghorbani, Krishnan and Xiao, An investigation into neural net optimization
via Hessian eigenvalue density, arXiv 1901.10159.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from analysis import lanczos
from analysis._sets import at_least
from analysis.curvature import check_finite, check_symmetric, seed_of, signs, support_of
from analysis.operators import Operator
from synaptax.checks import check_key, check_number
from synaptax.typing import Array, Key


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """Quadrature rules of the density of eigenvalues.

    Attributes:
        nodes: (probes, steps), eigenvalues of T; 0 behind the valid steps.
        weights: (probes, steps), adding up to 1 - ``at_zero`` in each row.
        at_zero: the known part of the mass at exactly zero: the share of pruned
            weights with ``view="all"``, else 0.
        view: ``"survivors"`` or ``"all"``.
        valid_steps: (probes,), before the Krylov space ended.
        matvecs: products with the operator.
        seed: the key's data.
        dtype: of the products.
    """

    nodes: np.ndarray
    weights: np.ndarray
    at_zero: float
    view: str
    valid_steps: np.ndarray
    matvecs: int
    seed: tuple[int, ...]
    dtype: str


class Density(NamedTuple):
    """A smoothed density with its Monte-Carlo band.

    Attributes:
        grid: (g,), eigenvalues.
        density: (g,), integrates to 1 over the line.
        standard_error: (g,), over probes.
        bandwidth: standard deviation of the Gaussian that replaced each node.
    """

    grid: np.ndarray
    density: np.ndarray
    standard_error: np.ndarray
    bandwidth: float


def spectral_density(
    operator: Operator,
    key: Key[Array, ""],
    *,
    steps: int = 60,
    probes: int = 8,
    view: str = "survivors",
) -> Spectrum:
    """Return quadrature rules of the density of eigenvalues.

    Either view costs the same: probes live on the survivors, and the mass of the
    pruned weights at zero is known.

    Args:
        operator: what to look at.
        key: of the probes.
        steps: Lanczos steps a probe, at least 1; never more than coordinates.
        probes: how many, at least 2.
        view: ``"survivors"``, a density of the surviving weights' eigenvalues, or
            ``"all"``, with a spike at zero for the pruned ones.

    Returns:
        Nodes and weights; see :func:`smoothed` and :func:`mass`.

    Raises:
        ValueError: for numbers out of range, a mask that keeps nothing, or an operator
            that is not symmetric or gives non-finite products.

    Example:
        >>> loss = lambda w, x: 0.5 * jnp.mean((x @ w) ** 2)  # Hessian diag(0.5, 2)
        >>> x = jnp.diag(jnp.array([1.0, 2.0]))
        >>> operator = analysis.hessian(loss, jnp.ones(2), x)
        >>> key = jax.random.key(0)
        >>> rules = analysis.spectral_density(operator, key, steps=2, probes=2)
        >>> rules.nodes.round(3).tolist(), rules.weights.sum(axis=1).round(3).tolist()
        ([[0.5, 2.0], [0.5, 2.0]], [1.0, 1.0])
    """
    room = support_of(operator, view)[1]
    alive = support_of(operator, "survivors")[1]
    at_least(2, probes=probes)
    at_least(1, steps=steps)
    check_key(key)
    if alive < 1:
        raise ValueError("operator: its mask keeps no weight")
    steps = min(steps, alive)
    first, second = jax.random.split(key)
    products = check_symmetric(operator, first)
    nodes, weights, valid = _quadrature(
        operator.matvec,
        jax.random.split(second, probes),
        operator.mask,
        size=operator.size,
        steps=steps,
        dtype=operator.dtype,
    )
    nodes, weights = np.asarray(nodes, np.float64), np.asarray(weights, np.float64)
    check_finite(nodes)
    share = alive / room
    return Spectrum(
        nodes=nodes,
        # The weights add up to 1 but for the rounding of float32.
        weights=share * weights / weights.sum(axis=1, keepdims=True),
        at_zero=1 - share,
        view=view,
        valid_steps=np.asarray(valid),
        matvecs=products + probes * steps,
        seed=seed_of(key),
        dtype=jnp.dtype(operator.dtype).name,
    )


@functools.partial(jax.jit, static_argnames=("size", "steps", "dtype"))
def _quadrature(
    matvec: Any,
    keys: Array,
    support: Array | None,
    *,
    size: int,
    steps: int,
    dtype: Any,
) -> tuple[Array, Array, Array]:
    def one(key: Array) -> tuple[Array, Array, Array]:
        # v^T f(A) v / v^T v ~ sum_k (e_1^T u_k)^2 f(theta_k), T u_k = theta_k u_k:
        # Gauss quadrature (Golub and Welsch).
        small = lanczos.run(matvec, signs(key, size, dtype, support), steps)
        values, vectors, valid = lanczos.eigen(small)
        return values, jnp.where(valid, vectors[0] ** 2, 0), small.valid

    return lax.map(one, keys)


def smoothed(
    spectrum: Spectrum, bandwidth: float, grid: np.ndarray | None = None
) -> Density:
    """Replace each node by a Gaussian of standard deviation ``bandwidth``.

    Args:
        spectrum: quadrature rules.
        bandwidth: in units of eigenvalues, > 0.
        grid: (g,) where to evaluate; by default 1001 points from 5 bandwidths below
            the smallest node to 5 above the largest, zero included where it has mass.

    Returns:
        The mean over probes, with its standard error.

    Raises:
        ValueError: for a bandwidth that is not positive.

    Example:
        >>> loss = lambda w, x: 0.5 * jnp.mean((x @ w) ** 2)  # Hessian diag(0.5, 2)
        >>> x = jnp.diag(jnp.array([1.0, 2.0]))
        >>> operator = analysis.hessian(loss, jnp.ones(2), x)
        >>> key = jax.random.key(0)
        >>> rules = analysis.spectral_density(operator, key, steps=2, probes=2)
        >>> curve = analysis.smoothed(rules, 0.1)
        >>> round(float(np.trapezoid(curve.density, curve.grid)), 3)
        1.0
    """
    good = lambda width: np.isfinite(width) and width > 0
    check_number("bandwidth", bandwidth, "a number > 0", good)
    if grid is None:
        low, high = extent(spectrum)
        grid = np.linspace(low - 5 * bandwidth, high + 5 * bandwidth, 1001)
    grid = np.asarray(grid, np.float64)
    # phi(x) = sum_k w_k N(x; theta_k, bandwidth^2), a row a probe.
    curves = np.stack(
        [
            (_gaussian(grid[:, None] - nodes[None, :], bandwidth) * weights).sum(axis=1)
            for nodes, weights in zip(spectrum.nodes, spectrum.weights, strict=True)
        ]
    )
    # The known mass at exactly zero has no error: it joins after the spread was taken.
    spike = spectrum.at_zero * _gaussian(grid, bandwidth)
    mean, error = _mean_and_error(curves)
    return Density(grid, mean + spike, error, bandwidth)


def extent(spectrum: Spectrum) -> tuple[float, float]:
    """Return the smallest and largest node that has weight, or zero where it has."""
    nodes = spectrum.nodes[spectrum.weights > 0]
    if spectrum.at_zero:
        nodes = np.append(nodes, 0.0)
    return float(nodes.min()), float(nodes.max())


def mass(spectrum: Spectrum, low: float, high: float) -> tuple[float, float]:
    """Return the share of eigenvalues in [low, high], with its standard error.

    Raises:
        ValueError: if low is above high.
    """
    if not low <= high:
        raise ValueError(f"low: expected at most high = {high}, got {low}")
    inside = (spectrum.nodes >= low) & (spectrum.nodes <= high)
    shares = np.where(inside, spectrum.weights, 0).sum(axis=1)
    mean, error = _mean_and_error(shares)
    return float(mean + (spectrum.at_zero if low <= 0 <= high else 0)), float(error)


def _gaussian(x: np.ndarray, bandwidth: float) -> np.ndarray:
    return np.exp(-0.5 * (x / bandwidth) ** 2) / (bandwidth * np.sqrt(2 * np.pi))


def _mean_and_error(samples: np.ndarray) -> tuple[Any, Any]:
    error = samples.std(axis=0, ddof=1) / np.sqrt(samples.shape[0])
    return samples.mean(axis=0), error
