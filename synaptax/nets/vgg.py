"""VGG-16 in the form for 32x32 images, in Flax Linen.

Thirteen padded 3x3 convolutions in five groups, each followed by batch-norm and ReLU,
each group by 2x2 max-pooling; then a hidden dense layer and the output.
"""

from __future__ import annotations

import math

from flax import linen as nn

from synaptax.nets.layers import Convolve, batch_norm, dense
from synaptax.typing import Array, Float

# Convolutions in each group; their published widths, and that of the dense layer.
GROUPS = (2, 2, 3, 3, 3)
WIDTHS = (64, 64, 128, 128, *(256,) * 3, *(512,) * 6, 512)


class VGG16(nn.Module):
    """VGG-16 for small images; 14,986,698 parameters with 10 classes on CIFAR.

    Attributes:
        classes: number of outputs.
        conv: one of :data:`synaptax.nets.layers.CONVOLUTIONS`.
        norm: whether batch-norm follows each convolution; if not, a bias is added.
        widths: filters of the convolutions in order, then units of the dense layer.

    Reference:
        Simonyan and Zisserman, arXiv 1409.1556 (configuration D).
    """

    classes: int
    conv: str = "auto"
    norm: bool = True
    widths: tuple[int, ...] = WIDTHS

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool = False) -> Array:
        """Return logits, shape (B, classes), of images of 32x32 or more."""
        index = 0
        for convolutions in GROUPS:
            for _ in range(convolutions):
                x = Convolve(
                    self.widths[index],
                    bias=not self.norm,
                    conv=self.conv,
                    name=f"Conv_{index}",
                )(x)
                if self.norm:
                    x = batch_norm(train, f"BatchNorm_{index}")(x)
                x, index = nn.relu(x), index + 1
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        x = nn.relu(dense(self.widths[-1], x.shape[-1], "uniform", "Dense_0")(x))
        return dense(self.classes, x.shape[-1], "uniform", "Dense_1")(x)
