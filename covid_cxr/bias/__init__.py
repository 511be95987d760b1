"""Probes that ask what else than the disease a score may rest on.

Example:
    >>> covid_cxr.bias.MARGIN  # an alarm's interval lies above 1/2 + MARGIN
    0.05
"""

from covid_cxr.bias._saliency import Saliency, grad_cam, integrated_gradients, saliency
from covid_cxr.bias._transfer import Transfer, transfer
from covid_cxr.bias.battery import of_data, of_network
from covid_cxr.bias.covariates import RatioPoint, sweep
from covid_cxr.bias.matched import same_source
from covid_cxr.bias.metadata import metadata_only, source_only
from covid_cxr.bias.sources import (
    shuffled_within_source,
    source_probe,
    within_source,
)
from covid_cxr.bias.types import MARGIN, Probe

__all__ = [
    "MARGIN",
    "Probe",
    "RatioPoint",
    "Saliency",
    "Transfer",
    "grad_cam",
    "integrated_gradients",
    "metadata_only",
    "of_data",
    "of_network",
    "saliency",
    "same_source",
    "shuffled_within_source",
    "source_only",
    "source_probe",
    "sweep",
    "transfer",
    "within_source",
]
