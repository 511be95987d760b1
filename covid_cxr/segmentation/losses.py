"""How far a probability map is from a mask."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from synaptax.typing import Array, Float

SMOOTH = 1.0  # pixels added to both sides of a soft Dice, so that empty masks count


def soft_dice(
    probability: Float[Array, "B H W C"], mask: Float[Array, "B H W C"]
) -> Float[Array, "B C"]:
    r"""Return the Dice coefficient of probabilities and a mask, smoothed.

    .. math:: \frac{2 \sum p m + 1}{\sum p + \sum m + 1}
    """
    both = (probability * mask).sum(axis=(1, 2))
    total = probability.sum(axis=(1, 2)) + mask.sum(axis=(1, 2))
    return (2 * both + SMOOTH) / (total + SMOOTH)


def bce_dice(
    logits: Float[Array, "B H W C"],
    mask: Float[Array, "B H W C"],
    dice_weight: float = 1.0,
) -> Float[Array, " B"]:
    """Return mean binary cross-entropy plus 1 - soft Dice of each image.

    Args:
        logits: (B, H, W, C), one channel a structure.
        mask: likewise, 0.0 or 1.0.
        dice_weight: of the Dice term; 0 leaves the cross-entropy alone.

    Returns:
        (B,) losses, averaged over the channels.

    Reference:
        Milletari et al., V-Net, arXiv 1606.04797, for the Dice term.
    """
    # (B, H, W, C) -> (B,): from logits, for log(sigmoid) of a sure pixel would be log
    # 0.
    cross = optax.sigmoid_binary_cross_entropy(logits, mask).mean(axis=(1, 2, 3))
    overlap = soft_dice(jax.nn.sigmoid(logits), mask).mean(axis=1)
    return cross + dice_weight * (1 - overlap)


def hard_dice(
    predicted: Float[Array, "B H W C"], mask: Float[Array, "B H W C"]
) -> Float[Array, " B"]:
    """Return the Dice coefficient of masks, averaged over channels; 1 if both empty."""
    both = (predicted * mask).sum(axis=(1, 2))
    total = predicted.sum(axis=(1, 2)) + mask.sum(axis=(1, 2))
    # 2 |A and B| / (|A| + |B|), (B, C).
    dice = jnp.where(total > 0, 2 * both / jnp.maximum(total, 1), 1)
    return dice.mean(axis=1)
