"""A network with every part of the big ones, that compiles in no time."""

import jax
import numpy as np

from covid_cxr.models import ModelConfig, Network
from covid_cxr.models.convolution import Convolution
from covid_cxr.models.head import Classifier, Head
from covid_cxr.models.norms import Norm
from synaptax.data.images import Batch

SIDE = 8


class Tiny(Classifier):
    classes: int = 1
    norm: str = "batch"

    def setup(self):
        self.conv1 = Convolution(4, 3, 2)
        self.bn1 = Norm(self.norm)
        self.fc = Head(self.classes, 0)

    def maps(self, x, train=False):
        return {"stem": jax.nn.relu(self.bn1(self.conv1(x), train))}


def tiny(classes=1, norm="batch"):
    return Network(ModelConfig(classes=classes, norm=norm), Tiny(classes, norm))


def films(count, seed=0, classes=2, strength=60):
    """Return images whose brightness pattern tells the class."""
    rng = np.random.default_rng(seed)
    label = np.arange(count) % classes
    image = rng.integers(0, 120, (count, SIDE, SIDE, 1))
    image[:, ::2] += strength * label[:, None, None, None]
    return Batch(image.astype(np.uint8), label.astype(np.int32))
