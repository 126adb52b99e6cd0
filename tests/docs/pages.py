"""The pages of the documentation: their blocks of code, their headings and their links.

A fenced block may have a mark, an HTML comment on the line above it:

    <!-- file: NAME -->             the block is this file; commands further down the page find it
    <!-- fragment -->               YAML that is part of a pipeline file, not a whole one
    <!-- wrong -->                  a pipeline that is wrong on purpose
    <!-- not run: WHY -->           commands that the tests leave out
    <!-- not compared: WHY -->      commands whose output differs every time; they are run
    <!-- needs: PROGRAM -->         commands that are run where that program is installed
    <!-- in another terminal -->    a server; it goes on while the commands further down are run

Several marks stand in several lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_MARK = re.compile(r"<!-- (file|fragment|wrong|needs|not run|not compared|in another terminal)(?:: (.+?))? -->")
_FENCE = re.compile(r"(`{3,})(\w*)")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def pages() -> list[Path]:
    """All pages, the READMEs first."""
    return [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").rglob("*.md")), *_plugin_pages()]


def _plugin_pages() -> list[Path]:
    return sorted((ROOT / "plugins").glob("*/README.md"))


def name(page: Path) -> str:
    """A page as messages name it."""
    return page.relative_to(ROOT).as_posix()


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code."""

    page: str
    line: int
    """Of the fence, from 1."""
    language: str
    text: str
    """Without the fences; each line with its end."""
    marks: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    return list(blocks_of(page.read_text(encoding="utf-8"), name(page)))


def blocks_of(text: str, page: str) -> Iterator[Block]:
    marks: dict[str, str] = {}
    fence, start, lines = "", 0, list[str]()
    language = ""
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        stripped = line.strip()
        if fence:
            if stripped == fence:
                yield Block(page, start, language, "".join(lines), marks)
                fence, lines, marks = "", [], {}
            else:
                lines.append(line)
        elif opening := _FENCE.match(stripped):
            fence, language, start = opening[1], opening[2], number
        elif mark := _MARK.fullmatch(stripped):
            marks[mark[1]] = mark[2] or ""
        else:
            marks = {}


def prose(page: Path) -> str:
    """A page's text without its blocks of code."""
    return without_blocks(page.read_text(encoding="utf-8"))


def without_blocks(text: str) -> str:
    """The text without what is fenced."""
    return re.sub(r"^(`{3,}).*?^\1\s*$", "", text, flags=re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[str]:
    """The targets of a page's links."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """What a link may have behind its #: the headings, as they are turned into anchors on the web."""
    headings = re.findall(r"^#{1,6} (.+?)\s*$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(page: Path, heading: str) -> str:
    """The text below a heading, up to the next one of the same level or above."""
    text = page.read_text(encoding="utf-8")
    found = re.search(rf"^(#+) {re.escape(heading)}\s*$", text, flags=re.MULTILINE)
    assert found, f"{name(page)} has no section {heading!r}"
    rest = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, flags=re.MULTILINE)
    return rest[: end.start()] if end else rest
