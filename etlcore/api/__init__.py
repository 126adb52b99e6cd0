"""What the command line does, as calls that return values: for notebooks, scripts and programs of one's own."""

from __future__ import annotations

from etlcore.api.listing import describe, installed, json_schema
from etlcore.api.pipeline import Pipeline, check, load, run
from etlcore.api.running import Ran, RunFailed
from etlcore.api.stepping import Step
from etlcore.api.table import Table

__all__ = [
    "Pipeline",
    "Ran",
    "RunFailed",
    "Step",
    "Table",
    "check",
    "describe",
    "installed",
    "json_schema",
    "load",
    "run",
]
