"""A worker that never comes back: the deadline ends the run, and the report says who it was and where."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from .support import Store, ids_in

STUCK = 10
"""The row that a worker does not come back from."""


def _pipeline(store: Store, until: str, seconds: int, workers: int = 1) -> Path:
    return store.pipeline(
        f"""
        name: stuck
        shutdown: {{timeout: {seconds}s}}
        stages:
          logs: {store.source(until=until)}
          work:
            transform: python
            with:
              call: stages.py:stuck_at
              options:
                at: ${{STUCK_AT:-{STUCK}}}
            workers: {workers}
            batch: 1
          out:
            sink: files
            with: {{path: delivered.jsonl}}
        """
    )


def test_the_deadline_after_a_signal_names_the_stage_the_rows_the_age_and_the_stack(store: Store) -> None:
    store.create(1).put(50)
    run = store.run(_pipeline(store, until="never", seconds=2))
    store.wait_for_state(lambda state: state["rows_committed"] == STUCK)
    run.stop(signal.SIGTERM).ended(3)
    assert run.report["abandoned_because"] == "the deadline of 2 s"
    [stuck] = run.report["stuck"]
    assert (stuck["stage"], stuck["worker"], stuck["rows"], stuck["doing"]) == ("work", 0, 1, "process")
    assert stuck["age"] >= 2
    assert "stages.py" in stuck["stack"][-1]
    assert "in wait_for_ever" in stuck["stack"][-1]
    said = re.search(
        r"^stuck: work: worker 0: 1 row for [\d.]+ (s|min .*), in process\n(.*\n)*.*in wait_for_ever", run.stderr, re.M
    )
    assert said, run.stderr
    assert run.balance["balanced"]
    assert run.balance["delivered"] == STUCK
    assert run.balance["abandoned"] == run.balance["read"] - STUCK > 0
    assert f"{run.balance['abandoned']} rows were abandoned" in run.stderr
    assert ids_in(store.directory / "delivered.jsonl") == store.committed() == list(range(STUCK))


def test_at_the_end_of_input_the_deadline_counts_from_the_last_row_that_moved(store: Store) -> None:
    """The other workers bring theirs to an end; nothing behind the row that is stuck may be committed."""
    store.create(1).put(200)
    run = store.run(_pipeline(store, until="end", seconds=8, workers=4)).ended(3)
    assert run.report["reason"] == "end of input"
    assert run.report["abandoned_because"] == "the deadline of 8 s"
    assert [(worker["stage"], worker["rows"]) for worker in run.report["stuck"]] == [("work", 1)]
    assert run.balance["balanced"]
    assert (run.balance["read"], run.balance["delivered"], run.balance["abandoned"]) == (200, 199, 1)
    assert "1 row was abandoned; the next run reads it again" in run.stderr
    assert store.committed() == list(range(STUCK))

    again = store.run(run.file, "again", environ={"STUCK_AT": "-1"}).ended(0)
    assert again.balance["read"] == 200 - STUCK
    assert set(ids_in(store.directory / "delivered.jsonl")) == set(store.ids())
    assert store.committed() == store.ids()


def test_a_sink_that_is_stuck_in_a_system_call(store: Store) -> None:
    """It opens a pipe that nobody reads: no exception, no signal and no timeout would wake it."""
    os.mkfifo(store.directory / "pipe")
    store.create(2).put(40)
    file = store.pipeline(
        f"""
        name: stuck
        shutdown: {{timeout: 2s}}
        stages:
          logs: {store.source()}
          out:
            sink: python
            with:
              call: stages.py:write_into
              options: {{file: {store.directory}/pipe, entered: {store.directory}/entered}}
            queue: 5
            batch: 1
        """
    )
    run = store.run(file)
    run.until((store.directory / "entered").exists, "a sink that opens the pipe")
    run.stop(signal.SIGINT).ended(3)
    [stuck] = run.report["stuck"]
    assert (stuck["stage"], stuck["rows"], stuck["doing"]) == ("out", 1, "write")
    assert "in write_into" in stuck["stack"][-1]
    assert run.balance["balanced"]
    assert run.balance["abandoned"] == run.balance["read"] > 0
    assert store.committed() == []
