"""`execute`: a pipeline run without a command line, in this process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from etlcore.plugins import Plugins
from etlcore.runtime.execution import execute
from etlcore.spec import load_text
from etlcore.state import StateStore

TEXT = """
stages:
  numbers: {source: generate, with: {rows: 5}}
  out: {sink: blackhole}
"""


class Audience:
    """Fails in the one method that it is told to fail in."""

    def __init__(self, fails_in: str = "") -> None:
        self.fails_in = fails_in
        self.seen: list[str] = []

    @contextmanager
    def showing(self, run: Any) -> Iterator[None]:
        yield

    def __getattr__(self, name: str) -> Any:
        def told(*facts: Any) -> None:
            self.seen.append(name)
            if name == self.fails_in:
                raise RuntimeError("the screen fell over")

        return told


def test_a_report_is_given_back(tmp_path: Path) -> None:
    plugins = Plugins()
    audience = Audience()
    with StateStore(tmp_path / "state") as store:
        report = execute(load_text(TEXT, plugins=plugins), store, audience, plugins=plugins)
    assert (report.exit_code, report.balance.delivered) == (0, 5)
    assert {"tick", "event"} <= set(audience.seen)


@pytest.mark.parametrize("method", ["tick", "event"])
def test_an_audience_that_fails_does_not_end_the_run(
    tmp_path: Path, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    audience = Audience(fails_in=method)
    with StateStore(tmp_path / "state") as store, caplog.at_level(logging.WARNING, logger="etlcore"):
        report = execute(load_text(TEXT), store, audience)
    assert (report.exit_code, report.balance.delivered) == (0, 5)
    told = [record.message for record in caplog.records if "can no longer be shown" in record.message]
    assert told == ["the run can no longer be shown, and goes on: RuntimeError: the screen fell over"]
    assert audience.seen.count(method) == 1
