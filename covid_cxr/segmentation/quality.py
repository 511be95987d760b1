"""Whether a mask is good enough to be used: if not, abstain and say why."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from covid_cxr.segmentation.postprocess import clean, components, two_lungs
from synaptax.checks import check_integer, check_number


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a mask of two lungs looks like.

    The area's limits hold for masks with the lung behind the heart: those of the
    COVID-19 collection are 9 to 61 % of the radiograph.

    Attributes:
        area: smallest and largest share of the radiograph.
        parts: most parts of more than 1 % of the radiograph, before cleaning.
        balance: smallest ratio of the smaller lung's area to the larger's.
        confidence: smallest agreement of probabilities and mask.

    Example:
        >>> covid_cxr.segmentation.Limits(parts=2).area
        (0.08, 0.65)
    """

    area: tuple[float, float] = (0.08, 0.65)
    parts: int = 3
    balance: float = 0.35
    confidence: float = 0.85

    def __post_init__(self) -> None:
        low, high = self.area
        if not 0 <= low < high <= 1:
            raise ValueError(f"area: expected two shares that rise, got {self.area}")
        check_integer("parts", self.parts, 1)
        for name in ("balance", "confidence"):
            fits = lambda given: 0 <= given <= 1
            check_number(name, getattr(self, name), "in [0, 1]", fits)


LIMITS = Limits()


class Quality(NamedTuple):
    """What a mask looks like.

    Attributes:
        area: share of the radiograph that is lung.
        parts: parts of more than 1 % of the radiograph, before cleaning.
        balance: smaller lung's area over the larger's.
        confidence: soft Dice of the probabilities and the mask cut from them.
        reasons: why to abstain; empty if the mask may be used.

    Example:
        >>> probability = np.zeros((1, 12, 12))
        >>> probability[0, 2:10, 1:5], probability[0, 2:10, 7:11] = 1.0, 1.0
        >>> quality = covid_cxr.segmentation.checked(probability).quality
        >>> quality.parts, quality.balance
        (2, 1.0)
    """

    area: float
    parts: int
    balance: float
    confidence: float
    reasons: tuple[str, ...]

    @property
    def accepted(self) -> bool:
        """Whether the mask may be used."""
        return not self.reasons


class Checked(NamedTuple):
    """A mask with its quality.

    Attributes:
        mask: (H, W) bool, all lung, cleaned.
        quality: whether to use it.

    Example:
        >>> probability = np.zeros((1, 12, 12))
        >>> probability[0, 2:10, 1:5], probability[0, 2:10, 7:11] = 1.0, 1.0
        >>> checked = covid_cxr.segmentation.checked(probability)
        >>> checked.mask.shape
        (12, 12)
    """

    mask: np.ndarray
    quality: Quality


def checked(probability: Any, limits: Limits = LIMITS) -> Checked:
    """Clean the mask of one radiograph and judge it.

    Args:
        probability: (C, H, W) in [0, 1], C = 1 (all lung) or 2 (right, left).
        limits: what is accepted.

    Returns:
        The cleaned mask of all lung and its quality.

    Raises:
        ValueError: for another shape, or probabilities that are not finite.

    Example:
        >>> probability = np.zeros((1, 12, 12))
        >>> probability[0, 2:10, 1:5] = 1.0  # one lung alone
        >>> covid_cxr.segmentation.checked(probability).quality.reasons
        ('one lung is 0% of the other, below 35%',)
    """
    probability = np.asarray(probability, np.float64)
    if not np.isfinite(probability).all():
        raise ValueError("probability: has values that are not finite")
    masks = clean(probability)
    either = probability.max(axis=0)
    rough = np.asarray(either >= 0.5)
    whole = np.asarray(masks.any(axis=0))
    sides = masks if len(masks) == 2 else two_lungs(whole)
    sizes = np.sort(sides.sum(axis=(1, 2)))
    # Soft Dice of p (H, W) and the mask m = p >= 1/2: 2 sum p m / (sum p + sum m).
    total = either.sum() + rough.sum()
    quality = Quality(
        area=float(whole.mean()),
        parts=int(np.sum(components(rough)[1] > 0.01 * rough.size)),
        balance=float(sizes[0] / sizes[1]) if sizes[1] else 0.0,
        confidence=float(2 * either[rough].sum() / total) if total else 0.0,
        reasons=(),
    )
    return Checked(whole, quality._replace(reasons=_reasons(quality, limits)))


def _reasons(found: Quality, limits: Limits) -> tuple[str, ...]:
    low, high = limits.area
    checks = (
        (found.area == 0, "no lung found"),
        (
            0 < found.area < low,
            f"lung is {found.area:.0%} of the radiograph, below {low:.0%}",
        ),
        (
            found.area > high,
            f"lung is {found.area:.0%} of the radiograph, above {high:.0%}",
        ),
        (found.parts > limits.parts, f"{found.parts} parts, more than {limits.parts}"),
        (
            found.area > 0 and found.balance < limits.balance,
            f"one lung is {found.balance:.0%} of the other, below {limits.balance:.0%}",
        ),
        (
            found.area > 0 and found.confidence < limits.confidence,
            f"confidence {found.confidence:.2f}, below {limits.confidence:.2f}",
        ),
    )
    return tuple(text for wrong, text in checks if wrong)
