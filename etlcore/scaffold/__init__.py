"""Packages and pipeline files to begin with: complete, small, and with nothing in them to delete."""

from __future__ import annotations

from etlcore.scaffold.pipeline import pipeline_file
from etlcore.scaffold.plugin import NAME, plugin_files
from etlcore.scaffold.writing import Exists, write_new

__all__ = ["NAME", "Exists", "pipeline_file", "plugin_files", "write_new"]
