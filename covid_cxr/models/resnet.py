"""ResNet-10, -18, -34 and -50 for one-channel images, of any width.

Names follow torchvision's where they can (``layer1_0/conv1`` is ``layer1.0.conv1``),
and so does the arithmetic: windows centred on the first pixel, the stride of a
bottleneck in its 3x3 convolution, ReLU after the residual sum.
"""

from __future__ import annotations

import functools

import jax.numpy as jnp
from flax import linen as nn

from covid_cxr.models.convolution import Convolution
from covid_cxr.models.head import Classifier, Head
from covid_cxr.models.norms import Norm
from synaptax.typing import Array

# Depth: (blocks of each stage, bottleneck or not).
DEPTHS = {
    10: ((1, 1, 1, 1), False),
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
}
EXPANSION = 4  # of a bottleneck's output over its inner width


def max_pool(x: Array) -> Array:
    """Return the maximum over 3x3 windows at stride 2, one pixel of border.

    By slices: XLA's windowed maximum has a slow gradient on a CPU.
    """
    # -inf never wins: zeros would, over negative values.
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    height, width = ((n - 1) // 2 for n in x.shape[1:3])
    # The maximum of a window is that of its columns of the maxima of its rows.
    rows = [x[:, i : i + 2 * height - 1 : 2] for i in range(3)]
    x = functools.reduce(jnp.maximum, rows)
    columns = [x[:, :, j : j + 2 * width - 1 : 2] for j in range(3)]
    return functools.reduce(jnp.maximum, columns)


class Block(nn.Module):
    """A residual block, of two 3x3 convolutions or a 1-3-1 bottleneck.

    Attributes:
        width: inner channels.
        stride: of the first 3x3 convolution and of the shortcut.
        bottleneck: which of the two.
        norm: one of :data:`covid_cxr.models.norms.KINDS`.
        method: of :func:`covid_cxr.models.convolution.convolve`.
    """

    width: int
    stride: int
    bottleneck: bool
    norm: str
    method: str

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """Return the stage's next feature maps."""
        layers = [(3, self.width, self.stride), (3, self.width, 1)]
        if self.bottleneck:
            out = EXPANSION * self.width
            layers = [(1, self.width, 1), (3, self.width, self.stride), (1, out, 1)]
        y = x
        for index, (size, filters, stride) in enumerate(layers, start=1):
            conv = Convolution(
                filters, size, stride, method=self.method, name=f"conv{index}"
            )
            y = Norm(self.norm, name=f"bn{index}")(conv(y), train)
            if index < len(layers):
                y = nn.relu(y)
        # A shortcut of its own only where stride or width changed the shape, as
        # torchvision.
        if y.shape != x.shape:
            conv = Convolution(
                y.shape[-1], 1, self.stride, method=self.method, name="downsample_conv"
            )
            x = Norm(self.norm, name="downsample_norm")(conv(x), train)
        return nn.relu(x + y)


class ResNet(Classifier):
    """The network; see :class:`covid_cxr.models.network.ModelConfig`.

    Attributes:
        depth: 10, 18, 34 or 50.
        width: channels of the first stage; the published networks have 64.
        classes: outputs.
        hidden: units of a hidden layer in the head; 0 for none.
        norm: one of :data:`covid_cxr.models.norms.KINDS`.
        method: of :func:`covid_cxr.models.convolution.convolve`.
    """

    depth: int = 18
    width: int = 64
    classes: int = 1
    hidden: int = 0
    norm: str = "batch"
    method: str = "auto"

    def setup(self) -> None:
        """Make the layers under their names."""
        counts, bottleneck = DEPTHS[self.depth]
        self.conv1 = Convolution(self.width, 7, 2, method=self.method)
        self.bn1 = Norm(self.norm)
        stages = []
        for stage, count in enumerate(counts):
            blocks = [
                Block(
                    self.width * 2**stage,
                    2 if stage and not index else 1,
                    bottleneck,
                    self.norm,
                    self.method,
                    name=f"layer{stage + 1}_{index}",
                )
                for index in range(count)
            ]
            stages.append(blocks)
        self.stages = stages
        self.fc = Head(self.classes, self.hidden)

    def maps(self, x: Array, train: bool = False) -> dict[str, Array]:
        """Return the feature maps (B, h, w, C) after the stem and each stage."""
        x = nn.relu(self.bn1(self.conv1(x), train))
        out = {"stem": x}
        x = max_pool(x)
        for number, blocks in enumerate(self.stages, start=1):
            for block in blocks:
                x = block(x, train)
            out[f"layer{number}"] = x
        return out
