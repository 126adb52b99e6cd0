"""Plugins that are installed, broken, misspelt, claimed twice: found, named and refused. All are real distributions."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from etlcore.plugins import (
    BrokenPlugin,
    Component,
    NameCollision,
    PluginError,
    Plugins,
    UnknownName,
    WrongInterface,
    WrongKind,
)

ACME = """
    from etlcore import Component, hookimpl

    @hookimpl
    def etl_components():
        yield Component("acme.count", kind="source", target="acme_stages:Count", summary="Whole numbers in order")
        yield Component("acme", kind="transform", target="acme_stages:Double")
        yield Component("acme", kind="sink", target="acme_stages:Out")
"""
STAGES = """
    from etlcore import RowTransform, Sink, Source

    class Count(Source):
        def read(self):
            yield None

    class Double(RowTransform):
        def map(self, row):
            return row

    class Out(Sink):
        def write(self, batch):
            pass
"""


def loaded(name: str) -> bool:
    return name in sys.modules


def test_names_come_from_metadata_alone(site: Any) -> None:
    site.install("acme-etl", "1.2", {"acme": "acme_etl"}, {"acme_etl.py": "raise RuntimeError('imported')"})
    assert "acme" in Plugins().names()
    assert {"console", "files", "generate", "select"} <= set(Plugins().names())
    assert Plugins().distribution("acme.anything") == "acme-etl 1.2"


def test_only_what_is_named_is_imported(site: Any) -> None:
    site.install("acme-etl", "1.2", {"acme": "acme_etl"}, {"acme_etl.py": ACME, "acme_stages.py": STAGES})
    site.install("other-etl", "1", {"other": "other_etl"}, {"other_etl.py": "raise RuntimeError('imported')"})
    plugins = Plugins()
    component = plugins.resolve("acme.count", "source")
    assert component.summary == "Whole numbers in order"
    assert not loaded("acme_stages")
    cls = plugins.load(component)
    assert cls.__name__ == "Count"


def test_one_name_may_be_offered_for_several_kinds(site: Any) -> None:
    site.install("acme-etl", "1.2", {"acme": "acme_etl"}, {"acme_etl.py": ACME})
    assert Plugins().resolve("acme", "transform").target == "acme_stages:Double"
    assert Plugins().resolve("acme", "sink").target == "acme_stages:Out"


def test_one_module_may_stand_behind_several_names(site: Any) -> None:
    site.install("acme-etl", "1.2", {"acme": "acme_etl", "emca": "acme_etl"}, {"acme_etl.py": ACME})
    assert Plugins().resolve("acme", "sink")
    with pytest.raises(UnknownName, match="offers no component `emca`"):
        Plugins().resolve("emca", "sink")


@pytest.mark.parametrize(
    ("name", "kind", "error", "message", "hint"),
    [
        ("consle", "sink", UnknownName, "no plugin named `consle` is installed", "did you mean `console`?"),
        ("acmee.count", "source", UnknownName, "no plugin named `acmee` is installed (for `acmee.count`)", "`acme`?"),
        ("zzz", "sink", UnknownName, "no plugin named `zzz` is installed", "pip install the distribution that offers"),
        ("acme.cuont", "source", UnknownName, "(acme-etl 1.2) offers no component `acme.cuont`", "`acme.count`?"),
        ("acme.zzz", "source", UnknownName, "offers no component `acme.zzz`", "it offers `acme` and `acme.count`"),
        ("acme.count", "sink", WrongKind, "`acme.count` is a source, not a sink", "write `source: acme.count`"),
        (
            "acme",
            "source",
            WrongKind,
            "`acme` is a transform and a sink, not a source",
            "write `transform: acme`",
        ),
        ("console", "transform", WrongKind, "`console` is a sink, not a transform", "write `sink: console`"),
    ],
)
def test_wrong_names(site: Any, name: str, kind: Any, error: type[PluginError], message: str, hint: str) -> None:
    site.install("acme-etl", "1.2", {"acme": "acme_etl"}, {"acme_etl.py": ACME})
    with pytest.raises(error) as raised:
        Plugins().resolve(name, kind)
    assert message in raised.value.message
    assert hint in raised.value.hint


def test_a_first_party_plugin_that_is_missing_names_its_pip_install() -> None:
    with pytest.raises(UnknownName) as raised:
        Plugins(entries=[]).resolve("sls", "source")
    assert raised.value.hint == "pip install etlcore-sls"


def test_without_any_plugin_the_installation_is_in_doubt() -> None:
    with pytest.raises(UnknownName, match="not even etlcore's own plugins are found: pip install etlcore"):
        Plugins(entries=[]).resolve("console", "sink")


def test_two_distributions_with_one_name_are_both_named_and_only_to_who_needs_it(site: Any) -> None:
    site.install("acme-etl", "1.2", {"acme": "acme_etl"}, {"acme_etl.py": ACME})
    site.install("acme-fork", "3.4", {"acme": "acme_fork"}, {"acme_fork.py": ACME})
    with pytest.raises(NameCollision) as raised:
        Plugins().resolve("acme.count", "source")
    assert "acme-etl 1.2" in raised.value.message
    assert "acme-fork 3.4" in raised.value.message
    assert "pip uninstall acme-" in raised.value.hint
    assert Plugins().resolve("console", "sink")
    warnings: list[str] = []
    listed = Plugins().components(warnings.append)
    assert not [component for component, _ in listed if component.name.startswith("acme")]
    assert len(warnings) == 1
    assert "acme-etl 1.2" in warnings[0]


def test_a_distribution_found_twice_is_no_collision(site: Any, tmp_path: Any, monkeypatch: Any) -> None:
    site.install("acme-etl", "1.2", {"acme": "acme_etl"}, {"acme_etl.py": ACME})
    older = type(site)(tmp_path / "older")
    older.path.mkdir()
    older.install("Acme_ETL", "1.1", {"acme": "acme_etl"})
    monkeypatch.syspath_prepend(str(site.path))
    monkeypatch.setattr(sys, "path", [*sys.path, str(older.path)])
    assert Plugins().distribution("acme") == "acme-etl 1.2"


def test_one_component_twice_in_one_plugin(site: Any) -> None:
    module = """
        from etlcore import Component, hookimpl

        @hookimpl
        def etl_components():
            yield Component("acme", kind="sink", target="acme_stages:Out")
            yield Component("acme", kind="sink", target="acme_stages:Other")
    """
    site.install("acme-etl", "1.2", {"acme": "acme_etl"}, {"acme_etl.py": module})
    with pytest.raises(NameCollision, match=r"acme-etl 1.2.*2 times: acme_stages:Out and acme_stages:Other"):
        Plugins().resolve("acme", "sink")


HOOK = """
    from etlcore import Component, hookimpl

    {mark}
    def {name}({arguments}):
        {body}
"""


def hook(
    body: str = 'yield Component("acme", "sink", "acme_stages:Out")',
    *,
    name: str = "etl_components",
    mark: str = "@hookimpl",
    arguments: str = "",
) -> str:
    return HOOK.format(mark=mark, name=name, arguments=arguments, body=body)


BROKEN = {
    "import error": (
        "import no_such_module",
        "cannot be imported: ModuleNotFoundError: No module named 'no_such",
    ),
    "any error at import": ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
    "exit at import": ("raise SystemExit(0)", "cannot be imported: SystemExit: 0"),
    "syntax error": ("def", "cannot be imported: SyntaxError"),
    "hook raises": (hook("raise KeyError('x')"), "etl_components() raised KeyError: 'x'"),
    "hook raises while yielding": (hook("yield from [][1]"), "etl_components() raised IndexError"),
    "no record": (hook("yield 'acme'"), "etl_components() yields 'acme'"),
    "not iterable": (hook("return 5"), "etl_components() raised TypeError"),
    "foreign name": (
        hook('yield Component("other.x", "sink", "acme_stages:Out")'),
        "offers `other.x`, which is not its own name",
    ),
    "wrong kind": (hook('yield Component("acme", "sync", "a:B")'), "kind must be one of source, transform, sink"),
    "bad target": (hook('yield Component("acme", "sink", "a.b")'), 'the target must read "package.module:name"'),
    "bad name": (hook('yield Component("acme..x", "sink", "a:B")'), "'acme..x' is no name"),
    "bad interface": (
        hook('yield Component("acme", "sink", "a:B", interface="1")'),
        "interface must be a whole",
    ),
    "misspelt hook": (hook(name="etl_component"), "`etl_component` is marked as a hook, but there is no hook"),
    "misspelt, meant": (hook(name="etl_comandos"), "did you mean `etl_commands`?"),
    "misspelt without prefix": (hook(name="components"), "did you mean `etl_components`?"),
    "unmarked hook": (hook(mark=""), "`etl_components` lacks its mark: write @hookimpl above it"),
    "unmarked and misspelt": (hook(mark="", name="etl_componets"), "`etl_componets` is no hook: did you mean"),
    "unmarked helper": (hook(mark="", name="etl_zzz"), "`etl_zzz` is no hook (names with etl_ are kept for hooks)"),
    "wrong parameter": (hook(arguments="stage"), "Argument(s) {'stage'} are declared in the hookimpl but can not be"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_fatal_only_to_who_needs_it(site: Any, case: str) -> None:
    module, message = BROKEN[case]
    site.install("acme-etl", "1.2", {"acme": "acme_etl"}, {"acme_etl.py": module, "acme_stages.py": STAGES})
    plugins = Plugins()
    with pytest.raises(BrokenPlugin) as raised:
        plugins.resolve("acme", "sink")
    assert message in raised.value.message
    assert "acme-etl 1.2" in raised.value.message
    assert plugins.resolve("console", "sink")

    warnings: list[str] = []
    listed = [component.name for component, _ in plugins.components(warnings.append)]
    assert "console" in listed
    assert "acme" not in listed
    assert [message in warning and "\n" not in warning for warning in warnings] == [True]


def test_a_hook_of_a_later_version_may_be_marked_optional(site: Any) -> None:
    module = hook() + hook("pass", name="etl_of_tomorrow", mark="@hookimpl(optionalhook=True)")
    site.install("acme-etl", "1.2", {"acme": "acme_etl"}, {"acme_etl.py": module})
    assert Plugins().resolve("acme", "sink")


@pytest.mark.parametrize(("version", "upgrade"), [(2, "etlcore"), (0, "acme-etl")])
def test_another_interface_version(site: Any, version: int, upgrade: str) -> None:
    module = hook(f'yield Component("acme", "sink", "acme_stages:Out", interface={version})')
    site.install("acme-etl", "1.2", {"acme": "acme_etl"}, {"acme_etl.py": module})
    with pytest.raises(WrongInterface) as raised:
        Plugins().resolve("acme", "sink")
    assert f"`acme` (acme-etl 1.2) is written for version {version} of the plugin interface" in raised.value.message
    assert raised.value.hint == f"pip install --upgrade {upgrade}"


CLASSES = {
    "no such module": ("nowhere:Out", "", "importing nowhere raised ModuleNotFoundError"),
    "no such class": ("acme_stages:Out", "", "acme_stages has no `Out`"),
    "no class": ("acme_stages:Out", "def Out(): pass", "acme_stages:Out is no subclass of Sink"),
    "another base": ("acme_stages:Out", "class Out: pass", "acme_stages:Out is no subclass of Sink"),
    "another kind": (
        "acme_stages:Out",
        "from etlcore import Transform\nclass Out(Transform): pass",
        "acme_stages:Out is no subclass of Sink",
    ),
    "no method": ("acme_stages:Out", "from etlcore import Sink\nclass Out(Sink): pass", "does not define write()"),
    "config is no model": (
        "acme_stages:Out",
        "from etlcore import Sink\nclass Out(Sink):\n  class Config: pass\n  def write(self, batch): pass",
        "acme_stages:Out.Config is no pydantic model",
    ),
    "missing dependency": (
        "acme_stages:Out",
        "import no_such_module",
        "importing acme_stages raised ModuleNotFoundError: No module named 'no_such_module'",
    ),
}


@pytest.mark.parametrize("case", CLASSES)
def test_a_class_that_is_no_component(site: Any, case: str) -> None:
    target, text, message = CLASSES[case]
    site.install(
        "acme-etl",
        "1.2",
        {"acme": "acme_etl"},
        {"acme_etl.py": hook(f'yield Component("acme", "sink", "{target}")'), "acme_stages.py": text},
    )
    plugins = Plugins()
    with pytest.raises(BrokenPlugin) as raised:
        plugins.load(plugins.resolve("acme", "sink"))
    assert raised.value.message.startswith("sink `acme` (acme-etl 1.2) cannot be loaded: ")
    assert message in raised.value.message


@pytest.mark.parametrize(("base", "method"), [("Source", "read"), ("Transform", "process"), ("RowTransform", "map")])
def test_the_method_that_is_missing_is_named(site: Any, base: str, method: str) -> None:
    kind = "source" if base == "Source" else "transform"
    modules = {
        "acme_etl.py": hook(f'yield Component("acme", "{kind}", "acme_stages:Stage")'),
        "acme_stages.py": f"from etlcore import {base}\nclass Stage({base}): pass",
    }
    site.install("acme-etl", "1.2", {"acme": "acme_etl"}, modules)
    plugins = Plugins()
    with pytest.raises(BrokenPlugin, match=rf"does not define {method}\(\)"):
        plugins.load(plugins.resolve("acme", kind))  # type: ignore[arg-type]


SECRETS = """
    from etlcore import SecretScheme, hookimpl

    @hookimpl
    def etl_secret_schemes():
        yield SecretScheme("vault", "vault_secrets:lookup")
        yield SecretScheme("vault.number", "vault_secrets:number")
"""
LOOKUP = """
    def lookup(reference):
        return {"db/password": "hunter2"}[reference]

    def number(reference):
        return 5
"""


def test_secret_schemes(site: Any) -> None:
    site.install("vault-etl", "2", {"vault": "vault_etl"}, {"vault_etl.py": SECRETS, "vault_secrets.py": LOOKUP})
    plugins = Plugins()
    assert plugins.secret("vault", "db/password") == "hunter2"
    with pytest.raises(PluginError, match=r"the secret scheme `vault` \(vault-etl 2\) failed: KeyError: 'nothing'"):
        plugins.secret("vault", "nothing")
    with pytest.raises(PluginError, match="gave a int, not text"):
        plugins.secret("vault.number", "x")
    with pytest.raises(PluginError, match=r"has no secret scheme `vault\.kv`"):
        plugins.secret("vault.kv", "x")


def test_the_runtime_tells_only_loaded_plugins_and_survives_their_faults(site: Any, caplog: Any) -> None:
    watcher = """
        from etlcore import hookimpl

        told = []

        @hookimpl
        def etl_stage_drained(stage, counts):
            told.append((stage, counts))

        @hookimpl
        def etl_run_finished(report):
            told.append(report)
    """
    faulty = hook("1 / 0", name="etl_run_finished")
    site.install("watcher", "1", {"watcher": "watcher"}, {"watcher.py": watcher})
    site.install("faulty", "1", {"faulty": "faulty"}, {"faulty.py": faulty})
    site.install("leaving", "1", {"leaving": "leaving"}, {"leaving.py": hook("exit(1)", name="etl_run_finished")})
    site.install("other", "1", {"other": "other"}, {"other.py": watcher})
    plugins = Plugins()
    plugins.require("faulty")
    plugins.require("leaving")
    plugins.require("watcher")
    plugins.stage_drained("p", "out", {"in": 3})
    plugins.run_finished({"balanced": True})
    assert sys.modules["watcher"].told == [("out", {"in": 3}), {"balanced": True}]
    assert not loaded("other")
    assert "etl_run_finished of plugin faulty (faulty) raised ZeroDivisionError" in caplog.text
    assert "etl_run_finished of plugin leaving (leaving) raised SystemExit" in caplog.text


def test_records_are_checked_where_they_are_made() -> None:
    assert Component("acme.count", "source", "acme:Count").interface == 1
    with pytest.raises(ValueError, match="kind must be one of source, transform, sink, not 'sinks'"):
        Component("acme", "sinks", "acme:Count")  # type: ignore[arg-type]


def test_the_package_is_light() -> None:
    code = """
import sys
import etlcore.plugins
etlcore.plugins.Plugins().names()
heavy = {'pyarrow', 'pydantic', 'yaml', 'rich', 'click', 'etlcore.builtin', 'etlcore_sls', 'aliyun'}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
