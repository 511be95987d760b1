"""Image sets, decoded once, and how they are augmented."""

from synaptax.data.images import (
    Batch,
    Dataset,
    check_batch,
    epoch_order,
    hold_out,
    load,
    moments,
    normalise,
)

__all__ = [
    "Batch",
    "Dataset",
    "check_batch",
    "epoch_order",
    "hold_out",
    "load",
    "moments",
    "normalise",
]
