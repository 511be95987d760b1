"""Run folders, checkpoints, progress and processes."""

from synaptax.runs.folder import (
    RunFolder,
    append_metrics,
    command_line,
    config_of,
    cores,
    create,
    environment,
    fresh_path,
    jsonable,
    keep_metrics,
    read_json,
    read_metrics,
    write_json,
    write_summary,
)

__all__ = [
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
    "read_json",
    "read_metrics",
    "write_json",
    "write_summary",
]
