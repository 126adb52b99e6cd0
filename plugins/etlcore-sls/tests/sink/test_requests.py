"""What goes into one request: the limits, what is too large, and what the service refuses for what it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from etlcore_sls.emulator import Settings
from etlcore_sls.pytest_plugin import EmulatorFactory
from pydantic import ValidationError

from etlcore import Batch, RowsFailed


def numbered(count: int, **fields: Any) -> Batch:
    return Batch.from_rows([{"__time__": 1714550400, "n": n, **fields} for n in range(count)])


def numbers(target: Any) -> list[int]:
    return sorted(int(value) for value in target.values())


def test_a_batch_is_one_request_where_it_fits(target: Any) -> None:
    sink = target.sink()
    sink.write(numbered(1000))
    assert [put["logs"] for put in target.puts()] == [1000]
    assert sink.context.metrics.counts == {"put_requests": 1}


def test_no_request_has_more_logs_than_allowed(target: Any) -> None:
    target.sink(put_logs=30).write(numbered(100))
    assert [put["logs"] for put in target.puts()] == [30, 30, 30, 10]
    assert numbers(target) == list(range(100))


@pytest.mark.parametrize("compression", ["lz4", "zstd", "none"])
def test_no_request_is_larger_than_allowed(
    sls_emulator_factory: EmulatorFactory, make_target: Callable[..., Any], compression: str
) -> None:
    """To the byte: the server allows no more than the sink does."""
    target = make_target(emulator=sls_emulator_factory(put_max_bytes=2000))
    tags = {"__topic__": "t" * 50, "__tag__:host": "h" * 50}
    target.sink(put_bytes=2000, compression=compression).write(numbered(100, text="x" * 77, **tags))
    assert numbers(target) == list(range(100))
    assert not target.control.events("refused")
    assert 5 <= len(target.puts()) <= 10


def test_the_largest_log_that_fits(target: Any) -> None:
    sink = target.sink(put_bytes=1000)
    around = 18  # bytes of protobuf: lengths, the time, the name of the field, the empty topic and source
    sink.write(Batch.from_rows([{"__time__": 1, "f": "x" * (1000 - around)}]))
    with pytest.raises(RowsFailed, match=r"too large for SLS: 1,001 bytes, and a request may have 1,000"):
        sink.write(Batch.from_rows([{"__time__": 1, "f": "x" * (1001 - around)}]))
    assert [len(value) for value in target.values("f")] == [982]


def test_a_log_that_is_too_large_is_named_and_the_others_are_written(target: Any) -> None:
    rows = [{"n": n, "text": "x" * (2000 if n in (3, 7) else 10)} for n in range(10)]
    sink = target.sink(put_bytes=1500)
    with pytest.raises(RowsFailed) as failed:
        sink.write(Batch.from_rows(rows))
    assert sorted(failed.value.reasons) == [3, 7]
    assert all("option `put_bytes`" in reason for reason in failed.value.reasons.values())
    assert numbers(target) == [0, 1, 2, 4, 5, 6, 8, 9]


def test_logs_that_the_service_refuses_are_found(
    sls_emulator_factory: EmulatorFactory, make_target: Callable[..., Any]
) -> None:
    """The service's limits may be lower than the options: the request is halved until the bad logs are alone."""
    target = make_target(emulator=sls_emulator_factory(put_max_bytes=1500))
    rows = [{"n": n, "text": "x" * (2000 if n in (3, 7, 63) else 10)} for n in range(64)]
    sink = target.sink()
    with pytest.raises(RowsFailed) as failed:
        sink.write(Batch.from_rows(rows))
    assert sorted(failed.value.reasons) == [3, 7, 63]
    assert all("refused by SLS: PostBodyTooLarge" in reason for reason in failed.value.reasons.values())
    assert numbers(target) == [n for n in range(64) if n not in (3, 7, 63)]
    assert sink.context.metrics.counts["refused_logs"] == 3


def test_too_many_logs_for_the_service_are_divided(
    sls_emulator_factory: EmulatorFactory, make_target: Callable[..., Any]
) -> None:
    target = make_target(emulator=sls_emulator_factory(put_max_logs=10), shards=1)
    target.sink().write(numbered(64))
    assert [int(value) for value in target.values()] == list(range(64))  # and they stay in order


def test_a_topic_and_tags_make_a_request_of_their_own(target: Any) -> None:
    rows = [{"n": n, "__topic__": f"t{n % 2}", "__tag__:x": str(n % 3)} for n in range(60)]
    target.sink().write(Batch.from_rows(rows))
    assert [put["logs"] for put in target.puts()] == [10] * 6
    logs = target.logs()
    assert all(
        (log.topic, log.tags) == (f"t{int(log.fields['n']) % 2}", {"x": f"{int(log.fields['n']) % 3}"}) for log in logs
    )
    assert len(logs) == 60


def test_a_batch_of_no_rows_asks_nothing(target: Any) -> None:
    target.sink().write(Batch.from_rows([]))
    assert target.puts() == []


BAD_OPTIONS = [
    ({"hash_buckets": 12}, "12 is not a power of 2; write 16, 32, 64"),
    ({"hash_buckets": 0}, "greater than or equal to 1"),
    ({"put_logs": 0}, "greater than or equal to 1"),
    ({"put_bytes": 999}, "greater than or equal to 1000"),
    ({"time_column": ""}, "at least 1 character"),
    ({"hash_key": ""}, "at least 1 character"),
    ({"compression": "gzip"}, "'lz4', 'zstd' or 'none'"),
    ({"consumer_group": "g"}, "Extra inputs are not permitted"),
    ({"logstore": "no such name"}, "is not a name in SLS"),
]


@pytest.mark.parametrize(
    ("options", "message"), BAD_OPTIONS, ids=lambda value: str(value) if isinstance(value, dict) else ""
)
def test_options_that_cannot_be(target: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        target.config(**options)


def test_the_defaults_are_within_every_limit_that_is_known() -> None:
    """5 MB and 4,096 logs: what the oldest documents allow and the official clients default to."""
    from etlcore_sls.sink_config import SlsSinkConfig

    fields = SlsSinkConfig.model_fields
    assert fields["put_bytes"].default <= min(5_000_000, Settings().put_max_bytes)
    assert fields["put_logs"].default <= min(4096, Settings().put_max_logs)
