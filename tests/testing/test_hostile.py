"""Each hostile component breaks one rule, and the kit names just that one; the honest ones keep all."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environ import for_another_pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
KINDS = ("sink", "source", "transform")

SINKS = {
    "TestWritesAtClose": "test_write_returns_only_when_rows_are_durable",
    "TestClosesWhatIsNotOpen": "test_close_is_safe_after_open_raised",
    "TestLeavesThread": "test_no_thread_is_left_behind",
    "TestEmptiesAtOpen": "test_a_later_run_adds_to_what_is_stored",
    "TestSaysIdempotent": "test_an_idempotent_sink_stores_repeated_rows_once",
    "TestChangesRows": "test_rows_that_were_handed_in_are_not_changed",
    "TestRefusesRepeats": "test_write_can_be_called_again_with_the_same_rows",
    "TestLeavesLock": "test_a_kill_within_a_write_can_be_recovered_from",
    "TestRefusesToStop": "test_a_stop_at_any_moment_loses_nothing",
    "TestWorkersOverwrite": "test_several_workers_store_every_row",
    "TestNeedsRows": "test_a_run_without_rows_ends_well",
    "TestCutsHugeBatches": "test_a_huge_batch_is_stored_whole",
    "TestSpoilsText": "test_any_text_is_stored_as_it_is",
    "TestSkipsNulls": "test_rows_with_nulls_are_stored_or_refused",
    "TestKnowsFirstColumns": "test_rows_of_changing_shapes_are_stored_or_refused",
    "TestSkipsWhatJsonLacks": "test_every_arrow_type_is_stored_or_refused",
    "TestTwoTransactions": "test_rows_and_positions_are_written_in_one_transaction",
    "TestForgetsOtherPositions": "test_positions_that_are_not_named_keep_their_values",
    "TestWantsRows": "test_positions_without_rows_are_kept",
}
SOURCES = {
    "TestNeverNone": "test_read_yields_at_least_once_a_second",
    "TestStartsAnew": "test_reading_from_a_committed_position_gives_the_rest",
    "TestClaimsTooMuch": "test_reading_from_a_committed_position_gives_the_rest",
    "TestPositionsAreTuples": "test_positions_are_plain_json",
    "TestRunsBackwards": "test_positions_never_run_backwards",
    "TestDoesNotLetGo": "test_a_stop_at_any_yield_ends_the_source",
    "TestEachReadsAll": "test_several_workers_share_the_rows",
    "TestEndsForGood": "test_a_later_run_reads_what_was_added",
    "TestCommitsAtClose": "test_commit_returns_only_when_positions_are_durable",
    "TestCommitsWhatItRead": "test_what_a_failing_sink_left_is_read_again",
    "TestCommitsOnce": "test_a_commit_that_raised_is_made_again",
    "TestHasPlainSecret": "test_secrets_are_kept_secret",
}
TRANSFORMS = {
    "TestWrongResult": "test_the_examples_come_out_as_given",
    "TestTransformChangesRows": "test_rows_that_were_handed_in_are_not_changed",
    "TestDice": "test_the_same_input_gives_the_same_output",
    "TestKeepsOneRow": "test_no_row_is_kept_beyond_process",
    "TestKnowsBatches": "test_process_can_be_called_again_with_the_same_rows",
    "TestRowsOnly": "test_columns_give_what_rows_give",
    "TestRejectsAndGives": "test_rejected_rows_are_missing_from_the_result",
    "TestNeverRecovers": "test_others_are_processed_after_strange_rows",
    "TestTransformCutsHugeBatches": "test_a_huge_batch_goes_through_whole",
    "TestWorkersDiffer": "test_several_workers_give_what_one_gives",
    "TestForgetsToFlush": "test_what_is_kept_comes_out_at_the_flush",
    "TestHasNoDescription": "test_every_option_is_described",
}
BREAKS = {**SINKS, **SOURCES, **TRANSFORMS}
HONEST = [
    "TestHonestSink",
    "TestHonestTransaction",
    "TestHonestSource",
    "TestHonestEndless",
    "TestHonestStore",
    "TestHonestTransform",
    "TestHonestExamples",
    "TestHonestBuffer",
]
_MEMORY = Path("/dev/shm")  # what is killed here is a process, not the machine: nothing needs a disk

Failures = dict[str, dict[str, str]]
"""``{contract: {check that failed: message}}``"""


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Failures]:
    """Those of all contracts, run by pytest as an author runs them; the three kinds side by side."""
    reports = tmp_path_factory.mktemp("hostile")
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else reports
    running = []
    with tempfile.TemporaryDirectory(dir=memory) as places:
        for kind in KINDS:
            place, report = Path(places) / kind, reports / f"{kind}.xml"
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={place}"]
            command += [f"--junitxml={report}", str(HERE / f"{kind}_contracts.py")]
            output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
            running.append(subprocess.Popen(command, cwd=ROOT, env=for_another_pytest(), **output))
        for process in running:
            said, _ = process.communicate()
            assert process.returncode == 1, said.decode()
        yield {name: broken for kind in KINDS for name, broken in _read(reports / f"{kind}.xml").items()}


def _read(report: Path) -> Failures:
    found: Failures = {}
    for case in ElementTree.parse(report).iter("testcase"):
        broken = found.setdefault(case.attrib["classname"].rpartition(".")[2], {})
        for failure in [*case.iter("failure"), *case.iter("error")]:
            broken[case.attrib["name"]] = f"{failure.attrib.get('message')}\n{failure.text}"
    return found


def test_every_contract_is_expected_to_break_a_rule_or_none(failures: Failures) -> None:
    assert set(failures) == {*BREAKS, *HONEST}


@pytest.mark.parametrize(("contract", "rule"), BREAKS.items(), ids=BREAKS)
def test_just_the_rule_that_is_broken_is_named(failures: Failures, contract: str, rule: str) -> None:
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
def test_who_keeps_all_rules_is_blamed_for_nothing(failures: Failures, contract: str) -> None:
    assert failures[contract] == {}
