"""What trained networks say of images: probabilities, and features by stage."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from covid_cxr.models.chunks import CHUNK, chunked
from covid_cxr.models.networks import Network
from covid_cxr.train.inputs import images
from covid_cxr.train.scaling import Scale, scale_of, standardise
from covid_cxr.train.stages import StageConfig
from covid_cxr.train.training import Trained
from synaptax.typing import Array


def predict(net: Network, trained: Trained, image: Any) -> np.ndarray:
    """Return the probabilities that trained networks give to images.

    Args:
        net: the network.
        trained: of :func:`fit`.
        image: (N, H, W, 1) uint8, uint16 or float32 in [0, 1].

    Returns:
        (S, N) float32 probabilities of a positive with one output, else
        (S, N, classes).

    Raises:
        ValueError: for images of another shape.

    Example:
        >>> scores = covid_cxr.train.predict(net, trained, image)  # doctest: +SKIP
        >>> scores.shape  # (S, N)  # doctest: +SKIP
    """
    image = images("image", image)
    config = trained.config
    count, scale = image.shape[0], scale_of(config)
    # Full chunks, the last one filled up from the front: one program for all sets.
    rows = np.arange(-(-count // CHUNK) * CHUNK).reshape(-1, CHUNK) % count
    # Replica by replica, for the program of one network serves any number of seeds.
    states = [trained.replica(index) for index in range(len(config.seeds))]
    by_chunk = [
        [_logits(net, *state, part, scale) for state in states]
        for part in (jnp.asarray(image[some]) for some in rows)
    ]
    logits = np.concatenate(np.asarray(by_chunk), axis=1)[:, :count]
    if net.config.classes == 1:
        return np.asarray(jax.nn.sigmoid(logits[..., 0]))
    return np.asarray(jax.nn.softmax(logits, axis=-1))


def features(
    net: Network, params: Any, stats: Any, image: Any, config: StageConfig
) -> dict[str, np.ndarray]:
    """Return spatial means of the feature maps by stage, {stage: (N, C)} float32.

    Args:
        net: the network.
        params: of one network.
        stats: likewise.
        image: (N, H, W, 1) uint8, uint16 or float32 in [0, 1].
        config: the stage, for its normalisation.

    Raises:
        ValueError: for images of another shape.

    Example:
        >>> stages = covid_cxr.train.features(  # doctest: +SKIP
        ...     net, params, stats, image, covid_cxr.train.fixed_finetuning()
        ... )
    """
    scale = scale_of(config)
    means = _features(net, params, stats, images("image", image), scale)
    return {name: np.asarray(one) for name, one in means.items()}


@partial(jax.jit, static_argnums=0)
def _logits(net: Network, params: Any, stats: Any, part: Any, scale: Scale) -> Array:
    return net.apply(params, stats, standardise(part, scale))


@partial(jax.jit, static_argnums=0)
def _features(
    net: Network, params: Any, stats: Any, image: Any, scale: Scale
) -> dict[str, Array]:
    return chunked(
        lambda part: net.features(params, stats, standardise(part, scale)), image
    )
