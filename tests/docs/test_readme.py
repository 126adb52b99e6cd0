"""The README's two commands do everything: they stand where everybody sees them, and they are what CI runs."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT, blocks, pages

COMMANDS = [
    "python -m pip install uv && python -m uv run etl run pipelines/sls_uri.yaml",
    "python -m uv run pytest",
]
FIRST_SCREEN = 24  # lines: what a page on the web shows without scrolling, and a terminal as well

READMES = [page for page in pages() if page.parent == ROOT]


@pytest.mark.parametrize("readme", READMES, ids=lambda page: page.name)
def test_the_first_screen_has_exactly_the_two_commands(readme) -> None:  # type: ignore[no-untyped-def]
    shown = [block for block in blocks(readme) if block.line <= FIRST_SCREEN]
    assert [line for block in shown for line in block.text.splitlines()] == COMMANDS
    text = readme.read_text(encoding="utf-8")
    for command in COMMANDS:
        assert len(re.findall(rf"^{re.escape(command)}$", text, flags=re.MULTILINE)) == 1


def test_ci_runs_exactly_them() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    # CI says less while it installs, and keeps the rows in a file.
    lines = [re.sub(r" -q\b| >\S+", "", line).strip() for line in script.splitlines()]
    steps = [step for command in COMMANDS for step in command.split(" && ")]
    places = [lines.index(step) for step in steps]
    assert places == sorted(places)


def test_the_readmes_know_each_other() -> None:
    assert "(README.zh-CN.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "(README.md)" in (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
