"""Rows with the same key go to the same worker: splits a packet into one part for each lane of a channel."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from etlcore.runtime.channel import Route
from etlcore.runtime.packet import Packet


def lane_of(value: Any, lanes: int) -> int:
    """The lane of a key; the same in every process and every run, unlike `hash` of a text."""
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        value = int(value)  # True, 1 and 1.0 are one key, as they are in a Python dict
    text = repr(value) if value is None else str(value)
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % lanes


def route_by_key(column: str, lanes: int) -> Route:
    """A route for `Channel`. Rows without the column share the lane of null."""

    def route(packet: Packet) -> Sequence[tuple[int, Packet]]:
        values = _values(packet, column)
        members: dict[int, list[int]] = {}
        memo: dict[Any, int] = {}
        for index, value in enumerate(values):
            try:
                lane = memo.get(value, -1)
                if lane < 0:
                    lane = memo[value] = lane_of(value, lanes)
            except TypeError:  # a list or a dict as a key
                lane = lane_of(value, lanes)
            members.setdefault(lane, []).append(index)
        if len(members) == 1:
            return [(lane, packet) for lane in members]
        parts = [(lane, packet.take(indices)) for lane, indices in members.items()]
        packet.settle()  # the parts hold every receipt themselves now
        return parts

    return route


def _values(packet: Packet, column: str) -> list[Any]:
    if packet.batch.columnar:
        arrow = packet.batch.arrow
        if column not in arrow.schema.names:
            return [None] * len(packet)
        values: list[Any] = arrow.column(column).to_pylist()
        return values
    return [row.get(column) for row in packet.batch.rows]
