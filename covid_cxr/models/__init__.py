"""Networks for one-channel radiographs, and a user's weights for them.

Example:
    >>> covid_cxr.models.ARCHITECTURES[:2]
    ('resnet10', 'resnet18')
    >>> len(covid_cxr.models.XRAYVISION)  # outputs of torchxrayvision's networks
    18
"""

from covid_cxr.models.conversion import convert, read_state
from covid_cxr.models.networks import (
    ARCHITECTURES,
    ModelConfig,
    Network,
    network,
    parameters,
    published,
)
from covid_cxr.models.xrayvision import XRAYVISION, from_torchxrayvision

__all__ = [
    "ARCHITECTURES",
    "XRAYVISION",
    "ModelConfig",
    "Network",
    "convert",
    "from_torchxrayvision",
    "network",
    "parameters",
    "published",
    "read_state",
]
