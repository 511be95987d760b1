"""Where a network looks, whether that depends on what it learnt, and is it the lungs.

A map that stays the same when the weights are redrawn explains the picture, not the
network; so each method comes with that test.
"""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import rankdata

from covid_cxr.metrics import Estimate, bootstrap
from covid_cxr.models.networks import Network
from synaptax.typing import Array, Float

METHODS = ("grad-cam", "integrated gradients")
STEPS = 16
_HEAD = "fc"


class Saliency(NamedTuple):
    """What the maps of one method say.

    Attributes:
        method: one of :data:`METHODS`.
        inside: mean fraction of the map inside the lungs.
        area: mean fraction of the radiograph that is lung: ``inside`` of a flat map.
        pointing: share of radiographs whose strongest pixel lies in the lungs.
        redrawn: part of the network, redrawn from the top down to it, to the mean rank
            correlation of the map with that of the trained network; near 1 throughout
            means that the map says nothing of what was learnt.
        radiographs: how many.

    Example:
        >>> covid_cxr.bias.Saliency._fields
        ('method', 'inside', 'area', 'pointing', 'redrawn', 'radiographs')
    """

    method: str
    inside: Estimate
    area: float
    pointing: Estimate
    redrawn: dict[str, float]
    radiographs: int


@functools.partial(jax.jit, static_argnums=0)
def grad_cam(
    net: Network, params: Any, stats: Any, x: Float[Array, "N H W 1"]
) -> Float[Array, "N H W"]:
    r"""Return Grad-CAM maps of the last stage, enlarged to the radiograph.

    .. math:: \mathrm{ReLU}\Big(\sum_c \overline{\partial z / \partial A_c}\, A_c\Big)

    Args:
        net: a network with one output z.
        params: its weights.
        stats: its running averages.
        x: radiographs, standardised as in training.

    Returns:
        Maps >= 0; at 64 pixels the last stage has 2x2 cells, so they are coarse.

    Reference:
        Selvaraju et al., Grad-CAM, arXiv 1610.02391.

    Example:
        >>> config = covid_cxr.models.ModelConfig("resnet10", width=4)
        >>> net = covid_cxr.models.network(config)
        >>> params, stats = net.init(jax.random.key(0))
        >>> covid_cxr.bias.grad_cam(net, params, stats, jnp.ones((2, 32, 32, 1))).shape
        (2, 32, 32)
    """
    last = list(net.maps(params, stats, x).values())[-1]
    slope = jax.grad(lambda maps: net.head(params, stats, maps).sum())(last)
    # (N, 1, 1, C) weights and (N, h, w, C) maps to (N, h, w): of channel c the mean
    # slope over the places.
    weight = slope.mean(axis=(1, 2), keepdims=True)
    cam = jax.nn.relu((weight * last).sum(axis=-1))
    return jax.image.resize(cam, x.shape[:3], "linear")


@functools.partial(jax.jit, static_argnums=(0, 4))
def integrated_gradients(
    net: Network,
    params: Any,
    stats: Any,
    x: Float[Array, "N H W 1"],
    steps: int = STEPS,
    baseline: Float[Array, ""] | float = 0.0,
) -> Float[Array, "N H W"]:
    r"""Return integrated gradients by the midpoint rule.

    .. math:: (x - b) \odot \int_0^1 \nabla z(b + t (x - b))\, dt

    Args:
        net: a network with one output z.
        params: its weights.
        stats: its running averages.
        x: radiographs, standardised as in training.
        steps: of the rule.
        baseline: the flat radiograph b that the path starts from; 0 is the mean grey.

    Returns:
        Signed maps; up to the rule's error their sum is z(x) - z(b).

    Reference:
        Sundararajan, Taly and Yan, Axiomatic attribution, arXiv 1703.01365.

    Example:
        >>> config = covid_cxr.models.ModelConfig("resnet10", width=4)
        >>> net = covid_cxr.models.network(config)
        >>> params, stats = net.init(jax.random.key(0))
        >>> x = jnp.ones((2, 32, 32, 1))
        >>> covid_cxr.bias.integrated_gradients(net, params, stats, x, steps=2).shape
        (2, 32, 32)
    """
    slope = jax.grad(lambda radiograph: net.apply(params, stats, radiograph).sum())
    # Midpoints t_k = (k + 1/2) / K: (x - b) / K sum_k dz/dx(b + t_k (x - b)).
    times = (jnp.arange(steps, dtype=jnp.float32) + 0.5) / steps
    way = x - baseline
    total = jax.lax.fori_loop(
        0,
        steps,
        lambda i, sum_: sum_ + slope(baseline + times[i] * way),
        jnp.zeros_like(x),
    )
    return (way * total / steps)[..., 0]


def inside(maps: Any, lungs: Any) -> np.ndarray:
    """Return the fraction of each map's magnitude inside the lungs: (n,) float64.

    Args:
        maps: (n, H, W).
        lungs: (n, H, W) bool.

    Returns:
        Fractions in [0, 1]; that of a flat map where a map is 0 throughout.
    """
    size = np.abs(np.asarray(maps, np.float64))
    lungs = np.asarray(lungs)
    total = size.sum(axis=(1, 2))
    within = (size * lungs).sum(axis=(1, 2))
    flat = lungs.mean(axis=(1, 2))
    return np.where(total > 0, within / np.where(total > 0, total, 1), flat)


def pointing(maps: Any, lungs: Any) -> np.ndarray:
    """Return whether each map's strongest pixel is in the lungs: (n,) bool."""
    flat = np.abs(np.asarray(maps)).reshape(len(maps), -1)
    return np.asarray(lungs).reshape(len(maps), -1)[
        np.arange(len(flat)), flat.argmax(axis=1)
    ]


def redrawn(net: Network, params: Any, key: Array, side: int) -> dict[str, Any]:
    """Return weights with ever more of the network drawn anew, the head first.

    Args:
        net: the network.
        params: its trained weights.
        key: of the new ones.
        side: of the radiographs.

    Returns:
        The lowest redrawn part to the weights: a cascade from the head to the input.
    """
    fresh, _ = net.init(key, side)
    names = sorted((name for name in params if name != _HEAD), key=_depth)[::-1]
    current, out = dict(params), {}
    for name in (_HEAD, *names):
        current = {**current, name: fresh[name]}
        out[name] = current
    return out


def _depth(name: str) -> tuple[int, bool, int, str]:
    """Return what sorts the parts of a network from the input to the head."""
    match = re.fullmatch(r"(layer|denseblock|transition)(\d+)(?:_(\d+))?", name)
    if match is None:  # the stem, or what follows a DenseNet's last block
        return (99 if name == "norm5" else 0), False, 0, name
    # By number, not by text: layer 10 of a block comes after layer 2.
    return int(match[2]), match[1] == "transition", int(match[3] or 0), name


def saliency(
    net: Network,
    params: Any,
    stats: Any,
    x: Any,
    lungs: Any,
    patient: Any,
    *,
    key: Array,
    stages: tuple[int, ...] = (0, -1),
) -> list[Saliency]:
    """Judge both methods' maps on radiographs that were not trained on.

    Args:
        net: a network with one output.
        params: its weights.
        stats: its running averages.
        x: (n, H, W, 1) radiographs, standardised as in training.
        lungs: (n, H, W) bool.
        patient: (n,) identifiers.
        key: of the redrawn weights and the bootstrap.
        stages: which steps of :func:`redrawn` to test; all would be many passes.

    Returns:
        What the maps of each method say.

    Example:
        >>> maps = covid_cxr.bias.saliency(  # doctest: +SKIP
        ...     net, params, stats, x, lungs, patient, key=jax.random.key(0)
        ... )
        >>> [(one.method, one.inside.value) for one in maps]  # doctest: +SKIP
    """
    weights, draws = jax.random.split(key)
    cascade = list(redrawn(net, params, weights, x.shape[1]).items())
    changed = dict(cascade[stage] for stage in stages)
    results = []
    for name, method in zip(METHODS, (grad_cam, integrated_gradients), strict=True):
        maps = np.asarray(method(net, params, stats, x))
        data = {"inside": inside(maps, lungs), "pointing": pointing(maps, lungs)}
        means = bootstrap(_means, data, patient, key=draws, replicates=1000)
        alike = {
            part: correlation(maps, np.asarray(method(net, other, stats, x)))
            for part, other in changed.items()
        }
        results.append(
            Saliency(
                name,
                means.estimate("inside"),
                float(np.mean(lungs)),
                means.estimate("pointing"),
                alike,
                len(maps),
            )
        )
    return results


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean over radiographs of the rank correlation of two maps' magnitudes.

    A map that is constant has correlation 0 with any other.
    """
    values = []
    for a, b in zip(np.abs(first), np.abs(second), strict=True):
        # Spearman's correlation: Pearson's of the ranks.
        ranks = np.stack([rankdata(a), rankdata(b)])
        flat = (ranks.std(axis=1) == 0).any()
        values.append(0.0 if flat else float(np.corrcoef(ranks)[0, 1]))
    return float(np.mean(values))


def _means(data: Any, weight: Array) -> dict[str, Array]:
    total = weight.sum()
    return {name: (weight * one).sum() / total for name, one in data.items()}
