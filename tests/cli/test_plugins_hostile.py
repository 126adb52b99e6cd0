"""`etl plugins` in front of plugins that nobody would write on purpose: each is told as it is, and hides no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

from etlcore.plugins import BrokenPlugin, Plugins
from etlcore.plugins.describe import Description, describe
from etlcore.plugins.survey import Installed, survey

ETL = str(Path(sys.executable).with_name("etl"))
HEAD = "from etlcore import Component, Sink, hookimpl\n\nclass Out(Sink):\n    def write(self, batch): pass\n\n"
GOOD = HEAD + '@hookimpl\ndef etl_components():\n    yield Component("odd", "sink", "odd_etl:Out", "Out of sight")\n'
LAZY = "def __getattr__(name): raise OSError(name)\n"
ODD_OBJECT = """
import sys

class Odd:
    __file__ = __file__
    def __dir__(self): raise OSError("x")

sys.modules[__name__] = Odd()
"""


def install(site: Any, text: str | bytes, point: str = "odd_etl", name: str = "odd") -> None:
    site.install("odd-etl", "1.0", {name: point})
    data = text if isinstance(text, bytes) else text.encode()
    (site.path / "odd_etl.py").write_bytes(data)


def odd(*, check: bool = False) -> Installed:
    found = survey(Plugins(), check=check)
    assert {"etlcore", "etlcore-sls"} <= {installed.distribution for installed in found}
    return next(installed for installed in found if installed.distribution == "odd-etl")


def faults(*, check: bool = False) -> list[str]:
    return [fault.message for fault in odd(check=check).faults]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = " + "-" * 20_000 + "1\n", "cannot be imported: "),
        ("x = " + "(" * 5000 + ")" * 5000, "cannot be imported: SyntaxError"),
        (b"x = 1\0", "cannot be imported: SyntaxError"),
        ("def (", "cannot be imported: SyntaxError"),
        ("import sys; sys.exit(3)\n" + GOOD, "cannot be imported: SystemExit: 3"),
        ("class Odd(BaseException): pass\nraise Odd('gone')\n" + GOOD, "cannot be imported: Odd: gone"),
        (GOOD.replace('"Out of sight"', "5"), "the summary must be a text, not 5"),
        (GOOD.replace("def etl", "async def etl"), "raised TypeError: 'async_generator' object is not iterable"),
        (LAZY + GOOD.replace("odd_etl:Out", "odd_etl:No"), "raised OSError: No"),
        (GOOD + GOOD.rpartition("\n    ")[2].join(["    ", ""]), "offers the sink `odd` 2 times"),
        (GOOD.replace("    def write", "    example = 5\n    def write"), "odd_etl:Out.example is no text"),
        (GOOD.replace("    def write", "    outputs = 5\n    def write"), "odd_etl:Out.outputs is no tuple of names"),
        (ODD_OBJECT, "OSError: x"),
    ],
)  # fmt: skip
def test_what_a_check_finds(site: Any, text: str | bytes, message: str) -> None:
    install(site, text)
    assert odd().offers is not None, "without a check nothing of it is run"
    found = set(faults(check=True))
    assert [message in fault for fault in found] == [True]


@pytest.mark.parametrize("point", ["not a module!", "", ".odd", "odd..etl", "odd_etl.:x"])
def test_an_entry_point_that_names_no_module(site: Any, point: str) -> None:
    install(site, GOOD, point)
    for check in (False, True):
        assert [message.partition(": ")[0] for message in faults(check=check)] == [
            "plugin `odd` (odd-etl 1.0) is broken"
        ]
    with pytest.raises(BrokenPlugin, match="names no module"):
        Plugins().resolve("odd", "sink")


def test_an_entry_point_whose_name_nobody_can_call(site: Any) -> None:
    install(site, GOOD, name="odd.one")
    assert faults() == faults(check=True) == [
        "plugin `odd.one` (odd-etl 1.0) is broken: a name with a dot in it cannot be called"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "if True:\n    @hookimpl\n    def etl_components(): return []\n",
        HEAD + "class P:\n    @hookimpl\n    def etl_components(self): return []\n",
        HEAD + "@hookimpl\nasync def etl_components(): return []\n",
        HEAD + "@hookimpl(specname='etl_components')\ndef mine(): return []\n",
        HEAD + "def make(): return []\netl_components = hookimpl(make)\n",
        "from acme import *\n",
    ],
)
def test_hooks_that_the_text_hides_are_said_to_be_hidden(site: Any, text: str) -> None:
    install(site, text)
    assert not odd().complete


def test_plugins_in_namespace_packages_and_archives_are_read(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("odd-etl", "1.0", {"odd": "space.deeper.odd_etl"}, {"space/deeper/odd_etl.py": GOOD})
    archive = site.path / "zipped.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("zipped_etl.py", GOOD.replace('"odd"', '"zipped"'))
        packed.writestr("zipped-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: zipped\nVersion: 1\n")
        packed.writestr("zipped-1.dist-info/entry_points.txt", "[etlcore]\nzipped = zipped_etl\n")
    monkeypatch.syspath_prepend(str(archive))
    read = {it.distribution: it for it in survey(Plugins())}
    for name in ("odd-etl", "zipped"):
        assert (read[name].complete, len(read[name].offers), read[name].faults) == (True, 1, ())
    assert "space" not in sys.modules


def test_a_summary_steers_no_terminal(site: Any) -> None:
    install(site, GOOD.replace("Out of sight", "two\\nlines \\x1b[31mred"))
    assert odd().offers[0].summary == "two lines [31mred"


def test_what_a_plugin_prints_is_no_part_of_the_answer(site: Any, tmp_path: Path) -> None:
    install(site, "print('noise')\n" + GOOD)
    (tmp_path / "p.yaml").write_text("stages: {in: {source: generate}, out: {sink: odd}}")
    for arguments in (["plugins", "--check", "--json"], ["plugins", "show", "odd", "--json"], ["schema"]):
        done = subprocess.run(
            [ETL, *arguments], env=site.environ(), capture_output=True, text=True, timeout=120, check=True
        )
        assert json.loads(done.stdout)
        assert done.stderr.count("noise") == 1
    drawn = subprocess.run(
        [ETL, "graph", str(tmp_path / "p.yaml")],
        env=site.environ(),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert (drawn.stdout.splitlines()[0], drawn.stderr) == ("in (source generate)", "noise\n")


def test_nobody_reads_the_list(site: Any) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([ETL, "plugins"], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


CONFIGS = """
import re
from typing import Annotated, Any, Callable, Generic, Literal, Optional, TypeVar, Union
from pydantic import (
    AliasChoices, AliasPath, BaseModel, ConfigDict, Field, RootModel, SecretStr, computed_field, field_validator,
)

T = TypeVar("T")

class Cat(BaseModel):
    kind: Literal["cat"]

class Dog(BaseModel):
    kind: Literal["dog", "wolf"]

class Box(BaseModel, Generic[T]):
    item: T

class Odd: pass

class Config(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    n: int = 1
    within: Optional["Config"] = None
    box: Box[int] | None = None
    pets: list[Annotated[Union[Cat, Dog], Field(discriminator="kind")]] = []
    call: Callable[[int], int] = len
    odd: Odd | None = None
    pattern: re.Pattern[str] = re.compile("a+")
    deep: str = Field("x", validation_alias=AliasPath("below", "it"))
    old: int = Field(3, validation_alias=AliasChoices("new", "old"))
    secret: SecretStr = "hunter2"
    made: SecretStr = Field(default_factory=lambda: SecretStr("hunter2"))
    long: list[int] = Field(default_factory=lambda: list(range(10_000)))
    data: bytes = b"\\xff"
    endless: float = float("inf")
    fails: int = Field(default_factory=lambda: 1 / 0)
    either: Literal[1, True, None] = 1
    text: str = Field("a\\x1b[31m\\nb", description="red: \\x1b[31m\\nnext")

    @field_validator("n", mode="before")
    @classmethod
    def anything(cls, value): return value

    @computed_field
    @property
    def double(self) -> int: return 2
"""


def described(site: Any, config: str, use: str = "Config") -> Description:
    install(site, config + GOOD.replace("    def write", f"    Config = {use}\n    def write"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = describe(Plugins(), "odd")
    return found


def test_options_of_any_type_are_described(site: Any) -> None:
    found = described(site, CONFIGS)
    json.dumps(found.to_json(), allow_nan=False)
    shown = {option.name: f"{option.type}; {option.default_text}" for option in found.options}
    assert shown == {
        "n": "whole number; 1",
        "within": "mapping or null; null",
        "box": "mapping or null; null",
        "pets": "list of mapping; []",
        "call": "anything; <built-in function len>",
        "odd": "anything or null; null",
        "pattern": "text; a+",
        "below": "anything; x",
        "new": "whole number; 3",
        "secret": "secret text; **********",
        "made": "secret text; **********",
        "long": shown["long"],
        "data": "text; b'\\xff'",
        "endless": "number; inf",
        "fails": "whole number; (computed)",
        "either": "`1`, `true`, `null`; 1",
        "text": 'text; "a\\u001b[31m\\nb"',
    }
    assert len(shown["long"]) < 250
    assert next(option for option in found.options if option.name == "text").description == "red: [31m next"
    assert "hunter2" not in str(found)
    assert faults(check=True) == []


def test_a_model_that_is_a_mapping_as_a_whole(site: Any) -> None:
    found = described(site, CONFIGS, "RootModel[dict[str, int]]")
    assert [(option.name, option.type) for option in found.options] == [("with", "mapping")]


def test_a_model_that_is_not_whole(site: Any) -> None:
    config = "from pydantic import BaseModel\nclass Config(BaseModel):\n    x: 'NotThere'\n"
    with pytest.raises(BrokenPlugin, match="its Config is not whole"):
        described(site, config)
    assert ["cannot be described: PydanticUserError" in fault for fault in faults(check=True)] == [True]
