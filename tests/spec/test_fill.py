"""``${…}``: filled in after parsing, as values, typed by the option that wants them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etlcore.spec import SpecError, load, load_text

Options = Callable[..., Any]

ENVIRON = {"NAME": "value", "N": "5", "EMPTY": "", "YAML": "{a: [1, 2]}", "DOLLAR": "${NAME}", "NO": "no", "F": " 1.5 "}


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("${NAME}", "value"),
        ("a ${NAME} b ${N}", "a value b 5"),
        ("${NAME:-default}", "value"),
        ("${UNSET:-default}", "default"),
        ("${EMPTY:-default}", "default"),
        ("${EMPTY}", ""),
        ("${UNSET:-}", ""),
        ("${UNSET:-${NAME}}", "value"),
        ("${UNSET:-a ${OTHER:-b} c}", "a b c"),
        ("${UNSET:-$${x}}", "${x}"),
        ("$${NAME}", "${NAME}"),
        ("$NAME $$ {x} $", "$NAME $$ {x} $"),
        ("${DOLLAR}", "${NAME}"),
        ("${YAML}", "{a: [1, 2]}"),
        ("${UNSET:-a:b://c}", "a:b://c"),
    ],
)
def test_text(options: Options, written: str, text: str) -> None:
    assert options(f"\n      text: '{written}'", **ENVIRON).text == text


@pytest.mark.parametrize(
    ("option", "written", "value"),
    [
        ("whole", "${N}", 5),
        ("whole", "${UNSET:-7}", 7),
        ("whole", "${UNSET:-1_000}", 1000),
        ("maybe", "${N}", 5),
        ("number", "${F}", 1.5),
        ("number", "${N}", 5.0),
        ("truth", "${NO}", False),
        ("truth", "${UNSET:-1}", True),
        ("truth", "${UNSET:-off}", False),
        ("text", "${N}", "5"),
        ("either", "${N}", "5"),
        ("level", "${UNSET:-2}", 2),
        ("anything", "${N}", "5"),
        ("names", "{a: '${N}'}", {"a": "5"}),
    ],
)
def test_a_whole_value_is_what_the_option_wants(options: Options, option: str, written: str, value: Any) -> None:
    found = getattr(options(f"\n      {option}: {written}", **ENVIRON), option)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("written", ["1${N}", "${N}0", "${N}${N}", "${YAML}", "${EMPTY}", "${NO}", "${F}"])
def test_a_part_of_a_value_is_text(options: Options, written: str) -> None:
    with pytest.raises(SpecError, match="option `whole` of `probe`: must be a whole number"):
        options(f"\n      whole: {written}", **ENVIRON)


def test_the_frames_own_keys_are_filled_as_well() -> None:
    text = """
name: ${NAME}
stages:
  g: {source: "${SOURCE:-generate}", workers: "${N}"}
  o: {sink: console, from: ["${FROM:-g}"], queue: {bytes: "${SIZE:-1MiB}"}, ordered: "${NO}"}
shutdown: {timeout: "${TIMEOUT:-1m}"}
"""
    pipeline = load_text(text, environ=ENVIRON)
    assert pipeline.name == "value"
    assert pipeline.stages[0].workers == 5
    assert pipeline.stages[1].queue.bytes == 2**20
    assert pipeline.stages[1].ordered is False
    assert pipeline.shutdown_timeout == 60


def test_keys_and_anchors_for_later_use_are_left_alone() -> None:
    text = """
x-spare: {a: "${UNSET}"}
stages: {g: {source: generate, with: {fields: {"${N}": a}}}, o: {sink: console}}
"""
    config: Any = load_text(text, environ=ENVIRON).stages[0].config
    assert list(config.fields) == ["${N}"]


def test_files(options: Options, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "password").write_bytes(b"hunter2\r\n")
    (tmp_path / "two-lines").write_bytes(b"a\nb\n\n")
    file = tmp_path / "p.yaml"
    file.write_text(
        "stages:\n  p:\n    source: probe\n    with:\n      secret: ${file:secrets/password}\n"
        "      text: ${file:two-lines}\n  o: {sink: console}\n"
    )
    config: Any = load(file).stages[0].config
    assert config.secret.get_secret_value() == "hunter2"
    assert config.text == "a\nb\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing", None, "No such file or directory"),
        (".", None, "Is a directory"),
        ("binary", b"\xff\xfe", "is not UTF-8 text"),
        ("large", b"x" * (1024 * 1024 + 1), "is larger than 1024 KiB"),
    ],
)
def test_files_that_cannot_be(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    file = tmp_path / "p.yaml"
    file.write_text(
        f'stages: {{g: {{source: generate, with: {{fields: {{a: "${{file:{name}}}"}}}}}}, o: {{sink: console}}}}'
    )
    with pytest.raises(SpecError, match=message):
        load(file)


def test_a_plugins_secret_scheme(site: Any, options: Options) -> None:
    plugin = """
        from etlcore import SecretScheme, hookimpl

        @hookimpl
        def etl_secret_schemes():
            yield SecretScheme("vault", "vault_etl:lookup")

        def lookup(reference):
            return {"db/password": "hunter2"}[reference]
    """
    site.install("vault-etl", "1", {"vault": "vault_etl"}, {"vault_etl.py": plugin})
    assert options('{secret: "${vault:db/password}"}').secret.get_secret_value() == "hunter2"
    with pytest.raises(SpecError, match=r"secret scheme `vault` \(vault-etl 1\) failed: KeyError: 'nothing'"):
        options('{secret: "${vault:nothing}"}')
    with pytest.raises(SpecError) as raised:
        options('{whole: "${vault:db/password}"}')
    assert "must be a whole number, not what ${vault:db/password} stands for" in str(raised.value)
    assert "hunter2" not in str(raised.value)
