"""DenseNet-121 for one-channel images, of any growth rate and depth."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from covid_cxr.models.convolution import Convolution
from covid_cxr.models.head import Classifier, Head
from covid_cxr.models.norms import Norm
from covid_cxr.models.resnet import max_pool
from synaptax.typing import Array

BLOCKS_121 = (6, 12, 24, 16)
BOTTLENECK = 4  # channels between a layer's two convolutions, over the growth


class DenseLayer(nn.Module):
    """Norm, 1x1 convolution, norm, 3x3 convolution; its output joins its input.

    Attributes:
        growth: channels added.
        norm: one of :data:`covid_cxr.models.norms.KINDS`.
        method: of :func:`covid_cxr.models.convolution.convolve`.
    """

    growth: int
    norm: str
    method: str

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """Return x with ``growth`` more channels."""
        y = x
        for index, (size, filters) in enumerate(
            ((1, BOTTLENECK * self.growth), (3, self.growth)), start=1
        ):
            y = nn.relu(Norm(self.norm, name=f"norm{index}")(y, train))
            conv = Convolution(filters, size, method=self.method, name=f"conv{index}")
            y = conv(y)
        return jnp.concatenate([x, y], axis=-1)


def mean_pool(x: Array) -> Array:
    """Return the mean of each 2x2 block; an odd last row or column is dropped."""
    height, width = (2 * (n // 2) for n in x.shape[1:3])
    x = x[:, :height:2, :width] + x[:, 1:height:2, :width]
    return (x[:, :, ::2] + x[:, :, 1::2]) / 4


class Transition(nn.Module):
    """Norm, ReLU, 1x1 convolution to half the channels, 2x2 mean.

    Attributes:
        norm: one of :data:`covid_cxr.models.norms.KINDS`.
        method: of :func:`covid_cxr.models.convolution.convolve`.
    """

    norm: str
    method: str

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """Return maps of half the side and half the channels."""
        x = nn.relu(Norm(self.norm, name="norm")(x, train))
        conv = Convolution(x.shape[-1] // 2, 1, method=self.method, name="conv")
        return mean_pool(conv(x))


class DenseNet(Classifier):
    """The network; see :class:`covid_cxr.models.network.ModelConfig`.

    Attributes:
        blocks: dense layers of each block.
        width: channels of the stem, twice the growth rate; DenseNet-121 has 64.
        classes: outputs.
        hidden: units of a hidden layer in the head; 0 for none.
        norm: one of :data:`covid_cxr.models.norms.KINDS`.
        method: of :func:`covid_cxr.models.convolution.convolve`.
    """

    blocks: tuple[int, ...] = BLOCKS_121
    width: int = 64
    classes: int = 1
    hidden: int = 0
    norm: str = "batch"
    method: str = "auto"

    def setup(self) -> None:
        """Make the layers under their names."""
        self.conv0 = Convolution(self.width, 7, 2, method=self.method)
        self.norm0 = Norm(self.norm)
        self.dense = [
            [
                DenseLayer(
                    self.width // 2,
                    self.norm,
                    self.method,
                    name=f"denseblock{block}_{index}",
                )
                for index in range(count)
            ]
            for block, count in enumerate(self.blocks, start=1)
        ]
        self.transitions = [
            Transition(self.norm, self.method, name=f"transition{block}")
            for block in range(1, len(self.blocks))
        ]
        self.norm5 = Norm(self.norm)
        self.fc = Head(self.classes, self.hidden)

    def maps(self, x: Array, train: bool = False) -> dict[str, Array]:
        """Return the feature maps (B, h, w, C) after the stem and each block."""
        x = nn.relu(self.norm0(self.conv0(x), train))
        out = {"stem": x}
        x = max_pool(x)
        for number, layers in enumerate(self.dense, start=1):
            for layer in layers:
                x = layer(x, train)
            if number < len(self.dense):
                out[f"layer{number}"] = x
                x = self.transitions[number - 1](x, train)
        out[f"layer{len(self.dense)}"] = nn.relu(self.norm5(x, train))
        return out
