"""What an author meets: exemptions, messages for what is written wrongly, and the page that lists all checks."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from etlcore.testing import SinkContract, SourceContract, TransformContract
from etlcore.testing.checks import Contract, ContractError
from etlcore.testing.faults import Fault, Watch
from tests.environ import for_another_pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS: list[type[Contract]] = [SourceContract, TransformContract, SinkContract]


# -- exemptions --------------------------------------------------------------------------------------------------------


def test_an_exemption_from_what_is_no_check_names_the_check_that_was_meant() -> None:
    with pytest.raises(ContractError, match="did you mean test_no_thread_is_left_behind"):
        type("TestIt", (SinkContract,), {"exempt": {"test_no_threads_left_behind": "it has a pool"}})


@pytest.mark.parametrize("reason", ["", "  ", None])
def test_an_exemption_needs_a_reason(reason: object) -> None:
    with pytest.raises(ContractError, match="gives no reason for test_no_thread_is_left_behind"):
        type("TestIt", (SinkContract,), {"exempt": {"test_no_thread_is_left_behind": reason}})


AUTHOR = """
import json
from etlcore import Sink
from etlcore.testing import SinkContract


class TestBlackhole(SinkContract):
    component = "blackhole"
    exempt = {**SinkContract.reading_back("it forgets"), "test_no_thread_is_left_behind": "it has a pool"}


class TestNoStored(SinkContract):
    component = "blackhole"


class TestNoComponent(SinkContract):
    pass


class TestUnknown(SinkContract):
    component = "blackhol"


class TestWrongOptions(SinkContract):
    component = "files"
    options = {"pth": "out.jsonl"}
"""
WRONG = """
from etlcore.testing import SinkContract


class TestIt(SinkContract):
    component = "blackhole"
    exempt = {"test_every_row_is_stored": "it forgets"}
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What pytest says of an author's tests, by the file; each in a directory of its own."""
    found = {}
    for name, text in (("author", AUTHOR), ("wrong", WRONG)):
        directory = tmp_path_factory.mktemp(name)
        (directory / f"test_{name}.py").write_text(text)
        chosen = "stored_once or no_thread or huge or secrets"
        command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "-k", chosen, str(directory)]
        done = subprocess.run(
            command, cwd=directory, env=for_another_pytest(), capture_output=True, text=True, check=False
        )
        assert done.returncode in (1, 2), done.stdout + done.stderr
        found[name] = done.stdout
    return found


def test_an_exempted_check_is_shown_as_skipped_with_its_reason(said: dict[str, str]) -> None:
    assert re.search(r"SKIPPED .*exempt: it forgets", said["author"])
    assert re.search(r"SKIPPED .*exempt: it has a pool", said["author"])


def test_a_wrong_exemption_is_an_error_before_anything_runs(said: dict[str, str]) -> None:
    assert "1 error" in said["wrong"]
    assert "TestIt.exempt names 'test_every_row_is_stored', which is no check" in said["wrong"]
    assert "did you mean test_every_row_is_stored_once?" in said["wrong"]


@pytest.mark.parametrize(
    "message",
    [
        "TestNoStored must define stored(options)",
        'TestNoComponent must say what it tests: component = "acme.out", or the class',
        "no plugin named `blackhol` is installed",
        "unknown option `pth` of `files`",
    ],
)
def test_what_is_written_wrongly_is_said(said: dict[str, str], message: str) -> None:
    assert message in said["author"]


def test_checks_that_build_on_one_that_failed_are_not_made(said: dict[str, str]) -> None:
    assert "not made, because test_every_row_is_stored_once fails" in said["author"]
    assert re.search(r"PASSED .*TestNoStored::test_secrets_are_kept_secret", said["author"])


# -- what it costs -----------------------------------------------------------------------------------------------------


def test_naming_the_kit_imports_neither_pytest_nor_anything_heavy() -> None:
    heavy = ("pytest", "pyarrow", "pydantic", "sqlite3")
    program = f"import sys, etlcore.testing; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# -- what is drawn -----------------------------------------------------------------------------------------------------


class _Component:
    class context:
        worker = 0


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.99])
def test_a_moment_inside_a_call_is_where_it_was_drawn(part: float) -> None:
    done: list[int] = []
    at: list[int] = []
    watch = Watch((Fault("write", 2, "inside", lambda: at.append(len(done)), part),))

    def write() -> None:
        for number in range(100):
            done.append(number)

    watch.around(_Component(), "write", None, write)
    done.clear()
    watch.around(_Component(), "write", None, write)
    assert len(at) == 1
    assert abs(at[0] - part * 100) <= 5


def test_a_moment_inside_a_call_that_is_shorter_than_the_one_before_is_its_end() -> None:
    ended = threading.Event()
    watch = Watch((Fault("write", 2, "inside", ended.set, 0.9),))
    watch.around(_Component(), "write", None, lambda: [str(number) for number in range(100)])
    watch.around(_Component(), "write", None, lambda: None)
    assert ended.is_set()


# -- the page ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_check_is_listed_with_its_rule(contract: type[Contract]) -> None:
    page = (ROOT / "docs/testing-plugins.md").read_text(encoding="utf-8")
    for record in contract.checks():
        assert f"| `{record.name}` | {record.rule} |" in page


def test_nothing_is_listed_that_is_no_check() -> None:
    page = (ROOT / "docs/testing-plugins.md").read_text(encoding="utf-8")
    known = {record.name for contract in CONTRACTS for record in contract.checks()}
    assert set(re.findall(r"^\| `(test_\w+)` \|", page, flags=re.MULTILINE)) == known


@pytest.mark.parametrize("contract", CONTRACTS)
def test_every_rule_says_where_it_stands(contract: type[Contract]) -> None:
    page = (ROOT / "docs/plugin-contract.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^#+ (.+)$", page, flags=re.MULTILINE))
    assert {record.section for record in contract.checks()} <= headings


@pytest.mark.parametrize("contract", CONTRACTS)
def test_what_a_check_builds_on_is_a_check_that_is_made_before_it(contract: type[Contract]) -> None:
    names = [record.name for record in contract.checks()]
    for record in contract.checks():
        assert all(names.index(earlier) < names.index(record.name) for earlier in record.after)
