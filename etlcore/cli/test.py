"""`etl test`: run the tests in pipeline files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from etlcore.spec.model import Pipeline
    from etlcore.trial import CaseResult, Coverage

_MOST_LINES = 60  # of a diff

Mask = Callable[[str], str]


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--only", metavar="TEXT", help="Only tests whose name contains TEXT, in small or capital letters.")
@click.option("--junit", metavar="FILE", type=click.Path(path_type=Path), help="Write the results as JUnit XML, too.")
@click.option("--coverage", is_flag=True, help="Say which stages and outputs no row of these tests comes to.")
@click.option("--json", "as_json", is_flag=True, help="Write the results as JSON.")
def test(files: tuple[str, ...], only: str | None, junit: Path | None, coverage: bool, as_json: bool) -> int:
    """Run the tests in pipeline FILEs: rows are given to stages, and what comes out is compared with what they expect.

    Nothing outside is read or written: sources give the rows of the test, sinks only remember. All else is as in a run.
    What stages print goes to standard error.

    Exit codes: 0 all tests passed; 1 some failed; 2 a file or the command line is wrong, or there are no tests.
    """
    if junit is not None:
        _check_writable(junit)
    session = _Session(only, coverage, quiet=as_json, alone=len(files) == 1)
    for file in files:
        session.run(file)
    session.refuse_nothing()
    if junit is not None:
        _write_junit(junit, session.tried)
    if as_json:
        click.echo(json.dumps(session.to_json(), ensure_ascii=False, indent=2))
    elif session.results:
        click.echo(session.summary())
    return 2 if session.wrong else 1 if session.failed else 0


@dataclass(slots=True)
class _Tried:
    """A file whose tests were run."""

    file: str
    pipeline: Pipeline
    results: list[CaseResult] = field(default_factory=list)


class _Session:
    """All files of one command line."""

    def __init__(self, only: str | None, coverage: bool, *, quiet: bool, alone: bool) -> None:
        self.wrong = False
        self.tried: list[_Tried] = []
        self._only = only
        self._coverage = coverage
        self._quiet = quiet
        self._alone = alone

    @property
    def results(self) -> list[CaseResult]:
        return [result for tried in self.tried for result in tried.results]

    @property
    def failed(self) -> int:
        return sum(not result.passed for result in self.results)

    def run(self, file: str) -> None:
        """Run the tests of a file and say how each of them ended; what is wrong with the file is told instead."""
        from etlcore.plugins import Plugins
        from etlcore.spec import SpecError, load
        from etlcore.trial import run_case, select_cases

        try:
            pipeline = load(file, plugins=Plugins(), tests=True)  # each with the plugins beside it, and no others
        except SpecError as error:
            self.wrong = True
            click.echo(str(error), err=True)
            return
        tried = _Tried(file, pipeline)
        self.tried.append(tried)
        cases = select_cases(pipeline, self._only)
        if not pipeline.tests and not self._alone:
            self._say(f"{file}: no tests")
        elif cases:
            self._say(file)
        for case in cases:
            with redirect_stdout(sys.stderr):
                result = run_case(pipeline, case)
            tried.results.append(result)
            self._say(*_told(result, _mask(pipeline, result)))
        if self._coverage and tried.results:
            self._say(*_covered(tried))

    def _say(self, *lines: str) -> None:
        if not self._quiet:
            for line in lines:
                click.echo(line)

    def refuse_nothing(self) -> None:
        """Where there was nothing to run: an error. Raises click.UsageError."""
        from etlcore.cli.app import usage_error

        if self.results or self.wrong:
            return
        names = [case.name for tried in self.tried for case in tried.pipeline.tests]
        if names:
            shown = "; ".join(names[:10]) + ("; …" if len(names) > 10 else "")
            usage_error(f"no test has `{self._only}` in its name", f"the tests are: {shown}")
        files = ", ".join(tried.file for tried in self.tried)
        usage_error(f"there are no tests in {files}", _example(self.tried[0].pipeline))

    def summary(self) -> str:
        """The last line."""
        from etlcore.cli.view.words import plural

        count, took = len(self.results), sum(result.seconds for result in self.results)
        ended = "passed"
        if self.failed:
            ended = f"{self.failed:,} failed" + (f", {count - self.failed:,} passed" if self.failed < count else "")
        return f"{plural(count, 'test')}: {ended}, {took:.2f} s"

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON-able data; without secrets."""
        files = []
        for tried in self.tried:
            tests = [_masked(_result_json(result), _mask(tried.pipeline, result)) for result in tried.results]
            entry: dict[str, Any] = {"file": tried.file, "tests": tests}
            if self._coverage:
                entry["coverage"] = _coverage_json(_coverage(tried))
            files.append(entry)
        return {"tests": len(self.results), "failed": self.failed, "files": files}


def _example(pipeline: Pipeline) -> str:
    source, sink = (next(s.name for s in pipeline.stages if s.kind == kind) for kind in ("source", "sink"))
    return f"""write some, like
     tests:
       what it is about:
         given: {{{source}: [{{id: 1}}]}}
         expect: {{{sink}: [{{id: 1}}]}}"""


# -- as text -----------------------------------------------------------------------------------------------------------


def _told(result: CaseResult, mask: Mask) -> Iterator[str]:
    from etlcore.cli.view.words import plural

    took = f"{result.seconds:.2f} s"
    if result.passed:
        yield f"  ok      {mask(result.name)} ({took})"
        return
    yield f"  FAILED  {mask(result.name)} ({took})" + (f" {result.place}" if result.place else "")
    for error in result.errors:
        yield f"    {mask(error.message)}"
        yield from (f"      {line}" for line in mask(error.traceback).splitlines())
    for difference in result.differences:
        counts = (
            f"{plural(count, 'row')} {word}"
            for count, word in ((difference.missing, "missing (-)"), (difference.unexpected, "unexpected (+)"))
            if count
        )
        yield f"    {difference.at}: {', '.join(counts)}"
        yield from (f"      {mask(line)}" for line in difference.diff[:_MOST_LINES])
        if len(difference.diff) > _MOST_LINES:
            yield f"      … and {plural(len(difference.diff) - _MOST_LINES, 'line')} more: --json writes them all"
        yield from (f"      {mask(note)}" for note in difference.notes)
    yield from (f"    logged: {mask(message)}" for message in result.messages)


def _covered(tried: _Tried) -> Iterator[str]:
    from etlcore.cli.whereabouts import table

    found = _coverage(tried)
    yield f"  reached: {found.reached} of {len(found.parts)} stages and outputs"
    rows = [["stage", "tests", "in", "out", "dead", ""]]
    for part in found.parts:
        takes = part.kind in ("transform", "sink")
        out = part.put_out if part.kind != "output" else part.rows
        cells = [part.rows if takes else None, out, part.dead]
        shown = ["-" if cell is None else f"{cell:,}" for cell in cells]
        rows.append([str(part.at), f"{part.tests:,}", *shown, "; ".join(part.gaps)])
    yield from table(rows, indent="  ")
    if found.without_dead:
        yield f"  dead letters of no test: {', '.join(found.without_dead)}"


def _coverage(tried: _Tried) -> Coverage:
    from etlcore.trial import coverage

    return coverage(tried.pipeline, tried.results)


def _mask(pipeline: Pipeline, result: CaseResult) -> Mask:
    """Hides the secrets of the pipeline as it is, and of that with the environment of the test."""
    from etlcore.cli.view.secrets import Mask as Masking

    first = Masking(pipeline)
    if result.pipeline is None or result.pipeline is pipeline:
        return first.text
    second = Masking(result.pipeline)
    return lambda text: second.text(first.text(text))


# -- as JSON and XML ---------------------------------------------------------------------------------------------------


def _result_json(result: CaseResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "place": None if result.place is None else str(result.place),
        "passed": result.passed,
        "seconds": round(result.seconds, 6),
        "errors": [
            {"stage": error.stage, "message": error.message, "traceback": error.traceback} for error in result.errors
        ],
        "differences": [
            {
                "at": difference.at,
                "missing": difference.missing,
                "unexpected": difference.unexpected,
                "diff": list(difference.diff),
                "notes": list(difference.notes),
            }
            for difference in result.differences
        ],
        "messages": list(result.messages),
    }


def _coverage_json(found: Coverage) -> dict[str, Any]:
    parts = [
        {
            "at": str(part.at),
            "kind": part.kind,
            "tests": part.tests,
            "rows": part.rows,
            "out": part.put_out,
            "dead": part.dead,
            "gaps": part.gaps,
        }
        for part in found.parts
    ]
    return {"reached": found.reached, "of": len(found.parts), "parts": parts}


def _masked(value: Any, mask: Mask) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {key: _masked(item, mask) for key, item in value.items()}
    return [_masked(item, mask) for item in value] if isinstance(value, list) else value


def _check_writable(file: Path) -> None:
    from etlcore.cli.app import usage_error
    from etlcore.cli.view.document import check_writable

    fault = check_writable(file)
    if fault:
        usage_error(f"--junit: {fault}", "give a file in a directory that exists and can be written to")


def _write_junit(file: Path, tried: list[_Tried]) -> None:
    from etlcore.trial import junit

    text = junit([(one.file, [(result, _mask(one.pipeline, result)) for result in one.results]) for one in tried])
    file.write_text(text, encoding="utf-8", errors="backslashreplace")
