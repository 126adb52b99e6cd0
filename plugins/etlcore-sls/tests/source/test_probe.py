"""`etl check --connect` on a logstore: nobody joins the group, and none is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from etlcore_sls.source import SlsSource

from etlcore.builtin.blackhole import Blackhole
from etlcore.runtime.probing import probe
from etlcore.spec.model import Input, Pipeline, Stage


def _pipeline(store: Any, directory: Path, **options: Any) -> Pipeline:
    logs = Stage("logs", "source", "sls", SlsSource, store.config(**options))
    out = Stage("out", "sink", "blackhole", Blackhole, None, inputs=(Input("logs"),))
    return Pipeline("p", (logs, out), directory)


def test_nothing_is_made_and_nobody_joins(store: Any, tmp_path: Path) -> None:
    store.create(2)
    assert [one.error for one in probe(_pipeline(store, tmp_path), timeout=60)] == [None, None]
    assert store.control.events("heartbeat") == []
    groups = store.sdk().list_consumer_group(store.config().project, store.config().logstore)
    assert groups.get_consumer_groups() == []


def test_a_logstore_that_is_not_there(store: Any, tmp_path: Path) -> None:
    store.create(2)
    logs, out = probe(_pipeline(store, tmp_path, logstore="elsewhere"), timeout=60)
    assert out.error is None
    assert logs.error is not None
    assert "LogStoreNotExist" in logs.error
