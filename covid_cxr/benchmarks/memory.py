"""The most anonymous memory that a study's preparation and one epoch of training take.

Command: ``python -m covid_cxr.benchmarks.memory``: 10,000 synthetic radiographs of
224x224 pixels are drawn into a cache, and a ResNet-10 of width 8 sees each once. Pages
mapped from the cache do not count: the system takes them back when it wants. Linux
alone says which are which.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from covid_cxr.models import ModelConfig, network
from covid_cxr.study import parse
from covid_cxr.study.data import library
from covid_cxr.train import StageConfig, fit
from synaptax import runs
from synaptax.data.streaming import FITS

LIMIT = 3 * 2**30  # bytes
_VALIDATION = 200  # radiographs looked at after the epoch


class Peak:
    """The largest anonymous memory of this process while the context is open."""

    def __init__(self, every: float = 0.02) -> None:
        """Sample every some seconds."""
        self.bytes, self._every = 0, every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.bytes = max(self.bytes, anonymous())
            self._stop.wait(self._every)


def anonymous() -> int:
    """Return the bytes of anonymous memory of this process that are resident."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status: expected a line RssAnon")


def measure(images: int, side: int, width: int, batch: int) -> dict[str, Any]:
    """Prepare, train one epoch, and return the record."""
    sets = {"drawn": {"phantom": {"patients": images}, "seed": 0}}
    model = {"architecture": "resnet10", "width": width}
    config = parse(
        {
            "name": "memory",
            "side": side,
            "sets": sets,
            "encoders": {"net": model},
            "mixes": {"drawn": {"target": "drawn"}},
            "tests": ["own"],
        }
    )
    started, before = time.monotonic(), anonymous()
    with tempfile.TemporaryDirectory() as folder, Peak() as peak:
        data = library(config, Path(folder))
        prepared_s, preparation = time.monotonic() - started, peak.bytes
        whole = data.select(data.whole["drawn"])
        stage = StageConfig(epochs=1, batch=batch, seeds=(0,))
        train = whole.batch()
        trained = fit(
            network(ModelConfig(**model)),
            stage,
            train,
            whole.select(np.arange(_VALIDATION)).batch(),
        )
    return {
        "command": runs.command_line(),
        "images": images,
        "side": side,
        "width": width,
        "batch": batch,
        "streamed": train.image.nbytes > FITS,
        "pixel_bytes": train.image.nbytes,
        "before": before,
        "peak_of_preparation": preparation,
        "peak": peak.bytes,
        "limit": LIMIT,
        "within": peak.bytes <= LIMIT,
        "loss": trained.history[0]["loss"],
        "prepared_s": round(prepared_s, 1),
        "wall_s": round(time.monotonic() - started, 1),
        **runs.environment(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and record where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--record", type=Path, help="a JSON file to write")
    options = parser.parse_args(arguments)
    record = measure(options.images, options.side, options.width, options.batch)
    print(json.dumps(runs.jsonable(record), indent=1))
    print(
        f"peak of anonymous memory: {record['peak'] / 2**30:.2f} GiB, limit "
        f"{LIMIT / 2**30:.0f} GiB: {'within' if record['within'] else 'OVER'}"
    )
    if options.record:
        runs.write_json(options.record, record)


if __name__ == "__main__":
    main()
