"""What a plugin's hooks yield: small records that say what it offers and where that lives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["source", "transform", "sink"]
KINDS: tuple[Kind, ...] = get_args(Kind)

INTERFACE = 1
"""The version of the plugin interface that this etlcore speaks."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True, slots=True)
class Component:
    """A source, transform or sink that a plugin offers.

    ``name`` is what a pipeline file calls it: the plugin's entry-point name, alone or with a suffix
    (``"acme.count"``). ``target`` says where the class is, as ``"package.module:Class"``; it is imported only for a
    pipeline that uses it. ``interface`` is the version of the plugin interface that it is written for.

    Raises ValueError when one of them is malformed.
    """

    name: str
    kind: Kind
    target: str
    summary: str = ""
    interface: int = 1

    def __post_init__(self) -> None:
        _check_name("Component", self.name)
        _check_target("Component", self.name, self.target)
        _check_summary("Component", self.name, self.summary)
        if self.kind not in KINDS:
            raise ValueError(f"Component {self.name!r}: kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if type(self.interface) is not int:
            raise ValueError(f"Component {self.name!r}: interface must be a whole number, not {self.interface!r}")


@dataclass(frozen=True, slots=True)
class Command:
    """An extra verb of the command line: ``etl NAME``, a click command at ``target``.

    ``name`` is the plugin's entry-point name; a plugin with several verbs makes it a click group.
    Raises ValueError when a part is malformed.
    """

    name: str
    target: str
    summary: str = ""

    def __post_init__(self) -> None:
        _check_name("Command", self.name)
        _check_target("Command", self.name, self.target)
        _check_summary("Command", self.name, self.summary)


@dataclass(frozen=True, slots=True)
class SecretScheme:
    """A place that secrets come from: ``${NAME:reference}`` in a pipeline file.

    ``name`` is the plugin's entry-point name, alone or with a suffix. ``target`` is a function that is called with
    the text after the colon and returns the secret as text; it raises when there is none.
    Raises ValueError when a part is malformed.
    """

    name: str
    target: str

    def __post_init__(self) -> None:
        _check_name("SecretScheme", self.name)
        _check_target("SecretScheme", self.name, self.target)


def _check_name(record: str, name: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{record}: {name!r} is no name: letters, digits, _ and -, with dots between the parts")


def _check_target(record: str, name: str, target: object) -> None:
    if not isinstance(target, str) or not _TARGET.fullmatch(target):
        raise ValueError(f'{record} {name!r}: the target must read "package.module:name", not {target!r}')


def _check_summary(record: str, name: str, summary: object) -> None:
    if not isinstance(summary, str):
        raise ValueError(f"{record} {name!r}: the summary must be a text, not {summary!r:.80}")
