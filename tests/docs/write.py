"""Bring the documentation up to date: options out of the models, outputs of commands by running them.

    python -m tests.docs.write [PAGE…]

Outputs that differ in nothing but times and the like are left as they are. Read what it changed before you commit it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.docs.options import with_options
from tests.docs.pages import ROOT, Block, blocks_of, name, pages
from tests.docs.terminal import Terminal, settled


def refreshed(text: str, page: str) -> str:
    """A page's text as it should be; ``page`` is its name."""
    text = with_options(text)
    lines = text.splitlines(keepends=True)
    changes: list[tuple[int, int, str]] = []
    with tempfile.TemporaryDirectory() as directory, Terminal(Path(directory)) as terminal:
        for block in blocks_of(text, page):
            made = _played(terminal, block)
            if made is not None:
                changes.append((block.line, block.line + block.text.count("\n"), made))
    for begin, end, made in reversed(changes):
        lines[begin:end] = [made]
    return "".join(lines)


def _played(terminal: Terminal, block: Block) -> str | None:
    """The block with its present outputs; None where it need not change."""
    made, changed = "", False
    for step, output in terminal.play(block):
        made += f"$ {step.command}\n"
        if step.output is None or output is None or "not compared" in block.marks:
            made += step.output or ""
        elif settled(step.output) == settled(output):
            made += step.output
        else:
            made, changed = made + output, True
    return made if changed and block.language == "console" else None


def main() -> None:
    chosen = [Path(page).resolve() for page in sys.argv[1:]] or pages()
    for page in chosen:
        before = page.read_text(encoding="utf-8")
        after = refreshed(before, name(page))
        if after != before:
            page.write_text(after, encoding="utf-8")
            sys.stdout.write(f"changed {page.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
