"""Which expected row is which that came: as many pairs as there can be, whatever the order."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


def pair(candidates: Sequence[Sequence[int]], *, alike: bool) -> dict[int, int]:
    """Expected to came, by number: each of both in one pair at most, and as many pairs as there can be.

    ``candidates`` has for every expected row the rows that came and fit it. ``alike``: those that fit two expected rows
    are the same for both, so that any choice is as good as any other; it is much faster then.
    """
    pairs: dict[int, int] = {}
    taken: dict[int, int] = {}
    ahead = {id(fitting): iter(fitting) for fitting in candidates}  # rows that are alike share one list
    for number, fitting in enumerate(candidates):
        free = next((came for came in ahead[id(fitting)] if came not in taken), None)
        if free is not None:
            pairs[number], taken[free] = free, number
    if not alike:
        for number in range(len(candidates)):
            if number not in pairs:
                _make_room(number, candidates, pairs, taken)
    return pairs


def _make_room(start: int, candidates: Sequence[Sequence[int]], pairs: dict[int, int], taken: dict[int, int]) -> None:
    """Find a partner for one more by giving others another one, where that is possible (an augmenting path)."""
    wanted_by: dict[int, int] = {}
    ahead = deque([start])
    while ahead:
        number = ahead.popleft()
        for came in candidates[number]:
            if came in wanted_by:
                continue
            wanted_by[came] = number
            if came in taken:
                ahead.append(taken[came])
                continue
            free: int | None = came
            while free is not None:  # back along the path: each takes what the one before it gives up
                mover = wanted_by[free]
                given_up = pairs.get(mover)
                pairs[mover], taken[free] = free, mover
                free = given_up
            return
