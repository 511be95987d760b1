"""Synthetic radiographs with known lungs, opacities and shortcuts: never patients."""

from covid_cxr.phantom.config import TRAITS, Cohort, Hospital
from covid_cxr.phantom.generation import (
    COVID,
    NORMAL,
    PNEUMONIA,
    Film,
    Phantom,
    film,
    films,
    generate,
)

__all__ = [
    "COVID",
    "NORMAL",
    "PNEUMONIA",
    "TRAITS",
    "Cohort",
    "Film",
    "Hospital",
    "Phantom",
    "film",
    "films",
    "generate",
]
