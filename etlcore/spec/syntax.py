"""PyYAML's syntax errors in the words of somebody who writes a pipeline file."""

from __future__ import annotations

import re
from typing import Any

import yaml


def explain(error: yaml.YAMLError, text: str) -> tuple[int, str, str]:
    """Where in ``text`` an error is (an index), what is wrong, and the next step."""
    if isinstance(error, yaml.reader.ReaderError):
        code = error.character if isinstance(error.character, int) else ord(error.character)
        return error.position, f"the character U+{code:04X} is not allowed in YAML", "remove it"
    if not isinstance(error, yaml.MarkedYAMLError):
        return 0, f"not YAML: {error}", ""
    mark: Any = error.problem_mark or error.context_mark
    index: int = min(mark.index, len(text)) if mark else 0
    problem, context = error.problem or "", error.context or ""
    for pattern, message, hint in _KNOWN:
        if re.search(pattern, f"{context}; {problem}"):
            if "not closed" in message and error.context_mark and error.context_mark.line != mark.line:
                index = error.context_mark.index  # where it opens; it is missed only much later
            return index, message.replace("{at}", text[index : index + 1]), hint
    if context and error.context_mark and error.context_mark.line != getattr(mark, "line", None):
        context += f" that starts in line {error.context_mark.line + 1}"
    return index, f"not YAML: {f'{context}: ' if context else ''}{problem}", "see the line above as well"


_QUOTE_FILL = 'inside {…} and […], and before a colon, put quotes around it: "${NAME}"'

_KNOWN = (
    (r"found character '\\t'", "a tab: YAML is indented with spaces", "replace the tab with spaces"),
    (
        r"expected a single document",
        "a second YAML document starts here: a pipeline file holds one",
        "remove the line ---, or make it a file of its own",
    ),
    (
        r"mapping values are not allowed here",
        "a colon where no key can be",
        "is the line indented too far? A value that contains ': ' needs quotes",
    ),
    (r"found character '[`@]'", "a value cannot start with {at}", "put quotes around the value"),
    (r"found character '%'", "a value cannot start with %", "put quotes around the value"),
    (r"found undefined alias", "the alias has no anchor above it", "write &name before the value that *name repeats"),
    (r"found duplicate anchor", "the anchor is defined twice", "rename one of the two anchors"),
    (r"flow (mapping|sequence); .*but got '\{'", "not YAML: a { inside {…} or […]", _QUOTE_FILL),
    (r"flow mapping; ", "not YAML: the {…} is not closed, or lacks a comma", "close it with }, or check the commas"),
    (r"flow sequence; ", "not YAML: the […] is not closed, or lacks a comma", "close it with ], or check the commas"),
    (
        r"found unknown escape|expected escape sequence",
        "a \\ in double quotes that starts no known escape",
        "write \\\\, or use single quotes",
    ),
    (r"quoted scalar; ", "not YAML: the quotes are not closed", "close the quotes"),
    (
        r"could not find expected ':'",
        "a line without a colon, where `name: value` is expected",
        "write name: value; a text of several lines needs | or quotes",
    ),
    (
        r"expected <block end>, but found '<scalar>'",
        "text goes on where the value has ended",
        """a ' inside '…' is written twice, a " inside "…" with a \\ before it""",
    ),
    (
        r"expected (<block end>|'<document start>'), but found",
        "the line does not fit what stands above it",
        "check that it is indented as far as its neighbours",
    ),
    (r"expected the node content, but found '[]},]'", "a {at} that nothing opens", "put quotes around the value"),
    (r"expected the node content, but found '<stream end>'", "not YAML: the file ends in the middle", "close it"),
    (r"sequence entries are not allowed", "a list item (-) where none can be", "put the list on lines of its own"),
)
