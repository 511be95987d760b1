"""What was measured with this package, and the records of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent / "recorded"


def probe_name(probe: Mapping[str, Any]) -> str:
    """Return a recorded probe's name, in the words of today."""
    return str(probe["name"]).replace("film", "radiograph")
