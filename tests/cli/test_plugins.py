"""`etl plugins`: what is installed and whether it is in order, and what a component takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ETL = str(Path(sys.executable).with_name("etl"))

ACME = """
    import acme_heavy
    from etlcore import Command, Component, SecretScheme, hookimpl

    @hookimpl
    def etl_components():
        "What acme offers."
        yield Component("acme.count", "source", "acme_stages:Count", summary="Whole numbers in order")
        yield Component("acme.out", kind="sink", target="acme_stages:Out", summary="Out of sight")

    @hookimpl
    def etl_commands():
        return [Command("acme", target="acme_stages:verb", summary="Of acme")]

    @hookimpl
    def etl_secret_schemes():
        yield SecretScheme("acme", target="acme_stages:secret")
"""
STAGES = '''
    from typing import Literal

    import click
    from etlcore import Sink, Source
    from pydantic import BaseModel, Field, SecretStr

    class Count(Source):
        """Counts."""
        class Config(BaseModel):
            upto: int = Field(1000, ge=1, description="Where to end.")
            step: int | None = None
            how: Literal["up", "down"] = "up"
            token: SecretStr = Field(description="What lets one in.")
            labels: dict[str, str] = Field(default_factory=lambda: {"a": "x: y"})

        example = """
            stages:
              numbers: {source: acme.count, with: {token: t}}
              out: {sink: acme.out}
        """

        def read(self):
            yield None

    class Out(Sink):
        idempotent = True

        def write(self, batch):
            pass

    @click.command()
    def verb(): ...

    def secret(reference):
        return reference
'''


def etl(site: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ETL, "plugins", *arguments], env=site.environ(), capture_output=True, text=True, timeout=120, check=False
    )


def listed(site: Any, *arguments: str) -> dict[str, Any]:
    done = etl(site, "--json", *arguments)
    return {installed["distribution"]: installed for installed in json.loads(done.stdout)}


@pytest.fixture
def acme(site: Any) -> Any:
    modules = {"acme_etl.py": ACME, "acme_stages.py": STAGES, "acme_heavy.py": ""}
    site.install("acme-etl", "1.2", {"acme": "acme_etl"}, modules)
    return site


def test_what_is_installed_is_listed_without_importing_it(acme: Any) -> None:
    (acme.path / "acme_heavy.py").write_text("raise RuntimeError('imported')")
    done = etl(acme)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"acme-etl 1.2: not checked; interface 1; {acme.path}\n" in done.stdout
    for line in (
        "source   acme.count  Whole numbers in order",
        "sink     acme.out    Out of sight",
        "verb     acme        Of acme",
        "secrets  acme        ${acme:…} in a pipeline file",
    ):
        assert f"\n  {line}\n" in done.stdout
    assert "etlcore-sls" in done.stdout
    assert "transform  parse_uri" in done.stdout


def test_a_check_imports_what_is_installed(acme: Any) -> None:
    assert listed(acme, "--check")["acme-etl"]["health"] == "healthy"
    (acme.path / "acme_heavy.py").write_text("raise RuntimeError('imported')")
    done = etl(acme, "--check")
    assert done.returncode == 2
    assert "broken: plugin `acme` (acme-etl 1.2) cannot be imported: RuntimeError: imported\n" in done.stdout
    assert "acme.count" in done.stdout, "what can be read is listed all the same"
    assert "etlcore-sls 0.1.0: healthy" in done.stdout


def test_json_says_all_that_the_table_says(acme: Any) -> None:
    found = listed(acme)["acme-etl"]
    assert (found["version"], found["location"], found["editable"]) == ("1.2", str(acme.path), False)
    assert (found["health"], found["complete"], found["names"]) == ("not checked", True, ["acme"])
    assert found["offers"][0] == {
        "name": "acme.count",
        "kind": "source",
        "target": "acme_stages:Count",
        "summary": "Whole numbers in order",
        "interface": 1,
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"acme_stages:Out"', 'f"{__name__}:Out"'),
        ("        yield SecretScheme", "        for _ in range(1): yield SecretScheme"),
        ("import acme_heavy", "from acme_heavy import etl_components"),
    ],
)
def test_what_is_computed_is_said_to_be(site: Any, old: str, new: str) -> None:
    assert old in ACME
    site.install("acme-etl", "1.2", {"acme": "acme_etl"}, {"acme_etl.py": ACME.replace(old, new)})
    found = listed(site)["acme-etl"]
    assert not found["complete"]
    assert "what it offers is computed" in etl(site).stdout


HOSTILE = {
    "fails to import": ({"bad_etl.py": "import no_such_module"}, "cannot be imported: ModuleNotFoundError"),
    "is not there": ({}, "cannot be imported"),
    "future interface": (
        {"bad_etl.py": 'yield Component("bad", "sink", "bad_stages:Out", interface=2)'},
        "`bad` (bad-etl 0.9) is written for version 2 of the plugin interface",
    ),
    "misspelt hook": ({"bad_etl.py": "def etl_component"}, "did you mean `etl_components`?"),
    "not its name": (
        {"bad_etl.py": 'yield Component("worse", "sink", "bad_stages:Out")'},
        "offers `worse`, which is not its own name",
    ),
    "not a sink": (
        {"bad_etl.py": 'yield Component("bad", "sink", "bad_stages:Out")', "bad_stages.py": "class Out: pass"},
        "bad_stages:Out is no subclass of Sink",
    ),
    "config is no model": (
        {
            "bad_etl.py": 'yield Component("bad", "sink", "bad_stages:Out")',
            "bad_stages.py": "from etlcore import Sink\nclass Out(Sink):\n  class Config: pass\n"
            "  def write(self, batch): pass\n",
        },
        "bad_stages:Out.Config is no pydantic model",
    ),
    "no such command": (
        {"bad_etl.py": 'yield Command("bad", "bad_stages:verb")'},
        "command `bad` (bad-etl 0.9) cannot",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_whatever_a_plugin_does_the_others_are_listed(acme: Any, case: str) -> None:
    modules, message = HOSTILE[case]
    text = modules.get("bad_etl.py", "")
    if text.startswith("yield"):
        hook = "etl_commands" if "Command" in text else "etl_components"
        text = f"from etlcore import Command, Component, hookimpl\n@hookimpl\ndef {hook}():\n    {text}\n"
    elif text.startswith("def"):
        text = f"from etlcore import hookimpl\n@hookimpl\n{text}():\n    return []\n"
    acme.install("bad-etl", "0.9", {"bad": "bad_etl"}, {**modules, "bad_etl.py": text} if modules else {})
    done = etl(acme, "--check")
    assert done.returncode == 2
    assert message in done.stdout
    assert (done.stderr, done.stdout.count("\n  broken: ")) == ("", 1)
    assert "bad-etl 0.9: broken" in done.stdout
    assert "acme-etl 1.2: healthy" in done.stdout
    assert etl(acme).returncode == 0


def test_a_component_without_options_is_healthy(acme: Any) -> None:
    assert "no options" in etl(acme, "show", "acme.out").stdout


def test_two_distributions_with_one_name(acme: Any) -> None:
    acme.install("best-etl", "3.0", {"acme": "best_etl"}, {"best_etl.py": ""})
    done = etl(acme)
    assert done.returncode == 0
    assert done.stdout.count("broken: the name `acme` is claimed by ") == 2
    assert "acme-etl 1.2 and best-etl 3.0" in done.stdout or "best-etl 3.0 and acme-etl 1.2" in done.stdout
    assert "-> uninstall one of them: pip uninstall" in done.stdout


def test_a_components_options(acme: Any) -> None:
    shown = etl(acme, "show", "acme.count")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("source: acme.count (acme-etl 1.2, interface 1)\n")
    for text in (
        "Whole numbers in order. Replayable.",
        "Counts.",
        "upto: whole number (at least 1); default 1000\n        Where to end.",
        "step: whole number or null; default null",
        "how: `up`, `down`; default up",
        "token: secret text; needed\n        What lets one in.",
        'labels: mapping; default {a: "x: y"}',
        "    stages:\n      numbers: {source: acme.count, with: {token: t}}\n",
    ):
        assert text in shown.stdout

    (described,) = json.loads(etl(acme, "show", "acme.count", "--json").stdout)
    assert described["options"][0] == {
        "name": "upto",
        "type": "whole number (at least 1)",
        "required": False,
        "default": 1000,
        "description": "Where to end.",
    }


def test_one_name_may_stand_for_several_components(acme: Any) -> None:
    assert [it["kind"] for it in json.loads(etl(acme, "show", "python", "--json").stdout)] == [
        "source",
        "transform",
        "sink",
    ]
    assert [it["name"] for it in json.loads(etl(acme, "show", "acme", "--json").stdout)] == ["acme.count", "acme.out"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("acme.cuont", "there is no component `acme.cuont`\n  -> did you mean `acme.count`?"),
        ("acmee", "no plugin named `acmee` is installed\n  -> did you mean `acme`?"),
    ],
)
def test_a_name_that_is_not_there(acme: Any, name: str, message: str) -> None:
    done = etl(acme, "show", name)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
