"""Whole runs of `etl` with the sink: a copy, dead letters, quotas, and stops while the service takes nothing."""

from __future__ import annotations

import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from etlcore_sls.emulator import Emulator, Settings
from etlcore_sls.local import DATA_FILE

from etlcore.state import StateStore

COPY = Path(__file__).parents[4] / "pipelines" / "sls_copy.yaml"

SIZED = """
def sized(row):
    return {**row, "text": "x" * (2000 if row["n"] == 42 else 1)}
"""


def pipeline(place: Any, target: Any, *, rows: int = 100, options: str = "", on_error: str = "stop") -> Path:
    """Numbered rows on their way into a logstore, ten at a time."""
    file: Path = place.path / "copy.yaml"
    text = f"""
        stages:
          rows:
            source: generate
            with: {{rows: {rows}, batch: 10, fields: {{n: "{{id}}"}}}}
          sized:
            transform: python
            with: {{call: sized.py:sized}}
          out:
            sink: sls
            batch: {{rows: 10}}
            on_error: {on_error}
            with: {{endpoint: "{target.emulator.endpoint}", project: demo, logstore: {target.logstore}, {options}}}
    """
    file.write_text(textwrap.dedent(text))
    (place.path / "sized.py").write_text(SIZED)
    return file


def numbers(target: Any) -> list[int]:
    return sorted(int(value) for value in target.values())


# --- a copy ----------------------------------------------------------------------------------------------------------


def contents(emulator: Emulator, logstore: str, read_logs: Any) -> Counter[Any]:
    """The logs of a logstore, however they are spread over shards and requests."""
    return Counter(
        (log.time, log.time_ns, log.topic, log.source, *sorted(log.tags.items()), *sorted(log.fields.items()))
        for log in read_logs(emulator, logstore)
    )


def test_the_copy_as_it_stands_is_equal_and_the_next_run_goes_on_behind_it(place: Any, read_logs: Any) -> None:
    assert "balanced: 20,000 read = 20,000 delivered" in place.run(COPY)
    with Emulator(Settings(data=str(place.state / DATA_FILE))) as emulator:
        logs = contents(emulator, "nginx", read_logs)
        assert logs.total() == 20_000
        assert contents(emulator, "nginx-copy", read_logs) == logs
        late = {"__time__": 1714550400, "late": "yes"}
        emulator.control.put("demo", "nginx", [late], topic="t", source="s", tags={"k": "v"})
    assert "balanced: 1 read = 1 delivered" in place.run(COPY)
    with Emulator(Settings(data=str(place.state / DATA_FILE))) as emulator:
        logs[1714550400, None, "t", "s", ("k", "v"), ("late", "yes")] += 1
        assert contents(emulator, "nginx-copy", read_logs) == logs


# --- dead letters ----------------------------------------------------------------------------------------------------


def test_a_log_that_is_too_large_becomes_a_dead_letter(place: Any, target: Any) -> None:
    file = pipeline(place, target, options="put_bytes: 1500", on_error="{wait: 1ms, then: dead_letter}")
    assert "balanced: 100 read = 99 delivered + 0 filtered + 1 dead-lettered" in place.run(file)
    assert numbers(target) == [n for n in range(100) if n != 42]
    with StateStore(place.state) as store:
        (letter,) = store.dead_letters("copy")
    assert letter.reason.startswith("too large for SLS: 2,0")
    assert letter.row == {"n": 42, "text": "x" * 2000}
    assert letter.stage == "out"
    assert letter.traceback is None


def test_a_log_that_is_too_large_stops_the_run_where_nothing_else_is_said(place: Any, target: Any) -> None:
    output = place.run(pipeline(place, target, options="put_bytes: 1500"), code=1)
    assert "too large for SLS: 2,0" in output
    assert "Traceback" not in output
    assert set(range(40)) <= set(numbers(target))
    assert 42 not in numbers(target)


# --- a service that takes nothing for now ----------------------------------------------------------------------------


def test_a_quota_uses_up_no_retries_and_writes_nothing_twice(place: Any, target: Any) -> None:
    target.fault("error", status=403, code="WriteQuotaExceed", skip=3, count=2)
    assert "balanced: 100 read = 100 delivered" in place.run(pipeline(place, target, on_error="{retries: 0}"))
    assert numbers(target) == list(range(100))


def test_errors_that_pass_are_seen_through(place: Any, target: Any) -> None:
    target.fault("error", status=503, code="ServerBusy", skip=3, count=3)
    assert "balanced: 100 read = 100 delivered" in place.run(
        pipeline(place, target, on_error="{retries: 3, wait: 1ms}")
    )
    assert numbers(target) == list(range(100))


WAITING = [
    {"action": "error", "status": 503, "code": "ServerBusy"},
    {"action": "error", "status": 403, "code": "WriteQuotaExceed"},
    {"action": "hang"},
]


@pytest.mark.parametrize("fault", WAITING, ids=lambda fault: fault.get("code", fault["action"]))
def test_a_stop_does_not_wait_for_a_service_that_takes_nothing(place: Any, target: Any, fault: dict[str, Any]) -> None:
    """Without the stop it would be tried for ever. What was not acknowledged is read again by the next run."""
    file = pipeline(place, target, on_error="{retries: 1000000, wait: 10s, longest_wait: 10s}")
    number = target.fault(skip=3, **fault)
    run = place.start(file, "--timeout", "1")
    target.control.wait_for("fault", fault=number, timeout=60.0)
    place.stop(run)
    place.end(run, code=3)
    balance = place.report()["balance"]
    assert balance["delivered"] == 30
    assert balance["abandoned"] == balance["read"] - 30 > 0
    target.control.clear_faults()
    assert "balanced: 70 read = 70 delivered" in place.run(file)
    assert sorted(set(numbers(target))) == list(range(100))
    if fault["action"] == "error":
        assert len(numbers(target)) == 100  # a request that hangs may yet be carried out
