"""Synthetic radiographs with known lungs, opacities and shortcuts: never patients.

Example:
    >>> from covid_cxr.phantom import COVID, NORMAL, PNEUMONIA, TRAITS
    >>> NORMAL, PNEUMONIA, COVID, "marker" in TRAITS
    (0, 1, 2, True)
"""

from covid_cxr.phantom.config import TRAITS, Cohort, Hospital
from covid_cxr.phantom.generation import (
    COVID,
    NORMAL,
    PNEUMONIA,
    Phantom,
    PhantomRadiograph,
    Roster,
    generate,
    radiograph,
    radiographs,
    roster,
    stacks,
)

__all__ = [
    "COVID",
    "NORMAL",
    "PNEUMONIA",
    "TRAITS",
    "Cohort",
    "Hospital",
    "Phantom",
    "PhantomRadiograph",
    "Roster",
    "generate",
    "radiograph",
    "radiographs",
    "roster",
    "stacks",
]
