"""All-CNN-C: nine convolutions with biases, dropout, no pooling but the last mean.

Each convolution is padded to keep the size, the third and the sixth halve it, and
the eighth and ninth are 1x1. A ReLU follows every one, the ninth too, before the
mean over pixels, as in the code of arXiv 1907.08544's authors.
"""

from __future__ import annotations

from flax import linen as nn

from synaptax.nets.layers import Convolve, batch_norm
from synaptax.typing import Array, Float

# Output channels (0: the classes), side of the window, stride.
LAYERS = (
    (96, 3, 1),
    (96, 3, 1),
    (96, 3, 2),
    (192, 3, 1),
    (192, 3, 1),
    (192, 3, 2),
    (192, 3, 1),
    (192, 1, 1),
    (0, 1, 1),
)


class AllCNNC(nn.Module):
    """All-CNN-C; 1,369,738 parameters with 3 channels and 10 classes.

    Attributes:
        classes: number of outputs.
        conv: one of :data:`synaptax.nets.layers.CONVOLUTIONS`.
        input_dropout: probability with which, in training, an input value is set to
            0; the rest is scaled up.
        dropout: likewise after each convolution that halves the image.
        width: channels of the first convolutions; those after have twice as many.
        norm: whether batch-norm stands between each convolution, then without a bias,
            and its ReLU.
    """

    classes: int
    conv: str = "auto"
    input_dropout: float = 0.2
    dropout: float = 0.5
    width: int = 96
    norm: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool = False) -> Array:
        """Return logits, shape (B, classes); they are means of ReLUs, so >= 0."""
        x = nn.Dropout(self.input_dropout)(x, deterministic=not train)
        for index, (filters, size, stride) in enumerate(LAYERS):
            layer = Convolve(
                filters * self.width // 96 or self.classes,
                size,
                stride,
                bias=not self.norm,
                conv=self.conv,
                name=f"Conv_{index}",
            )
            x = layer(x)
            if self.norm:
                x = batch_norm(train, f"BatchNorm_{index}")(x)
            x = nn.relu(x)
            if stride == 2:
                x = nn.Dropout(self.dropout)(x, deterministic=not train)
        return x.mean(axis=(1, 2))
