"""A stop while slow workers are behind: the scenario that etlcore grew from, and its second and third signal."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from .support import EtlRun, Store, ids_in

WORKERS, QUEUE = 4, 20


def test_one_second_a_row_stopped_after_three_and_no_row_is_lost_or_repeated(store: Store) -> None:
    store.create(2).put(60)
    file = store.pipeline(
        f"""
        name: drain
        shutdown: {{timeout: 10m}}
        stages:
          logs: {store.source(until="${UNTIL:-never}")}
          slow:
            transform: python
            with:
              call: stages.py:slow
              options:
                seconds: ${{SECONDS_A_ROW:-1}}
            workers: {WORKERS}
            queue: {QUEUE}
            batch: 1
          out:
            sink: files
            with: {{path: delivered.jsonl}}
        """
    )
    delivered = file.parent / "delivered.jsonl"
    with store.arriving(5, every=0.1):
        first = store.run(file, "first")
        first.until(lambda: len(ids_in(delivered)) >= 2 * WORKERS, "two rows of each worker")
        first.stop(signal.SIGINT).ended(0)
        rows = ids_in(delivered)
    assert first.balance["balanced"]
    assert first.balance["read"] == first.balance["delivered"] == len(rows)
    assert first.balance["abandoned"] == 0
    assert all(entry["complete"] for entry in first.report["committed"])
    assert store.committed() == sorted(rows), "the next run starts exactly behind what was delivered"

    second = store.run(file, "second", environ={"UNTIL": "end", "SECONDS_A_ROW": "0.001"}).ended(0)
    assert second.balance["read"] == len(store.ids()) - len(rows)
    assert sorted(ids_in(delivered)) == store.ids() == store.committed()


# --- with the numbers held still -------------------------------------------------------------------------------------

FREE = 8
"""So many rows pass the gate while it is closed."""
IN_FLIGHT = WORKERS + QUEUE + 1
"""Rows that ``seen`` lets by while the gate behind it is closed: the workers' own, the queue's, and one that ``seen``
cannot hand over. One more may wait in front of it."""


def _gated_pipeline(store: Store) -> Path:
    """``seen`` notes the rows that go into the stage of four slow workers, which wait for the file ``gate``."""
    return store.pipeline(
        f"""
        name: gated
        shutdown: {{timeout: 10m}}
        stages:
          logs: {store.source(until="${UNTIL:-never}")}
          seen:
            transform: python
            with: {{call: "stages.py:note", options: {{file: {store.directory}/seen.jsonl}}}}
            queue: 1
            batch: 1
          slow:
            transform: python
            with: {{call: "stages.py:gate", options: {{file: {store.directory}/gate, free: {FREE}}}}}
            workers: {WORKERS}
            queue: {QUEUE}
            batch: 1
          out:
            sink: files
            with: {{path: delivered.jsonl}}
        """
    )


def _full(store: Store, stderr: int | None = None) -> EtlRun:
    """A run whose free rows are delivered and committed, and whose queues are full of others."""
    store.create(1).put(100)
    run = store.run(_gated_pipeline(store), "first", stderr=stderr)
    run.until(lambda: len(ids_in(store.directory / "seen.jsonl")) == FREE + IN_FLIGHT, "full queues")
    store.wait_for_state(lambda state: state["rows_committed"] == FREE)
    return run


def _open_gate(store: Store) -> None:
    (store.directory / "gate").touch()


def _next_run_reads_the_rest(store: Store, delivered: list[int]) -> None:
    """Run to the end: every row that is not among ``delivered`` is read, and no other."""
    _open_gate(store)
    run = store.run(store.directory / "pipeline.yaml", "next", environ={"UNTIL": "end"}).ended(0)
    assert run.balance["read"] == len(store.ids()) - len(delivered)
    assert sorted(ids_in(store.directory / "delivered.jsonl")) == store.ids() == store.committed()


def test_what_is_in_the_queue_and_in_work_is_finished_and_nothing_else(store: Store) -> None:
    run = _full(store).stop(signal.SIGTERM)
    store.put(100)
    _open_gate(store)
    run.ended(0)
    delivered = ids_in(store.directory / "delivered.jsonl")
    assert FREE + IN_FLIGHT <= len(delivered) <= FREE + IN_FLIGHT + 1
    assert sorted(delivered) == store.committed() == list(range(len(delivered)))
    assert run.balance["read"] == run.balance["delivered"] == len(delivered)
    _next_run_reads_the_rest(store, delivered)


def test_a_second_signal_abandons_what_is_left_and_the_next_run_reads_exactly_that(store: Store) -> None:
    run = _full(store).stop(signal.SIGINT)
    run.send(signal.SIGINT).ended(3)
    assert run.report["abandoned_because"] == "a second signal (SIGINT)"
    assert run.balance["balanced"]
    assert run.balance["delivered"] == FREE
    assert run.balance["abandoned"] == run.balance["read"] - FREE
    assert IN_FLIGHT <= run.balance["abandoned"] <= IN_FLIGHT + 1
    held = {stage["stage"]: stage["abandoned"] for stage in run.report["stages"]}
    assert held["slow"] == WORKERS + QUEUE
    assert [worker["stage"] for worker in run.report["stuck"]] == ["slow"] * WORKERS
    assert f"{run.balance['abandoned']} rows were abandoned" in run.stderr
    assert store.committed() == list(range(FREE))
    _next_run_reads_the_rest(store, list(range(FREE)))


def test_a_third_signal_ends_the_process_though_nothing_in_it_moves(store: Store) -> None:
    """Its workers wait for a gate, and it cannot even say so: nobody reads its standard error, as after Ctrl-S."""
    fifo = store.directory / "stderr"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(fifo, os.O_WRONLY)
    try:
        run = _full(store, stderr=writer)
        _fill(fifo)
        # The first signal makes it say that it drains; there it hangs, so it never comes to the second.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            run.send(number)
        run.ended(3)
    finally:
        os.close(reader)
        os.close(writer)
    assert not run.report_file.exists()
    assert ids_in(store.directory / "delivered.jsonl") == store.committed() == list(range(FREE))
    _next_run_reads_the_rest(store, list(range(FREE)))


def _fill(fifo: Path) -> None:
    """Write into a pipe until not one byte more goes in."""
    descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    try:
        for size in (4096, 1):
            try:
                while True:
                    os.write(descriptor, b"\n" * size)
            except BlockingIOError:
                pass
    finally:
        os.close(descriptor)
