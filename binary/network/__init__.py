"""Deep networks of stochastic binary weights and sign activations."""

from binary.network.artefact import Packed, load, pack, predict, save
from binary.network.model import (
    BinaryNetwork,
    Conv,
    Dense,
    StochasticLayer,
    draw,
    init,
    logits,
    mode,
    propagate,
    pull,
    run_signs,
    sampled,
    self_overlaps,
)

__all__ = [
    "BinaryNetwork",
    "Conv",
    "Dense",
    "Packed",
    "StochasticLayer",
    "draw",
    "init",
    "load",
    "logits",
    "mode",
    "pack",
    "predict",
    "propagate",
    "pull",
    "run_signs",
    "sampled",
    "save",
    "self_overlaps",
]
