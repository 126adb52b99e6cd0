"""What the source measures and counts is in the drain report, for each shard."""

from __future__ import annotations

import signal
from typing import Any

from .support import PATIENCE, EtlRun, Store, ids_in


def _run(store: Store, name: str, **options: Any) -> EtlRun:
    file = store.pipeline(
        f"""
        name: measured
        stages:
          logs: {store.source(**options)}
          out:
            sink: files
            with: {{path: delivered.jsonl}}
        """
    )
    return store.run(file, name)


def _figure(run: EtlRun, name: str, shard: int) -> float:
    labels = {"partition": f"shard {shard}"}
    [value] = [
        f["value"] for f in run.report["figures"] if (f["stage"], f["name"], f["labels"]) == ("logs", name, labels)
    ]
    return float(value)


def test_the_lag_of_each_shard_at_the_end(store: Store) -> None:
    store.create(2).put(20, shard=0)
    store.control.advance_clock(-500)
    store.put(100, shard=1)
    store.control.advance_clock(500)
    store.control.fault("hang", "pull_logs", shard=1, skip=1)
    run = _run(store, "run", fetch_groups=50)
    run.until(lambda: len(ids_in(store.directory / "delivered.jsonl")) == 70, "all but the second half of shard 1")
    # The figures are told with each heartbeat, after its answer.
    store.control.wait_for("heartbeat", count=2, after=store.control.last_event(), timeout=PATIENCE)
    run.stop(signal.SIGTERM).ended(0)
    assert _figure(run, "lag_seconds", 0) == 0
    assert _figure(run, "lag_seconds", 1) >= 498
    assert "\nlag: logs: shard 1 8m " in run.stderr


def test_logs_that_had_expired_are_counted(store: Store) -> None:
    store.create(2).put(20, shard=0)
    _run(store, "first", until="end").ended(0)
    store.put(50, shard=0)
    store.control.trim("demo", "logs", 0, keep=10)
    run = _run(store, "second", until="end").ended(0)
    assert run.balance["read"] == 10
    assert _figure(run, "invalid_cursors", 0) == 1
    assert "\nfigures: logs: invalid_cursors: shard 0 1\n" in run.stderr
    assert "have expired; going on at the begin" in run.stderr
