"""A pipeline that is built in code as the text of a file, which reads back as exactly the same values."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

_LOOKS_LIKE_A_NUMBER = re.compile(r"[-+.]?[.\d]")


class _Dumper(yaml.SafeDumper):
    """Puts into quotes what the reader, which has YAML 1.2's numbers, would take for one: ``1e3``."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    style = '"' if _LOOKS_LIKE_A_NUMBER.match(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def as_text(document: Mapping[str, Any]) -> str:
    """The document as YAML. Raises TypeError for a value that no file can hold, and ValueError for endless ones."""
    try:
        made: str = yaml.dump(_plain(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    except yaml.representer.RepresenterError as error:
        wrong = error.args[-1]
        raise TypeError(f"an option is a {type(wrong).__name__}, which no file can hold: {wrong!r:.80}") from None
    except RecursionError:
        raise ValueError("an option holds itself, or is nested too deep for a file") from None
    return made


def _plain(value: Any) -> Any:
    """A value in the types that a file has: paths and subclasses of text and numbers are what they stand for."""
    from pydantic import SecretBytes, SecretStr

    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, SecretBytes):
        return value.get_secret_value().decode()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    return int(value) if isinstance(value, int) else float(value) if isinstance(value, float) else value


def secrets_in(options: Any, model: Any) -> Iterator[str]:
    """The names of options that are written out although their model says that they are secret."""
    from pydantic import SecretBytes, SecretStr

    from etlcore.spec.optionkeys import secret_options

    keys = secret_options(model) if model is not None else set()

    def within(value: Any, name: str) -> Iterator[str]:
        if isinstance(value, Mapping):
            for key, item in value.items():
                yield from within(item, name or (str(key) if str(key) in keys else ""))
        elif isinstance(value, list | tuple):
            for item in value:
                yield from within(item, name)
        elif isinstance(value, SecretStr | SecretBytes):
            yield name or "…"
        elif name and value not in (None, "") and "${" not in str(value):
            yield name

    return within(options, "")
