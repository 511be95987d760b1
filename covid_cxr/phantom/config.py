"""What a synthetic cohort is made of: hospitals, findings, shortcuts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

#: What an image may carry beside the disease, and where it shows.
TRAITS = {
    "marker": "a bright letter-like mark in an upper corner, outside the lungs",
    "view": "AP: a larger heart and higher shoulders; told by the view column",
    "border": "a collimator's black frame; mean brightness of the rim falls",
    "spacing": "a wider field: the body looks smaller; told by the spacing column",
    "jpeg": "8x8 block quantisation, over the whole radiograph",
    "body": "a small body, as a child's; told by the age column and a flag",
    "intensity": "a brighter radiograph, lungs included: masking cannot remove it",
}


def _check_trait(name: str) -> None:
    if name not in TRAITS:
        raise ValueError(f"trait: expected one of {', '.join(TRAITS)}, got {name!r}")


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: expected a fraction in [0, 1], got {value}")


@dataclasses.dataclass(frozen=True)
class Hospital:
    """Where radiographs come from.

    Attributes:
        name: becomes the source and site columns.
        share: relative number of patients.
        covid: fraction of the patients with COVID-19.
        pneumonia: fraction of the other patients with an ordinary pneumonia.
        traits: trait to the fraction of patients that carry it, whatever they have;
            a trait that is not named is absent.

    Example:
        >>> from covid_cxr import phantom
        >>> hospital = phantom.Hospital("north", covid=0.8, traits={"marker": 1.0})
        >>> hospital.share, hospital.pneumonia
        (1.0, 0.0)
    """

    name: str
    share: float = 1.0
    covid: float = 0.5
    pneumonia: float = 0.0
    traits: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name:
            raise ValueError(f"name: expected text without '/', got {self.name!r}")
        if not (math.isfinite(self.share) and self.share > 0):
            raise ValueError(f"share: expected a number > 0, got {self.share}")
        for field in ("covid", "pneumonia"):
            _check_fraction(field, getattr(self, field))
        for trait, fraction in self.traits.items():
            _check_trait(trait)
            _check_fraction(f"traits[{trait!r}]", fraction)


TWO = (Hospital("phantom_a"), Hospital("phantom_b"))


@dataclasses.dataclass(frozen=True)
class Cohort:
    """What to draw.

    Attributes:
        patients: how many.
        radiographs: radiographs a patient, the same anatomy in another pose.
        size: pixels a side, 64 to 256.
        hospitals: at least one; two by default, alike.
        shortcuts: trait to s in [-1, 1]: the trait is carried with probability
            1/2 + s/2 where ``target`` is present and 1/2 - s/2 where it is absent,
            in every hospital. With as many positives as negatives s is their
            correlation. 0 keeps the trait without meaning; a trait that is not named
            follows the hospitals' ``traits``.
        target: "covid" or "pneumonia": the label that the shortcuts follow.
        contrast: how dense opacities are; 0 leaves nothing of the disease to see.
        noise: standard deviation of the detector's noise.

    Example:
        >>> cohort = covid_cxr.phantom.Cohort(patients=8, shortcuts={"border": 0.9})
        >>> len(cohort.hospitals), cohort.target
        (2, 'covid')
    """

    patients: int = 256
    radiographs: int = 1
    size: int = 64
    hospitals: tuple[Hospital, ...] = TWO
    shortcuts: Mapping[str, float] = dataclasses.field(default_factory=dict)
    target: str = "covid"
    contrast: float = 1.0
    noise: float = 0.03

    def __post_init__(self) -> None:
        if self.patients < 1 or self.radiographs < 1:
            raise ValueError(
                "patients, radiographs: expected >= 1, got "
                f"{self.patients}, {self.radiographs}"
            )
        if not 32 <= self.size <= 1024:
            raise ValueError(f"size: expected 32 to 1024, got {self.size}")
        names = [hospital.name for hospital in self.hospitals]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"hospitals: expected different names, got {names}")
        if self.target not in ("covid", "pneumonia"):
            raise ValueError(
                f"target: expected 'covid' or 'pneumonia', got {self.target!r}"
            )
        for trait, strength in self.shortcuts.items():
            _check_trait(trait)
            if not -1 <= strength <= 1:
                raise ValueError(
                    f"shortcuts[{trait!r}]: expected -1 to 1, got {strength}"
                )
        if not (self.contrast >= 0 and self.noise >= 0):
            raise ValueError(
                f"contrast, noise: expected >= 0, got {self.contrast}, {self.noise}"
            )
