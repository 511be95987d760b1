"""What one comparison is asked to do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from synaptax.cli.fields import Help, check_fields
from synaptax.data import images
from synaptax.nets import models

Method = Literal[
    "magnitude",
    "magnitude-erk",
    "magnitude-layer",
    "one-shot",
    "random",
    "l2",
    "sensitivity",
    "loss-sensitivity",
    "snip",
    "grasp",
    "synflow",
    "static",
    "rigl",
    "set",
    "ac-dc",
    "straight-through",
]


@dataclass(frozen=True)
class Comparison:
    """Methods, compressions and seeds; every cell trains for the same budget.

    A cell is one network: SGD with momentum for ``budget`` epochs from its seed's
    initial weights, the learning rate constant up to the share ``hold`` and falling by
    a cosine to 0. Gradual methods prune on the cubic schedule between ``begin`` and
    ``end``. The weights after the last epoch count; nothing is chosen on any data.
    """

    dataset: Annotated[
        str, Help(help="digits needs no download; any other as the main command's.")
    ] = "digits"
    model: Annotated[str, Help(help="A bundled network, or module:function.")] = (
        "lenet300"
    )
    methods: Annotated[tuple[Method, ...], Help(help="The methods, in this order.")] = (
        "magnitude",
        "magnitude-erk",
        "random",
        "snip",
        "synflow",
        "rigl",
    )
    compressions: Annotated[
        tuple[float, ...], Help(help="Weights over weights kept (biases all stay).")
    ] = (2.0, 10.0, 50.0)
    seeds: Annotated[tuple[int, ...], Help(help="Which seeds, such as 0 1 2.")] = (0, 1)
    budget: Annotated[int, Help(help="Epochs of training of each cell.")] = 30
    batch: Annotated[int, Help(help="Examples per step.")] = 100
    lr: Annotated[float, Help(help="Learning rate of SGD.")] = 0.05
    momentum: Annotated[float, Help(help="Momentum of SGD.")] = 0.9
    begin: Annotated[float, Help(help="Where pruning begins, a share.")] = 0.1
    end: Annotated[float, Help(help="Where it ends, likewise.")] = 0.6
    hold: Annotated[float, Help(help="Where the learning rate begins to fall.")] = 0.65
    rate: Annotated[
        float, Help(help="Shrink term of l2 and the sensitivities, a step at lr.")
    ] = 1e-4
    score_batches: Annotated[
        int, Help(help="Batches from which SNIP and GraSP score.")
    ] = 10
    limit: Annotated[
        int | None, Help(help="Use only the first so many training examples.")
    ] = None
    data_dir: Annotated[
        str | None, Help(help="Folder of prepared TFDS sets (else TFDS_DATA_DIR).")
    ] = None


def check(config: Comparison) -> None:
    """Raise a ValueError that names the first field out of its range."""
    check_fields(
        config,
        at_least={"budget": 2, "batch": 1, "score_batches": 1},
        finite=("lr", "rate"),
        shares=("momentum", "begin", "end", "hold"),
    )
    models.check_name(config.model, "model")
    images.check_name(config.dataset, config.data_dir, "dataset")
    for name in ("methods", "compressions"):
        values = getattr(config, name)
        if not values or len(set(values)) != len(values):
            raise ValueError(
                f"{name}: expected one or more, all different, got {values}"
            )
    if any(not (math.isfinite(c) and c >= 1) for c in config.compressions):
        raise ValueError(
            f"compressions: expected numbers >= 1, got {config.compressions}"
        )
    if config.end <= config.begin:
        raise ValueError(f"end: expected more than begin = {config.begin}")
