"""A stage's options (``with:``) against its component's own model, with every complaint placed in the file.

The model is a pydantic model; the options are validated as JSON in strict mode, since JSON has the same types as a
file: so ``"4"`` is no number, but a date or an enumeration may be written as text. Where strict mode refuses a value
that a person would mean (see `convert`), the meant value is put in its place and the options are validated again.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from etlcore.plugins.names import closest, quoted
from etlcore.spec import units
from etlcore.spec.convert import advice, to_bool, to_float, to_int, to_text
from etlcore.spec.document import Document, Filled, Path
from etlcore.spec.fields import Value, mapping
from etlcore.spec.model import Place
from etlcore.spec.optionkeys import option_names, secret_options, unknown_options
from etlcore.spec.problems import is_secret

if TYPE_CHECKING:
    from pydantic import BaseModel

_CONVERT: dict[str, Callable[[Document, Path, Any], Any]] = {
    "int": to_int,
    "float": to_float,
    "bool": to_bool,
    "string": to_text,
    "path": to_text,
}

_WANTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "dict": "a mapping",
    "model": "a mapping",
    "time_delta": "a duration",
}

_ROUNDS = 20  # of validating again; each converts all that it can, and deeper ones are rare


def check_options(
    value: Value | None,
    model: type[BaseModel] | None,
    *,
    component: str,
    by: str,
    stage: Value,
    context: dict[str, Any],
) -> BaseModel | None:
    """The checked options, or None: then there is no model, or the problems have been reported.

    ``value`` is what stands under ``with:``; ``stage`` is the stage, for problems that have no other place. ``by``
    names the component's distribution. ``context`` is what validators of the model are given.
    """
    given: Any = {}
    if value is not None and value.value is not None:
        if not mapping(value, "options: name: value"):
            return None
        given = value.value
    if model is None:
        if given and value is not None:
            value.wrong_key(f"`{component}` has no options, but there is `with:`", "remove it and what is below it")
        return None
    stage.document.secret_keys |= secret_options(model)
    path = value.path if value is not None else (*stage.path, "with")
    return _Check(stage.document, path, model, component, by, stage, context).run(given)


@dataclass(slots=True)
class _Check:
    document: Document
    path: Path
    """Where the options stand."""
    model: type[BaseModel]
    component: str
    by: str
    stage: Value
    context: dict[str, Any]
    meant: set[Path] = field(default_factory=set)
    """Options that are there under a misspelt name: they are not missing."""

    def run(self, given: Any) -> BaseModel | None:
        from pydantic import ValidationError

        unknown = list(unknown_options(self.model, given, self.path))
        for wrong, names in unknown:
            self._unknown(wrong, names)
        self._note_secrets(given, self.path)
        given = _without(given, [wrong[len(self.path) :] for wrong, _ in unknown])
        for _ in range(_ROUNDS):
            try:
                checked = self.model.model_validate_json(json.dumps(given), strict=True, context=self.context)
            except ValidationError as error:
                errors = error.errors(include_url=False)
            except Exception as error:  # noqa: BLE001 - a validator of the plugin's author
                self._fault(error)
                return None
            else:
                return None if unknown or any(filled.failed for filled in self._below().values()) else checked
            converted = [self._convert(given, error) for error in errors]
            if not any(converted):
                break
        self._report(given, errors)
        return None

    def _below(self) -> dict[Path, Filled]:
        """The options that ``${…}`` was filled into."""
        return {path: filled for path, filled in self.document.filled.items() if path[: len(self.path)] == self.path}

    def _note_secrets(self, value: Any, path: Path) -> None:
        """Have the values of secret options kept out of messages."""
        if isinstance(value, dict | list):
            for key in value if isinstance(value, dict) else range(len(value)):
                self._note_secrets(value[key], (*path, key))
        elif path not in self.document.filled and value is not None:
            names = [part for part in path[len(self.path) :] if isinstance(part, str)]
            if any(is_secret(name, self.document.secret_keys) for name in names):
                self.document.literals[path] = self.document.plain.get(path, str(value))

    def _unknown(self, path: Path, names: list[str]) -> None:
        close = closest(str(path[-1]), names)
        if close:
            self.meant.add((*path[:-1], close))
            if close in self.document.secret_keys:
                self.document.secret_keys.add(str(path[-1]))
            hint = f"did you mean `{close}`?"
        elif len(path) == len(self.path) + 1:
            hint = f"the options of `{self.component}` are {quoted(names)}" if names else "it has no options"
        else:
            hint = f"allowed are {quoted(names)}"
        self.document.report(self.document.key(path), f"unknown option `{path[-1]}` of `{self.component}`", hint)

    def _fault(self, error: Exception) -> None:
        place = self._whole()
        text = self.document.masked(" ".join(str(error).split()), self.path)
        self.document.report(
            place,
            f"the options of `{self.component}` ({self.by}) cannot be checked: {type(error).__name__}: {text:.200}",
            "this is a fault of the component: tell its authors",
        )

    # -- what was meant -------------------------------------------------------------------------------------------

    def _convert(self, given: Any, error: Any) -> bool:
        """Put what was meant in the place of a value that strict mode refused; False where there is no such thing."""
        path = self._path(given, error["loc"])
        if not path:
            return False
        holder: Any = _at(given, path[:-1])
        old = holder[path[-1]]
        new = self._meant(error["type"], (*self.path, *path), old)
        if new is None or (type(new) is type(old) and new == old):
            return False
        holder[path[-1]] = new
        return True

    def _meant(self, kind: str, path: Path, value: Any) -> Any:
        if kind in ("time_delta_parsing", "time_delta_type"):
            return _iso_duration(value)
        if kind in ("literal_error", "enum"):
            return (to_int if isinstance(value, str) else to_text)(self.document, path, value)
        wanted, _, what = kind.rpartition("_")
        if wanted not in _CONVERT or what not in ("type", "parsing"):
            return None
        return _CONVERT[wanted](self.document, path, value)

    def _path(self, given: Any, loc: tuple[str | int, ...]) -> Path:
        """The part of an error's location that leads to a value; the rest names branches of a union, or is missing."""
        path: list[str | int] = []
        at = given
        for part in loc:
            if _has(at, part):
                at = at[part]
                path.append(part)
        return tuple(path)

    def _whole(self) -> Place:
        """The place of what concerns all the options: ``with:``, or the stage where there is none."""
        return self.document.key(self.path) if self.path in self.document.keys else self.stage.key

    # -- complaints -----------------------------------------------------------------------------------------------

    def _report(self, given: Any, errors: list[Any]) -> None:
        unfilled = [path for path, filled in self._below().items() if filled.failed]
        by_path: dict[Path, list[Any]] = {}
        for error in errors:
            path = (*self.path, *self._path(given, error["loc"]))
            if error["type"] == "missing":
                self._missing(path, error)
            elif not any(p[: len(path)] == path for p in unfilled):  # what cannot be filled in has been reported
                by_path.setdefault(path, []).append(error)
        for path, found in by_path.items():
            self._wrong(path, given, found)

    def _missing(self, path: Path, error: Any) -> None:
        name = str(error["loc"][-1])
        if (*path, name) in self.meant:
            return
        below = path[len(self.path) :]
        option = ".".join(str(part) for part in (*below, name))
        if path in self.document.keys:
            place = self.document.key(path)
        else:
            place = self.document.where(path) if path in self.document.places else self.stage.key
        about = _description(self.model, name) if not below else ""
        where = f"add it below `with:`: {name}: …" if not below else f"add {name}: … there"
        self.document.report(place, f"`{self.component}` needs the option `{option}`{about}", where)

    def _wrong(self, path: Path, given: Any, errors: list[Any]) -> None:
        """One problem for one value, also where every branch of a union complained."""
        option = ".".join(str(part) for part in path[len(self.path) :])
        value = Value(self.document, path, _at(given, path[len(self.path) :]))
        reasons = list(dict.fromkeys(self._reason(error, path) for error in errors))
        not_this = f", not {value.shown()}" if option and not any(_says_it_all(e) for e in errors) else ""
        said = self.document.masked(" or ".join(reasons), self.path) + not_this
        place = value.place if option else self._whole()
        subject = f"option `{option}` of `{self.component}`" if option else f"options of `{self.component}`"
        wanted = _WANTED.get(errors[0]["type"].rpartition("_")[0], "")
        hint = ""
        if wanted and _is_about_type(errors[0]) and path not in self.document.literals:
            hint = advice(self.document, path, value.value, wanted)
        if not hint and option:
            hint = _description(self.model, str(path[len(self.path)])).removeprefix(": ")
        self.document.report(place, f"{subject}: {said}", hint or "correct it")

    def _reason(self, error: Any, path: Path) -> str:
        kind: str = error["type"]
        wanted = _WANTED.get(kind.rpartition("_")[0])
        if wanted and _is_about_type(error):
            return f"must be {wanted}"
        if path in self.document.filled and kind.endswith("_parsing"):
            return f"cannot be read ({kind.removesuffix('_parsing')})"  # pydantic quotes parts of the value
        if kind == "extra_forbidden":
            return "is not known here"
        if kind == "json_invalid":
            return "a text is no valid Unicode"  # a lone surrogate, of an escape or of the environment
        message = " ".join(str(error["msg"]).split())
        for begin in ("Value error, ", "Assertion failed, "):
            if message.startswith(begin):
                return message.removeprefix(begin)
        return re.sub(r"^(Input|Value) should ", "must ", message)


def _is_about_type(error: Any) -> bool:
    kind: str = error["type"]
    return kind.rpartition("_")[0] in _WANTED and kind.endswith(("_type", "_parsing", "_from_float"))


def _has(value: Any, part: str | int) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def _says_it_all(error: Any) -> bool:
    """The message says by itself what is there, or a validator of the author's own wrote it."""
    return error["type"] in ("value_error", "assertion_error", "json_invalid", "too_short", "too_long")


def _at(value: Any, path: Path) -> Any:
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _without(value: Any, paths: list[Path]) -> Any:
    """A copy of the value without what stands at the paths."""
    value = copy.deepcopy(value)
    for path in paths:
        _at(value, path[:-1]).pop(path[-1], None)
    return value


def _iso_duration(value: Any) -> str | None:
    """A duration as ISO 8601, which is what pydantic reads in strict mode."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = units.duration(value) if isinstance(value, str) else float(value)
    except ValueError:
        return None
    return f"PT{found:f}S"


def _description(model: type[BaseModel], name: str) -> str:
    """``: `` and what the model says about an option; empty when it says nothing."""
    for field_name, about in model.model_fields.items():
        if name in option_names(model, field_name) and about.description:
            return f": {' '.join(about.description.split())}"
    return ""
