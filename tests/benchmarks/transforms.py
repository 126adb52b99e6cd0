"""How fast the built-in transforms are alone: ``python -m tests.benchmarks.transforms [NAME…]``.

Batches of 10,000 nginx-like records of nine fields, made from a seed, as columns and as rows; the median of five goes,
in rows a second.
"""

from __future__ import annotations

import importlib
import logging
import random
import statistics
import sys
import time
from types import SimpleNamespace
from typing import Any

from etlcore import Batch
from etlcore.builtin import etl_components

ROWS = 10_000
BATCHES = 5
GOES = 5

CASES: dict[str, dict[str, Any]] = {
    "select": {"columns": {"uri": "request_uri", "status": "status"}},
    "filter": {"where": "status >= 500 and method in ('GET', 'HEAD')"},
    "filter texts": {"where": "number(bytes) > 100 and request_uri contains 'q='"},
    "parse_uri": {},
    "parse_uri path": {"query": None},
    "parse_uri params": {"params": ["user", "q"]},
    "route": {"routes": {"errors": "status >= 500", "missing": "status = 404"}},
    "rename": {"columns": {"request_uri": "uri"}},
    "cast": {"columns": {"bytes": "int", "time": "timestamp"}},
    "explode": {"column": "tags"},
    "mask": {"redact": ["agent"], "hash": ["user"], "keep_last": {"host": 4}, "salt": "of this benchmark"},
    "sample": {"fraction": 0.1},
    "sample by": {"fraction": 0.1, "by": "user"},
    "dedupe": {"by": ["user"]},
}


def records(draw: random.Random, count: int) -> list[dict[str, Any]]:
    """Records of which one in ten has an escape in its URI."""
    return [
        {
            "time": f"2024-05-01T{draw.randrange(24):02}:{draw.randrange(60):02}:{draw.randrange(60):02}Z",
            "method": draw.choice(["GET", "GET", "GET", "POST"]),
            "request_uri": f"/item/{draw.randrange(500)}?user={draw.randrange(9000)}&q={draw.choice(_WORDS)}&page=1",
            "status": draw.choice([200, 200, 200, 304, 404, 500, 503]),
            "bytes": str(draw.randrange(100_000)),
            "host": f"10.0.{draw.randrange(256)}.{draw.randrange(256)}",
            "user": f"u{draw.randrange(2_000)}",
            "agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
            "tags": [draw.choice(_WORDS) for _ in range(draw.randrange(4))],
        }
        for _ in range(count)
    ]


_WORDS = ["red", "green", "blue", "tea", "pot", "cup", "spoon", "plate", "fork", "caf%C3%A9"]


def speed(name: str, options: dict[str, Any], batches: list[Batch]) -> float:
    """Rows a second through one transform."""
    (target,) = [c.target for c in etl_components() if (c.name, c.kind) == (name, "transform")]
    module, _, attribute = target.partition(":")
    cls = getattr(importlib.import_module(module), attribute)
    seconds = []
    for _ in range(GOES):
        stage = cls()
        stage.config = cls.Config.model_validate(options)
        stage.context = SimpleNamespace(worker=0, workers=1, log=logging.getLogger(), reject=lambda rows, reason: None)
        stage.open(stage.context)
        fresh = [Batch.from_arrow(b.arrow) if b.columnar else Batch.from_rows(b.rows) for b in batches]
        begin = time.perf_counter()
        for batch in fresh:
            made = stage.process(batch)
            if not isinstance(made, Batch):
                list(made)
        seconds.append(time.perf_counter() - begin)
    return ROWS * len(batches) / statistics.median(seconds)


def main() -> None:
    draw = random.Random(7)
    rows = [Batch.from_rows(records(draw, ROWS)) for _ in range(BATCHES)]
    columns = [Batch.from_arrow(batch.arrow) for batch in rows]
    sys.stdout.write(f"{'transform':<18}{'columns, rows/s':>18}{'rows, rows/s':>16}\n")
    for case, options in CASES.items():
        name = case.partition(" ")[0]
        if not sys.argv[1:] or name in sys.argv[1:]:
            found = [speed(name, options, batches) for batches in (columns, rows)]
            sys.stdout.write(f"{case:<18}{found[0]:>18,.0f}{found[1]:>16,.0f}\n")


if __name__ == "__main__":
    main()
