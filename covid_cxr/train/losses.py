"""Losses of logits, per image, as published and as they should be."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from synaptax.typing import Array, Float, Int

LOSSES = ("bce", "focal", "softmax", "double-softmax")


def binary_cross_entropy(
    logits: Float[Array, "B 1"], label: Int[Array, " B"]
) -> Float[Array, " B"]:
    """Return -log P(label) in nats, P(1) = sigmoid(logit)."""
    target = label.astype(logits.dtype)
    return optax.sigmoid_binary_cross_entropy(logits[:, 0], target)


def focal(
    logits: Float[Array, "B 1"], label: Int[Array, " B"], gamma: float = 2.0
) -> Float[Array, " B"]:
    """Return (1 - p_t)^gamma * BCE, p_t the probability of the true label.

    Reference:
        Lin et al., Focal loss for dense object detection, arXiv 1708.02002.
    """
    loss = binary_cross_entropy(logits, label)
    wrong = -jnp.expm1(-loss)  # 1 - p_t, exact where p_t is close to 1
    return wrong**gamma * loss


def softmax_cross_entropy(
    logits: Float[Array, "B C"], label: Int[Array, " B"]
) -> Float[Array, " B"]:
    """Return -log softmax(logits)[label] in nats."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, label)


def double_softmax(
    logits: Float[Array, "B C"], label: Int[Array, " B"]
) -> Float[Array, " B"]:
    """Return the cross-entropy of a softmax taken for logits, as published.

    Its value stays above log(1 + (C - 1) / e): it can never become small, and its
    gradient fades for confident predictions, right or wrong.
    """
    return softmax_cross_entropy(jax.nn.softmax(logits, axis=-1), label)


def loss_function(
    name: str, classes: int, gamma: float = 2.0
) -> Callable[[Array, Array], Array]:
    """Return a loss ``(logits (B, classes), label (B,)) -> (B,)`` by name.

    Args:
        name: one of :data:`LOSSES`.
        classes: outputs of the network.
        gamma: of the focal loss.

    Returns:
        The function.

    Raises:
        ValueError: for another name, or a loss that does not go with ``classes``.
    """
    if name not in LOSSES:
        raise ValueError(f"loss: expected one of {', '.join(LOSSES)}, got {name!r}")
    if (classes == 1) != (name in ("bce", "focal")):
        outputs = "one output" if name in ("bce", "focal") else "two outputs or more"
        raise ValueError(f"loss: {name} needs {outputs}, the network has {classes}")
    if name == "focal":
        return lambda logits, label: focal(logits, label, gamma)
    return {
        "bce": binary_cross_entropy,
        "softmax": softmax_cross_entropy,
        "double-softmax": double_softmax,
    }[name]
