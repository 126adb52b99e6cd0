"""One way to decode the responses in a directory, in a process of its own: `python -m … WAY DIRECTORY`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Found = tuple[int, int]
"""How many logs there are, and how many characters their field ``request_uri`` has."""


def sdk_dicts(body: bytes) -> Found:
    from aliyun.log.pulllog_response import PullLogResponse

    header = {"x-log-count": "0", "x-log-bodyrawsize": str(len(body)), "x-log-cursor": ""}
    return _count(PullLogResponse(body, header).get_flatten_logs_json())


def rows(body: bytes) -> Found:
    from etlcore_sls.body import parse
    from etlcore_sls.decode import decode_group

    found: list[dict[str, Any]] = []
    for group in parse(body):
        decode_group(group, found)
    return _count(found)


def columns(body: bytes, wanted: frozenset[str] | None = None) -> Found:
    import pyarrow.compute as pc

    found = [piece.logs for piece in _pieces(body, wanted)]
    characters = sum(pc.sum(pc.utf8_length(part.column("request_uri"))).as_py() for part in found)
    return sum(part.num_rows for part in found), characters


def columns_then_dicts(body: bytes) -> Found:
    from etlcore import Batch

    return _count([row for piece in _pieces(body) for row in Batch.from_arrow(piece.logs).rows])


def one_column(body: bytes) -> Found:
    return columns(body, frozenset({"request_uri"}))


def _pieces(body: bytes, wanted: frozenset[str] | None = None) -> list[Any]:
    from etlcore_sls.body import Columns, read_body

    pieces = read_body(body, wanted)
    assert all(isinstance(piece, Columns) for piece in pieces)
    return list(pieces)


def _count(found: list[dict[str, Any]]) -> Found:
    return len(found), sum(len(row["request_uri"]) for row in found)


WAYS: dict[str, Callable[[bytes], Found]] = {
    "SDK dicts": sdk_dicts,
    "rows": rows,
    "columns": columns,
    "one column": one_column,
    "columns, then dicts": columns_then_dicts,
}


def main(way: str, directory: str) -> None:
    decode = WAYS[way]
    logs = characters = 0
    seconds = cpu_seconds = 0.0
    pages = sorted(Path(directory).iterdir())
    decode(pages[0].read_bytes())  # what is imported is imported now, and memory is at hand
    for page in pages:
        body = page.read_bytes()
        began, cpu_began = time.perf_counter(), time.process_time()
        found = decode(body)
        seconds += time.perf_counter() - began
        cpu_seconds += time.process_time() - cpu_began
        logs, characters = logs + found[0], characters + found[1]
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "logs": logs, "characters": characters}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
