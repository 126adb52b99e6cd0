"""Functions of the chaos pipelines' `python` stages; the file is copied beside each of them.

Every transform writes its name into the row's ``via``, so that a row tells by which way it came.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

from etlcore import Batch, Reject

Row = dict[str, Any]


def _hit(row: Row, every: int) -> bool:
    return every > 0 and int(row["id"]) % every == every - 1


def step(row: Row, name: str, does: str, every: int = 0, chance: str = "0", seconds: str = "0") -> Row | None:
    """One row's way through a stage: passed on, kept out, refused, or an exception, now and then or always."""
    if float(seconds):
        time.sleep(float(seconds))
    if float(chance) and random.random() < float(chance):
        raise OSError("flaky")
    if _hit(row, every):
        if does == "sieve":
            return None
        if does == "reject":
            raise Reject("rejected on purpose")
        if does in ("poison", "drop"):
            raise ValueError("poisoned on purpose")
    return {"id": row["id"], "via": row.get("via", "") + "/" + name}


def deliver(batch: Batch, file: str, chance: str = "0", down: str = "") -> None:
    """Append the rows of a batch to a file, in one write; ``down`` is a file that exists while the sink is down."""
    if (down and Path(down).exists()) or (float(chance) and random.random() < float(chance)):
        raise ConnectionError("the sink is down")
    text = "".join(json.dumps({"id": row["id"], "via": row.get("via", "")}) + "\n" for row in batch.rows)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
