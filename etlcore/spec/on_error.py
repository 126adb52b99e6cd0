"""``on_error`` of a stage: what becomes of rows whose stage raises an exception."""

from __future__ import annotations

from typing import Literal, TypeVar

from etlcore.plugins.records import Kind
from etlcore.spec import fields
from etlcore.spec.fields import Value
from etlcore.spec.model import OnError

N = TypeVar("N", int, float)
Then = Literal["stop", "drop", "dead_letter"]

_POLICIES: tuple[Then, ...] = ("stop", "drop", "dead_letter")
_SINK_RETRIES = 5  # of a sink whose policy gives rows up: most of what goes wrong there is over after a while
_SINK_BREAKER = 50  # more failures in a row than it takes to find a bad row in any batch


def read_on_error(value: Value, kind: Kind | None) -> OnError:
    """``on_error: dead_letter`` or ``on_error: {retries: 5, wait: 500ms, then: dead_letter}``.

    What is left out depends on the kind of stage: most of what goes wrong in a sink is over after a while, so it is
    tried again, and a sink that is down is waited for; what goes wrong in a transform is wrong with the row.
    """
    if not isinstance(value.value, dict):
        return _default(_policy(value), kind)
    keys = fields.keys(value, ("then", "retries", "wait", "longest_wait", "breaker"))
    keys.report("`on_error`")
    found = keys.found
    default = _default(_policy(found["then"]) if "then" in found else "stop", kind)
    return OnError(
        then=default.then,
        retries=_or(fields.whole(found["retries"], least=0) if "retries" in found else None, default.retries),
        wait=_or(fields.seconds(found["wait"]) if "wait" in found else None, default.wait),
        longest_wait=_or(
            fields.seconds(found["longest_wait"]) if "longest_wait" in found else None, default.longest_wait
        ),
        breaker=_breaker(found["breaker"]) if "breaker" in found else default.breaker,
    )


def _default(then: Then, kind: Kind | None) -> OnError:
    if kind == "sink" and then != "stop":
        return OnError(then=then, retries=_SINK_RETRIES, breaker=_SINK_BREAKER)
    return OnError(then=then)


def _policy(value: Value) -> Then:
    for name in _POLICIES:
        if value.value == name:
            return name
    if not value.failed:
        value.wrong(
            f"`{value.name}` must be stop, drop or dead_letter, not {value.shown()}",
            "write on_error: dead_letter, or on_error: {retries: 5, then: dead_letter}",
        )
    return "stop"


def _breaker(value: Value) -> int | None:
    """A number of failures, or ``off``."""
    if value.value in ("off", False):
        return None
    return fields.whole(value)


def _or(value: N | None, default: N) -> N:
    return default if value is None else value
