"""What the pages show is true: commands print what is printed there, pipelines are pipelines, code is code."""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from etlcore.spec import load_text
from etlcore.spec.document import read
from tests.docs.options import documented, with_options
from tests.docs.pages import ROOT, Block, blocks, name, pages
from tests.docs.terminal import LANGUAGES, Terminal, settled

ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"
PLAYED = [page for page in pages() if page != CHINESE]  # which has the same blocks, see below
REFRESH = "run `python -m tests.docs.write`, and read what it changes"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with Terminal(tmp_path) as terminal:
        yield terminal


@pytest.mark.parametrize("page", PLAYED, ids=name)
def test_commands_print_what_the_page_says(page: Path, terminal: Terminal) -> None:
    for block in blocks(page):
        for step, output in terminal.play(block):
            if step.output is not None and output is not None and "not compared" not in block.marks:
                assert settled(output) == settled(step.output), f"{block}: $ {step.command}\n{REFRESH}"


def has_pipelines(page: Path) -> bool:
    return any(is_pipeline(block) for block in blocks(page))


def is_pipeline(block: Block) -> bool:
    return block.language == "yaml" and "fragment" not in block.marks


@pytest.mark.parametrize("page", [page for page in PLAYED if has_pipelines(page)], ids=name)
def test_pipelines_are_in_order(page: Path, terminal: Terminal) -> None:
    good, wrong = [], []
    for block in blocks(page):
        if "file" in block.marks:
            list(terminal.play(block))
        if is_pipeline(block):
            file = terminal.directory / f"line-{block.line}.yaml"
            file.write_text(block.text, encoding="utf-8")
            (wrong if "wrong" in block.marks else good).append(file.name)
    if good:
        assert terminal.run(f"etl check {' '.join(good)} && echo all").splitlines()[-1] == "all", "\n".join(good)
    for file in wrong:
        assert terminal.run(f"etl check {file} >/dev/null 2>&1; echo $?") == "2\n", f"{file} is not wrong at all"


@pytest.mark.parametrize("block", [b for page in pages() for b in blocks(page)], ids=str)
def test_blocks_are_what_they_say(block: Block) -> None:
    known = {"yaml", "python", "toml", "json", "ini", "", *LANGUAGES}
    assert block.language in known, f"a block in {block.language!r}: is it checked?"
    if block.language == "python":
        ast.parse(block.text)
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "json":
        json.loads(block.text)
    elif block.language == "yaml" and "fragment" in block.marks:
        assert not read(block.text, str(block)).problems
    for mark in ("not run", "not compared"):
        assert block.marks.get(mark) != "", f"{mark}: why?"


@pytest.mark.parametrize("page", [page for page in pages() if documented(page)], ids=name)
def test_options_are_those_of_the_models(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert with_options(text) == text, REFRESH


def test_the_readmes_pipeline_is_the_one_in_the_repository() -> None:
    file = ROOT / "pipelines" / "sls_uri.yaml"
    (shown,) = [b for b in blocks(ENGLISH) if b.language == "yaml" and "name: sls_uri" in b.text]
    there = read(file.read_text(encoding="utf-8"), "file").value
    del there["tests"]  # which the README leaves out
    assert read(shown.text, "README").value == there
    assert load_text(shown.text, environ={}).name == "sls_uri"


def test_both_readmes_show_the_same_code() -> None:
    here, there = ([(b.language, b.text, b.marks) for b in blocks(page)] for page in (ENGLISH, CHINESE))
    assert here == there


def test_the_printed_plugin_is_the_tested_one() -> None:
    printed = {b.marks["file"]: b for b in blocks(ROOT / "docs" / "plugin-contract.md") if "file" in b.marks}
    tested = ROOT / "tests" / "outsider"
    for file in ("acme_etl/__init__.py", "acme_etl/stages.py"):
        code = (tested / "acme-etl" / file).read_text(encoding="utf-8")
        assert ast.dump(ast.parse(printed[f"acme-etl/{file}"].text)) == ast.dump(ast.parse(code)), file
    project = tomllib.loads((tested / "acme-etl" / "pyproject.toml").read_text(encoding="utf-8"))
    assert tomllib.loads(printed["acme-etl/pyproject.toml"].text) == project
