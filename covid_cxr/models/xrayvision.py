"""torchxrayvision's DenseNets and ResNets as a start, from a state dict alone.

They have torchvision's layers behind one input channel, and were trained on images in
[-1024, 1024]. Neither torchxrayvision nor PyTorch is needed, and nothing is fetched.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from covid_cxr.models.conversion import read_state

#: The outputs of its networks for all data sets, in their order.
XRAYVISION = (
    *("Atelectasis", "Consolidation", "Infiltration", "Pneumothorax", "Edema"),
    *("Emphysema", "Fibrosis", "Effusion", "Pneumonia", "Pleural_Thickening"),
    *("Cardiomegaly", "Nodule", "Mass", "Hernia", "Lung Lesion", "Fracture"),
    *("Lung Opacity", "Enlarged Cardiomediastinum"),
)
_FIRST = ("features.conv0.weight", "conv1.weight")  # of a DenseNet, of a ResNet
_HALF = 1024.0  # its images are 1024 (2 u - 1) of u in [0, 1]


def from_torchxrayvision(
    state: Mapping[str, Any] | str | os.PathLike[str], *, std: float = 0.25
) -> dict[str, np.ndarray]:
    r"""Return a state dict for :func:`convert`, for images standardised as ours are.

    Its input is :math:`1024 (2u - 1)` of u in [0, 1], ours :math:`(u - 1/2) / std`: the
    first filters are multiplied by 2048 std, which is exact, borders included, for
    both are 0 at u = 1/2 and the convolution has no bias.

    Args:
        state: its ``state_dict``, or a file, as :func:`convert` takes it; not the
            pickled network that it downloads: save ``model.state_dict()`` of that.
        std: that images are divided by, after 1/2 was subtracted; a stage's default.

    Returns:
        Names as torchvision's to arrays; without thresholds of its outputs. Save it
        with ``numpy.savez`` to start a study's network from it.

    Raises:
        ValueError: for a ``std`` that is not positive, a state without a first
            convolution, or one of another number of channels.
        OSError: if the file cannot be read.

    Example:
        >>> state = {"model.conv1.weight": np.ones((4, 1, 7, 7), np.float32)}
        >>> weights = covid_cxr.models.from_torchxrayvision(state)
        >>> list(weights), float(weights["conv1.weight"][0, 0, 0, 0])
        (['conv1.weight'], 512.0)
    """
    if not (np.isfinite(std) and std > 0):
        raise ValueError(f"std: expected a positive number, got {std}")
    arrays = {
        name.removeprefix("model."): value
        for name, value in read_state(state).items()
        if name != "op_threshs"
    }
    first = next((name for name in _FIRST if name in arrays), None)
    if first is None:
        raise ValueError(f"state: has neither {_FIRST[0]} nor {_FIRST[1]}")
    if arrays[first].ndim != 4 or arrays[first].shape[1] != 1:
        raise ValueError(
            f"state: {first} has shape {arrays[first].shape}, expected one input "
            "channel"
        )
    arrays[first] = arrays[first] * np.float32(2 * _HALF * std)
    return arrays
