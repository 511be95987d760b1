"""What a run comes to: a cell for each seed, small enough for a repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from pruning._roles import weights_only
from pruning.regularisers import robustness, steps
from pruning.regularisers.config import RegulariserConfig
from synaptax import runs, training
from synaptax.data.images import Dataset
from synaptax.nets.models import Network
from synaptax.trees import named_leaves

BIN = 0.0025  # width of the bins of a weight histogram, as in the authors' figure
_POINTS = 51  # of a curve that is thinned


def cells_of(
    config: RegulariserConfig,
    records: Sequence[Mapping[str, Any]],
    loaded: Dataset,
    net: Network,
    state: Any,
) -> list[dict[str, Any]]:
    """Return what each seed came to."""
    evaluate = jax.jit(partial(steps.evaluate, net))
    cells = []
    for index, seed in enumerate(config.seeds):
        replica = training.replica_of(state, index)
        more = {}
        if config.measure:
            more["measures"] = robustness.measure(
                net, replica.params, replica.stats, loaded.test
            )
        test = jax.device_get(evaluate(replica.params, replica.stats, loaded.test))
        cells.append(
            {
                "method": config.method,
                "seed": seed,
                "test_error": float(test.error),
                "test_loss": float(test.loss),
                "mean_squares": {k: float(v) for k, v in test.mean_squares.items()},
                # R = (1/L) sum_l mean(z_l^2), on the test set.
                "penalty": float(np.mean(list(test.mean_squares.values()))),
                "curves": _curves(records, index),
                "weights": histogram(replica.params),
                **more,
            }
        )
    return runs.jsonable(cells)


def _curves(records: Sequence[Mapping[str, Any]], index: int) -> dict[str, Any]:
    """Return one seed's curves: the error of every epoch, the rest thinned."""
    where = "test" if "test_error" in records[0] else "validation"
    indices = thinned(len(records))
    error = [float(f"{record[f'{where}_error'][index]:.5g}") for record in records]
    short = lambda value: float(f"{value[index]:.4g}")
    return {
        "watched": where,
        "error": error,
        "epochs": [records[i]["epoch"] for i in indices],
        "loss": [short(records[i][f"{where}_loss"]) for i in indices],
        "train_loss": [short(records[i]["train_loss"]) for i in indices],
        "mean_squares": {
            path: [short(records[i]["mean_squares"][path]) for i in indices]
            for path in records[0]["mean_squares"]
        },
    }


def thinned(count: int) -> list[int]:
    """Return at most 51 of ``count`` indices, first and last among them."""
    if count <= _POINTS:
        return list(range(count))
    return [round(i * (count - 1) / (_POINTS - 1)) for i in range(_POINTS)]


def histogram(params: Any) -> dict[str, Any]:
    """Return how the second weight matrix is distributed: conv2 of LeNet-5.

    Args:
        params: the parameters.

    Returns:
        ``name``, ``first`` (the left edge of the first bin, in bins from 0), ``width``
        of a bin, and the ``counts`` up to the last bin that holds a weight.
    """
    weights = [(n, leaf) for n, leaf in named_leaves(params) if weights_only(n, leaf)]
    name, leaf = weights[min(1, len(weights) - 1)]
    bins = np.floor(np.asarray(leaf, np.float64).ravel() / BIN).astype(int)
    counts = np.bincount(bins - bins.min())
    return {
        "name": name,
        "first": int(bins.min()),
        "width": BIN,
        "counts": counts.tolist(),
    }
