"""Pipelines in Python as nobody means to write them: what is wrong is said early, and nothing is made up or lost."""

from __future__ import annotations

import asyncio
import functools
import re
import threading
import traceback
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import BaseModel, SecretStr

import etlcore
from etlcore import Batch, Pipeline, Reject, RowsFailed, RowTransform, RunFailed, Sink
from etlcore.spec import SpecError
from etlcore.state import AlreadyRunning, StateError

Rows = list[dict[str, Any]]


def numbers() -> Iterator[dict[str, Any]]:
    yield from ({"n": n} for n in range(3))


def run(tmp_path: Path, source: Any, transform: Any = None, **keys: Any) -> Rows:
    found: Rows = []
    pipeline = Pipeline("p", directory=tmp_path).source("in", source, **keys)
    if transform is not None:
        pipeline.transform("t", transform)
    pipeline.sink("out", found).run()
    return found


@pytest.mark.parametrize(
    "rows",
    [
        Batch.from_rows([{"n": 0}, {"n": 1}, {"n": 2}]),
        [Batch.from_rows([{"n": 0}, {"n": 1}]), {"n": 2}],
        [{"n": 0}, pa.RecordBatch.from_pylist([{"n": 1}, {"n": 2}])],
        pa.table({"n": [0, 1, 2]}),
        ({"n": n} for n in range(3)),
        numbers,
        lambda: [[{"n": 0}, {"n": 1}], {"n": 2}],
        lambda: iter([None, pa.table({"n": [0, 1, 2]})]),
        functools.partial(numbers),
    ],
)
def test_rows_in_any_form(tmp_path: Path, rows: Any) -> None:
    assert run(tmp_path, rows) == list(numbers())


@pytest.mark.parametrize("rows", [[1, 2], ["text"], [[1]], lambda: [5], lambda: 5])
def test_what_are_no_rows_are_refused_and_not_delivered(tmp_path: Path, rows: Any) -> None:
    with pytest.raises(RunFailed, match=r"a row is a dict|'int' object is not iterable"):
        run(tmp_path, rows)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (5, "returned int: return a dict, several, or None"),
        ("text", "returned str: return a dict, several, or None"),
        ([{"n": 1}, "text"], "returned str among its rows"),
        (pa.RecordBatch.from_pylist([{"n": 1}]), "returned RecordBatch: return a dict, several"),
    ],
)
def test_what_a_transform_returns_is_checked(tmp_path: Path, made: Any, message: str) -> None:
    with pytest.raises(RunFailed, match=message):
        run(tmp_path, numbers, lambda row: made)


@pytest.mark.parametrize(("rows", "of"), [([{"n": 1}], "in"), (numbers, "in")])
def test_several_workers_would_each_give_all_rows(tmp_path: Path, rows: Any, of: str) -> None:
    with pytest.raises(RunFailed, match=f"2 workers of {of} would each give all the rows: set workers=1"):
        run(tmp_path, rows, workers=2)


def test_an_iterator_gives_its_rows_once(tmp_path: Path) -> None:
    found: Rows = []
    pipeline = Pipeline("p", directory=tmp_path).source("in", numbers()).sink("out", found)
    pipeline.run()
    with pytest.raises(RunFailed, match="an iterator, which is used up: give a list, or a function that yields"):
        pipeline.run()
    assert len(found) == 3


async def later(row: Any) -> Any:
    return row


@pytest.mark.parametrize(
    ("kind", "function", "message"),
    [
        ("source", lambda x: [], "cannot be a source: it is called with nothing .missing a required argument: 'x'"),
        ("transform", lambda a, b: a, "cannot be a transform: it is called with a row"),
        ("transform", lambda: 1, "cannot be a transform: it is called with a row"),
        ("sink", lambda: 1, "cannot be a sink: it is called with a list of rows"),
        ("transform", later, "later is asynchronous"),
        ("source", {"n": 1}, "a source is the name of a component, rows"),
        ("source", b"text", "a source is the name of a component, rows"),
    ],
)
def test_functions_that_cannot_be_called(kind: str, function: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        getattr(Pipeline("p"), kind)("x", function)


def test_a_part_of_the_program_hides_no_component(tmp_path: Path) -> None:
    def filter(row: dict[str, Any]) -> dict[str, Any]:
        return {"n": row["n"] + 10}

    class console(Sink):
        def write(self, batch: Batch) -> None: ...

    found: Rows = []
    pipeline = (
        Pipeline("p", directory=tmp_path)
        .source("in", numbers)
        .transform("mine", filter)
        .transform("theirs", "filter", {"where": "n > 10"})
        .sink("out", found)
        .sink("own", console, from_="theirs")
        .sink("files", "files", {"path": tmp_path / "out.jsonl"}, from_="theirs")
    )
    pipeline.run()
    assert found == [{"n": 11}, {"n": 12}]
    assert (tmp_path / "out.jsonl").read_text().count("\n") == 2


WORDS = ["no", "012", "1:30", "1e3", "+.5e3", "0o17", "null", "~", "0x1F", "1_000", "2024-01-01", ".5", "<<", " x ", ""]


@pytest.mark.parametrize("text", [*WORDS, "a: b\n- c\n  # d\n" + "x y " * 60 + "\t\n\n", "\U0001f600 \0 \x85 \u2028"])
def test_text_stays_what_it_is(text: str) -> None:
    pipeline = Pipeline("p").source("in", "generate", {"fields": {"a": text, "b": text}}).sink("out", [])
    config: Any = pipeline.checked.stages[0].config
    assert config.fields == {"a": text, "b": text}


def test_options_that_no_file_can_hold() -> None:
    class Odd(str): ...

    loop: dict[str, Any] = {}
    loop["loop"] = loop

    def checked(options: Any) -> Any:
        return Pipeline("p").source("in", "generate", options).sink("out", []).checked.stages[0].config

    assert checked({"fields": {Odd("a"): Odd("x")}}).fields == {"a": "x"}
    assert checked({"columnar": True}).columnar is True
    with pytest.raises(TypeError, match="an option is a Decimal, which no file can hold"):
        checked({"rows": Decimal(1)})
    with pytest.raises(ValueError, match="an option holds itself"):
        checked({"fields": loop})
    with pytest.raises(TypeError, match="the options of stage `in` must be a mapping, not int"):
        checked(5)


def test_problems_name_the_pipeline_and_no_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("stages: {}\n")
    with pytest.raises(SpecError) as raised:
        _ = Pipeline("p", directory=tmp_path).source("in", "generat").sink("out", []).checked
    assert str(raised.value).startswith("Pipeline('p'):4:13: no plugin named `generat` is installed")


@pytest.mark.parametrize("timeout", [-1, float("nan"), "5"])
def test_a_timeout_that_is_none(tmp_path: Path, timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout must be a number of seconds, or 0 to abandon at once"):
        Pipeline("p", directory=tmp_path).source("in", numbers).sink("out", []).run(timeout=timeout)


def test_a_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for state in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StateError, match="cannot be made"):
            Pipeline("p").source("in", numbers).sink("out", []).run(state=state)


def test_within_a_running_loop(tmp_path: Path) -> None:
    async def main() -> Rows:
        return run(tmp_path, numbers)

    assert len(asyncio.run(main())) == 3


def test_the_same_pipeline_on_two_threads(tmp_path: Path) -> None:
    working, go_on = threading.Event(), threading.Event()

    def wait(row: dict[str, Any]) -> dict[str, Any]:
        working.set()
        assert go_on.wait(120)
        return row

    first = threading.Thread(target=run, args=(tmp_path, numbers, wait))
    first.start()
    assert working.wait(120)
    with pytest.raises(AlreadyRunning, match="on another thread of this program: wait until it has ended"):
        run(tmp_path, numbers)
    go_on.set()
    first.join(120)
    assert run(tmp_path, numbers) == list(numbers())


def test_several_pipelines_on_several_threads(tmp_path: Path) -> None:
    together = threading.Barrier(3)
    found: dict[int, int] = {}

    def one(number: int) -> None:
        rows: Rows = []
        pipeline = Pipeline(f"p{number}", directory=tmp_path).source("in", "generate", {"rows": 5000}).sink("out", rows)
        together.wait(120)
        found[number] = pipeline.run().report.balance.delivered

    threads = [threading.Thread(target=one, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert found == {0: 5000, 1: 5000, 2: 5000}


def test_whoever_leaves_in_front_of_a_run_leaves_none_behind(tmp_path: Path) -> None:
    seen: list[Any] = []

    def leave(run: Any) -> None:
        seen.append(run)
        raise SystemExit(5)

    endless = Pipeline("p", directory=tmp_path).source("in", "generate", {"rows": None, "rate": 100}).sink("out", [])
    with pytest.raises(SystemExit):
        endless.run(watch=leave)
    assert seen[0].abandoned_because == "SystemExit in front of the run"
    assert endless.run(watch=lambda run: run.stop("enough")).ok, "the pipeline is free again"


@pytest.mark.parametrize(
    ("reasons", "buried"),
    [({1: ValueError("odd")}, ["odd"]), ({1: None}, ["None"]), ({0: "a", 2: "b"}, ["a", "b"])],
)
def test_reasons_of_failed_rows_may_be_anything(tmp_path: Path, reasons: Any, buried: list[str]) -> None:
    class Picky(Sink):
        def write(self, batch: Batch) -> None:
            raise RowsFailed(reasons, final=True)

    policy = {"then": "dead_letter", "retries": 1000, "wait": "1h"}  # nothing of it is waited for
    pipeline = Pipeline("p", directory=tmp_path).source("in", Batch.from_rows(list(numbers())))
    ran = pipeline.sink("out", Picky, on_error=policy).run()
    assert [letter.reason for letter in pipeline.dead_letters()] == buried
    assert ran.report.balance.delivered == 3 - len(buried)


@pytest.mark.parametrize(("named", "said"), [({}, []), ({3: "x"}, [3]), ({-1: "x"}, [-1]), ({"0": "x"}, ["0"])])
def test_failed_rows_that_are_not_there(tmp_path: Path, named: Any, said: list[Any]) -> None:
    class Wrong(Sink):
        def write(self, batch: Batch) -> None:
            raise RowsFailed(named, final=True)

    pipeline = Pipeline("p", directory=tmp_path).source("in", Batch.from_rows(list(numbers())))
    pipeline.sink("out", Wrong, on_error="dead_letter")
    with pytest.raises(RunFailed, match=re.escape(f"RowsFailed names the rows {said}, and the batch has 3 rows")):
        pipeline.run()


def test_tables_show_any_value_and_steer_no_terminal(tmp_path: Path) -> None:
    row = {5: object(), None: b"\xff", "nan": float("nan"), "red\n": "a\r\x1b[31mb"}
    pipeline = Pipeline("p", directory=tmp_path).source("in", numbers).transform("t", lambda _: row).sink("out", [])
    table = pipeline.step("t", [{"n": 1}]).rows
    assert "\x1b" not in repr(table) + table._repr_html_()
    assert repr(table).splitlines()[0].split() == ["5", "None", "nan", "red\u23ce"]


# -- secrets ----------------------------------------------------------------------------------------------------------

TOKEN = "hunter2-hunter2"


class Auth(BaseModel):
    password: SecretStr


class Tell(RowTransform):
    class Config(BaseModel):
        token: SecretStr = SecretStr("")
        auth: Auth | None = None
        reject: bool = False

    def map(self, row: dict[str, Any]) -> dict[str, Any]:
        secret = self.config.token or self.config.auth.password
        raise (Reject if self.config.reject else ValueError)(f"{secret.get_secret_value()} is no good")


@pytest.fixture
def told(tmp_path: Path) -> Callable[..., Pipeline]:
    def make(**options: Any) -> Pipeline:
        return Pipeline("p", directory=tmp_path).source("in", numbers).transform("t", Tell, options).sink("out", [])

    return make


@pytest.mark.parametrize("given", ["literal", "object", "file"])
def test_secrets_are_not_shown(tmp_path: Path, told: Callable[..., Pipeline], given: str) -> None:
    (tmp_path / "token").write_text(TOKEN)
    value = {"literal": TOKEN, "object": SecretStr(TOKEN), "file": f"${{file:{tmp_path / 'token'}}}"}[given]
    for options in ({"token": value}, {"auth": {"password": value}}):
        pipeline = told(**options)
        with pytest.raises(RunFailed) as raised:
            pipeline.run()
        with pytest.raises(RunFailed) as stepped:
            pipeline.step("t", [{"n": 1}])
        refused = told(**options, reject=True)
        shown = [
            repr(pipeline),
            repr(pipeline.checked),
            str(pipeline.plan()),
            *("".join(traceback.format_exception(it.value)) for it in (raised, stepped)),
            repr(raised.value.ran.report),
            repr(raised.value.ran),
            str(raised.value.ran.to_json()),
            repr(refused.step("t", [{"n": 1}])),
            str(refused.run().to_json()),
            str(refused.dead_letters()),
        ]
        assert [text for text in shown if TOKEN in text] == []
        assert "ValueError: ******** is no good" in shown[3], "the traceback of the stage is there"
        assert "in map\n" in shown[3]


def test_secrets_are_in_no_file(tmp_path: Path) -> None:
    options = {"endpoint": "http://127.0.0.1:1", "project": "p", "logstore": "l", "access_key_id": "me"}

    def as_file(secret: Any) -> str:
        found = Pipeline("p").source("in", "sls", {**options, "access_key_secret": secret}).sink("out", "console")
        return found.to_yaml()

    for secret in (TOKEN, SecretStr(TOKEN)):
        with pytest.raises(ValueError, match="the option `access_key_secret` of stage `in` is a secret") as raised:
            as_file(secret)
        assert TOKEN not in str(raised.value)
    assert "access_key_secret: ${SECRET}" in as_file("${SECRET}")


def test_a_secret_that_is_wrong_is_not_quoted(told: Callable[..., Pipeline]) -> None:
    for options in ({"token": [TOKEN]}, {"auth": {"password": {"x": TOKEN}}}, {"tokn": TOKEN}):
        with pytest.raises(SpecError) as raised:
            _ = told(**options).checked
        assert TOKEN not in "".join(traceback.format_exception(raised.value))


def test_checking_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file" in etlcore.check(tmp_path / "no.yaml")[0].message
