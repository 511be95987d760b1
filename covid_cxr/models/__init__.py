"""Networks for one-channel radiographs, and a user's weights for them.

Example:
    >>> covid_cxr.models.ARCHITECTURES[:2]
    ('resnet10', 'resnet18')
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

__all__ = [
    "ARCHITECTURES",
    "ModelConfig",
    "Network",
    "convert",
    "network",
    "parameters",
    "published",
    "read_state",
]
