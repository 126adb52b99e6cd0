"""What a row becomes: fields as text, its time, its topic, source and tags; and which rows cannot become logs."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from etlcore_sls.decode import decode_group
from etlcore_sls.sink_config import SlsSinkConfig

from etlcore import Batch, RowsFailed


def written(target: Any, row: dict[str, Any], **options: Any) -> Any:
    """The one log that a row becomes."""
    target.sink(**options).write(Batch.from_rows([row]))
    (log,) = target.logs()
    return log


def test_values_become_text(target: Any) -> None:
    row = {
        "text": "Gr\u00fc\u00dfe \U0001f600",
        "empty": "",
        "none": None,
        "int": -7,
        "float": 0.1,
        "true": True,
        "nan": float("nan"),
        "infinite": float("-inf"),
        "decimal": Decimal("1.50"),
        "time": datetime(2024, 5, 1, 8, 0, tzinfo=UTC),
        "day": date(2024, 5, 1),
        "bytes": b"\x00\xff",
        "list": [1, "a", None, {"b": 2.5}],
        "map": {"k": "v"},
        "": "no name",
        3: "a number for a name",
    }
    assert written(target, row).fields == {
        "text": "Gr\u00fc\u00dfe \U0001f600",
        "empty": "",
        "int": "-7",
        "float": "0.1",
        "true": "true",
        "nan": "NaN",
        "infinite": "-Infinity",
        "decimal": "1.50",
        "time": "2024-05-01T08:00:00Z",
        "day": "2024-05-01",
        "bytes": "AP8=",
        "list": '[1,"a",null,{"b":2.5}]',
        "map": '{"k":"v"}',
        "": "no name",
        "3": "a number for a name",
    }


def test_topic_source_and_tags_of_the_row_come_before_those_of_the_options(target: Any) -> None:
    rows = [
        {"n": "0", "__topic__": "nginx", "__source__": "10.0.0.1", "__tag__:host": "web-1", "__tag__:rack": "7"},
        {"n": "1"},
        {"n": "2", "__topic__": "", "__source__": None},
    ]
    target.sink(topic="other", source="there").write(Batch.from_rows(rows))
    found = {log.fields["n"]: (log.topic, log.source, log.tags) for log in target.logs()}
    assert found == {
        "0": ("nginx", "10.0.0.1", {"host": "web-1", "rack": "7"}),
        "1": ("other", "there", {}),
        "2": ("", "there", {}),
    }


def test_the_source_is_empty_where_none_is_given(target: Any) -> None:
    """The official SDK would put an address of this machine there."""
    log = written(target, {"n": 1})
    assert (log.topic, log.source, log.tags, log.fields) == ("", "", {}, {"n": "1"})


TIMES = [
    (1714550400, (1714550400, None)),
    (1714550400.25, (1714550400, 250_000_000)),
    (0.9999999999, (1, 0)),
    (Decimal("1714550400.5"), (1714550400, 500_000_000)),
    (" 1714550400 ", (1714550400, None)),
    ("1714550400.125", (1714550400, 125_000_000)),
    ("1714550400.1234567891", (1714550400, 123_456_789)),
    ("2024-05-01T08:00:00Z", (1714550400, None)),
    ("2024-05-01 16:00:00.000001+08:00", (1714550400, 1000)),
    (datetime(2024, 5, 1, 8, 0, 0, 3, tzinfo=UTC), (1714550400, 3000)),
    (datetime(2024, 5, 1, 16, tzinfo=timezone(timedelta(hours=8))), (1714550400, None)),
    (0, (0, None)),
    (2**32 - 1, (2**32 - 1, None)),
]


@pytest.mark.parametrize(("value", "expected"), TIMES, ids=lambda value: str(value))
def test_the_time(target: Any, value: Any, expected: tuple[int, int | None]) -> None:
    log = written(target, {"__time__": value, "n": 1})
    assert (log.time, log.time_ns) == expected
    assert log.fields == {"n": "1"}


def test_nanoseconds_have_a_column_of_their_own(target: Any) -> None:
    log = written(target, {"__time__": 1714550400, "__time_ns_part__": 7, "n": 1})
    assert (log.time, log.time_ns, log.fields) == (1714550400, 7, {"n": "1"})


def test_another_time_column_is_also_a_field(target: Any) -> None:
    log = written(target, {"at": "1714550400", "__time__": 5, "__time_ns_part__": 5}, time_column="at")
    assert (log.time, log.time_ns, log.fields) == (1714550400, None, {"at": "1714550400"})


def test_a_row_without_a_time_has_the_time_of_writing(target: Any) -> None:
    before = int(time.time())
    log = written(target, {"n": 1, "__time__": None})
    assert before <= log.time <= time.time()


BAD = [
    ({"__time__": "yesterday"}, "'yesterday' is not a time; it can be seconds since 1970"),
    ({"__time__": "2024-05-01T08:00:00"}, "the time 2024-05-01T08:00:00 has no zone"),
    ({"__time__": -1}, "-1 is not in seconds since 1970"),
    ({"__time__": 1714550400000}, "1714550400000 is not in seconds since 1970"),
    ({"__time__": "1714550400000"}, "'1714550400000' is not in seconds since 1970"),
    ({"__time__": True}, "True is not a time"),
    ({"__time__": float("nan")}, "nan is not a time"),
    ({"__time__": [1]}, "[1] is not a time"),
    ({"__time__": 1, "__time_ns_part__": 10**9}, "1000000000 is not a number of nanoseconds below one second"),
    ({"__time__": 1, "__time_ns_part__": True}, "True is not a number of nanoseconds below one second"),
    ({"f": "\ud800"}, "'f': text that UTF-8 cannot hold"),
    ({"\ud800": "f"}, "text that UTF-8 cannot hold"),
    ({"f": object()}, "f: a value that has no form as text (object: "),
    ({"f": 10**5000}, "f: a value that has no form as text (int: "),
    ({"__time__": 10**5000}, "Exceeds the limit"),
]


@pytest.mark.parametrize(("row", "reason"), BAD, ids=[reason[:30] for _, reason in BAD])
def test_a_row_that_is_no_log_is_named_and_the_others_are_written(target: Any, row: Any, reason: str) -> None:
    batch = Batch.from_rows([{"n": 0}, {**row, "n": 1}, {"n": 2}])
    sink = target.sink()
    with pytest.raises(RowsFailed) as failed:
        sink.write(batch)
    assert list(failed.value.reasons) == [1]
    assert reason in failed.value.reasons[1]
    assert sorted(target.values()) == ["0", "2"]
    assert sink.context.metrics.counts["refused_logs"] == 1


def test_what_the_source_reads_is_written_as_it_was(target: Any, make_target: Any) -> None:
    """Also a field that is called like the metadata, which the source has to rename."""
    from aliyun.log.proto import LogGroupRaw

    group = LogGroupRaw(Topic="t", Source="s")
    group.LogTags.add(Key="host", Value=b"h")
    for number in range(3):
        log = group.Logs.add(Time=1714550400 + number)
        log.Contents.add(Key=b"n", Value=b"%d" % number)
        log.Contents.add(Key=b"__topic__", Value=b"a field")
        log.Contents.add(Key=b"__own__", Value=b"also")
        log.Time_ns = number
    rows: list[dict[str, Any]] = []
    from aliyun.log.proto import LogGroup

    decode_group(LogGroup.FromString(group.SerializeToString()), rows)
    target.sink().write(Batch.from_rows(rows))
    assert [(log.time, log.time_ns, log.topic, log.source, log.tags, log.fields) for log in target.logs()] == [
        (1714550400 + n, n, "t", "s", {"host": "h"}, {"n": str(n), "__topic__": "a field", "__own__": "also"})
        for n in range(3)
    ]


def test_columns_are_written_as_rows_are(target: Any, make_target: Any) -> None:
    rows = [
        {
            "__time__": 1714550400 + n,
            "__topic__": "t" if n % 2 else None,
            "n": n,
            "f": n / 4,
            "x": None if n % 3 else "x",
        }
        for n in range(50)
    ]
    other = make_target()
    target.sink().write(Batch.from_rows(rows))
    other.sink().write(Batch.from_arrow(Batch.from_rows(rows).arrow))

    def shown(logs: Any) -> list[Any]:
        return sorted((log.time, log.topic, sorted(log.fields.items())) for log in logs)

    assert shown(target.logs()) == shown(other.logs())
    assert len(target.logs()) == 50


def test_every_option_has_a_description() -> None:
    assert all(field.description for field in SlsSinkConfig.model_fields.values())
