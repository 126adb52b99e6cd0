"""``tests:`` of a pipeline file: what is given to some stages, and what must come out of others.

Only checked here; `etlcore.trial` runs them. Nothing below ``tests:`` is filled in: a row is what is written, on every
machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path as FilePath

from etlcore.batch import Row
from etlcore.plugins.names import closest, quoted
from etlcore.spec import fields
from etlcore.spec.convert import to_text
from etlcore.spec.fields import Value
from etlcore.spec.model import Case, Input, Pipeline, Refusal
from etlcore.spec.problems import SpecError
from etlcore.spec.rows import read_row, read_rows
from etlcore.spec.stages import Draft

Reread = Callable[[Mapping[str, str]], Pipeline]
"""Reads the file once more, with some environment variables of its own. Raises SpecError."""

_KEYS = ("given", "expect", "dead", "environ", "in_order", "columns", "description")
_MEANT = {
    "input": "given",
    "inputs": "given",
    "mocks": "given",
    "output": "expect",
    "outputs": "expect",
    "expected": "expect",
    "dead_letters": "dead",
    "rejected": "dead",
    "env": "environ",
    "environment": "environ",
    "ordered": "in_order",
}
_EXAMPLE = "NAME: {given: {STAGE: [ROW, …]}, expect: {STAGE: [ROW, …]}}"


def read_tests(value: Value, drafts: list[Draft], directory: FilePath, reread: Reread | None) -> tuple[Case, ...]:
    """The tests in the order of the file; all that is wrong with them is reported.

    ``reread`` is None where something is wrong with the stages: then what depends on them is not checked.
    """
    if not fields.mapping(value, "name: test"):
        return ()
    if not value.value:
        value.wrong("`tests` is empty", f"write {_EXAMPLE}, or remove it")
    reader = _Reader(drafts, directory, reread)
    cases = [reader.read(test) for test in value.children()]
    return tuple(case for case in cases if case is not None)


class _Reader:
    def __init__(self, drafts: list[Draft], directory: FilePath, reread: Reread | None) -> None:
        self.drafts = {draft.name: draft for draft in drafts}
        self.directory = directory
        self.reread = reread
        self._variants: dict[tuple[tuple[str, str], ...], Pipeline | None] = {}

    def read(self, value: Value) -> Case | None:
        if not fields.mapping(value, "given, expect"):
            return None
        keys = fields.keys(value, _KEYS, meant=_MEANT, stands=("given", "expect", "dead"))
        keys.report("a test")
        found = keys.found
        before = len(value.document.problems)
        given = self._given(value, found.get("given"))
        sound = before == len(value.document.problems)  # otherwise something else may be given
        reached = self._reached(given) if sound else None
        if "expect" not in found and "dead" not in found:
            value.wrong_key(
                f"test `{value.name}` expects nothing", "add expect: {STAGE: [ROW, …]}, or dead: {STAGE: [REASON, …]}"
            )
        expect = dict(self._expect(found["expect"], reached)) if "expect" in found else {}
        dead = dict(self._dead(found["dead"], reached, given)) if "dead" in found else {}
        if "description" in found:
            fields.text(found["description"])
        environ = _environ(found["environ"]) if "environ" in found else {}
        return Case(
            name=value.name,
            given=given,
            expect=expect,
            dead=dead,
            in_order=bool(fields.truth(found["in_order"])) if "in_order" in found else False,
            further_columns=_columns(found["columns"]) if "columns" in found else False,
            environ=environ,
            pipeline=self._variant(value.name, found["environ"], environ) if environ else None,
            place=value.key,
        )

    # -- what is given --------------------------------------------------------------------------------------------

    def _given(self, test: Value, value: Value | None) -> dict[str, list[Row]]:
        if value is None:
            hint = f"add given: {{{next(iter(self.drafts), 'STAGE')}: [ROW, …]}}"
            test.wrong_key(f"test `{test.name}` gives no rows to any stage: it has no `given:`", hint)
            return {}
        if not fields.mapping(value, "stage: rows"):
            return {}
        if not value.value:
            value.wrong("`given` names no stage", "write given: {STAGE: [ROW, …]}")
        given = {}
        for rows in value.children():
            stage = self._stage(rows)
            read = read_rows(rows, self.directory)
            if stage is not None:
                given[stage] = read or []
        return given

    def _stage(self, value: Value) -> str | None:
        """The stage that a key names, which has no outputs behind it."""
        name, dot, output = value.name.partition(".")
        if dot and name in self.drafts:
            value.wrong_key(f"`{value.name}` is an output, not a stage", f"name the stage, `{name}`, or one behind it")
            return None
        return name if self._known(value, name, f"{dot}{output}") else None

    def _known(self, value: Value, name: str, behind: str) -> bool:
        if name in self.drafts:
            return True
        close = closest(name, self.drafts)
        hint = f"did you mean `{close}{behind}`?" if close else f"the stages are {quoted(self.drafts)}"
        value.wrong_key(f"there is no stage `{name}`", hint)
        return False

    def _reached(self, given: Mapping[str, list[Row]]) -> set[str] | None:
        """The stages that given rows can come to; None where that cannot be known."""
        if self.reread is None or not given:
            return None
        reached: set[str] = set()
        ahead = list(given)
        behind: dict[str, list[str]] = {}
        for draft in self.drafts.values():
            for edge in draft.inputs:
                if draft.name not in given:  # it takes what it is given, and nothing else
                    behind.setdefault(edge.stage, []).append(draft.name)
        while ahead:
            name = ahead.pop()
            if name not in reached:
                reached.add(name)
                ahead.extend(behind.get(name, ()))
        return reached

    def _check_reached(self, value: Value, name: str, reached: set[str] | None) -> None:
        if reached is not None and name not in reached:
            sources = [
                other for other, draft in self.drafts.items() if draft.kind == "source" and self._leads(other, name)
            ]
            known = [other for other in self.drafts if other in reached]
            value.wrong_key(
                f"no given row can come to `{name}`: what is given goes to {quoted(known)} alone",
                f"give rows to {quoted([*sources, name], 'or')}",
            )

    def _leads(self, source: str, name: str) -> bool:
        return name in (self._reached({source: []}) or ())

    # -- what is expected -----------------------------------------------------------------------------------------

    def _expect(self, value: Value, reached: set[str] | None) -> Iterator[tuple[Input, list[Row]]]:
        if not fields.mapping(value, "stage: rows"):
            return
        for rows in value.children():
            read = read_rows(rows, self.directory)
            found = self._output(rows)
            if found is not None:
                self._check_reached(rows, found.stage, reached)
                yield found, read or []

    def _output(self, value: Value) -> Input | None:
        """``STAGE`` or ``STAGE.OUTPUT``."""
        name, dot, output = value.name.partition(".")
        if not self._known(value, name, f"{dot}{output}"):
            return None
        draft = self.drafts[name]
        if not dot:
            return Input(name)
        outputs = draft.outputs
        if outputs is not None and output not in outputs:
            close = closest(output, outputs)
            others = [f"{name}.{other}" for other in outputs]
            if close:
                hint = f"did you mean `{name}.{close}`?"
            else:
                hint = f"it has {quoted(others)}, and `{name}` itself" if others else f"write `{name}` alone"
            value.wrong_key(f"stage `{name}` has no output `{output}`", hint)
            return None
        return Input(name, output)

    def _dead(
        self, value: Value, reached: set[str] | None, given: Mapping[str, list[Row]]
    ) -> Iterator[tuple[str, list[Refusal]]]:
        if not fields.mapping(value, "stage: refused rows"):
            return
        for refusals in value.children():
            read = list(_refusals(refusals))
            stage = self._stage(refusals)
            if stage is None:
                continue
            kind = self.drafts[stage].kind
            if kind is not None and kind != "transform":
                why = "it is not read, rows are given instead" if kind == "source" else "nothing is written in a test"
                refusals.wrong_key(f"`{stage}` is a {kind}: in a test it refuses no rows, as {why}", "name a transform")
                continue
            self._check_reached(refusals, stage, reached)
            yield stage, read

    # -- the environment ------------------------------------------------------------------------------------------

    def _variant(self, test: str, value: Value, environ: dict[str, str]) -> Pipeline | None:
        """The pipeline with these environment variables; what is wrong with it is reported where it stands."""
        if self.reread is None:
            return None
        key = tuple(sorted(environ.items()))
        if key not in self._variants:
            try:
                self._variants[key] = self.reread(environ)
            except SpecError as error:
                self._variants[key] = None
                for problem in error.problems:
                    message = f"with the `environ` of test `{test}`: {problem.message}"
                    value.document.report(problem.place or value.place, message, problem.hint)
        return self._variants[key]


def _refusals(value: Value) -> Iterator[Refusal]:
    """``["bad percent escape"]`` or ``[{reason: "bad percent escape", row: {…}}]``."""
    hint = "write a list of reasons, like [bad percent escape], or of mappings, like [{reason: …, row: {…}}]"
    if not isinstance(value.value, list):
        value.wrong(f"`{value.name}` must be a list of refused rows, not {value.shown()}", hint)
        return
    for item in value.children():
        if not isinstance(item.value, dict):
            if item.value is None or isinstance(item.value, list):
                item.wrong(f"a refused row must be a reason or a mapping, not {item.shown()}", hint)
            else:
                yield Refusal(fields.text(item) or "")
            continue
        keys = fields.keys(item, ("reason", "row"))
        keys.report("a refused row")
        reason = fields.text(keys.found["reason"]) if "reason" in keys.found else ""
        yield Refusal(reason or "", read_row(keys.found["row"]) if "row" in keys.found else None)


def _environ(value: Value) -> dict[str, str]:
    """Environment variables; what is written without quotes is the text as it stands."""
    if not fields.mapping(value, "NAME: value"):
        return {}
    environ = {}
    for item in value.children():
        text = to_text(item.document, item.path, item.value)
        if text is None:
            item.wrong(f"`{item.name}` must be text, not {item.shown()}", "write a text")
        else:
            environ[item.name] = text
    return environ


def _columns(value: Value) -> bool:
    """Whether rows may have further columns: ``some`` or ``all``."""
    if value.value not in ("all", "some"):
        value.wrong(
            f"`columns` must be all or some, not {value.shown()}",
            "all: rows have exactly the expected columns; some: they may have further ones",
        )
    return bool(value.value == "some")
