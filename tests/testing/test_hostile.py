"""Each hostile component breaks one rule, and the kit names just that one; the honest ones keep all."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = Path(__file__).parent / "hostile_contracts.py"

BREAKS = {
    "TestWritesAtClose": "test_write_returns_only_when_rows_are_durable",
    "TestClosesWhatIsNotOpen": "test_close_is_safe_after_open_raised",
    "TestLeavesThread": "test_no_thread_is_left_behind",
    "TestEmptiesAtOpen": "test_a_later_run_adds_to_what_is_stored",
    "TestSaysIdempotent": "test_an_idempotent_sink_stores_repeated_rows_once",
    "TestChangesRows": "test_rows_that_were_handed_in_are_not_changed",
}
HONEST = ["TestHonestSink"]


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """``{contract: {check that failed: message}}`` of all contracts, run by pytest as an author runs them."""
    report = tmp_path_factory.mktemp("hostile") / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CONTRACTS), f"--junitxml={report}"]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    found: dict[str, dict[str, str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        broken = found.setdefault(case.attrib["classname"].rpartition(".")[2], {})
        for failure in [*case.iter("failure"), *case.iter("error")]:
            broken[case.attrib["name"]] = f"{failure.attrib.get('message')}\n{failure.text}"
    return found


def test_every_contract_is_expected_to_break_a_rule_or_none(failures: dict[str, dict[str, str]]) -> None:
    assert set(failures) == {*BREAKS, *HONEST}


@pytest.mark.parametrize(("contract", "rule"), BREAKS.items(), ids=BREAKS)
def test_just_the_rule_that_is_broken_is_named(failures: dict[str, dict[str, str]], contract: str, rule: str) -> None:
    assert list(failures[contract]) == [rule], failures[contract]
    message = failures[contract][rule]
    for part in (
        "the rule: ",
        "what was seen: ",
        'where it stands: docs/plugin-contract.md, "',
        "ETLCORE_TESTING_SEED=",
    ):
        assert part in message


@pytest.mark.parametrize("contract", HONEST)
def test_who_keeps_all_rules_is_blamed_for_nothing(failures: dict[str, dict[str, str]], contract: str) -> None:
    assert failures[contract] == {}
