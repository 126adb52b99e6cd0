"""The `python` stages: a function of the user's own as source, transform and sink."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from etlcore import Batch, Position
from etlcore.builtin.python_function import FunctionError


@pytest.fixture
def code(tmp_path: Path) -> Callable[..., Path]:
    """Write a file beside the pipeline: ``code("f.py", "def f(row): ...")``."""

    def write(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write


def transformed(use: Any, rows: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
    made = use("transform", "python", **options).process(Batch.from_rows(rows))
    batches = [] if made is None else [made] if isinstance(made, Batch) else list(made)
    return [row for batch in batches for row in batch.rows]


# Rows


def test_a_function_makes_a_row_of_a_row(use: Any, code: Any) -> None:
    code("f.py", "def twice(row): return {**row, 'n': row['n'] * 2}")
    assert transformed(use, [{"n": 1, "x": "y"}], call="f.py:twice") == [{"n": 2, "x": "y"}]


def test_none_filters_and_several_multiply(use: Any, code: Any) -> None:
    code(
        "f.py",
        "def f(row):\n"
        "    if row['n'] == 0: return None\n"
        "    if row['n'] == 1: return [row, row]\n"
        "    return ({'n': i} for i in range(row['n']))\n",
    )
    made = transformed(use, [{"n": 0}, {"n": 1}, {"n": 3}], call="f.py:f")
    assert made == [{"n": 1}, {"n": 1}, {"n": 0}, {"n": 1}, {"n": 2}]


def test_the_row_is_the_functions_own_to_change(use: Any, code: Any, context: Any) -> None:
    code(
        "f.py",
        "from etlcore import Reject\n"
        "def f(row):\n    row['n'] += 1\n    if row['n'] > 2: raise Reject('too large')\n    return row",
    )
    rows = [{"n": 1}, {"n": 2}]
    assert transformed(use, rows, call="f.py:f") == [{"n": 2}]
    assert rows == [{"n": 1}, {"n": 2}]
    assert context.rejected == [({"n": 2}, "too large")], "the dead letter shows the row as it came"


def test_options_and_context_are_handed_over(use: Any, code: Any) -> None:
    code("f.py", "def f(row, *, add, context): return {'n': row['n'] + add, 'stage': context.stage}")
    assert transformed(use, [{"n": 1}], call="f.py:f", options={"add": 5}) == [{"n": 6, "stage": "stage"}]


def test_an_option_may_be_called_context(use: Any, code: Any) -> None:
    code("f.py", "def f(row, context): return {'c': context}")
    assert transformed(use, [{}], call="f.py:f", options={"context": "mine"}) == [{"c": "mine"}]


def test_a_function_of_an_installed_module(use: Any) -> None:
    assert transformed(use, [{"a": 1}], call="builtins:dict") == [{"a": 1}]
    assert transformed(use, [{"a": 1}], call="copy:deepcopy") == [{"a": 1}]


def test_anything_that_can_be_called_by_a_dotted_name(use: Any, code: Any) -> None:
    code("f.py", "class Tools:\n    @staticmethod\n    def clean(row): return {'clean': 1}\n")
    assert transformed(use, [{}], call="f.py:Tools.clean") == [{"clean": 1}]


@pytest.mark.parametrize("made", ["5", "True", "'text'", "object()"])
def test_a_result_that_is_no_row_is_an_error_that_names_the_function(use: Any, code: Any, made: str) -> None:
    code("f.py", f"def f(row): return {made}")
    with pytest.raises(FunctionError, match=r"f\.py:f returned .*: return a dict, several, or None"):
        transformed(use, [{}], call="f.py:f")
    code("g.py", f"def f(row): return [{{}}, {made}]")
    with pytest.raises(FunctionError, match=r"g\.py:f returned .* among its rows: return dicts"):
        transformed(use, [{}], call="g.py:f")


def test_an_exception_of_the_function_is_told_with_its_place_in_the_users_code(use: Any, code: Any) -> None:
    code("deep/helpers_of_raiser.py", "def half(n):\n    return n / 0")
    code(
        "deep/f.py",
        "from . import helpers_of_raiser\nimport json\n"
        "def row(row): return helpers_of_raiser.half(1)\n"
        "def batch(batch):\n    yield []\n    json.loads('{')\n"
        "def source():\n    yield {}\n    raise KeyError('a')\n"
        "def silent(row): raise ValueError\n",
    )
    batch = Batch.from_rows([{}])

    def raised(run: Callable[[], Any]) -> str:
        with pytest.raises(FunctionError) as caught:
            run()
        assert caught.value.__cause__ is not None
        return str(caught.value)

    by_row = use("transform", "python", call="deep/f.py:row")
    by_batch = use("transform", "python", call="deep/f.py:batch", per="batch")
    sink = use("sink", "python", call="deep/f.py:silent")
    source = use("source", "python", call="deep/f.py:source")
    assert raised(lambda: by_row.process(batch)) == (
        "deep/f.py:row raised ZeroDivisionError: division by zero (deep/helpers_of_raiser.py:2)"
    )
    assert raised(lambda: by_batch.process(batch)).startswith("deep/f.py:batch raised JSONDecodeError: Expecting")
    assert raised(lambda: by_batch.process(batch)).endswith("(deep/f.py:6)")
    assert raised(lambda: sink.write(batch)) == "deep/f.py:silent raised ValueError (deep/f.py:10)"
    assert raised(lambda: list(source.read())) == "deep/f.py:source raised KeyError: 'a' (deep/f.py:9)"


# Batches


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("return batch", [{"n": 1}, {"n": 2}]),
        ("return None", []),
        ("return []", []),
        ("return [{'n': r['n'] * 2} for r in batch.rows]", [{"n": 2}, {"n": 4}]),
        ("return batch.arrow", [{"n": 1}, {"n": 2}]),
        ("import pyarrow as pa; return pa.table({'n': [7]})", [{"n": 7}]),
        ("return [batch.slice(0, 1), batch.arrow.slice(1, 1)]", [{"n": 1}, {"n": 2}]),
        ("yield [{'n': 5}]; yield batch.slice(1, 2)", [{"n": 5}, {"n": 2}]),
        ("yield from ()", []),
    ],
)
def test_a_function_makes_batches_of_a_batch(use: Any, code: Any, body: str, wanted: list[dict[str, Any]]) -> None:
    code("f.py", f"def f(batch):\n    {body}")
    assert transformed(use, [{"n": 1}, {"n": 2}], call="f.py:f", per="batch") == wanted


def test_a_rejected_batch_is_rejected_whole_with_nothing_made_of_it(use: Any, code: Any, context: Any) -> None:
    code("f.py", "from etlcore import Reject\ndef f(batch):\n    yield batch\n    raise Reject('bad')")
    assert transformed(use, [{"n": 1}, {"n": 2}], call="f.py:f", per="batch") == []
    assert context.rejected == [({"n": 1}, "bad"), ({"n": 2}, "bad")]


@pytest.mark.parametrize("made", ["5", "'text'", "{'n': 1}", "[1]", "[{'n': 1}, 2]"])
def test_a_result_that_is_no_batch_is_an_error(use: Any, code: Any, made: str) -> None:
    code("f.py", f"def f(batch): return {made}")
    with pytest.raises(FunctionError, match=r"f\.py:f returned \w+: return a Batch, a list of dicts"):
        transformed(use, [{"n": 1}], call="f.py:f", per="batch")


# Finding the function


def test_a_file_may_import_the_files_beside_it(use: Any, code: Any) -> None:
    code("steps/helper_of_f.py", "def add(n): return n + 1")
    code("steps/lazy_helper_of_f.py", "def add(n): return n + 10")
    code(
        "steps/f.py",
        "import helper_of_f\nfrom . import helper_of_f as same\n"
        "def f(row):\n    import lazy_helper_of_f\n"
        "    return {'n': lazy_helper_of_f.add(same.add(helper_of_f.add(row['n'])))}",
    )
    before = list(sys.path)
    assert transformed(use, [{"n": 0}], call="steps/f.py:f") == [{"n": 12}]
    assert sys.path == before


def test_a_file_stands_in_for_no_other_module(use: Any, code: Any) -> None:
    code("json.py", "def f(row): return {'mine': True}")
    code("colorsys.py", "raise RuntimeError('this is not the standard library')")
    code("f.py", "import colorsys, json\ndef f(row): return {'own': json.dumps(row), 'c': colorsys.__name__}")
    sys.modules.pop("colorsys", None)
    assert transformed(use, [{}], call="json.py:f") == [{"mine": True}]
    assert transformed(use, [{}], call="f.py:f") == [{"own": "{}", "c": "colorsys"}]


def test_a_file_is_loaded_once_for_all_workers_and_again_when_it_changed(
    use: Any, code: Any, new_context: Callable[..., Any]
) -> None:
    text = "loads = []\nloads.append(1)\ndef f(row): row['loads'] = loads; loads.append(2); return row"
    code("f.py", text)
    gate = threading.Barrier(4)
    stages: list[Any] = []

    def open_one(worker: int) -> None:
        gate.wait()
        stages.append(use("transform", "python", context=new_context(worker=worker, workers=4), call="f.py:f"))

    threads = [threading.Thread(target=open_one, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    loads = [stage.process(Batch.from_rows([{}])).rows[0]["loads"] for stage in stages]
    assert loads[0] == [1, 2, 2, 2, 2]
    assert all(one is loads[0] for one in loads)
    code("f.py", text.replace("append(1)", "append('new')"))
    assert transformed(use, [{}], call="f.py:f")[0]["loads"][0] == "new"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("f", "'f' does not name a function: write module:function, or file.py:function"),
        ("f.py", "does not name a function"),
        (":f", "does not name a function"),
        ("f.py:", "does not name a function"),
        ("f.py:f()", "does not name a function"),
        ("some dir/f:g", "'some dir/f' is neither a module nor a .py file"),
        ("f.txt:g h", "does not name a function"),
        ("no.py:f", "there is no file {directory}/no.py: check the path, which is relative to the pipeline file"),
        ("good.py:cleen", "there is no cleen in {directory}/good.py: did you mean clean?"),
        ("good.py:zzz", "there is no zzz in {directory}/good.py: check the name"),
        ("broken.py:f", "{directory}/broken.py:2: "),
        ("binary.py:f", "{directory}/binary.py"),
    ],
)
@pytest.mark.parametrize("kind", ["source", "transform", "sink"])
def test_a_call_that_cannot_be_is_refused_when_it_is_checked(
    use: Any, code: Any, tmp_path: Path, kind: str, call: str, message: str
) -> None:
    code("good.py", "def clean(row): return row")
    code("broken.py", "def f(row):\n    return (")
    (tmp_path / "binary.py").write_bytes(b"\x00\xff\xfe")
    with pytest.raises(ValidationError) as caught:
        use(kind, "python", call=call)
    assert message.format(directory=tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "from json import dumps as f",
        "import json\nf = json.dumps",
        "f = print",
        "if True:\n    def f(row): return row",
        "try:\n    from nowhere import f\nexcept ImportError:\n    f = print",
        "from os.path import *\nf = join",
        "def __getattr__(name): return print",
        "for f in (print,): pass",
        "class f:\n    def __init__(self, row): pass",
    ],
)
def test_a_name_is_found_however_it_is_bound(use: Any, code: Any, text: str) -> None:
    code("f.py", text)
    component = use("sink", "python", call="f.py:f")
    component.close()


def test_checking_runs_nothing(code: Any, tmp_path: Path) -> None:
    from etlcore.builtin.python_transform import PythonTransform

    code("f.py", "raise RuntimeError('run')\ndef f(row): return row")
    PythonTransform.Config.model_validate({"call": "f.py:f"}, context={"directory": tmp_path})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            "no_such_module_anywhere:f",
            "there is no module no_such_module_anywhere: install it, or write no_such_module_",
        ),
        ("beside:f", "there is no module beside: for the file beside the pipeline, write beside.py:…"),
        ("json.nothing:f", "there is no module json.nothing: install it"),
        ("json:dump_", "there is no dump_ in json: did you mean dump?"),
        ("json:__doc__", "json:__doc__ is not a function but str: name a function"),
        ("fails.py:f", "cannot load fails.py: ZeroDivisionError: division by zero"),
        ("imports.py:f", "cannot load imports.py: ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("later.py:f", "cannot load later.py: SystemExit"),
        ("asynchronous.py:f", "asynchronous.py:f is asynchronous: name a plain function"),
        ("takes.py:nothing", "nothing() cannot be called with a row or batch and the options (none): too many pos"),
        ("takes.py:more", "more(row, key) cannot be called with a row or batch and the options (none): missing a req"),
    ],
)
def test_a_function_that_cannot_be_had_is_an_error_when_it_is_opened(
    use: Any, code: Any, call: str, message: str
) -> None:
    code("beside.py", "def f(row): return row")
    code("fails.py", "1 / 0\ndef f(row): return row")
    code("imports.py", "import not_there_at_all\ndef f(row): return row")
    code("later.py", "import sys\nsys.exit('no')\ndef f(row): return row")
    code("asynchronous.py", "async def f(row): return row")
    code("takes.py", "def nothing(): pass\ndef more(row, key): pass")
    with pytest.raises(FunctionError) as caught:
        use("transform", "python", call=call)
    assert message in str(caught.value)


def test_an_option_that_the_function_does_not_take_is_an_error(use: Any, code: Any) -> None:
    code("f.py", "def f(row, *, size=1): return row")
    with pytest.raises(
        FunctionError, match=r"f\(row, \*, size=1\) cannot be called with a row or batch and the options si"
    ):
        use("transform", "python", call="f.py:f", options={"sise": 2})


# Sink


def test_a_sink_is_called_with_each_row(use: Any, code: Any) -> None:
    code("f.py", "seen = []\ndef f(row): row['x'] = 1; seen.append(row)\n\ndef g(batch): seen.append(len(batch))")
    rows = [{"n": 1}, {"n": 2}]
    sink = use("sink", "python", call="f.py:f")
    sink.write(Batch.from_rows(rows))
    use("sink", "python", call="f.py:g", per="batch").write(Batch.from_rows(rows))
    assert sink._function.func.__globals__["seen"] == [{"n": 1, "x": 1}, {"n": 2, "x": 1}, 2]
    assert rows == [{"n": 1}, {"n": 2}]


def test_a_sink_cannot_reject(use: Any, code: Any) -> None:
    code("f.py", "from etlcore import Reject\ndef f(row): raise Reject('ugly')")
    with pytest.raises(
        FunctionError, match=r"f\.py:f rejected a row \(ugly\), but a sink cannot: reject it in a transform"
    ):
        use("sink", "python", call="f.py:f").write(Batch.from_rows([{}]))


# Source


def read(use: Any, **options: Any) -> list[Batch | None]:
    return list(use("source", "python", call="f.py:f", **options).read())


def test_rows_are_gathered_into_batches(use: Any, code: Any) -> None:
    code("f.py", "def f(upto):\n    for n in range(upto): yield {'n': n}")
    batches = read(use, options={"upto": 25}, batch=10)
    assert [len(batch) for batch in batches if batch is not None] == [10, 10, 5]
    assert [row["n"] for batch in batches if batch is not None for row in batch.rows] == list(range(25))


def test_nothing_yet_hands_over_what_is_there(use: Any, code: Any) -> None:
    code("f.py", "def f():\n    yield {'n': 1}\n    yield None\n    yield {'n': 2}")
    first, nothing, second = read(use)
    assert nothing is None
    assert first is not None
    assert second is not None
    assert (first.rows, second.rows) == ([{"n": 1}], [{"n": 2}])


def test_a_row_that_took_its_time_is_handed_over_at_once(
    use: Any, code: Any, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("etlcore.builtin.python_source.time.monotonic", lambda: now[0])
    context.now = now
    code(
        "f.py",
        "def f(context):\n"
        "    for n in range(4):\n"
        "        context.now[0] += 0.2 if n < 2 else 5\n"
        "        yield {'n': n}\n",
    )
    assert [[row["n"] for row in batch.rows] for batch in read(use) if batch is not None] == [[0, 1, 2], [3]]


def test_batches_and_their_positions_pass_through(use: Any, code: Any) -> None:
    code(
        "f.py",
        "from etlcore import Batch, Position\n"
        "def f(context):\n"
        "    first = context.positions.get('numbers', 0)\n"
        "    yield {'before': 1}\n"
        "    yield Batch.from_rows([{'n': first}], Position('numbers', first + 1))\n"
        "    yield [{'n': 'listed'}]\n"
        "    yield Batch.from_rows([{'n': 'arrow'}]).arrow\n",
    )
    single, placed, listed, arrow = read(use)
    assert single is not None
    assert placed is not None
    assert listed is not None
    assert arrow is not None
    assert (single.rows, placed.rows, listed.rows, arrow.rows) == (
        [{"before": 1}],
        [{"n": 0}],
        [{"n": "listed"}],
        [{"n": "arrow"}],
    )
    assert placed.marks == ((1, Position("numbers", 1)),)
    assert arrow.columnar


def test_any_iterable_is_read(use: Any, code: Any) -> None:
    code("f.py", "def f(): return [{'n': 1}, {'n': 2}]")
    (batch,) = read(use)
    assert batch is not None
    assert batch.rows == [{"n": 1}, {"n": 2}]


def test_the_generator_is_closed_at_its_yield(use: Any, code: Any) -> None:
    code("f.py", "ends = []\ndef f():\n    try:\n        while True: yield None\n    finally: ends.append('closed')")
    source = use("source", "python", call="f.py:f")
    reading = source.read()
    next(reading)
    reading.close()
    assert source._function.func.__globals__["ends"] == ["closed"]


@pytest.mark.parametrize(("body", "message"), [("return 5", "returned int"), ("yield 5", "yielded int")])
def test_what_is_no_row_is_an_error(use: Any, code: Any, body: str, message: str) -> None:
    code("f.py", f"def f():\n    {body}")
    with pytest.raises(FunctionError, match=message):
        read(use)


def test_several_workers_share_rows_out_by_the_context_or_are_refused(
    use: Any, code: Any, new_context: Callable[..., Any]
) -> None:
    code("f.py", "def f(): yield {}")
    with pytest.raises(
        FunctionError, match=r"would give 2 workers the same rows: set workers: 1, or give it a parameter"
    ):
        use("source", "python", context=new_context(workers=2), call="f.py:f")
    code("f.py", "def f(context): yield {'n': context.worker}")
    batches = [
        list(use("source", "python", context=new_context(worker=n, workers=2), call="f.py:f").read()) for n in (0, 1)
    ]
    assert [batch.rows for (batch,) in batches] == [[{"n": 0}], [{"n": 1}]]


def test_columns_reach_a_function_for_batches_as_columns(use: Any, code: Any) -> None:
    code("f.py", "def f(batch): return [{'columnar': batch.columnar}]")
    stage = use("transform", "python", call="f.py:f", per="batch")
    (made,) = stage.process(Batch.from_arrow(pa.RecordBatch.from_pydict({"a": [1]})))
    assert made.rows == [{"columnar": True}]
