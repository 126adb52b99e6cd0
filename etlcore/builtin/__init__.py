"""The built-in stages: what needs nothing beyond etlcore's own dependencies. One file a component."""

from __future__ import annotations

from collections.abc import Iterator

from etlcore import Component, hookimpl


@hookimpl
def etl_components() -> Iterator[Component]:
    """Where each built-in stage lives; nothing of it is imported here."""
    yield Component("generate", "source", "etlcore.builtin.generate:Generate", "Made-up rows, as many as wanted")
    yield Component(
        "files", "source", "etlcore.builtin.files_source:FilesSource", "Lines out of files, as they are or as they grow"
    )
    yield Component("python", "source", "etlcore.builtin.python_source:PythonSource", "Rows from a Python generator")
    yield Component("select", "transform", "etlcore.builtin.select:Select", "Keep and rename columns")
    yield Component("filter", "transform", "etlcore.builtin.filter:Filter", "Keep the rows that fit a condition")
    yield Component("rename", "transform", "etlcore.builtin.rename:Rename", "Give columns other names")
    yield Component("cast", "transform", "etlcore.builtin.cast:Cast", "Give columns a type")
    yield Component("explode", "transform", "etlcore.builtin.explode:Explode", "A row for each element of a list")
    yield Component("mask", "transform", "etlcore.builtin.mask:Mask", "Redact, hash or star what must not go further")
    yield Component("sample", "transform", "etlcore.builtin.sample:Sample", "Keep a share of the rows")
    yield Component("dedupe", "transform", "etlcore.builtin.dedupe:Dedupe", "Keep the first row of each key")
    yield Component("route", "transform", "etlcore.builtin.route:Route", "Named outputs by conditions")
    yield Component(
        "parse_uri", "transform", "etlcore.builtin.parse_uri:ParseUri", "Path and query parameters of a URI"
    )
    yield Component(
        "python", "transform", "etlcore.builtin.python_transform:PythonTransform", "A Python function of yours"
    )
    yield Component("console", "sink", "etlcore.builtin.console:Console", "JSON lines to standard output")
    yield Component(
        "files", "sink", "etlcore.builtin.files_sink:FilesSink", "JSON lines into a file, or the files of a directory"
    )
    yield Component(
        "sqlite", "sink", "etlcore.builtin.sqlite_sink:SqliteSink", "Rows into a table of SQLite, exactly once"
    )
    yield Component("python", "sink", "etlcore.builtin.python_sink:PythonSink", "A Python function that takes the rows")
    yield Component("blackhole", "sink", "etlcore.builtin.blackhole:Blackhole", "Takes rows and forgets them")
