"""A plugin whose options cover what option models may hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

PLUGIN = """
    from etlcore import Component, hookimpl

    @hookimpl
    def etl_components():
        yield Component("probe", kind="source", target="probe_stages:Probe")
        yield Component("probe.bare", kind="transform", target="probe_stages:Bare")
        yield Component("probe.route", kind="transform", target="probe_stages:Route")
        yield Component("probe.faulty", kind="sink", target="probe_stages:Faulty")
"""

STAGES = """
    from datetime import date, timedelta
    from enum import Enum
    from pathlib import Path
    from typing import Any, Literal

    from pydantic import (
        AliasChoices, BaseModel, ByteSize, ConfigDict, Field, SecretStr, field_validator, model_validator,
    )
    from etlcore import Sink, Source, Transform

    class Start(Enum):
        BEGIN = "begin"
        END = "end"

    class Auth(BaseModel):
        user: str
        password: SecretStr
        tries: int = 3

    class Probe(Source):
        class Config(BaseModel):
            text: str = ""
            optional: str | None = None
            whole: int = 0
            number: float = 0.0
            truth: bool = False
            maybe: int | None = None
            either: int | str = 0
            one_or_many: str | list[str] = ""
            anything: Any = None
            day: date | None = None
            wait: timedelta = timedelta()
            size: ByteSize = ByteSize(0)
            path: Path = Path()
            start: Start = Start.BEGIN
            version: Literal["1.0", "1.10"] = "1.0"
            level: Literal[1, 2] = 1
            names: dict[str, str] = {}
            pair: tuple[int, str] = (0, "")
            renamed: int = Field(0, alias="as", description="What it is called.")
            choice: int = Field(0, validation_alias=AliasChoices("old", "new"))
            auth: Auth | None = None
            more: list[Auth] = []
            secret: SecretStr = SecretStr("")
            token: SecretStr = Field(SecretStr(""), min_length=10)
            pin_secret: Literal[1, 2] = 1
            port: int = Field(1, ge=1, le=65535)
            checked: str = ""
            low: int = 0
            high: int = 10

            @field_validator("checked")
            @classmethod
            def no_spaces(cls, value):
                if " " in value:
                    raise ValueError(f"{value!r} has a space in it")
                return value

            @model_validator(mode="after")
            def in_order(self):
                if self.token.get_secret_value() == "0123456789":
                    raise ValueError(f"{self.token.get_secret_value()} is no good token")
                if self.low > self.high:
                    raise ValueError(f"low ({self.low}) is above high ({self.high})")
                return self

        def read(self):
            yield None

    class Bare(Transform):
        def process(self, batch):
            return batch

    class Route(Transform):
        outputs = ("errors", "late")

        class Config(BaseModel):
            model_config = ConfigDict(extra="forbid", populate_by_name=True)
            needed: int = Field(description="Without it nothing works.")
            by: int = Field(0, alias="through")

        def process(self, batch):
            return batch

    class Faulty(Sink):
        class Config(BaseModel):
            x: str = ""

            @field_validator("x")
            @classmethod
            def broken(cls, value):
                return {}[value]

        def write(self, batch):
            pass
"""


@pytest.fixture
def probe(site: Any) -> None:
    """The plugin ``probe``, installed."""
    site.install("probe-etl", "1.0", {"probe": "probe_etl"}, {"probe_etl.py": PLUGIN, "probe_stages.py": STAGES})


@pytest.fixture
def options(probe: None) -> Callable[..., Any]:
    """Reads a pipeline whose source has the given YAML as its options, and gives the checked options."""
    from etlcore.spec import load_text

    def read(yaml: str, **environ: str) -> Any:
        text = f"stages:\n  p:\n    source: probe\n    with: {yaml}\n  o: {{sink: console}}\n"
        return load_text(text, environ=environ).stages[0].config

    return read
