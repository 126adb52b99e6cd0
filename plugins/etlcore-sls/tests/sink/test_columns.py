"""Arrow columns become the very bytes that their rows become, and the same rows are refused for the same reasons."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from etlcore_sls.sink_batch import Requests
from etlcore_sls.sink_columns import Columns
from etlcore_sls.sink_config import SlsSinkConfig
from etlcore_sls.sink_log import LogMaker

from etlcore import Batch, RowsFailed

NOW = 1714550400.75


def outcome(columnar: bool, table: pa.RecordBatch, **options: Any) -> tuple[Any, Any]:
    """The requests and the refused rows."""
    config = SlsSinkConfig(endpoint="http://127.0.0.1:1", project="p", logstore="l", **options)
    maker = LogMaker(config.time_column, config.topic, config.source)
    requests = Requests(config, maker)
    if columnar:
        requests.add_columns(Columns(maker, table, NOW))
    else:
        requests.add(Batch.from_arrow(table).rows, NOW)
    return [(made.rows, made.key, made.body) for made in requests.requests], requests.refused


def check(table: pa.RecordBatch, **options: Any) -> tuple[Any, Any]:
    columns = outcome(True, table, **options)
    assert columns == outcome(False, table, **options)
    return columns


def batch(*columns: tuple[str, pa.Array]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([array for _, array in columns], names=[name for name, _ in columns])


VALUES: dict[str, pa.Array] = {
    "string": pa.array(["", None, "Gr\u00fc\u00dfe", "x" * 127, "x" * 128, "x" * 20_000]),
    "large string": pa.array(["a", None, "b"], pa.large_string()),
    "string view": pa.array(["a", None, "a text of more than twelve bytes"], pa.string_view()),
    "int": pa.array([0, None, -(2**63), 2**63 - 1]),
    "int8": pa.array([0, None, -128], pa.int8()),
    "uint64": pa.array([0, None, 2**64 - 1], pa.uint64()),
    "bool": pa.array([True, False, None]),
    "float": pa.array([0.1, 1.0, None, float("nan"), float("inf"), -1e300]),
    "float32": pa.array([0.1, None], pa.float32()),
    "null": pa.nulls(2),
    "decimal": pa.array([Decimal("1.50"), None]),
    "binary": pa.array([b"\x00\xff", None, b""]),
    "time": pa.array([datetime(2024, 5, 1, tzinfo=UTC), None]),
    "time of nanoseconds": pa.array([1714550400_123456789, None], pa.timestamp("ns")),
    "day": pa.array([date(2024, 5, 1), None]),
    "duration": pa.array([timedelta(seconds=90), None]),
    "dictionary": pa.array(["a", "b", None, "a"]).dictionary_encode(),
    "dictionary of ints": pa.array([5, 6, None, 5]).dictionary_encode(),
    "list": pa.array([[1, 2], None, []]),
    "struct": pa.array([{"a": 1, "b": None}, None]),
    "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
}
NAMES = ["f", "", "__own__", "__topic__", "__source__", "__tag__:host", "__content__:__time__", "__time_ns_part__"]


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("name", NAMES)
def test_a_column_of_every_type(kind: str, name: str) -> None:
    array = VALUES[kind]
    number = pa.array(range(len(array)))
    for hash_key in (None, name or "n"):
        requests, refused = check(batch(("n", number), (name, array)), hash_key=hash_key)
        assert sum(len(rows) for rows, _, _ in requests) + len(refused) == len(array)


TIMES: dict[str, pa.Array] = {
    "int": pa.array([1714550400, None, 0, -1, 2**32, 1714550400]),
    "string": pa.array(["1714550400", None, "1714550400.5", "2024-05-01T08:00:00Z", "no time", "no time", ""]),
    "float": pa.array([1714550400.25, None, float("nan"), -0.5]),
    "bool": pa.array([True, None]),
    "null": pa.nulls(3),
    "time": pa.array([datetime(2024, 5, 1, 8, 0, 0, 1, UTC), None, datetime(1960, 1, 1, tzinfo=UTC)]),
    "time of nanoseconds": pa.array([1714550400_123456789, None], pa.timestamp("ns", "UTC")),
    "time without a zone": pa.array([datetime(2024, 5, 1), None]),
    "day": pa.array([date(2024, 5, 1), None]),
    "decimal": pa.array([Decimal("1714550400.5"), None]),
    "dictionary": pa.array(["1714550400", None, "no time"]).dictionary_encode(),
    "list": pa.array([[1714550400], None]),
}


@pytest.mark.parametrize("kind", TIMES)
@pytest.mark.parametrize("column", ["__time__", "at"])
@pytest.mark.parametrize("nanoseconds", [None, 7, -1])
def test_a_time_of_every_type(kind: str, column: str, nanoseconds: int | None) -> None:
    array = TIMES[kind]
    parts = pa.array([nanoseconds if row % 2 == 0 else None for row in range(len(array))], pa.int64())
    check(batch((column, array), ("n", pa.array(range(len(array))))), time_column=column)
    check(batch((column, array), ("__time_ns_part__", parts)), time_column=column)


def test_where_there_is_little() -> None:
    check(batch(("n", pa.array([], pa.int64()))))
    check(pa.RecordBatch.from_struct_array(pa.array([{}] * 3, type=pa.struct([]))))
    check(batch(("n", pa.array([1])), ("n", pa.array([2]))))  # the last one counts
    check(batch(("n", pa.array(range(10)))).slice(3, 4))


@pytest.mark.parametrize("seed", range(20))
def test_columns_at_random(seed: int) -> None:
    chance = random.Random(seed)
    arrays = [array for array in [*VALUES.values(), *TIMES.values()] if array.type != pa.string_view()]  # has no `take`
    count = chance.randrange(1, 60)
    columns = [("k", pa.array([chance.choice(["a", "b", "c", None]) for _ in range(count)]))]
    for name in chance.sample([*NAMES, "__time__", "a", "b", "c"], chance.randrange(1, 8)):
        array = chance.choice(arrays)
        columns.append((name, array.take(pa.array([chance.randrange(len(array)) for _ in range(count)]))))
    options = {
        "hash_key": chance.choice([None, "k", columns[-1][0] or None]),
        "hash_buckets": chance.choice([None, 1, 4]),
        "put_logs": chance.choice([1, 3, 4096]),
        "put_bytes": chance.choice([1000, 5_000_000]),
        "topic": "t",
        "source": "s",
    }
    check(batch(*columns), **options)


def test_columns_are_written_and_bad_rows_are_named(make_target: Callable[..., Any]) -> None:
    target = make_target(shards=4)
    times = pa.array([1714550400, -1, 1714550402])
    table = batch(("__time__", times), ("n", pa.array([0, 1, 2])), ("f", pa.array([0.5, None, 1.5])))
    sink = target.sink(hash_key="n")
    with pytest.raises(RowsFailed) as failed:
        sink.write(Batch.from_arrow(table))
    assert list(failed.value.reasons) == [1]
    found = sorted((log.time, log.fields["n"], log.fields["f"]) for log in target.logs())
    assert found == [(1714550400, "0", "0.5"), (1714550402, "2", "1.5")]
