"""What both programs of a comparison do with their rows: hand them to the test's process, and do as it says.

The official consumer (`consumer.py`) and the pipeline (its sink is `deliver`) run this; the test's side is in
`parties.py`. One connection is one call: a line of JSON goes there, a line of JSON comes back. This module needs
nothing but the standard library, and it is all that the two programs share.
"""

from __future__ import annotations

import json
import socket
from typing import Any


def hand_over(port: int, rows: list[str]) -> Any:
    """Have the test handle rows; what it answers. Raises ConnectionError when it says that they failed."""
    answer = _call(port, {"rows": rows})
    if "failed" in answer:
        raise ConnectionError(answer["failed"])
    return answer["result"]


def say(port: int, what: str) -> None:
    """Tell the test that something has happened."""
    _call(port, {"said": what})


def deliver(batch: Any, port: int) -> None:
    """The function of the pipeline's sink: hands over the field ``n`` of each row of a batch."""
    hand_over(port, [row["n"] for row in batch.rows])


def _call(port: int, message: dict[str, Any]) -> dict[str, Any]:
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rwb") as stream:
        stream.write(json.dumps(message).encode() + b"\n")
        stream.flush()
        return dict(json.loads(stream.readline()))
