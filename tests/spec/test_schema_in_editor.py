"""The schema in the YAML language server that VS Code, Neovim and others use, unmodified."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from etlcore.plugins import Plugins
from etlcore.spec.schema import json_schema
from tests.spec.language_server import LanguageServer, program, started

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    program() is None, reason="needs the YAML language server: npm install --global yaml-language-server"
)


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LanguageServer]:
    file = tmp_path_factory.mktemp("schema") / "etl.schema.json"
    file.write_text(json.dumps(json_schema(Plugins(), [].append)), encoding="utf-8")
    with started(file) as server:
        yield server


@pytest.mark.parametrize("file", sorted((ROOT / "pipelines").glob("*.yaml")), ids=lambda file: file.name)
def test_our_own_pipelines_are_in_order(editor: LanguageServer, file: Path) -> None:
    assert editor.diagnostics(file.stem, file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("stages:\n  a: {source: generate}\n  b: {snik: console}\n", 3, "snik"),
        ("stages:\n  a:\n    source: generate\n    with: {rows: many}\n  b: {sink: console}\n", 4, ""),
        ("stages:\n  a:\n    source: generate\n    with:\n      rwos: 5\n  b: {sink: console}\n", 5, "rwos"),
        ("stages:\n  a: {source: nothing_of_the_kind}\n  b: {sink: console}\n", 2, ""),
        ("stage:\n  a: {source: generate}\n", 1, "stage"),
    ],
)
def test_what_is_wrong_is_underlined(editor: LanguageServer, text: str, line: int, word: str) -> None:
    found = editor.diagnostics(f"wrong{abs(hash(text))}", text)
    assert any(said.startswith(f"{line}: ") and word in said for said in found), found


def test_keys_components_and_options_are_offered(editor: LanguageServer) -> None:
    text = "stages:\n  a:\n    source: generate\n    with:\n      \n  b:\n    sink: \n"
    assert {"rows", "rate", "columnar"} <= set(editor.completions("options", text, 5, 7))
    assert {"console", "files", "sls"} <= set(editor.completions("components", text, 7, 11))
    assert {"shutdown", "defaults"} <= set(editor.completions("keys", text + "\n", 8, 1))
