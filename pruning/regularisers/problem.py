"""What a run trains on what: its data and its network."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from pruning.regularisers.config import RegulariserConfig
from synaptax import data
from synaptax.data.images import Batch, Dataset
from synaptax.nets import lenets, models


def load(config: RegulariserConfig, *, quiet: bool = True) -> Dataset:
    """Return the data of a run, normalised and sized as its network wants it."""
    loaded = data.load(
        config.dataset,
        data_dir=config.data_dir,
        validation=config.validation,
        limit=config.limit,
        progress=not quiet,
    )
    grown = config.dataset == "digits" and config.model == "lenet5"

    def prepared(batch: Batch) -> Batch:
        image = np.asarray(batch.image)
        if grown:  # each pixel becomes four: 16x16, the least that LeNet-5 takes
            image = image.repeat(2, axis=1).repeat(2, axis=2)
        if config.pixels is not None:
            mean, std = (np.float32(value) for value in config.pixels)
            own = [np.asarray(v, np.float32) for v in (loaded.mean, loaded.std)]
            image = (image * own[1] + own[0] - mean) / std
        return Batch(image, batch.label)

    mean, std = loaded.mean, loaded.std
    if config.pixels is not None:
        mean, std = ((value,) * len(mean) for value in config.pixels)
    return dataclasses.replace(
        loaded,
        train=prepared(loaded.train),
        validation=prepared(loaded.validation),
        test=prepared(loaded.test),
        mean=mean,
        std=std,
    )


def network(config: RegulariserConfig, loaded: Dataset) -> models.Network:
    """Return the network of a run; LeNet-5 with its ReLUs on the whole feature maps."""
    options: dict[str, Any] = {}
    if config.model == "lenet5":
        options = {"rectify": "full", "conv": lenets.fastest()}
    if config.method == "dropout":
        options["dropout"] = config.dropout
    elif config.model == "allcnn_c":
        options |= {"dropout": 0.0, "input_dropout": 0.0}
    shape = loaded.train.image.shape[1:]
    return models.network(config.model, loaded.classes, shape, **options)
