"""What a weight is worth, and how to take it away.

Example:
    >>> kernels: pruning.Prunable = lambda path, leaf: path.endswith("kernel")
    >>> params = {"kernel": jnp.ones((2, 2))}
    >>> mask = pruning.magnitude_mask(params, 0.5, prunable=kernels)
    >>> pruning.LOGITS  # the name of the outputs among the pre-activations
    'logits'
"""

from pruning import criteria, posttraining, scores
from pruning._compact import Compacted, compact
from pruning._couplings import Read, Units
from pruning._find_couplings import Couplings, couplings
from pruning._output_weights import sampled, specific, unspecific
from pruning._penalty import sensitivity_penalty, sensitivity_penalty_series
from pruning._preactivations import LOGITS, preactivation_table, preactivations
from pruning._report import report, to_text
from pruning._roles import weights_only
from pruning._sensitivity import insensitivity, sensitivity
from pruning.masks import (
    apply_mask,
    count,
    density,
    flips,
    full_mask,
    intersect,
    magnitude_mask,
    mask_metrics,
    masks_from_zeros,
    select,
    threshold_mask,
    union,
)
from pruning.psp import mean_squares, psp_penalty, with_psp
from pruning.schedules import alternating, manual, one_shot, periodic, polynomial
from pruning.structures import along, block, element, input_channel, n_m, neuron
from pruning.thresholds import plateau, search_threshold
from pruning.transforms import (
    loss_sensitivity_decay,
    masks_of,
    prune,
    pruned,
    psp_regularization,
    rewind,
    rewired,
    sensitivity_decay,
    straight_through,
    straight_through_masks,
    with_masks,
)
from synaptax.trees import Prunable

__all__ = [
    "LOGITS",
    "Compacted",
    "Couplings",
    "Prunable",
    "Read",
    "Units",
    "along",
    "alternating",
    "apply_mask",
    "block",
    "compact",
    "count",
    "couplings",
    "criteria",
    "density",
    "element",
    "flips",
    "full_mask",
    "input_channel",
    "insensitivity",
    "intersect",
    "loss_sensitivity_decay",
    "magnitude_mask",
    "manual",
    "mask_metrics",
    "masks_from_zeros",
    "masks_of",
    "mean_squares",
    "n_m",
    "neuron",
    "one_shot",
    "periodic",
    "plateau",
    "polynomial",
    "posttraining",
    "preactivation_table",
    "preactivations",
    "prune",
    "pruned",
    "psp_penalty",
    "psp_regularization",
    "report",
    "rewind",
    "rewired",
    "sampled",
    "scores",
    "search_threshold",
    "select",
    "sensitivity",
    "sensitivity_decay",
    "sensitivity_penalty",
    "sensitivity_penalty_series",
    "specific",
    "straight_through",
    "straight_through_masks",
    "threshold_mask",
    "to_text",
    "union",
    "unspecific",
    "weights_only",
    "with_masks",
    "with_psp",
]
