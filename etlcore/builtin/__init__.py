"""The built-in stages: what needs nothing beyond etlcore's own dependencies. One file a component."""

from __future__ import annotations

from collections.abc import Iterator

from etlcore import Component, hookimpl


@hookimpl
def etl_components() -> Iterator[Component]:
    """Where each built-in stage lives; nothing of it is imported here."""
    here = "etlcore.builtin"
    yield Component("generate", "source", f"{here}.generate:Generate", "Made-up rows, as many as wanted")
    yield Component("files", "source", f"{here}.files_source:FilesSource", "JSON lines out of files")
    yield Component("python", "source", f"{here}.python_source:PythonSource", "Rows from a Python generator")
    yield Component("select", "transform", f"{here}.select:Select", "Keep and rename columns")
    yield Component("filter", "transform", f"{here}.filter:Filter", "Keep the rows that fit a condition")
    yield Component("parse_uri", "transform", f"{here}.parse_uri:ParseUri", "Path and query parameters of a URI")
    yield Component("python", "transform", f"{here}.python_transform:PythonTransform", "A Python function of yours")
    yield Component("console", "sink", f"{here}.console:Console", "JSON lines to standard output")
    yield Component("files", "sink", f"{here}.files_sink:FilesSink", "JSON lines into a file")
    yield Component("python", "sink", f"{here}.python_sink:PythonSink", "A Python function that takes the rows")
    yield Component("blackhole", "sink", f"{here}.blackhole:Blackhole", "Takes rows and forgets them")
