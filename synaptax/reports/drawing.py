"""What every figure starts from: colours, and a figure that belongs to no window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synaptax.runs.files import replacing

# Okabe and Ito's palette, told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#595959"


def blank(width: float, height: float, *, extra: str = "lab") -> Any:
    """Return an empty figure without touching the backend that a notebook may use.

    Args:
        width: in inches.
        height: in inches.
        extra: what to install if matplotlib is not there.

    Raises:
        ImportError: without matplotlib, naming the extra.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"figures need matplotlib: pip install 'synaptax[{extra}]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def save_png(figure: Any, path: Path, *, most: int = 300_000) -> Path:
    """Write a figure as PNG, the same bytes each time, and return its path.

    Args:
        figure: as :func:`blank` made it.
        path: the file.
        most: bytes that a recorded figure may take.

    Raises:
        ValueError: naming the file, if it is larger than that.
    """
    # Without matplotlib's version in the file, equal pictures are equal files.
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=130, metadata={"Software": None})
    if (size := path.stat().st_size) > most:
        raise ValueError(f"{path}: {size} bytes, expected at most {most}")
    return path
