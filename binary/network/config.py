"""What one training run of a deep binary network is asked to do."""

from __future__ import annotations

import dataclasses
from typing import Literal

from binary.network.objective import Method
from synaptax.checks import check_integer
from synaptax.cli.fields import check_choices, check_finite, check_seeds


@dataclasses.dataclass(frozen=True)
class Config:
    """A run: one network for each seed, all layers dense.

    Attributes:
        dataset: digits needs no download; the others are read through TFDS.
        method: propagate and sampled train means of binary weights, by averaged or
            by drawn signs; straight-through trains real shadows of binary weights.
        widths: of the hidden layers.
        seeds: which seeds, such as 0 1 2; a network each.
        epochs: passes over the training examples.
        batch: examples per step.
        lr: learning rate of Adam at the start; a cosine brings it to 0.
        certainty: what makes weights certain: each layer's self-overlap q* raised to 1
            along a schedule, or a term pull * sum of mean (1 - m^2), or nothing.
        start: share of the run after which that sets in.
        full: share of the run at which it has its full height.
        power: of the schedule, q* = 1 - (1 - q0) (1 - t)^power.
        pull: strength of the term.
        drop: share of the input pixels that are dropped in training.
        signal: second moment of the mean activations that the initial weights let
            through to the last hidden layer.
        limit: use only the first so many training examples.
        data_dir: folder of prepared TFDS sets (else TFDS_DATA_DIR).
        checkpoint_every: epochs between two checkpoints.
        draws: networks drawn from Q_m for the ensemble at the end.
    """

    dataset: Literal["digits", "mnist", "fashion_mnist"] = "digits"
    method: Method = "propagate"
    widths: tuple[int, ...] = (801, 801, 801)
    seeds: tuple[int, ...] = (0,)
    epochs: int = 30
    batch: int = 100
    lr: float = 0.01
    certainty: Literal["anneal", "pull", "none"] = "anneal"
    start: float = 0.1
    full: float = 0.9
    power: float = 2.0
    pull: float = 10.0
    drop: float = 0.3
    signal: float = 0.05
    limit: int | None = None
    data_dir: str | None = None
    checkpoint_every: int = 5
    draws: int = 10


def check(config: Config) -> None:
    """Raise unless every field is in its range.

    Raises:
        ValueError: naming the field, its value and what was expected.
    """
    check_choices(config)
    for name in ("epochs", "batch", "checkpoint_every", "draws"):
        check_integer(name, getattr(config, name), 1, expected="at least 1")
    if config.limit is not None:
        check_integer("limit", config.limit, 1)
    check_finite(config, ("lr", "pull", "power"))
    if not 0 <= config.start < config.full <= 1:
        raise ValueError(
            "start, full: expected 0 <= start < full <= 1, got "
            f"{config.start} and {config.full}"
        )
    if not 0 <= config.drop < 1:
        raise ValueError(f"drop: expected a share in [0, 1), got {config.drop}")
    if not 0 < config.signal < 1:
        raise ValueError(f"signal: expected a number in (0, 1), got {config.signal}")
    if not config.widths:
        raise ValueError(f"widths: expected one or more >= 1, got {config.widths}")
    for width in config.widths:
        check_integer("widths", width, 1, expected="one or more >= 1")
    check_seeds(config.seeds)
