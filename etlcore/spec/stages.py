"""One stage of the file: its keys read and checked, its component found, its options validated."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from etlcore.plugins import PluginError, Plugins
from etlcore.plugins.records import KINDS, Kind
from etlcore.spec import fields
from etlcore.spec.fields import Keys, Value
from etlcore.spec.model import Input, OnError, Queue, Take, names_outputs, outputs_of
from etlcore.spec.on_error import read_on_error
from etlcore.spec.optionkeys import option_names
from etlcore.spec.options import check_options

if TYPE_CHECKING:
    from pydantic import BaseModel

    from etlcore.components import Sink, Source, Transform

STAGE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")

_KEYS = (*KINDS, "with", "from", "workers", "queue", "batch", "ordered", "key", "on_error", "description")
_LIKE = {"source": "source: generate", "transform": "transform: select", "sink": "sink: console"}
_MEANT = {
    "input": "from",
    "inputs": "from",
    "options": "with",
    "config": "with",
    "concurrency": "workers",
    "parallelism": "workers",
    "threads": "workers",
}


@dataclass(frozen=True, slots=True)
class Defaults:
    """What ``defaults:`` says of every stage."""

    workers: int = 1
    queue: Queue = field(default_factory=Queue)
    take: Take = field(default_factory=Take)
    given: frozenset[str] = frozenset()
    """The keys that it has."""


@dataclass(slots=True)
class Draft:
    """A stage as far as it could be read. What is None was wrong or left out; the wrong has been reported."""

    name: str
    at: Value
    keys: dict[str, Value] = field(default_factory=dict)
    kind: Kind | None = None
    component: str | None = None
    cls: type[Source] | type[Transform] | type[Sink] | None = None
    config: BaseModel | None = None
    workers: int = 1
    queue: Queue = field(default_factory=Queue)
    take: Take = field(default_factory=Take)
    ordered: bool = False
    key: str | None = None
    on_error: OnError = field(default_factory=OnError)
    inputs: tuple[Input, ...] = ()
    given: frozenset[str] = frozenset()

    @property
    def outputs(self) -> tuple[str, ...] | None:
        """The named outputs, beside the main one; None where what names them is wrong or unknown."""
        if self.cls is None:
            return None
        if self.config is None and self.cls.Config is not None and names_outputs(self.cls):
            return None
        return outputs_of(self.cls, self.config)


class StageReader:
    """Reads the stages of one file."""

    def __init__(self, plugins: Plugins, directory: FilePath, defaults: Defaults) -> None:
        self.plugins = plugins
        self.directory = directory
        self.defaults = defaults

    def read(self, value: Value) -> Draft:
        """A stage; everything that is wrong with it alone is reported. Its edges are another matter: see `graph`."""
        draft = Draft(value.name, value)
        if not STAGE_NAME.fullmatch(value.name):
            value.wrong_key(
                f"`{value.name}` is no name for a stage", "use letters, digits, _ and -, and begin with a letter or _"
            )
        if not isinstance(value.value, dict):
            if not value.failed:
                like = f"{{sink: {value.value}}}" if isinstance(value.value, str) else "{sink: console}"
                value.wrong(
                    f"stage `{value.name}` must be a mapping with source:, transform: or sink:, not {value.shown()}",
                    f"write it like {value.name}: {like}",
                )
            return draft
        keys = fields.keys(value, _KEYS, meant=_MEANT, stands=(*KINDS, "with", "from"))
        draft.keys = keys.found
        self._kind(draft)
        self._component(draft)
        _report_unknown(keys, draft)
        self._flow(draft)
        return draft

    def _kind(self, draft: Draft) -> None:
        """Which kind of stage it is, and the component's name."""
        kinds = [kind for kind in KINDS if kind in draft.keys]
        if not kinds:
            draft.at.wrong_key(
                f"stage `{draft.name}` has no source:, transform: or sink:", "say what it is, like sink: console"
            )
            return
        kinds.sort(key=lambda kind: (draft.keys[kind].key.line, draft.keys[kind].key.column))
        for other in kinds[1:]:
            draft.keys[other].wrong_key(
                f"stage `{draft.name}` is a {kinds[0]} already: it cannot be a {other} as well", "make it two stages"
            )
        draft.kind = kinds[0]
        value = draft.keys[kinds[0]]
        if isinstance(value.value, dict | list):
            value.wrong(
                f"`{value.name}` must name a component, not be {value.shown()}",
                f"write {value.name}: NAME, and its options below `with:`",
            )
        else:
            draft.component = fields.text(value, f"write the name of a component, like {_LIKE[kinds[0]]}")

    def _component(self, draft: Draft) -> None:
        """The component's class, and the stage's options checked by its model."""
        if draft.kind is None or draft.component is None:
            return
        try:
            component = self.plugins.resolve(draft.component, draft.kind)
            draft.cls = self.plugins.load(component)
        except PluginError as error:
            draft.keys[draft.kind].wrong(error.message, error.hint)
            return
        draft.config = check_options(
            draft.keys.get("with"),
            draft.cls.Config,
            component=draft.component,
            by=self.plugins.distribution(draft.component),
            stage=draft.at,
            context={"directory": self.directory},
        )
        self._outputs(draft)

    def _outputs(self, draft: Draft) -> None:
        """Ask once what the outputs are; a component that cannot say is reported like one that cannot be loaded."""
        try:
            outputs = draft.outputs or ()
            wrong = "" if all(isinstance(name, str) for name in outputs) else f"it says {outputs!r}"
        except Exception as error:  # noqa: BLE001 - a plugin's own code
            wrong = f"outputs_of() raised {type(error).__name__}: {' '.join(str(error).split()):.300}"
        if wrong:
            assert draft.kind is not None
            assert draft.component is not None
            by = self.plugins.distribution(draft.component)
            draft.keys[draft.kind].wrong(
                f"{draft.kind} `{draft.component}` ({by}) cannot say what its outputs are: {wrong}", "tell its authors"
            )
            draft.cls = None

    # -- workers, queue and order ---------------------------------------------------------------------------------

    def _flow(self, draft: Draft) -> None:
        keys = draft.keys
        draft.given = frozenset(keys) | {f"defaults.{key}" for key in self.defaults.given - keys.keys()}
        draft.workers, draft.queue, draft.take = self.defaults.workers, self.defaults.queue, self.defaults.take
        if "workers" in keys:
            draft.workers = fields.whole(keys["workers"]) or 1
        if "queue" in keys:
            draft.queue = read_queue(keys["queue"], self.defaults.queue)
        if "batch" in keys:
            draft.take = read_take(keys["batch"], self.defaults.take)
        if "ordered" in keys:
            draft.ordered = bool(fields.truth(keys["ordered"]))
        if "key" in keys:
            draft.key = fields.text(keys["key"], "write the name of a column")
        if "description" in keys:
            fields.text(keys["description"])
        if "on_error" in keys:
            draft.on_error = read_on_error(keys["on_error"], draft.kind)
            _check_on_error(draft)
        if draft.kind == "source":
            _check_source(draft)
        elif draft.ordered and draft.key is not None:
            keys["key"].wrong_key(
                "`ordered` and `key` cannot be had together: one keeps the order of batches, the other deals rows out",
                "keep one of them",
            )
        elif draft.ordered and draft.kind == "sink" and draft.workers > 1:
            keys["ordered"].wrong_key(
                f"a sink with {draft.workers} workers cannot be `ordered`: they write side by side",
                "remove `ordered`, or write workers: 1; or use key: COLUMN, which keeps the order within a key",
            )


def read_queue(value: Value, default: Queue) -> Queue:
    """``queue: 20`` or ``queue: {rows: 20, bytes: 1MiB}``."""
    if not isinstance(value.value, dict):
        rows = None if value.failed else _rows(value, "{rows: …, bytes: …}")
        return Queue(rows=rows or default.rows, bytes=default.bytes)
    keys = fields.keys(value, ("rows", "bytes"))
    keys.report("`queue`")
    found = keys.found
    return Queue(
        rows=(fields.whole(found["rows"]) if "rows" in found else None) or default.rows,
        bytes=(fields.byte_size(found["bytes"]) if "bytes" in found else None) or default.bytes,
    )


def read_take(value: Value, default: Take) -> Take:
    """``batch: 1`` or ``batch: {rows: 1000, bytes: 4MiB, seconds: 0.5}``; what is given replaces the default."""
    if not isinstance(value.value, dict):
        rows = None if value.failed else _rows(value, "{rows: …, bytes: …, seconds: …}")
        return Take(rows=rows) if rows else default
    keys = fields.keys(value, ("rows", "bytes", "seconds"))
    keys.report("`batch`")
    found = keys.found
    if "seconds" in found and "rows" not in found and "bytes" not in found:
        found["seconds"].wrong_key(
            "`seconds` says how long to wait for a batch to fill up, but there is no `rows` or `bytes` to fill",
            "add rows: or bytes:",
        )
    return Take(
        rows=fields.whole(found["rows"]) if "rows" in found else None,
        bytes=fields.byte_size(found["bytes"]) if "bytes" in found else None,
        seconds=(fields.seconds(found["seconds"], zero=True) if "seconds" in found else None) or 0.0,
    )


def _rows(value: Value, mapping: str) -> int | None:
    if value.value is None or isinstance(value.value, list):
        value.wrong(
            f"`{value.name}` must be a number of rows or a mapping, not {value.shown()}",
            f"write {value.name}: 1000, or {value.name}: {mapping}",
        )
        return None
    return fields.whole(value)


def _check_on_error(draft: Draft) -> None:
    """Not every stage can try a batch again."""
    value = draft.keys["on_error"]
    if draft.on_error == OnError():
        return
    if draft.kind == "source":
        value.wrong_key(
            f"`on_error` is about rows that a stage was given, and stage `{draft.name}` is a source: it was given none",
            "remove it: a source that raises stops the run",
        )
    elif getattr(draft.cls, "buffers", False):
        value.wrong_key(
            f"`{draft.component}` keeps rows from one batch to the next, so a batch cannot be tried again alone",
            "remove `on_error`: an exception there stops the run",
        )


def _check_source(draft: Draft) -> None:
    """A source has no input, so nothing that is about an input."""
    for name in ("queue", "batch", "ordered", "key"):
        if name in draft.keys and not (name == "ordered" and draft.keys[name].value is False):
            draft.keys[name].wrong_key(
                f"`{name}` is about a stage's input, and stage `{draft.name}` is a source: it has none",
                f"remove it, or move it to the stage that reads from `{draft.name}`",
            )


def _report_unknown(keys: Keys, draft: Draft) -> None:
    """Unknown keys of a stage; an option of its component belongs below ``with:``."""
    options = _options(draft.cls)
    for value, _ in keys.unknown:
        if value.name in options:
            value.wrong_key(
                f"`{value.name}` is an option of `{draft.component}`, not a key of the stage", "move it below `with:`"
            )
    Keys({}, [(value, meant) for value, meant in keys.unknown if value.name not in options], keys.allowed).report(
        "a stage"
    )


def _options(cls: Any) -> set[str]:
    model = getattr(cls, "Config", None)
    if model is None:
        return set()
    return {name for field_name in model.model_fields for name in option_names(model, field_name)}
