"""What computed: the versions, the device, the command."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import jax

_PACKAGES = ("synaptax", "jax", "jaxlib", "flax", "optax", "numpy")


def environment() -> dict[str, Any]:
    """Return the versions of Python and of what computes, and the device.

    Example:
        >>> "jax" in synaptax.runs.environment()["versions"]
        True
    """
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    device = jax.devices()[0]
    return {
        "versions": versions,
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": jax.device_count(),
            "cores": cores(),
        },
    }


def cores() -> int:
    """Return the number of cores this process may use.

    Example:
        >>> synaptax.runs.cores() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def command_line() -> str:
    """Return this process's command, with no path to the interpreter or module.

    Example:
        >>> isinstance(synaptax.runs.command_line(), str)
        True
    """
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is None:
        program = ["python", Path(sys.argv[0]).name]
    else:
        program = ["python", "-m", spec.name.removesuffix(".__main__")]
    return shlex.join([*program, *sys.argv[1:]])
