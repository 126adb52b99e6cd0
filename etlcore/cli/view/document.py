"""The drain report as data: what ``--report`` writes, the JSON log ends with, and plugins are told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from etlcore.cli.output import write_whole
from etlcore.cli.view.secrets import Mask
from etlcore.runtime.report import Report

SCHEMA = 1
"""Rises when a field changes its meaning or goes; new fields may come at any time."""


def document(report: Report, mask: Mask) -> dict[str, Any]:
    """The report as JSON-able data, with the version of its schema."""
    from etlcore import __version__

    data: dict[str, Any] = json.loads(dumps(mask.data(report.to_json())))
    return {"schema": SCHEMA, "etlcore": __version__, **data}


def dumps(data: Any) -> str:
    """JSON on one line; what JSON does not know is written as text."""
    return json.dumps(data, ensure_ascii=False, default=str)


def check_writable(file: Path) -> str:
    """What keeps a report from being written to ``file``; empty when nothing does."""
    if file.is_dir():
        return f"{file} is a directory"
    if file.exists() and not file.is_file():
        return f"{file} is not a regular file"
    if not file.parent.is_dir():
        return f"the directory {file.parent} does not exist"
    if not os.access(file.parent, os.W_OK | os.X_OK):
        return f"the directory {file.parent} is not writable"
    return ""


def write(file: Path, data: dict[str, Any]) -> None:
    """Write the report in one step: a reader sees the former file or the whole new one. Raises OSError."""
    text = json.dumps(data, ensure_ascii=False, indent=2) + "\n"
    write_whole(file, text)
