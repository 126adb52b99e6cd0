"""Alibaba Cloud SLS for etlcore: a consumer-group source, a sink, and an emulator of the service.

Importing this package imports neither the SDK nor pydantic; the records below say where the classes are.
"""

from __future__ import annotations

from collections.abc import Iterator

from etlcore import Command, Component, hookimpl


@hookimpl
def etl_components() -> Iterator[Component]:
    yield Component(
        "sls",
        kind="source",
        target="etlcore_sls.source:SlsSource",
        summary="Logs of an SLS logstore, read as a member of a consumer group",
    )
    yield Component(
        "sls",
        kind="sink",
        target="etlcore_sls.sink:SlsSink",
        summary="Writes rows as logs to an SLS logstore",
    )


@hookimpl
def etl_commands() -> Iterator[Command]:
    yield Command("sls", target="etlcore_sls.cli:sls", summary="An SLS emulator for this machine")
