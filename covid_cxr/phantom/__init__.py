"""Synthetic radiographs with known lungs, opacities and shortcuts: never patients."""

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
