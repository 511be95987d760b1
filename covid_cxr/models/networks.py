"""A configured network as plain functions of parameters and statistics."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from covid_cxr.models.densenet import BLOCKS_121, DenseNet
from covid_cxr.models.norms import KINDS
from covid_cxr.models.resnet import ResNet
from synaptax.checks import check_integer
from synaptax.typing import Array

ARCHITECTURES = ("resnet10", "resnet18", "resnet34", "resnet50", "densenet121")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """What network.

    Attributes:
        architecture: One of resnet10, resnet18, resnet34, resnet50, densenet121.
        width: Channels of the stem; the published networks have 64, 16 runs on a CPU.
        classes: Outputs; one for a yes or no.
        hidden: Units of a hidden layer in the head; 0: a linear head.
        norm: Batch, frozen or group normalisation.
        blocks: Layers of each dense block (densenet121 only).

    Example:
        >>> covid_cxr.models.ModelConfig("densenet121", width=16).classes
        1
    """

    architecture: str = "resnet18"
    width: int = 64
    classes: int = 1
    hidden: int = 0
    norm: str = "batch"
    blocks: tuple[int, ...] = BLOCKS_121


class Network(NamedTuple):
    """A network as functions; ``stats`` holds running averages, or nothing.

    Attributes:
        config: what it is.
        module: the Flax module behind it.

    Example:
        >>> config = covid_cxr.models.ModelConfig("resnet10", width=4)
        >>> net = covid_cxr.models.network(config)
        >>> params, stats = net.init(jax.random.key(0))
        >>> net.config.architecture, sorted(params)[:2]
        ('resnet10', ['bn1', 'conv1'])
    """

    config: ModelConfig
    module: Any

    def init(self, key: Array, side: int = 64) -> tuple[Any, Any]:
        """Return random (params, stats) for images (B, side, side, 1)."""
        variables = initialised(self.module, key, (1, side, side, 1))
        return variables["params"], variables.get("batch_stats", {})

    def apply(self, params: Any, stats: Any, x: Array) -> Array:
        """Return logits (B, classes), evaluation mode."""
        return self.module.apply(_joined(params, stats), x)

    def train(self, params: Any, stats: Any, x: Array) -> tuple[Array, Any]:
        """Return logits (B, classes) and the new stats, training mode."""
        if not stats:
            return self.module.apply(_joined(params, stats), x, True), stats
        logits, new = self.module.apply(
            _joined(params, stats), x, True, mutable=["batch_stats"]
        )
        return logits, new["batch_stats"]

    def maps(self, params: Any, stats: Any, x: Array) -> dict[str, Array]:
        """Return feature maps {stage: (B, h, w, C)}, evaluation mode."""
        return self.module.apply(_joined(params, stats), x, method="maps")

    def features(self, params: Any, stats: Any, x: Array) -> dict[str, Array]:
        """Return spatial means of the feature maps, {stage: (B, C)}."""
        maps = self.maps(params, stats, x)
        return {name: one.mean(axis=(1, 2)) for name, one in maps.items()}

    def head(self, params: Any, stats: Any, last: Array) -> Array:
        """Return logits (B, classes) from the last of the feature maps."""
        return self.module.apply(_joined(params, stats), last, method="head")


@partial(jax.jit, static_argnums=(0, 2))
def initialised(module: Any, key: Array, shape: tuple[int, ...]) -> Any:
    """Return a Flax module's random variables for images of a shape.

    Compiled, so that the forward pass that shapes the parameters is dropped.
    """
    return module.init(key, jnp.zeros(shape))


def network(config: ModelConfig, *, method: str = "auto") -> Network:
    """Build a network.

    Args:
        config: what network.
        method: of :func:`covid_cxr.models.convolution.convolve`.

    Returns:
        The functions; use them under ``jit``.

    Raises:
        ValueError: naming a field that is none of its choices.

    Example:
        >>> config = covid_cxr.models.ModelConfig("resnet10", width=4)
        >>> net = covid_cxr.models.network(config)
        >>> params, stats = net.init(jax.random.key(0))
        >>> jax.jit(net.apply)(params, stats, jnp.zeros((2, 32, 32, 1))).shape
        (2, 1)
    """
    if config.architecture not in ARCHITECTURES:
        raise ValueError(
            f"architecture: expected one of {', '.join(ARCHITECTURES)}, got "
            f"{config.architecture!r}"
        )
    if config.norm not in KINDS:
        raise ValueError(f"norm: expected one of {KINDS}, got {config.norm!r}")
    for name in ("width", "classes"):
        check_integer(name, getattr(config, name), 1, expected="at least 1")
    check_integer("hidden", config.hidden, 0)
    if config.architecture == "densenet121":
        if not config.blocks:
            raise ValueError("blocks: expected the layers of each, got none")
        for count in config.blocks:
            check_integer("blocks", count, 1)
    common = {
        "width": config.width,
        "classes": config.classes,
        "hidden": config.hidden,
        "norm": config.norm,
        "method": method,
    }
    if config.architecture == "densenet121":
        return Network(config, DenseNet(blocks=tuple(config.blocks), **common))
    depth = int(config.architecture.removeprefix("resnet"))
    return Network(config, ResNet(depth=depth, **common))


def published(depth: int = 18, width: int = 64, *, norm: str = "batch") -> ModelConfig:
    """Return the COVID classifier of arXiv 2004.05405: ResNet-18 or -50.

    Its head has a hidden layer of 256 units for depth 18 and of 512 for depth 50; in a
    narrower network than theirs fewer, in proportion.

    Example:
        >>> covid_cxr.models.published(18).hidden
        256
    """
    if depth not in (18, 50):
        raise ValueError(f"depth: expected 18 or 50, got {depth}")
    hidden = (4 if depth == 18 else 8) * width  # 256 and 512 at their width of 64
    return ModelConfig(f"resnet{depth}", width, hidden=hidden, norm=norm)


def _joined(params: Any, stats: Any) -> dict[str, Any]:
    return {"params": params, "batch_stats": stats} if stats else {"params": params}


def parameters(params: Any) -> int:
    """Return how many parameters there are.

    Example:
        >>> from covid_cxr import models
        >>> models.parameters({"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(4)})
        16
    """
    return sum(int(leaf.size) for leaf in jax.tree.leaves(params))
