"""MobileNet-v2 with strides for 32x32 images, in Flax Linen.

A block expands the channels by a 1x1 convolution, filters each by a depthwise 3x3
one, and projects back by a 1x1 one without a ReLU; batch-norm follows each. The sum
with the block's input is taken where the shape is the same. Against the ImageNet
network the stem and the first two stages that halve the image there do not, so that
a 32x32 image ends at 4x4; ReLU stands for ReLU6, as is usual at this size.
"""

from __future__ import annotations

from functools import partial

from flax import linen as nn

from synaptax.nets.layers import Convolve, batch_norm, dense
from synaptax.typing import Array, Float

# Expansion, output channels, blocks, stride of the first block.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM, LAST = 32, 1280


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; plus the input where shapes agree.

    Attributes:
        filters: output channels.
        expansion: hidden over input channels; 1 leaves the first convolution out.
        stride: of the depthwise convolution.
        conv: one of :data:`synaptax.nets.layers.CONVOLUTIONS`.
        hidden: hidden channels, if not ``expansion`` times those of the input.
    """

    filters: int
    expansion: int = 6
    stride: int = 1
    conv: str = "auto"
    hidden: int | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool = False) -> Array:
        """Return the feature maps, after the sum where there is one."""
        hidden = self.hidden or self.expansion * x.shape[-1]
        layer = partial(Convolve, conv=self.conv)
        y = x
        if self.expansion > 1:
            y = layer(hidden, size=1, name="Expand")(y)
            y = nn.relu(batch_norm(train, "BatchNorm_0")(y))
        y = layer(hidden, stride=self.stride, depthwise=True, name="Depthwise")(y)
        y = nn.relu(batch_norm(train, "BatchNorm_1")(y))
        y = layer(self.filters, size=1, name="Project")(y)
        y = batch_norm(train, "BatchNorm_2")(y)
        same = self.stride == 1 and x.shape[-1] == self.filters
        return y + x if same else y


class MobileNetV2(nn.Module):
    """MobileNet-v2 of width 1; 2,236,682 parameters with 10 classes.

    Attributes:
        classes: number of outputs.
        conv: one of :data:`synaptax.nets.layers.CONVOLUTIONS`.
        hidden: hidden channels of each block that expands, in order, and of the last
            convolution; empty: the published ones.
    """

    classes: int
    conv: str = "auto"
    hidden: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool = False) -> Array:
        """Return logits, shape (B, classes)."""
        x = Convolve(STEM, conv=self.conv, name="Conv_0")(x)
        x = nn.relu(batch_norm(train, "BatchNorm_0")(x))
        hidden = list(self.hidden)
        for stage, (expansion, filters, blocks, stride) in enumerate(STAGES):
            for block in range(blocks):
                own = hidden.pop(0) if hidden and expansion > 1 else None
                x = InvertedResidual(
                    filters,
                    expansion,
                    stride if block == 0 else 1,
                    self.conv,
                    own,
                    name=f"Block_{stage}_{block}",
                )(x, train=train)
        last = hidden[0] if hidden else LAST
        x = Convolve(last, size=1, conv=self.conv, name="Conv_1")(x)
        x = nn.relu(batch_norm(train, "BatchNorm_1")(x)).mean(axis=(1, 2))
        return dense(self.classes, x.shape[-1], "uniform", "Dense_0")(x)
