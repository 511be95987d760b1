"""The sections of RESULTS.md on stochastic binary synapses, topic by topic."""

from __future__ import annotations

import importlib
import importlib.util

_TOPICS = ("solvers", "theory", "network")


def sections() -> list[str]:
    """Return the Markdown lines of every topic that is there."""
    lines: list[str] = []
    for topic in _TOPICS:
        name = f"binary.experiments._results_{topic}"
        if importlib.util.find_spec(name) is not None:
            lines += importlib.import_module(name).sections()
    return lines
