"""The optax transforms: the public face of sensitivity, masks and schedules.

Every one is an :class:`optax.GradientTransformationExtraArgs`: extra arguments it does
not know are ignored, so transforms with different needs share one chain::

    optimizer = optax.chain(
        psp_regularization(apply_fn, 1e-3),  # first: it adds to the gradient
        optax.sgd(0.1),
        sensitivity_decay(1e-4, sensitivity_fn=feel),
        prune(polynomial(1000, 5000, 0.05, every=100)),  # last: it sets exact zeros
    )
    updates, state = optimizer.update(grads, state, params, batch=batch)
    params = optax.apply_updates(params, updates)
"""

from pruning._decay import (
    LossSensitivityDecayState,
    SensitivityDecayState,
    loss_sensitivity_decay,
    sensitivity_decay,
)
from pruning._mask_state import masks_of, rewind, with_masks
from pruning._prune import PruneInfo, PruneState, prune
from pruning._pruned import PrunedState, pruned
from pruning._regularization import PSPState, psp_regularization
from pruning._rewired import (
    RewiredState,
    rewired,
    straight_through,
    straight_through_masks,
)

__all__ = [
    "LossSensitivityDecayState",
    "PSPState",
    "PruneInfo",
    "PruneState",
    "PrunedState",
    "RewiredState",
    "SensitivityDecayState",
    "loss_sensitivity_decay",
    "masks_of",
    "prune",
    "pruned",
    "psp_regularization",
    "rewind",
    "rewired",
    "sensitivity_decay",
    "straight_through",
    "straight_through_masks",
    "with_masks",
]
