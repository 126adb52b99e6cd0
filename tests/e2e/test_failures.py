"""Stages that fail while all queues are full: no deadlock, the cause said once, nothing committed but what is there."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from .support import EtlRun, Store, ids_in

FREE = 10
"""So many rows are delivered before anything goes wrong."""
WORKERS, QUEUE = 4, 20
IN_FLIGHT = 1 + QUEUE + WORKERS + QUEUE + 1
"""Rows that ``seen`` has let by once everything behind it is full: its own, the queue and the hands of ``work``, the
queue of the stage that fails, and a row in each of its workers' hands."""
MESSAGE = "the warehouse is on fire"


def _pipeline(store: Store, stages: dict[str, Any], name: str = "pipeline", until: str = "never") -> Path:
    """``stages`` come behind ``work`` and a full queue; the deadline is too far off to save anybody."""
    lines = "".join(f"\n          {stage}: {json.dumps(what)}" for stage, what in stages.items())
    return store.pipeline(
        f"""
        name: failing
        shutdown: {{timeout: 10m}}
        defaults: {{batch: 1}}
        stages:
          logs: {store.source(until=until)}
          seen:
            transform: python
            with: {{call: "stages.py:note", options: {{file: {store.directory}/seen.jsonl}}}}
            queue: 1
          work:
            transform: select
            with: {{columns: [id]}}
            workers: {WORKERS}
            ordered: true
            queue: {QUEUE}{lines}
        """,
        name,
    )


def _files() -> dict[str, Any]:
    return {"sink": "files", "with": {"path": "delivered.jsonl"}, "queue": QUEUE}


def _failing(store: Store, **options: Any) -> dict[str, Any]:
    """A `python` stage that raises from row ``FREE`` on, once ``gate`` is there."""
    given = {"gate": f"{store.directory}/gate", "free": FREE, "message": MESSAGE, **options}
    return {"with": {"call": "stages.py:fail_behind_gate", "options": given}, "queue": QUEUE}


def _full(store: Store, stages: dict[str, Any], in_flight: int) -> EtlRun:
    """A run whose queues are full, behind rows that are delivered and committed."""
    store.create(1).put(200)
    run = store.run(_pipeline(store, stages))
    run.until(lambda: len(ids_in(store.directory / "seen.jsonl")) == FREE + in_flight, "full queues")
    return run


def _check(store: Store, run: EtlRun, stage: str, during: str, cause: str) -> None:
    """The run ended with 1; and the sink, the checkpoint and the next run agree on what was delivered."""
    run.ended(1)
    assert run.stderr.count(cause) == 1, run.stderr
    assert f"cause: stage {stage}, in {during}" in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stderr.rstrip().splitlines()[-1].startswith(f"exit 1: stage {stage} stopped the run")
    assert {(failure["stage"], failure["during"]) for failure in run.report["failures"]} == {(stage, during)}
    assert run.report["abandoned_because"] is None, "it came to its end by itself"
    assert run.balance["balanced"]
    assert run.balance["delivered"] == FREE
    assert run.balance["abandoned"] == run.balance["read"] - FREE
    delivered = store.directory / "delivered.jsonl"
    assert ids_in(delivered) == store.committed() == list(range(FREE))

    mended = store.run(_pipeline(store, {"out": _files()}, "mended", until="end"), "mended").ended(0)
    assert mended.balance["read"] == len(store.ids()) - FREE
    assert ids_in(delivered) == store.committed() == store.ids()


def test_a_sink_that_raises(store: Store) -> None:
    out = {"sink": "python", **_failing(store, delivered=f"{store.directory}/delivered.jsonl")}
    run = _full(store, {"out": out}, IN_FLIGHT)
    (store.directory / "gate").touch()
    _check(store, run, "out", "write", f"ValueError: {MESSAGE}")


def test_a_transform_that_raises_in_all_of_its_workers(store: Store) -> None:
    checked = {"transform": "python", **_failing(store), "workers": WORKERS, "ordered": True}
    run = _full(store, {"checked": checked, "out": _files()}, IN_FLIGHT - 1 + WORKERS)
    (store.directory / "gate").touch()
    _check(store, run, "checked", "process", f"ValueError: {MESSAGE}")


def test_a_sink_whose_process_dies(store: Store) -> None:
    options = {"free": FREE, "delivered": f"{store.directory}/delivered.jsonl", "pid": f"{store.directory}/pid"}
    out = {"sink": "python", "with": {"call": "stages.py:write_by_process", "options": options}, "queue": QUEUE}
    run = _full(store, {"out": out}, IN_FLIGHT)
    os.kill(int((store.directory / "pid").read_text()), signal.SIGKILL)
    _check(store, run, "out", "write", "BrokenPipeError: the writer has ended with -9")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_failure_during_the_drain_is_the_cause_of_its_end(store: Store, number: signal.Signals) -> None:
    out = {"sink": "python", **_failing(store, delivered=f"{store.directory}/delivered.jsonl")}
    run = _full(store, {"out": out}, IN_FLIGHT).stop(number)
    (store.directory / "gate").touch()
    _check(store, run, "out", "write", f"ValueError: {MESSAGE}")
    assert run.report["reason"] == number.name


def test_a_branch_that_fails_holds_the_checkpoint_and_the_other_branch_is_delivered(store: Store) -> None:
    out = {"sink": "python", "from": "work", **_failing(store, delivered=f"{store.directory}/delivered.jsonl")}
    other = {"sink": "files", "from": "work", "with": {"path": "other.jsonl"}, "queue": QUEUE}
    run = _full(store, {"out": out, "other": other}, IN_FLIGHT)
    (store.directory / "gate").touch()
    run.ended(1)
    assert run.stderr.count(MESSAGE) == 1
    assert run.balance["balanced"]
    assert run.balance["copied"] == run.balance["read"]
    assert ids_in(store.directory / "delivered.jsonl") == store.committed() == list(range(FREE))
    assert ids_in(store.directory / "other.jsonl") == list(range(run.balance["read"]))
