"""How the lines of a file become rows, and what becomes of those that are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from etlcore.batch import Row
from etlcore.builtin.jsonlines import BadLine, from_line
from etlcore.components import Context

_BOM = b"\xef\xbb\xbf"

Policy = Literal["reject", "skip", "stop"]


@dataclass(frozen=True, slots=True)
class RowReader:
    """Makes rows of lines; a line that is no row is rejected, skipped, or an error."""

    context: Context
    format: Literal["json", "lines"]
    on_bad_line: Policy
    max_line: int

    def row(self, line: bytes, name: str, offset: int) -> Row | None:
        """The row of a line; None when there is none. Raises BadLine when a bad line is to stop the run.

        ``name`` and ``offset`` say where the line begins.
        """
        try:
            return self._parsed(line, offset)
        except BadLine as error:
            self.bad(str(error), name, offset, line)
            return None

    def bad(self, reason: str, name: str, offset: int, line: bytes | None = None) -> None:
        """Deal with what is no row. Raises BadLine when it is to stop the run."""
        if self.on_bad_line == "stop":
            raise BadLine(reason)
        self.context.metrics.count("bad_lines")
        if self.on_bad_line == "skip":
            self.context.log.warning("%s: skipped a line at byte %d: %s", name, offset, reason)
            return
        kept = None if line is None else _shown(line[: self.max_line])
        self.context.reject([{"line": kept, "file": name, "offset": offset}], reason)

    def _parsed(self, line: bytes, offset: int) -> Row | None:
        if len(line) > self.max_line:
            raise BadLine(f"longer than max_line ({self.max_line:,} bytes)")
        if self.format == "lines":
            return {"line": _text(line.removeprefix(_BOM) if offset == 0 else line)}
        line = line.removeprefix(_BOM)
        return None if not line or line.isspace() else from_line(line)


def _text(line: bytes) -> str:
    try:
        return line.removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        raise BadLine(f"not UTF-8: byte 0x{line[error.start]:02x} at byte {error.start + 1}") from None


def _shown(line: bytes) -> str | bytes:
    """The line as a text where it is one."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line
