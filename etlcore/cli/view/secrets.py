"""Secrets are never shown: what the options of a pipeline declare as secret is masked in all that `etl run` writes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from etlcore.spec.model import Pipeline

MASK = "********"


class Mask:
    """Masks the secrets of a pipeline (`SecretStr` options), as they are and as URLs, JSON and `repr` write them."""

    def __init__(self, pipeline: Pipeline | None = None) -> None:
        found = (
            {} if pipeline is None else dict.fromkeys(s for stage in pipeline.stages for s in _secrets(stage.config))
        )
        forms = {form for secret in found for form in _forms(secret) if form}
        patterns = [_pattern(form) for form in sorted(forms, key=len, reverse=True)]
        self._pattern = re.compile("|".join(patterns)) if patterns else None

    def text(self, text: str) -> str:
        """The text without secrets."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def data(self, value: Any) -> Any:
        """Plain data (dicts, lists, texts, …) without secrets."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.data(key): self.data(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(item) for item in value]
        return value


def _secrets(value: Any) -> Iterator[str]:
    from pydantic import BaseModel, SecretBytes, SecretStr

    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, SecretBytes):
        yield value.get_secret_value().decode("utf-8", "replace")
    elif isinstance(value, BaseModel):
        for _, item in value:
            yield from _secrets(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _secrets(item)


def _forms(secret: str) -> set[str]:
    return {
        secret,
        secret.strip(),
        quote(secret),
        quote(secret, safe=""),
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
    }


def _pattern(secret: str) -> str:
    # A secret of one or two characters would mask half of every text; as a word of its own it is still masked.
    return re.escape(secret) if len(secret) > 3 else rf"(?<!\w){re.escape(secret)}(?!\w)"
