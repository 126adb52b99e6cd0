"""The frame around the verbs: wrong command lines, faults, plugins' verbs, and what `etl --help` costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from etlcore import __version__

ETL = Path(sys.executable).with_name("etl")

WRONG = [
    (["chek", "x.yaml"], "there is no command `chek`", "did you mean `check`?"),
    (["zzz"], "there is no command `zzz`", "etl --help lists the commands"),
    (["pipelines/x.yaml"], "there is no command `pipelines/x.yaml`", "did you mean etl run pipelines/x.yaml?"),
    (["console"], "there is no command `console`", "etl --help lists the commands"),
    (["a.b"], "there is no command `a.b`", ""),
    ([""], "there is no command ``", ""),
    (["--zzz"], "No such option", "--zzz"),
    (["check"], "Missing argument 'FILE…'", "etl check --help"),
    (["check", "--zzz", "x.yaml"], "No such option", "--zzz"),
    (["check", "no/such/file.yaml"], "no/such/file.yaml: cannot be read: No such file or directory", "check the path"),
    (["check", "."], ".: cannot be read: Is a directory", ""),
    (["check", ""], "cannot be read", ""),
    (["check", "a\0b"[:1] + "b.yaml"], "ab.yaml: cannot be read", ""),
    (["run"], "Missing argument 'FILE'", "etl run --help"),
    (["run", "--zzz", "x.yaml"], "No such option", "--zzz"),
    (["run", "x.yaml", "y.yaml"], "unexpected extra argument", "y.yaml"),
    (["run", "no/such/file.yaml"], "no/such/file.yaml: cannot be read: No such file or directory", "check the path"),
    (["run", "."], ".: cannot be read: Is a directory", ""),
    (["run", "x.yaml", "--log-format", "xml"], "'xml' is not one of", "etl run --help"),
    (["run", "x.yaml", "--timeout", "soon"], "'soon' is no number of seconds", "write --timeout 30"),
    (["--version=3"], "--version", "does not take a value"),
    ([], "Usage: etl", "Commands:"),
]


def etl(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ETL, *arguments], capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize(("arguments", "message", "hint"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_command_lines(tmp_path: Path, arguments: list[str], message: str, hint: str) -> None:
    done = etl(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_pipeline_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("stages:\n  g: {source: generate}\n  o: {sink: console, wrokers: 1}\n")
    done = etl("run", "p.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "p.yaml:3:22: unknown key `wrokers`\n"
        "      o: {sink: console, wrokers: 1}\n"
        "                         ^\n"
        "  -> did you mean `workers`?\n"
    )
    assert os.listdir(tmp_path) == ["p.yaml"]


def test_version_and_help() -> None:
    assert etl("--version").stdout == f"etl {__version__}\n"
    shown = etl("--help")
    assert shown.returncode == 0
    assert shown.stderr == ""
    for verb in ("run", "check"):
        assert f"\n  {verb} " in shown.stdout
    assert etl("-h").stdout == shown.stdout
    assert "all at once" in etl("check", "--help").stdout


@pytest.mark.parametrize(
    ("group", "verbs"), [("dead", ["list", "show", "replay", "purge"]), ("state", ["show", "reset"])]
)
def test_verbs_below_a_verb_are_listed_in_the_order_of_use(group: str, verbs: list[str]) -> None:
    commands = etl(group, "--help").stdout.partition("Commands:\n")[2]
    assert [line.split()[0] for line in commands.splitlines()] == verbs


@pytest.mark.parametrize("verb", [("dead", "replay"), ("state", "reset")])
def test_a_verb_that_needs_a_file_does_not_speak_of_none(verb: tuple[str, ...]) -> None:
    shown = etl(*verb, "--help").stdout
    assert "Default: .etl beside" in " ".join(shown.split())
    assert "without FILE" not in " ".join(shown.split())


def test_help_imports_neither_pyarrow_nor_any_sdk() -> None:
    code = """
import sys
from etlcore.cli import main
code = main(['--help'])
heavy = {'pyarrow', 'pydantic', 'yaml', 'rich', 'requests', 'aliyun', 'aliyun.log', 'lz4', 'sqlite3', 'numpy'}
print(code, sorted(heavy & set(sys.modules)))
print(sorted(name for name in sys.modules if name.startswith(('etlcore.runtime', 'etlcore.spec', 'etlcore.state'))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-2:] == ["0 []", "[]"]


VERB = """
    from etlcore import Command, hookimpl

    @hookimpl
    def etl_commands():
        yield Command("{name}", target="acme_cli:{target}", summary="Of acme.")
"""
CLI = """
    import click

    @click.command()
    @click.argument("what", default="nothing")
    def verb(what):
        "Says what it was given."
        if what == "fault":
            raise KeyError("lost")
        if what == "interrupt":
            raise KeyboardInterrupt
        if what == "usage":
            raise click.UsageError("not so")
        if what == "file":
            raise click.FileError("x.yaml", "no such file")
        if what == "endless":
            while True:
                click.echo("line")
        if what == "five":
            return 5
        if what == "exit":
            raise SystemExit(3)
        click.echo(what)

    thing = 5
"""


@pytest.fixture
def acme(site: Any) -> dict[str, str]:
    site.install(
        "acme-etl",
        "1.2",
        {"acme": "acme_etl"},
        {"acme_etl.py": VERB.format(name="acme", target="verb"), "acme_cli.py": CLI},
    )
    return dict(site.environ())


def test_a_plugins_verb(acme: dict[str, str]) -> None:
    shown = etl("--help", env=acme)
    assert "Commands of plugins:" in shown.stdout
    assert "\n  acme  Of acme.\n" in shown.stdout
    assert etl("acme", "hello", env=acme).stdout == "hello\n"
    assert "did you mean `acme`?" in etl("acmee", env=acme).stderr


@pytest.mark.parametrize(
    ("what", "code", "message"),
    [
        ("five", 5, ""),
        ("exit", 3, ""),
        ("interrupt", 130, ""),
        ("usage", 2, "not so"),
        ("file", 2, "x.yaml"),
        ("fault", 70, "etl: a fault in etlcore: KeyError: 'lost'\n  -> ETL_DEBUG=1 shows where; please report it\n"),
    ],
)
def test_how_a_verb_may_end(acme: dict[str, str], what: str, code: int, message: str) -> None:
    done = etl("acme", what, env=acme)
    assert done.returncode == code
    assert message in done.stderr
    assert bool(done.stderr) == bool(message)
    assert "Traceback" not in done.stderr


def test_a_fault_shows_its_traceback_when_asked(acme: dict[str, str]) -> None:
    for arguments, environ in ((["--debug", "acme", "fault"], acme), (["acme", "fault"], {**acme, "ETL_DEBUG": "1"})):
        done = etl(*arguments, env=environ)
        assert done.returncode == 70
        assert "Traceback" in done.stderr
        assert 'raise KeyError("lost")' in done.stderr


def test_a_reader_that_goes_away_is_no_fault(acme: dict[str, str]) -> None:
    with subprocess.Popen(
        [ETL, "acme", "endless"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=acme
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 141


def test_a_full_disk_is_no_fault_of_etlcore() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([ETL, "--version"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (74, "etl: No space left on device\n")


def test_a_closed_standard_output_is_borne() -> None:
    done = subprocess.run(["sh", "-c", '"$0" --version >&-', ETL], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_before_anything_runs_is_quiet(acme: dict[str, str]) -> None:
    with subprocess.Popen(
        [ETL, "acme", "endless"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=acme,
        # A shell that starts the tests in the background has its children ignore the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"line\n"
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 130


def test_a_plugin_that_cannot_be_imported_is_fatal_only_as_a_verb(site: Any) -> None:
    site.install("acme-etl", "1.2", {"acme": "acme_etl"}, {"acme_etl.py": "1 / 0"})
    shown = etl("--help", env=site.environ())
    assert (shown.returncode, shown.stderr) == (0, "")
    done = etl("acme", env=site.environ())
    assert done.returncode == 2
    assert "plugin `acme` (acme-etl 1.2) cannot be imported: ZeroDivisionError: division by zero" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_plugin_is_one_line_in_the_help_and_fatal_as_a_verb(site: Any) -> None:
    module = VERB.format(name="other", target="verb")
    site.install("acme-etl", "1.2", {"acme": "acme_etl"}, {"acme_etl.py": module})
    shown = etl("--help", env=site.environ())
    assert shown.returncode == 0
    assert "\n  run " in shown.stdout
    message = "plugin `acme` (acme-etl 1.2) offers `other`, which is not its own name"
    assert shown.stderr == f"warning: {message}\n"
    done = etl("acme", env=site.environ())
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_help_says_which_plugins_may_have_more_verbs(site: Any) -> None:
    module = VERB.format(name="acme", target="verb").replace("        yield", "        for _ in [1]: yield")
    site.install("acme-etl", "1.2", {"acme": "acme_etl"}, {"acme_etl.py": module, "acme_cli.py": CLI})
    shown = etl("--help", env=site.environ())
    assert "More commands may come from acme-etl 1.2" in shown.stdout
    assert etl("acme", "hello", env=site.environ()).stdout == "hello\n"


def test_what_a_slow_plugin_costs_those_who_do_not_use_it(site: Any, tmp_path: Path) -> None:
    """Nothing: neither the help nor a run that does not name it imports it."""
    site.install(
        "acme-etl",
        "1.2",
        {"acme": "acme_etl"},
        {"acme_etl.py": "import acme_slow\n" + dedent(VERB).format(name="acme", target="verb")},
    )
    (tmp_path / "p.yaml").write_text("stages: {in: {source: generate, with: {rows: 1}}, out: {sink: blackhole}}\n")
    code = """
import sys
from etlcore.cli import main
codes = [main(arguments) for arguments in (["--help"], ["plugins"], ["check", "p.yaml"], ["run", "p.yaml", "--quiet"])]
print(codes, [name for name in sys.modules if name.startswith("acme")])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=site.environ(), capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines()[-1] == "[0, 0, 0, 0] []", done.stderr
    assert "\n  acme " in done.stdout, "it is listed all the same"


def test_a_verb_that_is_no_command(site: Any) -> None:
    site.install(
        "acme-etl",
        "1.2",
        {"acme": "acme_etl"},
        {"acme_etl.py": VERB.format(name="acme", target="thing"), "acme_cli.py": CLI},
    )
    done = etl("acme", env=site.environ())
    assert (done.returncode, done.stderr) == (2, "the verb `acme` is no click command, but a int\n")


def test_a_plugin_cannot_take_a_verb_of_etl(site: Any, tmp_path: Path) -> None:
    site.install(
        "check-etl",
        "1.2",
        {"check": "check_etl"},
        {"check_etl.py": VERB.format(name="check", target="verb"), "acme_cli.py": CLI},
    )
    assert (
        "warning: the verb `check` of check-etl 1.2 is hidden by etl's own" in etl("--help", env=site.environ()).stderr
    )
    assert "no/such.yaml: cannot be read" in etl("check", "no/such.yaml", cwd=tmp_path, env=site.environ()).stderr


def test_a_first_party_verb_that_is_not_installed(tmp_path: Path) -> None:
    """In an environment that has etlcore alone: only its own directory and its dependencies, without etlcore-sls."""
    code = """
from etlcore.plugins import installed, manager
every = installed.installed_entries()
manager.installed_entries = lambda: [entry for entry in every if entry.distribution != 'etlcore-sls']
from etlcore.cli import main
raise SystemExit(main(['sls', 'emulator']))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "pip install etlcore-sls" in done.stderr


def test_the_shell_completes_verbs() -> None:
    environ = {**os.environ, "_ETL_COMPLETE": "bash_complete", "COMP_WORDS": "etl ch", "COMP_CWORD": "1"}
    assert "check" in etl(env=environ).stdout
