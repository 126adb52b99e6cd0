"""Results of tests as JUnit XML, which CI systems read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from xml.etree import ElementTree

from etlcore.trial.cases import CaseResult

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What is no character in XML 1.0 (section 2.2)."""


Masked = tuple[CaseResult, Callable[[str], str]]
"""A result, and what hides the secrets of its pipeline in a text."""


def junit(suites: Sequence[tuple[str, Sequence[Masked]]]) -> str:
    """The document for the results of some files, a suite each by the file's name."""
    every = [result for _, results in suites for result, _ in results]
    root = ElementTree.Element("testsuites", {"name": "etl test", **_counts(every)})
    for file, results in suites:
        counts = _counts([result for result, _ in results])
        suite = ElementTree.SubElement(root, "testsuite", {"name": _text(file), **counts})
        for result, mask in results:
            _add(suite, file, result, mask)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _counts(results: Sequence[CaseResult]) -> dict[str, str]:
    return {
        "tests": str(len(results)),
        "failures": str(sum(bool(result.differences and not result.errors) for result in results)),
        "errors": str(sum(bool(result.errors) for result in results)),
        "skipped": "0",
        "time": f"{sum(result.seconds for result in results):.3f}",
    }


def _add(suite: ElementTree.Element, file: str, result: CaseResult, mask: Callable[[str], str]) -> None:
    def text(raw: str) -> str:
        return _text(mask(raw))

    line = {} if result.place is None else {"file": _text(file), "line": str(result.place.line)}
    about = {"name": text(result.name), "classname": _text(file), "time": f"{result.seconds:.3f}"}
    case = ElementTree.SubElement(suite, "testcase", {**about, **line})
    for error in result.errors:
        element = ElementTree.SubElement(case, "error", {"message": text(error.message)})
        element.text = text(error.traceback)
    if result.differences:
        summary = "; ".join(f"{d.at}: {d.missing} missing, {d.unexpected} unexpected" for d in result.differences)
        element = ElementTree.SubElement(case, "failure", {"message": text(summary)})
        element.text = text("\n".join(_body(result)))
    if result.messages:
        ElementTree.SubElement(case, "system-err").text = text("\n".join(result.messages))


def _body(result: CaseResult) -> Iterator[str]:
    for difference in result.differences:
        yield f"{difference.at}:"
        yield from difference.diff
        yield from difference.notes


def _text(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
