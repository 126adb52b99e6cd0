"""Stopping with many idle shards: nothing is asked of the service for each of them, and no answer is waited for.

How long it takes is measured by ``python -m tests.benchmarks stop``.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from .support import PATIENCE, EtlRun, Store

SHARDS = 32


def _pipeline(store: Store) -> Path:
    return store.pipeline(
        f"""
        name: idle
        shutdown: {{timeout: 10m}}
        stages:
          logs: {store.source(poll_seconds=60)}
          out: {{sink: blackhole}}
        """
    )


def _idle(store: Store, shards: int) -> EtlRun:
    """A run that has read and committed what there is in each shard, and will not ask for more in a minute."""
    store.create(shards).put(10 * shards)
    run = store.run(_pipeline(store))
    store.wait_for_state(lambda state: state["rows_committed"] == 10 * shards)
    return run


@pytest.mark.parametrize("shards", [1, SHARDS])
def test_nothing_but_heartbeats_is_asked_of_the_service_after_the_signal(store: Store, shards: int) -> None:
    run = _idle(store, shards)
    every_request = store.control.fault("delay")  # of no seconds: it only makes each request leave an event
    last = store.control.last_event()
    run.send(signal.SIGTERM).ended(0)
    store.control.release(every_request)
    assert {event["operation"] for event in store.control.events("fault", after=last)} <= {"heartbeat"}
    assert [entry["complete"] for entry in run.report["committed"]] == [True] * shards


def test_answers_that_are_under_way_are_not_waited_for(store: Store) -> None:
    """Pulls hang, and then heartbeats, as requests do when a network is gone; the run ends while they still do."""
    store.create(SHARDS).put(10 * SHARDS)
    store.control.fault("hang", "pull_logs")
    run = store.run(_pipeline(store))
    store.control.wait_for("fault", operation="pull_logs", count=4, timeout=PATIENCE)
    store.wait_for_state(lambda state: all(shard["owner"] for shard in state["shards"]))
    store.control.fault("hang", "heartbeat")
    store.control.wait_for("fault", operation="heartbeat", timeout=PATIENCE)
    run.send(signal.SIGTERM).ended(0)
    assert run.balance["read"] == 0
    assert {fault["hits"] > 0 for fault in store.control.faults()} == {True}, "none of them was released"
