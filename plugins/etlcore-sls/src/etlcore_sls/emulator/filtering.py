"""Applying an SPL query to LogGroups on their way out of a pull."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from etlcore_sls.emulator.spl import Fields, Query
from etlcore_sls.wire.protobuf import Log, LogGroup, decode_log_group, encode_log_group, frame, split_group_list


@dataclass(slots=True)
class Filtered:
    """What is left of the LogGroups of a pull (framed; empty ones are dropped), and the lines before and after."""

    frames: list[bytes]
    raw_lines: int
    result_lines: int


def apply(query: Query, frames: Iterable[bytes]) -> Filtered:
    """Keep what a query keeps. A LogGroup keeps its topic, source and tags."""
    result = Filtered([], 0, 0)
    for group in map(decode_log_group, split_group_list(b"".join(frames))):
        result.raw_lines += len(group.logs)
        group.logs = [_project(query, log) for log in group.logs if query.keeps(fields_of(group, log))]
        result.result_lines += len(group.logs)
        if group.logs:
            result.frames.append(frame(encode_log_group(group)))
    return result


def fields_of(group: LogGroup, log: Log) -> Fields:
    """A log as the fields that SLS shows: its contents, and what its LogGroup says of it."""
    fields = {"__time__": str(log.time), "__topic__": text(group.topic), "__source__": text(group.source)}
    fields.update((f"__tag__:{text(key)}", text(value)) for key, value in group.tags)
    fields.update((text(key), text(value)) for key, value in log.contents)
    return fields


def text(value: bytes) -> str:
    """Bytes as text; what is not UTF-8 is replaced."""
    return value.decode("utf-8", "replace")


def _project(query: Query, log: Log) -> Log:
    if query.project is None:
        return log
    return Log(log.time, [pair for pair in log.contents if text(pair[0]) in query.project], log.time_ns)
