"""Several processes in one consumer group: shards are shared out, taken over, handed over; and never fought over."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from .support import PATIENCE, EtlRun, Store, ids_in, until


def _loads(state: Mapping[str, Any]) -> dict[str, int]:
    """How many shards each consumer has; empty while some shard is on its way."""
    if any(shard["state"] != "already_alloc" for shard in state["shards"]):
        return {}
    return dict(Counter(shard["owner"] for shard in state["shards"]))


def _member(store: Store, name: str, **options: Any) -> EtlRun:
    """A run that delivers into ``NAME.jsonl``."""
    given = {"consumer": name, "heartbeat_seconds": 0.5, "group_timeout_seconds": 20, **options}
    file = store.pipeline(
        f"""
        name: member
        shutdown: {{timeout: 10m}}
        stages:
          logs: {store.source(**given)}
          out:
            sink: files
            with: {{path: {name}.jsonl}}
        """,
        name,
    )
    return store.run(file, name, "--state", str(store.directory / f"state-{name}"))


def test_two_of_ours_and_an_official_consumer_share_the_shards_and_take_over_those_of_a_dead_one(store: Store) -> None:
    store.create(6).put(600, per_group=5)
    files = [store.directory / f"{name}.jsonl" for name in ("first", "second", "official")]
    with store.arriving(12, every=0.1), store.official("official", 2, 0.2) as official:
        first, second = _member(store, "first"), _member(store, "second")
        store.wait_for_state(lambda state: _loads(state) == {"first": 2, "second": 2, "official": 2})
        counts = [len(ids_in(file)) for file in files]
        until(lambda: all(len(ids_in(f)) > n for f, n in zip(files, counts, strict=True)), "rows for each of them")
        second.kill()
        store.control.advance_clock(14)  # whoever is alive was heard of less than six seconds ago
        store.wait_for_state(lambda state: _loads(state) == {"first": 3, "official": 3})
        put = len(store.ids())
        until(lambda: set(ids_in(*files)) >= set(range(put)), "all rows in the three files together")
        official.send_signal(signal.SIGTERM)
        assert official.wait(PATIENCE) == 0
        store.wait_for_state(lambda state: _loads(state) == {"first": 6})
    until(lambda: set(ids_in(*files)) == set(store.ids()), "the rest")
    store.wait_for_state(lambda state: state["rows_behind"] == 0)
    first.send(signal.SIGTERM).ended(0)
    assert first.balance["balanced"]
    assert first.balance["read"] == len(ids_in(files[0]))


# --- a shard that moves ----------------------------------------------------------------------------------------------


def _gated_member(store: Store, name: str, **options: Any) -> EtlRun:
    """A run that notes in ``NAME-seen.jsonl`` what it has read, and delivers once the file ``gate`` is there."""
    given = {"consumer": name, "heartbeat_seconds": 0.2, "group_timeout_seconds": 3600, **options}
    directory = store.directory
    file = store.pipeline(
        f"""
        name: gated
        shutdown: {{timeout: 10m}}
        stages:
          logs: {store.source(**given)}
          seen:
            transform: python
            with: {{call: "stages.py:note", options: {{file: {directory}/{name}-seen.jsonl}}}}
          held:
            transform: python
            with: {{call: "stages.py:gate", options: {{file: {directory}/gate}}}}
          out:
            sink: files
            with: {{path: {name}.jsonl}}
        """,
        name,
    )
    return store.run(file, name, "--state", str(directory / f"state-{name}"))


def test_a_shard_that_moves_is_drained_and_committed_before_it_is_let_go(store: Store) -> None:
    store.create(2).put(100, per_group=5)
    old = _gated_member(store, "old")
    old.until(lambda: len(ids_in(store.directory / "old-seen.jsonl")) == 100, "all rows in flight")
    new = _member(store, "new", heartbeat_seconds=0.2, group_timeout_seconds=3600)
    [moving] = store.control.wait_for("transfer", timeout=PATIENCE)
    assert (moving["consumer"], moving["next"]) == ("old", "new")
    shard = moving["shard"]
    asked = store.control.wait_for(
        "heartbeat", count=5, after=moving["number"], consumer="old", accepted=True, timeout=PATIENCE
    )
    assert all(shard in beat["held"] for beat in asked), "it is kept while its rows are in flight"
    assert all(shard not in beat["assigned"] for beat in asked), "though it was asked for"
    assert store.committed() == []
    store.put(50, per_group=5)
    (store.directory / "gate").touch()
    [assigned] = store.control.wait_for("assigned", shard=shard, consumer="new", timeout=PATIENCE)
    store.wait_for_state(lambda state: state["rows_behind"] == 0)
    old.stop(signal.SIGTERM).ended(0)
    new.stop(signal.SIGTERM).ended(0)

    events = store.control.events(after=moving["number"])
    [released] = [e["number"] for e in events if e["kind"] == "released" and e["shard"] == shard]
    commits = [event for event in events if event["kind"] == "checkpoint" and event["shard"] == shard]
    before = [commit for commit in commits if commit["number"] < released]
    assert {commit["consumer"] for commit in before} == {"old"}
    assert before[-1]["value"] == 10, "all that it had read, and nothing of what came later"
    assert {commit["consumer"] for commit in commits if commit["number"] > released} == {"new"}
    pulls = [e for e in events if e["kind"] == "pull" and e["shard"] == shard and e["number"] > assigned["number"]]
    assert pulls[0]["first"] == 10, "the new owner starts exactly there"
    assert sorted(ids_in(store.directory / "old.jsonl", store.directory / "new.jsonl")) == store.ids()


# --- a consumer that was given up ------------------------------------------------------------------------------------


@pytest.mark.parametrize("learns_by", ["heartbeat", "commit"])
def test_a_consumer_that_was_evicted_cannot_move_the_checkpoint_of_the_new_owner(store: Store, learns_by: str) -> None:
    """It stands still for longer than the group waits, with rows in flight, and wakes up when another has the shard."""
    store.create(1).put(100, per_group=5)
    late = _gated_member(store, "late", group_timeout_seconds=60)
    late.until(lambda: len(ids_in(store.directory / "late-seen.jsonl")) == 100, "all rows in flight")
    late.send(signal.SIGSTOP)
    store.control.advance_clock(61)
    other = _member(store, "other")
    [given_up] = store.control.wait_for("consumer_expired", consumer="late", timeout=PATIENCE)
    store.put(50, per_group=5)
    store.wait_for_state(lambda state: state["rows_committed"] == 150)

    if learns_by == "commit":
        store.control.fault("error", "heartbeat", consumer="late")
    late.send(signal.SIGCONT)
    if learns_by == "heartbeat":
        store.control.wait_for("consumer_joined", consumer="late", after=given_up["number"], timeout=PATIENCE)
    (store.directory / "gate").touch()
    until(lambda: len(ids_in(store.directory / "late.jsonl")) >= 100, "what it had in flight")
    if learns_by == "commit":
        store.control.wait_for("checkpoint", consumer="late", accepted=False, timeout=PATIENCE)
        store.control.clear_faults()
    late.send(signal.SIGTERM).ended(0)
    commits = store.control.events("checkpoint", after=given_up["number"])
    assert {commit["consumer"] for commit in commits if commit["accepted"]} == {"other"}
    assert [commit["value"] for commit in commits if commit["accepted"]][-1] == 30
    assert store.committed() == store.ids()
    assert late.balance["balanced"]
    assert late.report["committed"] == []
    other.send(signal.SIGTERM).ended(0)
    assert ids_in(store.directory / "other.jsonl") == store.ids()
