"""The source `generate`: the same rows from the same seed, shared out among workers, taken up where it stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from etlcore import Batch


def rows_of(batches: Any) -> list[dict[str, Any]]:
    return [row for batch in batches if batch is not None for row in batch.rows]


def test_by_default_a_thousand_rows_with_useful_columns(use: Any) -> None:
    rows = rows_of(use("source", "generate").read())
    assert [row["id"] for row in rows] == list(range(1000))
    assert rows[1]["time"] == datetime(2024, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert all(row["uri"].startswith("/item/") and "&q=" in row["uri"] for row in rows)
    assert all(len(row["text"].split()) == 3 for row in rows)
    assert len({row["uri"] for row in rows}) > 900


def test_a_batch_holds_so_many_rows_and_ends_at_its_position(use: Any) -> None:
    batches = list(use("source", "generate", rows=25, batch=10).read())
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert [batch.marks[-1][1].value for batch in batches] == [10, 20, 25]


def test_the_seed_decides_and_nothing_else(use: Any) -> None:
    fields = {"a": "{int:0:1000000}", "b": "{int:0:1000000}", "c": "{word}-{float:0:1}"}
    first = rows_of(use("source", "generate", rows=50, fields=fields).read())
    assert rows_of(use("source", "generate", rows=50, batch=7, fields=fields).read()) == first
    assert rows_of(use("source", "generate", rows=50, columnar=True, fields=fields).read()) == first
    other = rows_of(use("source", "generate", rows=50, seed=1, fields=fields).read())
    assert [row["a"] for row in other] != [row["a"] for row in first]
    assert [row["a"] for row in first] != [row["b"] for row in first], "each place has its own random numbers"


def test_columnar_batches_are_columns_and_others_rows(use: Any) -> None:
    assert all(batch.columnar for batch in use("source", "generate", rows=5, columnar=True).read())
    assert not any(batch.columnar for batch in use("source", "generate", rows=5).read())


def test_no_rows_at_all(use: Any) -> None:
    assert list(use("source", "generate", rows=0).read()) == []


def test_without_a_count_it_goes_on(use: Any) -> None:
    reading = use("source", "generate", rows=None, batch=100).read()
    assert [next(reading).rows[0]["id"] for _ in range(50)] == list(range(0, 5000, 100))
    reading.close()


# Templates


def field(use: Any, template: Any, rows: int = 200) -> list[Any]:
    return [row["f"] for row in rows_of(use("source", "generate", rows=rows, fields={"f": template}).read())]


def test_placeholders_alone_keep_their_type(use: Any) -> None:
    assert field(use, "{id}", 3) == [0, 1, 2]
    assert field(use, "{time}", 2)[1] == datetime(2024, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert set(field(use, "{int:-2:1}")) == {-2, -1, 0, 1}
    assert all(2.5 <= value < 3.0 for value in field(use, "{float:2.5:3}"))
    assert set(field(use, "{choice:GET|POST|a:b|}")) == {"GET", "POST", "a:b", ""}
    assert all(word.isalpha() for word in field(use, "{word}"))
    assert field(use, "{int:9223372036854775806:9223372036854775807}", 1)[0] >= 2**63 - 2


def test_the_present_time_is_the_present_time(use: Any) -> None:
    before = datetime.now(UTC)
    (made,) = field(use, "{now}", 1)
    assert before <= made <= datetime.now(UTC)


def test_placeholders_in_a_text_become_text(use: Any) -> None:
    assert field(use, "/item/{id}?x={{{int:5:5}}}", 2) == ["/item/0?x={5}", "/item/1?x={5}"]
    assert field(use, "{time}!", 1) == ["2024-01-01T00:00:00Z!"]
    assert field(use, "{id}{id}", 2) == ["00", "11"]


@pytest.mark.parametrize("constant", ["", "plain", "{{}}", 5, -1.5, True, None])
def test_constants(use: Any, constant: Any) -> None:
    wanted = "{}" if constant == "{{}}" else constant
    made = field(use, constant, 2)
    assert made == [wanted, wanted]
    assert type(made[0]) is type(wanted)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{x}", "there is no placeholder {x}: choose from {id}"),
        ("{int:1}", "{int:1} is not understood: write {int:LOW:HIGH}"),
        ("{int:1:2:3}", "is not understood: write {int:LOW:HIGH}"),
        ("{int:a:b}", "{int:a:b} is not understood: write {int:LOW:HIGH}"),
        ("{int:5:1}", "(5 is more than 1): write {int:LOW:HIGH}"),
        ("{int:0:99999999999999999999}", "(the range does not fit into 64 bits)"),
        ("{float:1:1}", "(1 is not less than 1)"),
        ("{float:nan:1}", "(nan is not less than 1)"),
        ("{float:0:inf}", "(0 is not less than inf)"),
        ("{word:3}", "write {word}"),
        ("{choice}", "write {choice:A|B|C}"),
        ("{", "'{' has a '{' without its partner: write '{{' for a brace"),
        ("a}b", "'a}b' has a '}' without its partner"),
        ("{}", "there is no placeholder {}"),
        (2**70, "does not fit into 64 bits: write it as text"),
    ],
)
def test_a_template_that_is_wrong_is_refused_with_the_way_out(use: Any, template: Any, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        use("source", "generate", fields={"f": template})
    assert message in str(caught.value)
    assert "field 'f'" in str(caught.value)


@pytest.mark.parametrize("options", [{"rows": -1}, {"rate": 0}, {"rate": -1}, {"rate": float("inf")}, {"batch": 0}])
def test_numbers_that_make_no_sense_are_refused(use: Any, options: Any) -> None:
    with pytest.raises(ValidationError):
        use("source", "generate", **options)


# Workers and positions


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(data=st.data())
def test_over_all_runs_and_workers_every_row_comes_once(
    use: Any, new_context: Callable[..., Any], data: st.DataObject
) -> None:
    """Runs that stop anywhere, each with its own number of workers and size of batches."""
    rows = data.draw(st.integers(0, 60), "rows")
    positions: dict[str, Any] = {}
    seen: list[int] = []

    def run(workers: int, stop: bool) -> None:
        committed = dict(positions)
        for worker in range(workers):
            context = new_context(worker=worker, workers=workers, positions=committed)
            options = {"rows": rows, "batch": data.draw(st.integers(1, 20)), "columnar": data.draw(st.booleans())}
            batches = data.draw(st.integers(0, 4)) if stop else None
            for number, batch in enumerate(use("source", "generate", context=context, **options).read()):
                if number == batches:
                    break
                seen.extend(row["id"] for row in batch.rows)
                positions[batch.marks[-1][1].partition] = batch.marks[-1][1].value

    for _ in range(data.draw(st.integers(0, 4), "runs")):
        run(data.draw(st.integers(1, 5), "workers"), stop=True)
    run(data.draw(st.integers(1, 5), "workers"), stop=False)
    assert sorted(seen) == list(range(rows))


def test_a_later_run_does_not_walk_through_what_is_long_done(use: Any, new_context: Callable[..., Any]) -> None:
    positions = {"worker 0/2": 10**15, "worker 1/2": 10**15 + 1}
    context = new_context(worker=2, workers=3, positions=positions)
    reading = use("source", "generate", context=context, rows=None, batch=5).read()
    first = next(reading)
    assert first.rows[0]["id"] in (10**15, 10**15 + 1, 10**15 + 2)
    assert first.rows[0]["id"] % 3 == 2


# Rate and stopping


class Clock:
    """Time that passes only when somebody waits for it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        self._stop = False

    def monotonic(self) -> float:
        return self.now

    def is_set(self) -> bool:
        return self._stop

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        self.now += timeout
        return self._stop

    def set(self) -> None:
        self._stop = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, context: Any) -> Clock:
    clock = Clock()
    monkeypatch.setattr("etlcore.builtin.generate.time.monotonic", clock.monotonic)
    context.stopping = clock
    return clock


def test_the_rate_is_kept(use: Any, clock: Clock) -> None:
    rows = rows_of(use("source", "generate", rows=1000, rate=100).read())
    assert len(rows) == 1000
    assert clock.now - 1000.0 == pytest.approx(1000 / 100, rel=0.02)


def test_the_rate_is_shared_among_the_workers(use: Any, clock: Clock, new_context: Callable[..., Any]) -> None:
    context = new_context(worker=0, workers=4, stopping=clock)
    rows = rows_of(use("source", "generate", context=context, rows=1000, rate=100).read())
    assert len(rows) == 250
    assert clock.now - 1000.0 == pytest.approx(1000 / 100, rel=0.05)


def test_a_slow_rate_gives_a_sign_of_life_at_least_once_a_second(use: Any, clock: Clock) -> None:
    batches = list(use("source", "generate", rows=2, rate=0.1).read())
    assert [len(batch) for batch in batches if batch is not None] == [1, 1]
    assert batches.count(None) >= 10
    assert max(clock.waits) <= 1.0


def test_time_lost_downstream_is_made_good_for_a_second_only(use: Any, clock: Clock) -> None:
    reading = use("source", "generate", rows=None, rate=100, batch=10).read()
    next(reading)
    clock.now += 3600  # a sink that was stuck for an hour
    at_once = 0
    while (batch := next(reading)) is not None:
        at_once += len(batch)
    assert at_once <= 120


def test_a_stop_ends_the_waiting(use: Any, clock: Clock) -> None:
    reading = use("source", "generate", rows=None, rate=0.001).read()
    assert isinstance(next(reading), Batch)
    assert next(reading) is None
    clock.set()
    assert list(reading) == []


def test_a_stop_ends_a_real_wait_at_once(use: Any, context: Any) -> None:
    reading = use("source", "generate", rows=None, rate=0.0001).read()
    assert isinstance(next(reading), Batch)
    left: list[Any] = []
    waiting = threading.Thread(target=lambda: left.extend(reading))
    waiting.start()
    context.stopping.set()
    waiting.join(timeout=60)
    assert not waiting.is_alive()
    assert [batch for batch in left if batch is not None] == []
