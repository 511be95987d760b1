"""Data sets in their own layouts: tables of what is there, and lazy readers.

Example:
    >>> "kermany" in covid_cxr.sources.SOURCES
    True
"""

from covid_cxr.sources.base import Built, Source
from covid_cxr.sources.loading import Loaded, load
from covid_cxr.sources.registry import (
    SOURCES,
    build,
    by_name,
    detect,
    has_mask,
    read,
    read_mask,
)

__all__ = [
    "SOURCES",
    "Built",
    "Loaded",
    "Source",
    "build",
    "by_name",
    "detect",
    "has_mask",
    "load",
    "read",
    "read_mask",
]
