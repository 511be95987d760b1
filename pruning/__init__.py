"""What a weight is worth, and how to take it away."""

from pruning.masks import (
    apply_mask,
    count,
    density,
    flips,
    full_mask,
    intersect,
    magnitude_mask,
    select,
    threshold_mask,
    union,
)
from pruning.schedules import manual, one_shot, periodic, polynomial
from pruning.sensitivity import insensitivity, sensitivity, specific, unspecific
from pruning.thresholds import plateau, search_threshold
from pruning.transforms import (
    loss_sensitivity_decay,
    masks_of,
    prune,
    sensitivity_decay,
    with_masks,
)
from pruning.trees import Prunable, weights_only

__all__ = [
    "Prunable",
    "apply_mask",
    "count",
    "density",
    "flips",
    "full_mask",
    "insensitivity",
    "intersect",
    "loss_sensitivity_decay",
    "magnitude_mask",
    "manual",
    "masks_of",
    "one_shot",
    "periodic",
    "plateau",
    "polynomial",
    "prune",
    "search_threshold",
    "select",
    "sensitivity",
    "sensitivity_decay",
    "specific",
    "threshold_mask",
    "union",
    "unspecific",
    "weights_only",
    "with_masks",
]
