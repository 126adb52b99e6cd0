"""What YAML makes of innocent text, and what a person means by it: the meaning, or an error."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from etlcore.spec import SpecError


class _Wrong:
    """Stands where no meaning is; its text is the same in every process, as the names of tests must be."""

    def __str__(self) -> str:
        return "wrong"


WRONG = _Wrong()

TRAPS: list[tuple[str, str, Any]] = [
    # the Norway problem: a word is text, unless a truth value is wanted
    ("text", "no", "no"),
    ("text", "NO", "NO"),
    ("text", "yes", "yes"),
    ("text", "on", "on"),
    ("text", "off", "off"),
    ("text", "y", "y"),
    ("text", "true", "true"),
    ("text", "null", WRONG),
    ("text", "~", WRONG),
    ("text", "", WRONG),
    ("optional", "null", None),
    ("optional", "", None),
    ("optional", '"null"', "null"),
    ("truth", "no", False),
    ("truth", "No", False),
    ("truth", "off", False),
    ("truth", "yes", True),
    ("truth", "on", True),
    ("truth", "TRUE", True),
    ("truth", '"no"', WRONG),
    ("truth", "1", WRONG),
    ("truth", "nope", WRONG),
    ("anything", "no", "no"),
    ("names", "{no: on, 1: 2, true: 012, ~x: null-ish}", {"no": "on", "1": "2", "true": "012", "~x": "null-ish"}),
    # octal
    ("text", "012", "012"),
    ("text", "0o14", "0o14"),
    ("whole", "012", WRONG),
    ("whole", "-012", WRONG),
    ("whole", "08", WRONG),
    ("whole", "0o14", 12),
    ("whole", "0x1F", 31),
    ("whole", "0", 0),
    ("whole", "+12", 12),
    ("number", "007", WRONG),
    ("anything", "012", "012"),
    # base 60
    ("text", "1:30", "1:30"),
    ("text", "190:20:30", "190:20:30"),
    ("whole", "1:30", WRONG),
    ("anything", "1:30", "1:30"),
    # digits in groups
    ("whole", "1_000", 1000),
    ("whole", "1_000_000", 1_000_000),
    ("whole", "1_0", WRONG),
    ("whole", "1,000", WRONG),
    ("number", "1_000", 1000.0),
    ("text", "1_000", "1_000"),
    # numbers that are names, versions, codes
    ("text", "1.10", "1.10"),
    ("text", "1e3", "1e3"),
    ("text", "0123456789", "0123456789"),
    ("text", "12345", "12345"),
    ("text", "3.0", "3.0"),
    ("text", ".5", ".5"),
    ("text", ".inf", ".inf"),
    ("version", "1.10", "1.10"),
    ("version", "1.1", WRONG),
    ("one_or_many", "1.10", "1.10"),
    ("one_or_many", "[1.10, no, 012]", ["1.10", "no", "012"]),
    ("pair", "[1, 2]", (1, "2")),
    # numbers
    ("whole", "1e3", 1000),
    ("whole", "1.5", WRONG),
    ("whole", '"4"', WRONG),
    ("whole", "true", WRONG),
    ("whole", "four", WRONG),
    ("whole", "1" * 40, int("1" * 40)),
    ("whole", "9" * 5000, WRONG),
    ("number", "1", 1.0),
    ("number", "1e3", 1000.0),
    ("number", ".5", 0.5),
    ("number", "5.", 5.0),
    ("number", "-.inf", -math.inf),
    ("number", '"0.5"', WRONG),
    ("level", "2", 2),
    ("level", '"2"', WRONG),
    ("either", "4", 4),
    ("either", '"4"', "4"),
    ("either", "012", "012"),
    # dates
    ("text", "2024-01-01", "2024-01-01"),
    ("anything", "2024-01-01 10:00:00", "2024-01-01 10:00:00"),
    # durations and sizes, where the model wants one
    ("wait", "30s", 30),
    ("wait", "1h30m", 5400),
    ("wait", "2", 2),
    ("wait", "soon", WRONG),
    ("size", "64MiB", 64 * 2**20),
    ("size", "10", 10),
    # quotes and blocks
    ("text", "'it''s'", "it's"),
    ("text", r'"a\tb"', "a\tb"),
    ("text", '""', ""),
    ("text", "a # comment", "a"),
    ("text", "a#b", "a#b"),
    ("text", "http://x:80/y", "http://x:80/y"),
    ("text", "=", "="),
    ("text", "<<", "<<"),
]


@pytest.mark.parametrize(("option", "written", "meant"), TRAPS, ids=lambda value: str(value)[:30])
def test_traps(options: Callable[..., Any], option: str, written: str, meant: Any) -> None:
    yaml = f"\n      {option}: {written}"
    if meant is WRONG:
        with pytest.raises(SpecError) as raised:
            options(yaml)
        assert [str(problem.place).rpartition("yaml:")[2].split(":")[0] for problem in raised.value.problems] == ["5"]
        return
    found = getattr(options(yaml), option)
    if option == "wait":
        found = found.total_seconds()
    assert found == meant
    assert type(found) is type(meant) or option in ("wait", "size")


def test_nan(options: Callable[..., Any]) -> None:
    assert math.isnan(options("{number: .nan}").number)


def test_merge_keys_and_anchors(options: Callable[..., Any]) -> None:
    found = options(
        """
      names: &all {<<: [{a: "1", b: "1"}, {b: "2", c: "2"}], a: "3"}
      anything: {<<: *all, d: *all}
        """
    )
    assert found.names == {"a": "3", "b": "1", "c": "2"}
    assert found.anything == {**found.names, "d": found.names}


def test_a_quoted_merge_key_is_a_key(options: Callable[..., Any]) -> None:
    assert options('{names: {"<<": x}}').names == {"<<": "x"}
