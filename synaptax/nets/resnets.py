"""Residual networks for 32x32 images, in Flax Linen.

ResNet-20 and ResNet-32 have three stages of 16, 32 and 64 channels and shortcuts
without parameters (option A: every second pixel, zeros for the new channels);
ResNet-18 has four stages of 64 to 512 channels, a 3x3 stem without pooling, and
projected shortcuts. Each convolution is followed by batch-norm; what enters a ReLU
is the value after batch-norm and, at the end of a block, after the shortcut sum.
"""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from flax import linen as nn

from synaptax.nets.layers import Convolve, batch_norm, dense
from synaptax.typing import Array, Float


def option_a(x: Float[Array, "B H W C"], filters: int, stride: int) -> Array:
    """Return the shortcut without parameters: subsample, then pad with zeros.

    Args:
        x: feature maps.
        filters: channels wanted, at least C; half of the new ones come before the
            old ones, half after.
        stride: every ``stride``-th row and column is kept.

    Returns:
        Shape (B, ceil(H / stride), ceil(W / stride), filters).
    """
    new = filters - x.shape[-1]
    x = x[:, ::stride, ::stride]
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (new // 2, new - new // 2)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch-norm, beside a shortcut.

    Attributes:
        filters: output channels.
        stride: of the first convolution and of the shortcut.
        project: whether a shortcut that changes the shape is a 1x1 convolution with
            batch-norm; else it is :func:`option_a`.
        conv: one of :data:`synaptax.nets.layers.CONVOLUTIONS`.
        inner: channels between the two convolutions; None: as many as ``filters``.
    """

    filters: int
    stride: int = 1
    project: bool = False
    conv: str = "auto"
    inner: int | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool = False) -> Array:
        """Return the feature maps after the last ReLU."""
        layer = partial(Convolve, self.filters, conv=self.conv)
        inner = self.filters if self.inner is None else self.inner
        y = Convolve(inner, stride=self.stride, conv=self.conv, name="Conv_0")(x)
        y = nn.relu(batch_norm(train, "BatchNorm_0")(y))
        y = batch_norm(train, "BatchNorm_1")(layer(name="Conv_1")(y))
        if self.stride == 1 and x.shape[-1] == self.filters:
            return nn.relu(y + x)
        if not self.project:
            return nn.relu(y + option_a(x, self.filters, self.stride))
        x = layer(size=1, stride=self.stride, name="Conv_2")(x)
        return nn.relu(y + batch_norm(train, "BatchNorm_2")(x))


class ResNet(nn.Module):
    """A stem, stages of basic blocks, the mean over pixels, and a dense layer.

    The first block of every stage but the first halves the image.

    Attributes:
        classes: number of outputs.
        widths: channels of each stage.
        blocks: blocks in each stage.
        project: see :class:`BasicBlock`.
        conv: one of :data:`synaptax.nets.layers.CONVOLUTIONS`.
        inner: channels inside each block, in order; empty: the stage's.
    """

    classes: int
    widths: tuple[int, ...]
    blocks: int
    project: bool = False
    conv: str = "auto"
    inner: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool = False) -> Array:
        """Return logits, shape (B, classes)."""
        x = Convolve(self.widths[0], conv=self.conv, name="Conv_0")(x)
        x = nn.relu(batch_norm(train, "BatchNorm_0")(x))
        inner = self.inner or (None,) * (len(self.widths) * self.blocks)
        for stage, width in enumerate(self.widths):
            for block in range(self.blocks):
                x = BasicBlock(
                    width,
                    stride=2 if stage and not block else 1,
                    project=self.project,
                    conv=self.conv,
                    inner=inner[stage * self.blocks + block],
                    name=f"Block_{stage}_{block}",
                )(x, train=train)
        x = x.mean(axis=(1, 2))
        return dense(self.classes, x.shape[-1], "uniform", "Dense_0")(x)


def resnet20(classes: int, conv: str = "auto") -> ResNet:
    """Return ResNet-20: three stages of three blocks; 269,722 parameters on CIFAR."""
    return ResNet(classes, (16, 32, 64), 3, conv=conv)


def resnet32(classes: int, conv: str = "auto") -> ResNet:
    """Return ResNet-32: three stages of five blocks; 464,154 parameters on CIFAR."""
    return ResNet(classes, (16, 32, 64), 5, conv=conv)


def resnet18(classes: int, conv: str = "auto") -> ResNet:
    """Return ResNet-18: four stages of two blocks; 11,173,962 parameters on CIFAR."""
    return ResNet(classes, (64, 128, 256, 512), 2, project=True, conv=conv)
