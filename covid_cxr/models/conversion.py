"""A user's torchvision weights, as parameters of our networks.

torchvision itself is never needed; PyTorch only to read its own file format.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from synaptax.runs import FileError, read_arrays
from synaptax.trees import map_named, named_leaves

GREY = ("sum", "first")
_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_SHOWN = 3  # names in an error


def torch_name(path: str, *, dense: bool = False) -> str:
    """Return torchvision's name of a leaf, given ours.

    Args:
        path: such as ``layer1_0/downsample_conv/kernel``.
        dense: whether it is of a DenseNet.

    Returns:
        Such as ``layer1.0.downsample.0.weight``.
    """
    *owners, leaf = path.split("/")
    if owners[0] == "fc":
        owners = ["classifier" if dense else "fc"]
    elif dense:
        owners[0] = re.sub(
            r"^(denseblock\d+)_(\d+)$",
            lambda m: f"{m[1]}.denselayer{int(m[2]) + 1}",
            owners[0],
        )
        owners.insert(0, "features")
    else:
        owners[0] = owners[0].replace("_", ".")
        owners = [
            {"downsample_conv": "downsample.0", "downsample_norm": "downsample.1"}.get(
                owner, owner
            )
            for owner in owners
        ]
    return ".".join([*owners, _LEAVES[leaf]])


def convert(
    state: Mapping[str, Any] | str | os.PathLike[str],
    params: Any,
    stats: Any,
    *,
    grey: str = "sum",
    head: bool = False,
) -> tuple[Any, Any]:
    """Return parameters and statistics with torchvision's values.

    Args:
        state: a state dict (name to array or tensor), or the path of an ``.npz`` file
            or of a PyTorch file that holds one.
        params: ours, of :meth:`covid_cxr.models.network.Network.init`; they give the
            names and shapes.
        stats: likewise; empty for group normalisation, which then gets scales and
            biases but no running averages.
        grey: how three input channels become one: ``"sum"``, the network that sees
            the grey image three times, or ``"first"``, the first channel's filters
            alone, as in the code of arXiv 2004.05405. With per-channel input
            normalisation "sum" is exact only if mean and deviation are the same for
            the three.
        head: whether to take the final linear layer too; the head must be linear.

    Returns:
        New (params, stats); the head as given unless ``head``.

    Raises:
        ValueError: naming entries that are missing, unexpected, of another shape or
            not finite, or a ``grey`` that is neither.
        OSError: if the file cannot be read.
        ImportError: if it takes PyTorch to read it.

    Example:
        >>> from covid_cxr import models
        >>> net = models.network(models.published(18))  # doctest: +SKIP
        >>> params, stats = net.init(jax.random.key(0))  # doctest: +SKIP
        >>> variables = params, stats  # doctest: +SKIP
        >>> params, stats = models.convert("resnet18.pth", *variables)  # doctest: +SKIP
    """
    if grey not in GREY:
        raise ValueError(f"grey: expected one of {GREY}, got {grey!r}")
    arrays = read_state(state)
    dense = "norm5" in params
    if head and "hidden" in params["fc"]:
        raise ValueError("head: torchvision's is linear, this network's is not")
    names = {
        name: torch_name(name, dense=dense)
        for tree in (params, stats)
        for name, _ in named_leaves(tree)
    }
    if not head:
        names = {ours: name for ours, name in names.items() if "fc/" not in ours}
    _check_names(set(names.values()), set(arrays), dense, bool(stats))

    def taken(name: str, leaf: Any) -> Any:
        if name not in names:
            return leaf
        return jnp.asarray(_fitted(names[name], arrays[names[name]], leaf.shape, grey))

    return map_named(taken, params), map_named(taken, stats)


def read_state(state: Mapping[str, Any] | str | os.PathLike[str]) -> dict[str, Any]:
    """Return a state dict as NumPy arrays, without ``module.`` before the names.

    Args:
        state: as in :func:`convert`; a checkpoint that keeps the state dict under
            ``state_dict`` is fine.

    Returns:
        Name to array.

    Raises:
        ValueError: if it is no state dict.
        OSError: if the file cannot be read.
        ImportError: if it takes PyTorch to read it.

    Example:
        >>> np.savez("torch.npz", **{"module.fc.weight": np.zeros((1, 512))})
        >>> list(covid_cxr.models.read_state("torch.npz"))
        ['fc.weight']
    """
    if isinstance(state, str | os.PathLike):
        state = _read_file(Path(state))
    inner = state.get("state_dict", state)
    if not isinstance(inner, Mapping) or not inner:
        raise ValueError("state: expected a mapping of names to arrays")
    return {
        str(name).removeprefix("module."): _array(str(name), value)
        for name, value in inner.items()
    }


def _read_file(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"state: no file {path}")
    if path.suffix == ".npz":
        try:
            return read_arrays(path)
        except FileError as error:
            raise FileError(f"state: not a NumPy archive: {error}") from error
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            f"reading {path.name} needs PyTorch; or save it as .npz where PyTorch is: "
            "numpy.savez(path, **{k: v.numpy() for k, v in model.state_dict().items()})"
        ) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many classes
        cause = " ".join(str(error).split())[:200]
        raise FileError(f"state: {path} is not a PyTorch file: {cause}") from error


def _array(name: str, value: Any) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"state: {name} is {array.dtype}, expected numbers")
    return array


def _check_names(wanted: set[str], given: set[str], dense: bool, stats: bool) -> None:
    missing = sorted(wanted - given)
    final = "classifier." if dense else "fc."
    # num_batches_tracked is a count that evaluation does not use.
    ignored = {n for n in given if n.startswith(final) or n.endswith("batches_tracked")}
    if not stats:
        ignored |= {n for n in given if n.endswith(("running_mean", "running_var"))}
    extra = sorted(given - wanted - ignored)
    for kind, names in (("has no", missing), ("has an unexpected", extra)):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            raise ValueError(f"state: {kind} {', '.join(names[:_SHOWN])}{more}")


def _fitted(name: str, value: np.ndarray, shape: tuple[int, ...], grey: str) -> Any:
    """Return an array in our layout and in float32."""
    if not np.isfinite(value).all():
        raise ValueError(f"state: {name} has values that are not finite")
    value = value.astype(np.float32)
    if value.ndim == 4:
        # (O, C, k, k) of PyTorch to (k, k, C, O).
        value = value.transpose(2, 3, 1, 0)
        if shape[2] == 1 and value.shape[2] == 3:
            first = value[:, :, :1]
            # sum_c w_c * x_c with x_1 = x_2 = x_3 is (sum_c w_c) * x.
            value = value.sum(axis=2, keepdims=True) if grey == "sum" else first
    elif value.ndim == 2:
        value = value.T
    if value.shape != tuple(shape):
        raise ValueError(
            f"state: {name} has shape {value.shape} in our layout, expected "
            f"{tuple(shape)}"
        )
    return value
