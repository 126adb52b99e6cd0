"""``${NAME}``, ``${NAME:-default}``, ``${file:path}`` and ``${scheme:reference}``, filled in after parsing, as values.

What is filled in is text, whatever it holds: it is never read as YAML. ``$${`` stands for ``${`` itself. A default may
hold further ``${…}``. Where the whole value is one ``${…}``, `convert` turns its text into the number or truth value
that the option wants.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from etlcore.plugins import PluginError, Plugins
from etlcore.plugins.names import closest
from etlcore.spec.document import Document, Filled, Path

MOST_BYTES = 1024 * 1024
"""How much a ``${file:…}`` may hold."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SCHEME = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*):(?!-)(.*)", re.DOTALL)
_OPEN = re.compile(r"\$?\$\{")


class _Unfilled(Exception):
    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Filler:
    """Fills in the values of one document."""

    def __init__(self, document: Document, plugins: Plugins, environ: Mapping[str, str], directory: FilePath) -> None:
        self.document = document
        self.plugins = plugins
        self.environ = environ
        self.directory = directory

    def fill(self, value: Any, path: Path = ()) -> Any:
        """``value`` with everything below it filled in; what cannot be is reported and marked as failed."""
        if isinstance(value, dict):
            return {key: self.fill(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item, (*path, index)) for index, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        secrets: list[tuple[str, str]] = []
        try:
            parts = list(_split(value))
            text = self._joined(parts, secrets)
        except _Unfilled as error:
            self.document.report(self.document.where(path), error.message, error.hint)
            self.document.filled[path] = Filled(False, value, (), failed=True)
            return value
        if any(inner is not None for _, inner in parts):
            self.document.filled[path] = Filled(len(parts) == 1, value, tuple(secrets))
        return text

    def _joined(self, parts: Iterable[tuple[str, str | None]], secrets: list[tuple[str, str]]) -> str:
        return "".join(literal if inner is None else self._one(inner, secrets) for literal, inner in parts)

    def _one(self, inner: str, secrets: list[tuple[str, str]]) -> str:
        """What stands for ``${inner}``."""
        name = _NAME.match(inner)
        rest = inner[name.end() :] if name else inner
        reference = f"${{{inner}}}"
        if name and rest == "":
            if name[0] not in self.environ:
                raise _Unfilled(f"the environment variable {name[0]} is not set", self._unset_hint(name[0]))
            secrets.append((self.environ[name[0]], reference))
            return self.environ[name[0]]
        if name and rest.startswith(":-"):
            if self.environ.get(name[0]):
                secrets.append((self.environ[name[0]], f"${{{name[0]}}}"))
                return self.environ[name[0]]
            return self._joined(_split(rest[2:]), secrets)
        scheme = _SCHEME.fullmatch(inner)
        if scheme:
            found = self._from_file(scheme[2]) if scheme[1] == "file" else self._from_scheme(scheme[1], scheme[2])
            secrets.append((found, reference))
            return found
        raise _Unfilled(
            f"{reference} is no reference",
            "write ${NAME}, ${NAME:-default} or ${file:path}; a literal ${ is written $${",
        )

    def _unset_hint(self, name: str) -> str:
        close = closest(name, self.environ)
        meant = f"did you mean {close}? Otherwise " if close else ""
        return f"{meant}export {name}=…, or give a default: ${{{name}:-default}}"

    def _from_file(self, name: str) -> str:
        path = self.directory / name
        try:
            with path.open("rb") as file:
                data = file.read(MOST_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            hint = "the path is relative to the pipeline file's directory"
            raise _Unfilled(f"{path} cannot be read: {reason}", hint) from None
        if len(data) > MOST_BYTES:
            raise _Unfilled(f"{path} is larger than {MOST_BYTES // 1024} KiB", "is it the right file?")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            raise _Unfilled(f"{path} is not UTF-8 text", "is it the right file?") from None
        return text.removesuffix("\n").removesuffix("\r")

    def _from_scheme(self, scheme: str, reference: str) -> str:
        try:
            return self.plugins.secret(scheme, reference)
        except PluginError as error:
            hint = error.hint
            if _NAME.fullmatch(scheme) and scheme not in self.plugins.names():
                hint = f"a default is written ${{{scheme}:-default}}; otherwise {hint}"
            raise _Unfilled(error.message, hint) from None


def _split(text: str) -> Iterator[tuple[str, str | None]]:
    """The parts of a text: ``(literal, None)`` or ``("", inside of a ${…})``."""
    at = 0
    while match := _OPEN.search(text, at):
        if match.start() > at:
            yield text[at : match.start()], None
        if match[0] == "$${":
            yield "${", None
            at = match.end()
            continue
        end = _end(text, match.end())
        yield "", text[match.end() : end]
        at = end + 1
    if at < len(text):
        yield text[at:], None


def _end(text: str, start: int) -> int:
    """The index of the } that closes the ${ whose inside starts at ``start``."""
    depth = 1
    at = start
    while at < len(text):
        if text.startswith("$${", at):
            at += 3
        elif text.startswith("${", at):
            depth += 1
            at += 2
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
            at += 1
        else:
            at += 1
    raise _Unfilled("${ is not closed", "close it with }; a literal ${ is written $${")
