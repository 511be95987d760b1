"""Run folders, checkpoints, progress and processes."""

from synaptax.runs.files import FileError
from synaptax.runs.folder import (
    RunFolder,
    append_metrics,
    config_of,
    create,
    fresh_path,
    keep_metrics,
    read_metrics,
)
from synaptax.runs.machine import command_line, cores, environment
from synaptax.runs.reading import read_arrays, read_json
from synaptax.runs.summaries import read_summary, write_summary
from synaptax.runs.writing import jsonable, write_json

__all__ = [
    "FileError",
    "RunFolder",
    "append_metrics",
    "command_line",
    "config_of",
    "cores",
    "create",
    "environment",
    "fresh_path",
    "jsonable",
    "keep_metrics",
    "read_arrays",
    "read_json",
    "read_metrics",
    "read_summary",
    "write_json",
    "write_summary",
]
