"""What was measured with this package, and the records of it."""

from pathlib import Path

RECORDED = Path(__file__).parent / "recorded"
