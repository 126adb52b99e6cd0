"""A YAML text as plain values, with the place of each in a side table.

Nothing of YAML is left in the values: aliases are expanded, merge keys merged, keys are text. Whatever could surprise
(duplicate keys, tags, keys that are no text, aliases that explode or contain themselves) is a problem.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.events import Event
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from etlcore.spec.model import Place
from etlcore.spec.problems import Problem, SpecError, hide_secrets
from etlcore.spec.scalars import plain
from etlcore.spec.syntax import explain

Path = tuple[str | int, ...]
"""How to get to a value from the top: keys and indices."""

MOST_BYTES = 4 * 1024 * 1024
MOST_VALUES = 100_000
DEEPEST = 100

_TAG = "tag:yaml.org,2002:"
_PLAIN = "etlcore:plain"
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Filled:
    """What is known of a value that held ``${…}``."""

    whole: bool
    """The value was one ``${…}`` and nothing else; so its text may stand for a number or a truth value."""
    written: str
    """The value as it stands in the file."""
    secrets: tuple[tuple[str, str], ...]
    """``(text, reference)``: what came from outside the file, never to be shown, and the ``${…}`` to show instead."""
    failed: bool = False
    """It could not be filled in; that problem has been reported."""


@dataclass(slots=True)
class Document:
    """A file's values and where each of them stands."""

    file: str
    text: str
    value: Any = None
    places: dict[Path, Place] = field(default_factory=dict)
    """Where a value stands."""
    keys: dict[Path, Place] = field(default_factory=dict)
    """Where the key of a mapping's value stands."""
    plain: dict[Path, str] = field(default_factory=dict)
    """Unquoted scalars, as written."""
    filled: dict[Path, Filled] = field(default_factory=dict)
    """Values that ``${…}`` was filled into."""
    problems: list[Problem] = field(default_factory=list)
    literals: dict[Path, str] = field(default_factory=dict)
    """Secrets that stand in the file itself."""
    secret_keys: set[str] = field(default_factory=set)
    """Keys whose values are secret because their component says so."""
    starts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.starts = [0, *(match.end() for match in _LINE_END.finditer(self.text))]

    def place_at(self, index: int) -> Place:
        """The place of a character of the text. (PyYAML's own lines count differently from an editor's.)"""
        line = bisect_right(self.starts, index)
        return Place(self.file, line, index - self.starts[line - 1] + 1)

    def line(self, number: int) -> str:
        """A line of the text by its number from 1, without its end."""
        start = self.starts[number - 1]
        end = self.starts[number] if number < len(self.starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")

    def where(self, path: Path) -> Place:
        """The place of a value; where it has none, that of the nearest value that it would be in."""
        while path not in self.places and path:
            path = path[:-1]
        return self.places.get(path) or Place(self.file, 1, 1)

    def key(self, path: Path) -> Place:
        """The place of a value's key; where it has none, of the value."""
        return self.keys.get(path) or self.where(path)

    def report(self, place: Place, message: str, hint: str = "") -> None:
        """Add a problem."""
        self.problems.append(Problem(place, message, hint))

    def error(self) -> SpecError:
        """All problems, each with its line of the file; what is secret in a line is hidden."""
        shown = []
        for problem in self.problems:
            line = self._without_literals(problem.place.line) if problem.place else ""
            shown.append(replace(problem, line=hide_secrets(line, self.secret_keys)))
        return SpecError(shown)

    def _without_literals(self, number: int) -> str:
        """A line without the secrets that begin in it, whatever key or list they stand below; in the same columns."""
        line = written = self.line(number)
        for path, text in self.literals.items():
            place = self.places.get(path)
            if place is None or place.line != number or not text:
                continue
            start = place.column - 1
            # Written with quotes and escapes it looks otherwise than it is: then nothing of the rest is shown.
            rest = line[start:].replace(text, "*" * len(text)) if text in written[start:] else "*" * len(line[start:])
            line = line[:start] + rest
        return line

    def masked(self, text: str, path: Path) -> str:
        """A message about the value at ``path``, with what is secret in or below it hidden.

        What came from outside the file is shown as the ``${…}`` that it came from.
        """
        hidden = {s for p, filled in self.filled.items() if p[: len(path)] == path for s in filled.secrets}
        hidden |= {(text, "***") for p, text in self.literals.items() if p[: len(path)] == path}
        for secret, reference in sorted(hidden, key=lambda pair: -len(pair[0])):
            if secret:
                pattern = re.escape(secret) if len(secret) > 3 else rf"(?<!\w){re.escape(secret)}(?!\w)"
                text = re.sub(pattern, reference.replace("\\", r"\\"), text, flags=re.IGNORECASE)
        return text


def decode(data: bytes, file: str) -> str:
    """The text of a file. Raises SpecError when it is too long or not UTF-8."""
    if len(data) > MOST_BYTES:
        raise SpecError([Problem(None, f"{file}: larger than {MOST_BYTES // 2**20} MiB", "is it a pipeline file?")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig")
        document = Document(file, before)
        place = document.place_at(len(before))
        problem = Problem(
            place, f"byte 0x{data[error.start]:02x} is not UTF-8", "save the file as UTF-8", document.line(place.line)
        )
        raise SpecError([problem]) from None


def read(text: str, file: str) -> Document:
    """The document of a YAML text; what is wrong with single values is in its ``problems``.

    Raises SpecError when the text is no YAML.
    """
    document = Document(file, text.removeprefix("\ufeff"))
    try:
        loader = _Loader(document.text)
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        index, message, hint = explain(error, document.text)
        document.report(document.place_at(index), message, hint)
        raise document.error() from None
    except _TooDeep as error:
        document.report(document.place_at(error.index), f"nested more than {DEEPEST} levels deep", "")
        raise document.error() from None
    if node is not None:
        _Builder(document).build(node)
    return document


class _TooDeep(Exception):
    def __init__(self, index: int) -> None:
        self.index = index


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML up to the tree of nodes; unquoted scalars keep a tag of their own and are given a meaning by `plain`."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._depth = 0

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        if kind is ScalarNode:
            return _PLAIN if implicit[0] else _TAG + "str"
        return _TAG + ("seq" if kind is SequenceNode else "map")

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event: Event = self.peek_event()  # type: ignore[no-untyped-call]
        self._depth += 1
        if self._depth > DEEPEST:
            raise _TooDeep(getattr(event.start_mark, "index", 0))
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


class _Builder:
    """Makes values of nodes and fills in the side tables."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.count = 0
        self.open: list[int] = []  # the nodes that are being built, to find one inside itself

    def build(self, node: Node) -> None:
        self.document.value = self._value(node, ())

    def _value(self, node: Node, path: Path) -> Any:
        document = self.document
        place = document.place_at(node.start_mark.index)
        document.places[path] = place
        self._count(place)
        if id(node) in self.open:
            document.report(place, "an alias stands inside its own anchor, so it would never end", "remove the alias")
            return None
        self.open.append(id(node))
        try:
            if isinstance(node, ScalarNode):
                return self._scalar(node, path)
            if isinstance(node, SequenceNode):
                self._check_tag(node, "seq")
                return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
            assert isinstance(node, MappingNode)
            self._check_tag(node, "map")
            return self._mapping(node, path)
        finally:
            self.open.pop()

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        if node.tag == _PLAIN:
            self.document.plain[path] = node.value
            return plain(node.value)
        self._check_tag(node, "str")
        return node.value

    def _check_tag(self, node: Node, expected: str) -> None:
        if node.tag != _TAG + expected:
            shown = node.tag.replace(_TAG, "!!")
            self.document.report(
                self.document.place_at(node.start_mark.index), f"the tag {shown} means nothing here", "remove it"
            )

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        document = self.document
        own: dict[str, tuple[Node, Node]] = {}
        merged: dict[str, tuple[Node, Node]] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key is None:
                continue
            if key in own:
                first = document.place_at(own[key][0].start_mark.index).line
                document.report(
                    document.place_at(key_node.start_mark.index),
                    f"`{key}` is here twice: the first is in line {first}",
                    "write <<: [*one, *other]" if key == "<<" else "remove or rename one of them",
                )
                continue
            own[key] = (key_node, value_node)
        merge = own.get("<<")
        if merge and merge[0].tag == _PLAIN:
            del own["<<"]
            merged = self._merged(merge[1], ())
        made: dict[str, Any] = {}
        for key, (key_node, value_node) in (merged | own).items():
            document.keys[(*path, key)] = document.place_at(key_node.start_mark.index)
            made[key] = self._value(value_node, (*path, key))
        return made

    def _key(self, node: Node) -> str | None:
        """A key as text: ``no`` and ``1`` are what is written."""
        if isinstance(node, ScalarNode) and node.tag in (_PLAIN, _TAG + "str"):
            if node.tag != _PLAIN or plain(node.value) is not None:
                return str(node.value)
            wrong = f"a key is empty (`{node.value}`)" if node.value else "a key is missing before the colon"
        else:
            wrong = "a key must be text"
        self.document.report(self.document.place_at(node.start_mark.index), wrong, "write a name before the colon")
        return None

    def _merged(self, node: Node, within: tuple[int, ...], *, in_list: bool = False) -> dict[str, tuple[Node, Node]]:
        """What ``<<:`` brings in: a mapping, or several of which the first wins (yaml.org/type/merge.html)."""
        place = self.document.place_at(node.start_mark.index)
        self._count(place)
        if id(node) in (*self.open, *within):
            self.document.report(place, "an alias stands inside its own anchor, so it would never end", "remove it")
            return {}
        merged: dict[str, tuple[Node, Node]] = {}
        if isinstance(node, SequenceNode) and not in_list:
            for item in reversed(node.value):
                merged |= self._merged(item, (*within, id(node)), in_list=True)
        elif isinstance(node, MappingNode):
            for key_node, value_node in node.value:
                key = self._key(key_node)
                if key == "<<" and key_node.tag == _PLAIN:
                    merged = self._merged(value_node, (*within, id(node))) | merged
                elif key is not None:
                    merged[key] = (key_node, value_node)
        else:
            self.document.report(place, "<<: merges mappings only", "write <<: *name, where name is a mapping's anchor")
        return merged

    def _count(self, place: Place) -> None:
        self.count += 1
        if self.count > MOST_VALUES:
            message = f"more than {MOST_VALUES:,} values once the aliases are expanded"
            self.document.report(place, message, "use fewer aliases (*name) inside what other aliases repeat")
            raise self.document.error()
