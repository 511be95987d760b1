"""A trained U-Net at work: probabilities of lung, and the network on disk."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from covid_cxr.images.augmentation import Augmentation
from covid_cxr.models.chunks import chunked
from covid_cxr.segmentation.inputs import SegmentConfig, checked_images
from covid_cxr.segmentation.train import CHUNK, Segmenter, logits_of
from covid_cxr.segmentation.unet import UNet, UNetConfig
from synaptax import runs
from synaptax.runs import checkpoints
from synaptax.typing import Array


def predict(segmenter: Segmenter, image: Any) -> np.ndarray:
    """Return the probability of lung in each pixel: (N, C, H, W) float32.

    Args:
        segmenter: a trained U-Net.
        image: (N, H, W) float32 in [0, 1].

    Raises:
        ValueError: for images of another shape or kind.

    Example:
        >>> segmenter = covid_cxr.segmentation.load("runs/lungs-1")  # doctest: +SKIP
        >>> covid_cxr.segmentation.predict(segmenter, image).shape  # doctest: +SKIP
    """
    image = checked_images(segmenter.config.net, image, "image")
    return np.asarray(_probabilities(segmenter.config.net, segmenter.params, image))


def save(segmenter: Segmenter, path: str | os.PathLike[str]) -> None:
    """Write a trained U-Net into a run folder, whole.

    Example:
        >>> covid_cxr.segmentation.save(segmenter, "runs/lungs-1")  # doctest: +SKIP
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints.save(folder / "weights", segmenter.params, step=0, keep=1)
    content = {"config": segmenter.config, "history": segmenter.history}
    runs.write_json(folder / "segmenter.json", content)


def load(path: str | os.PathLike[str]) -> Segmenter:
    """Read what :func:`save` wrote.

    Raises:
        OSError: if the folder holds none.
        ValueError: if it is damaged.

    Example:
        >>> segmenter = covid_cxr.segmentation.load("runs/lungs-1")  # doctest: +SKIP
    """
    folder = Path(path)
    content = runs.read_json(folder / "segmenter.json")
    try:
        fields = dict(content["config"])
        motion = fields["augmentation"]
        config = SegmentConfig(
            **{
                **fields,
                "net": UNetConfig(**fields["net"]),
                "augmentation": None if motion is None else Augmentation(**motion),
            }
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder}: not a saved segmentation: {error}") from error
    side = 2**config.net.depth
    like = jax.eval_shape(
        UNet(config.net).init, jax.random.key(0), jnp.zeros((1, side, side))
    )["params"]
    params = checkpoints.restore(folder / "weights", like).state
    return Segmenter(params, config, content["history"])


@partial(jax.jit, static_argnums=0)
def _probabilities(config: UNetConfig, params: Any, image: Array) -> Array:
    net = UNet(config)
    logits = chunked(lambda part: logits_of(net, params, part), image, size=CHUNK)
    return jnp.moveaxis(jax.nn.sigmoid(logits), -1, 1)
