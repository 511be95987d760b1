"""Deep networks of stochastic binary weights and sign activations."""

from binary.network import committee
from binary.network.artefact import ArtefactError, Packed, load, pack, predict, save
from binary.network.header import c_header
from binary.network.layers import Conv, Dense
from binary.network.model import (
    BinaryNetwork,
    StochasticLayer,
    draw,
    init,
    logits,
    magnetisations,
    mode,
    propagate,
    pull,
    run_signs,
    sampled,
    self_overlaps,
)

__all__ = [
    "ArtefactError",
    "BinaryNetwork",
    "Conv",
    "Dense",
    "Packed",
    "StochasticLayer",
    "c_header",
    "committee",
    "draw",
    "init",
    "load",
    "logits",
    "magnetisations",
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
