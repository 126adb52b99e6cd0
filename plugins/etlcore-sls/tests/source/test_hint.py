"""The columns that the stages behind use are those that are decoded; nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from etlcore.api import Pipeline

ROWS = 300


def _run(store: Any, directory: Path, group: str, **select: Any) -> tuple[list[dict[str, Any]], set[str]]:
    """The rows of a run, and the columns of what the source gave."""
    from etlcore_sls.source import SlsSource

    from etlcore import Batch

    seen: set[str] = set()
    found: list[dict[str, Any]] = []

    class Seen(SlsSource):
        def read(self) -> Any:
            for batch in super().read():
                if isinstance(batch, Batch) and len(batch):
                    seen.update(name for row in batch.rows for name in row)
                yield batch

    config = store.config(consumer_group=group, until="end")
    options = {name: getattr(config, name) for name in ("endpoint", "project", "logstore", "consumer_group", "until")}
    key = store.emulator.key
    options |= {"access_key_id": key.access_key_id, "access_key_secret": key.secret}
    pipeline = Pipeline("hint", directory=directory).source("logs", Seen, options)
    pipeline.transform("chosen", "select", {"columns": {"number": "n", "from": "__source__"}}, **select)
    pipeline.sink("out", found)
    assert pipeline.run(state=directory / group).report.balance.read == ROWS
    return sorted(found, key=json.dumps), seen


def test_only_what_is_used_is_decoded(store: Any, tmp_path: Path) -> None:
    store.create(2)
    store.put(0, range(ROWS // 2))
    store.put(1, range(ROWS // 2, ROWS))
    rows, seen = _run(store, tmp_path, "hinted")
    assert seen == {"n", "__source__"}
    whole, everything = _run(store, tmp_path, "whole", on_error="dead_letter")
    assert {"n", "__time__", "__topic__"} <= everything
    assert rows == whole


@pytest.mark.parametrize("columns", [None, ["n"]])
def test_the_hint_gives_way_to_the_options(store: Any, columns: list[str] | None) -> None:
    store.create(1).put(0, range(10))
    member = store.member(columns=columns)
    member.columns = frozenset({"__time__"})
    rows = member.start().until_rows(10).rows
    assert {name for row in rows for name in row} == {"__time__" if columns is None else "n"}


def test_no_column_at_all_still_counts_the_rows(store: Any) -> None:
    store.create(1).put(0, range(10))
    member = store.member()
    member.columns = frozenset()
    assert len(member.start().until_rows(10).rows) == 10
