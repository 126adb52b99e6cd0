"""The whole file: its top-level keys, its stages and its graph become a `Pipeline`, or a list of problems."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from etlcore.plugins import Plugins
from etlcore.plugins.names import closest
from etlcore.spec import fields, graph, transactional
from etlcore.spec.document import Document, decode, read
from etlcore.spec.fields import Value
from etlcore.spec.fill import Filler
from etlcore.spec.model import (
    DEFAULT_COMMIT_INTERVAL,
    DEFAULT_SHUTDOWN_TIMEOUT,
    Case,
    Pipeline,
    Stage,
    Take,
)
from etlcore.spec.plugins import check_required, load_plugins
from etlcore.spec.problems import Problem, SpecError
from etlcore.spec.stages import Defaults, Draft, StageReader, read_queue, read_take
from etlcore.spec.tests import Reread, read_tests

_KEYS = ("name", "description", "stages", "defaults", "requires", "plugins", "shutdown", "commit", "tests")
_MEANT = {"steps": "stages", "pipeline": "stages", "test": "tests"}
_SMALLEST = "the smallest one: stages: {numbers: {source: generate}, out: {sink: console}}"
NAME = re.compile(r"[^\W][\w .-]{0,99}")


def load(
    path: str | os.PathLike[str],
    *,
    plugins: Plugins | None = None,
    environ: Mapping[str, str] | None = None,
    tests: bool = False,
) -> Pipeline:
    """The checked pipeline of a file; ``environ`` stands in for the process's environment.

    ``tests`` says whether its ``tests:`` are wanted; otherwise they are not looked at, wrong as they may be.
    Raises SpecError with everything that is wrong.
    """
    file = os.fspath(path)
    try:
        data = FilePath(file).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SpecError([Problem(None, f"{file}: cannot be read: {reason}", _other_file(file))]) from None
    pipeline = load_text(decode(data, file), file=file, plugins=plugins, environ=environ, tests=tests)
    return replace(pipeline, version=hashlib.sha256(data).hexdigest())


def load_text(
    text: str,
    *,
    file: str = "pipeline.yaml",
    plugins: Plugins | None = None,
    environ: Mapping[str, str] | None = None,
    tests: bool = False,
) -> Pipeline:
    """As `load`, of a text; ``file`` is what messages call it and what relative paths are relative to."""
    document = read(text, file)
    plugins = plugins or Plugins()
    environ = os.environ if environ is None else environ

    def with_environ(own: Mapping[str, str]) -> Pipeline:
        return load_text(text, file=file, plugins=plugins, environ={**environ, **own})

    reader = _PipelineReader(document, plugins, environ, FilePath(file).parent.resolve())
    pipeline = reader.read(with_environ if tests else None)
    if document.problems or pipeline is None:
        raise document.error()
    return pipeline


class _PipelineReader:
    def __init__(self, document: Document, plugins: Plugins, environ: Mapping[str, str], directory: FilePath) -> None:
        self.document = document
        self.plugins = plugins
        self.environ = environ
        self.directory = directory
        self.misread = False

    def read(self, for_tests: Reread | None) -> Pipeline | None:
        """The pipeline; with its tests where they are given a way to read it with another environment."""
        document = self.document
        self.misread = bool(document.problems)  # something may be missing that is in the file all the same
        if document.value is None and not document.problems:
            document.report(document.where(()), "the file holds no pipeline", _SMALLEST)
            return None
        if not isinstance(document.value, dict):
            if not document.problems:
                message = (
                    f"a pipeline file is a mapping with `stages:`, not {Value(document, (), document.value).shown()}"
                )
                document.report(document.where(()), message, _SMALLEST)
            return None
        top = Value(document, (), self._filled(document.value))
        keys = fields.keys(top, _KEYS, meant=_MEANT, stands=("stages",))
        keys.report("a pipeline file")
        found = keys.found
        check_required(found.get("requires"))
        load_plugins(found.get("plugins"), self.plugins, self.directory)
        if "description" in found:
            fields.text(found["description"])
        drafts = self._stages(top, found)
        timeout = _below(found.get("shutdown"), "timeout", "30s")
        interval = _below(found.get("commit"), "interval", "1s")
        name = self._name(found.get("name"), top)
        cases: tuple[Case, ...] = ()
        if for_tests is not None and "tests" in found:
            whole = drafts is not None and not document.problems
            cases = read_tests(found["tests"], drafts or [], self.directory, for_tests if whole else None)
        if document.problems or drafts is None or name is None:
            return None
        return Pipeline(
            name=name,
            stages=tuple(_stage(draft) for draft in drafts),
            directory=self.directory,
            file=FilePath(document.file),
            shutdown_timeout=timeout or DEFAULT_SHUTDOWN_TIMEOUT,
            commit_interval=interval or DEFAULT_COMMIT_INTERVAL,
            tests=cases,
        )

    def _filled(self, value: dict[str, Any]) -> dict[str, Any]:
        """The values with ``${…}`` filled in, without the ``x-…`` keys, which hold anchors for other keys' use.

        In tests nothing is filled in: what they say must not depend on where they are run.
        """
        filler = Filler(self.document, self.plugins, self.environ, self.directory)
        return {
            key: item if key == "tests" else filler.fill(item, (key,))
            for key, item in value.items()
            if not key.startswith("x-")
        }

    def _name(self, value: Value | None, top: Value) -> str | None:
        """The pipeline's name: the file's, without its suffix, where it says nothing."""
        if value is not None:
            name = fields.text(value)
            if name is not None and not NAME.fullmatch(name):
                value.wrong(f"`name` cannot be {value.shown()}", "use letters, digits, spaces and _ . -")
            return name
        name = FilePath(self.document.file).stem
        if NAME.fullmatch(name):
            return name
        top.wrong(f"the file's name `{name}` is no name for a pipeline", "add name: at the top of the file")
        return None

    def _stages(self, top: Value, found: dict[str, Value]) -> list[Draft] | None:
        value = found.get("stages")
        if value is None:
            top.wrong("there is no `stages:`", _SMALLEST)
            return None
        if not fields.mapping(value, "name: stage"):
            return None
        if not value.value:
            value.wrong("`stages` is empty", _SMALLEST)
            return None
        reader = StageReader(self.plugins, self.directory, _defaults(found.get("defaults")))
        drafts = [reader.read(stage) for stage in value.children()]
        graph.connect(drafts)
        transactional.check(drafts)
        if all(draft.kind for draft in drafts) and not self.misread:
            for kind, like in (("source", "source: generate"), ("sink", "sink: console")):
                if not any(draft.kind == kind for draft in drafts):
                    value.wrong_key(f"there is no {kind}", f"add a stage with {like}, or another {kind}")
        return drafts


def _defaults(value: Value | None) -> Defaults:
    if value is None or not fields.mapping(value, "workers, queue, batch"):
        return Defaults()
    keys = fields.keys(value, ("workers", "queue", "batch"))
    keys.report("`defaults`")
    found, usual = keys.found, Defaults()
    return Defaults(
        workers=(fields.whole(found["workers"]) if "workers" in found else None) or usual.workers,
        queue=read_queue(found["queue"], usual.queue) if "queue" in found else usual.queue,
        take=read_take(found["batch"], usual.take) if "batch" in found else usual.take,
        given=frozenset(found),
    )


def _below(value: Value | None, key: str, example: str) -> float | None:
    """A duration that is the only thing below a top-level key."""
    if value is None or not fields.mapping(value, f"{key}: {example}"):
        return None
    keys = fields.keys(value, (key,))
    keys.report(f"`{value.name}`")
    return fields.seconds(keys.found[key]) if key in keys.found else None


def _stage(draft: Draft) -> Stage:
    assert draft.kind is not None
    assert draft.component is not None
    assert draft.cls is not None
    source = draft.kind == "source"
    return Stage(
        name=draft.name,
        kind=draft.kind,
        component=draft.component,
        cls=draft.cls,
        config=draft.config,
        inputs=draft.inputs,
        workers=draft.workers,
        queue=draft.queue,
        take=Take() if source else draft.take,
        ordered=draft.ordered,
        key=draft.key,
        on_error=draft.on_error,
        place=draft.at.key,
        given=draft.given,
    )


def _other_file(file: str) -> str:
    """The next step where there is no such file: the file that was meant, if it is in sight."""
    path = FilePath(file)
    try:
        names = [other.name for other in path.parent.iterdir() if other.suffix in (".yaml", ".yml")]
    except OSError:
        return "check the path"
    for suffix in (".yaml", ".yml"):
        if path.stem + suffix in names:
            return f"did you mean {path.with_suffix(suffix)}?"
    close = closest(path.name, names)
    return f"did you mean {path.parent / close}?" if close else "check the path"
