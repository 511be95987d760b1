"""A U-Net for lungs, of any depth and width."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import linen as nn

from covid_cxr.models.convolution import Convolution
from covid_cxr.models.norms import Norm
from synaptax.checks import check_integer
from synaptax.typing import Array, Float


@dataclasses.dataclass(frozen=True)
class UNetConfig:
    """What network.

    Attributes:
        depth: Halvings of the image; its sides must be multiples of 2^depth.
        width: Channels at full size; each halving doubles them.
        outputs: 1 for all lung, 2 for right and left lung.

    Example:
        >>> covid_cxr.segmentation.UNetConfig(depth=2, width=4).outputs
        1
    """

    depth: int = 3
    width: int = 12
    outputs: int = 1

    def __post_init__(self) -> None:
        for name in ("depth", "width", "outputs"):
            check_integer(name, getattr(self, name), 1, expected="at least 1")
        if self.width % 2:
            raise ValueError(f"width: expected an even number, got {self.width}")

    def check_side(self, height: int, width: int) -> None:
        """Raise a ValueError unless images of this size can be halved enough."""
        step = 2**self.depth
        if height % step or width % step:
            raise ValueError(
                f"images: expected sides that are multiples of {step} (depth "
                f"{self.depth}), got {height}x{width}"
            )


class Pair(nn.Module):
    """Two 3x3 convolutions, each with group normalisation and ReLU.

    Attributes:
        filters: channels.
        method: of :func:`covid_cxr.models.convolution.convolve`.
    """

    filters: int
    method: str

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Return maps of the same size."""
        for _ in range(2):
            x = Convolution(self.filters, method=self.method)(x)
            x = nn.relu(Norm("group")(x, False))
        return x


class UNet(nn.Module):
    """The network; its normalisation is by group, so it has parameters alone.

    Attributes:
        config: what it is.
        method: of :func:`covid_cxr.models.convolution.convolve`.

    Example:
        >>> config = covid_cxr.segmentation.UNetConfig(depth=1, width=4)
        >>> net = covid_cxr.segmentation.UNet(config)
        >>> net.config.depth
        1
    """

    config: UNetConfig
    method: str = "auto"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Return logits (B, H, W, outputs) of images (B, H, W), of any exposure."""
        config = self.config
        config.check_side(*x.shape[1:3])
        x = centred(x)[..., None]
        widths = [config.width * 2**level for level in range(config.depth + 1)]
        skips = []
        for width in widths[:-1]:
            x = Pair(width, self.method)(x)
            skips.append(x)
            x = halved(x)
        x = Pair(widths[-1], self.method)(x)
        for width, skip in zip(widths[-2::-1], skips[::-1], strict=True):
            # A 1x1 convolution commutes with the repeating of pixels, and before it
            # sees a quarter of them.
            x = Convolution(width, 1, method=self.method)(x)
            x = Pair(width, self.method)(jnp.concatenate([doubled(x), skip], axis=-1))
        return Convolution(config.outputs, 1, bias=True, method=self.method)(x)


def centred(images: Float[Array, "B H W"]) -> Float[Array, "B H W"]:
    """Return images with mean 0 and deviation 1 each: exposures become alike."""
    mean = images.mean(axis=(1, 2), keepdims=True)
    std = images.std(axis=(1, 2), keepdims=True)
    # 1e-3: a constant image becomes 0, not 0 / 0.
    return (images - mean) / (std + 1e-3)


def halved(x: Array) -> Array:
    """Return the maximum of each 2x2 block."""
    x = jnp.maximum(x[:, ::2], x[:, 1::2])
    return jnp.maximum(x[:, :, ::2], x[:, :, 1::2])


def doubled(x: Array) -> Array:
    """Return maps of twice the sides, each value four times."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(
        x[:, :, None, :, None, :], (batch, height, 2, width, 2, channels)
    )
    return x.reshape(batch, 2 * height, 2 * width, channels)


def parameters(config: UNetConfig) -> int:
    """Return how many parameters such a network has."""
    side = 2**config.depth
    shapes = jax.eval_shape(
        UNet(config).init, jax.random.key(0), jnp.zeros((1, side, side))
    )
    return sum(int(leaf.size) for leaf in jax.tree.leaves(shapes))
