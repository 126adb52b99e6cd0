"""`docs/sls-comparison.md` and the tests say the same: a row for each test, of the client that is installed."""

from __future__ import annotations

import ast
import re
from importlib.metadata import version

from .parties import HERE

PAGE = HERE.parents[3] / "docs" / "sls-comparison.md"
HEADS = ["fault", "why", "official: what the test sees", "`sls`", "test"]


def _rows() -> list[list[str]]:
    """The cells of each row of the tables, without heads and rules."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row != HEADS and set(row[0]) != {"-"}]


def _tests() -> list[str]:
    """``FILE::FUNCTION`` of each comparison in this directory."""
    return [
        f"{file.name}::{node.name}"
        for file in sorted(HERE.glob("test_*.py"))
        if file.name != "test_table.py"
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def test_each_row_names_a_test_and_each_test_has_a_row() -> None:
    named = [row[-1].strip("`") for row in _rows()]
    assert sorted(named) == sorted(_tests())
    assert all(len(row) == len(HEADS) and all(row) for row in _rows())


def test_the_page_is_about_the_client_that_is_installed() -> None:
    measured = re.findall(r"aliyun-log-python-sdk (\d[\d.]*\d)", PAGE.read_text(encoding="utf-8"))
    assert measured == [version("aliyun-log-python-sdk")], "measure again, and say so on the page"
