"""What a bias probe says."""

from __future__ import annotations

import math
from typing import NamedTuple

from covid_cxr.metrics import Estimate

#: How far above silence an interval must lie for a probe to fire.
MARGIN = 0.05


class Probe(NamedTuple):
    """One question put to data or network, and its answer.

    Attributes:
        name: what was asked.
        found: the answer with its 95 % interval by patient.
        images: how many were scored.
        patients: how many they come from.
        alarm: whether a high value is a fault; a film with its lungs in sight may well
            tell the label, a film without them may not.
        silence: the value that says nothing: 1/2 for an area, 0 for a difference.
        note: what a reader must know.
    """

    name: str
    found: Estimate
    images: int
    patients: int
    alarm: bool = True
    silence: float = 0.5
    note: str = ""

    @property
    def fires(self) -> bool:
        """Whether it found a fault: the whole interval is above silence + MARGIN."""
        low = self.found.low if not math.isnan(self.found.low) else self.found.value
        return self.alarm and low > self.silence + MARGIN
