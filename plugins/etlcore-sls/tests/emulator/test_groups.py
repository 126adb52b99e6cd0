"""The consumer group's state machine by itself: tables of what happens, and invariants that always hold."""

from __future__ import annotations

from typing import Any

import pytest
from etlcore_sls.emulator.errors import ApiError
from etlcore_sls.emulator.groups import ConsumerGroup, LeaseState, ShardFacts
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

TIMEOUT = 10.0


class Play:
    """A group, its shards and a clock, told in short words."""

    def __init__(self, shards: int = 4, order: bool = False) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.group = ConsumerGroup("g", TIMEOUT, order, lambda kind, **fields: self.events.append((kind, fields)))
        self.shards = {number: ShardFacts(end=100) for number in range(shards)}
        self.now = 1000.0

    def beat(self, name: str, *held: int) -> list[int]:
        return self.group.heartbeat(name, held, self.shards, self.now)

    def commit(self, shard: int, value: int, consumer: str = "", force: bool = False) -> None:
        self.group.write_checkpoint(shard, value, consumer, force, self.shards, self.now)

    def states(self) -> dict[int, str]:
        self.group.refresh(self.shards, self.now)
        return {shard: str(lease.state) for shard, lease in sorted(self.group.leases.items())}

    def owners(self) -> dict[int, str]:
        return {shard: lease.owner for shard, lease in sorted(self.group.leases.items())}

    def split(self, parent: int, *children: int) -> None:
        self.shards[parent] = ShardFacts(self.shards[parent].end, True, self.shards[parent].parents)
        for child in children:
            self.shards[child] = ShardFacts(end=100, parents=(parent,))


def _code(error: pytest.ExceptionInfo[ApiError]) -> tuple[int, str]:
    return error.value.status, error.value.code


# --- assignment and balance ------------------------------------------------------------------------------------------


def test_before_anyone_comes_shards_are_not_allocated() -> None:
    assert Play(2).states() == {0: "not_alloc", 1: "not_alloc"}


def test_the_first_consumer_gets_everything() -> None:
    play = Play(3)
    assert play.beat("a") == [0, 1, 2]
    assert play.states() == dict.fromkeys(range(3), "already_alloc")


@pytest.mark.parametrize(
    ("shards", "consumers", "loads"),
    [(4, 1, [4]), (4, 2, [2, 2]), (5, 2, [2, 3]), (4, 3, [1, 1, 2]), (2, 4, [0, 0, 1, 1]), (7, 3, [2, 2, 3])],
)
def test_loads_differ_by_at_most_one(shards: int, consumers: int, loads: list[int]) -> None:
    play = Play(shards)
    held: dict[str, list[int]] = {}
    names = [f"c{number}" for number in range(consumers)]
    for _ in range(shards + consumers):
        for name in names:
            held[name] = play.beat(name, *held.get(name, ()))
    assert sorted(len(shards) for shards in held.values()) == loads
    assert sorted(shard for shards in held.values() for shard in shards) == list(range(shards))


def test_a_shard_moves_only_when_its_holder_leaves_it_out() -> None:
    play = Play(2)
    assert play.beat("a") == [0, 1]
    assert play.beat("b") == []
    assert play.states() == {0: "already_alloc", 1: "transfer"}
    assert play.beat("a", 0, 1) == [0], "the holder is no longer answered with it"
    assert play.beat("b") == [], "but nobody else is, while the holder still names it"
    assert play.beat("a", 0, 1) == [0]
    assert play.beat("b") == []
    assert play.beat("a", 0) == [0]
    assert play.beat("b") == [1]
    assert play.states() == {0: "already_alloc", 1: "already_alloc"}


def test_a_transfer_ends_when_the_holder_times_out() -> None:
    play = Play(2)
    play.beat("a")
    play.beat("b")
    play.now += TIMEOUT
    assert play.beat("b") == []
    play.now += 1
    assert play.beat("b") == [0, 1], "a was last heard of more than the timeout ago"


def test_a_transfer_is_off_when_the_next_consumer_times_out() -> None:
    play = Play(2)
    play.beat("a")
    play.beat("b")
    play.now += TIMEOUT
    play.beat("a", 0, 1)
    play.now += 1
    assert play.beat("a", 0, 1) == [0, 1]
    assert play.states() == {0: "already_alloc", 1: "already_alloc"}


def test_a_transfer_is_directed_elsewhere_rather_than_moving_another_shard() -> None:
    play = Play(4)
    play.beat("a")
    play.beat("b")
    assert [shard for shard, state in play.states().items() if state == "transfer"] == [2, 3]
    play.beat("c")
    assert [shard for shard, state in play.states().items() if state == "transfer"] == [2, 3]
    play.beat("a", 0, 1)
    assert sorted(play.beat("b") + play.beat("c")) == [2, 3]


def test_what_is_on_its_way_is_moved_rather_than_what_is_in_work_even_if_that_is_newer() -> None:
    play = Play(4)
    play.beat("a")
    play.beat("b")
    play.split(0, 4, 5)
    assert play.states()[2] == play.states()[3] == "transfer"
    assert (play.owners()[4], play.owners()[5]) == ("a", "b")
    play.beat("c")
    moving = {shard: lease.next_owner for shard, lease in play.group.leases.items() if lease.next_owner}
    assert moving[3] == "c", "it was on its way from a to b"
    assert 5 not in moving, "b works on it"


def test_a_transfer_is_called_off_when_the_holder_becomes_the_least_busy() -> None:
    play = Play(4)
    play.beat("a")
    play.beat("b")
    assert play.states() == {0: "already_alloc", 1: "already_alloc", 2: "transfer", 3: "transfer"}
    for shard in (0, 1):
        play.shards[shard] = ShardFacts(end=100, readonly=True)
        play.commit(shard, 100, "a")
    assert play.states() == {0: "over", 1: "over", 2: "transfer", 3: "already_alloc"}
    assert play.owners()[3] == "a"
    assert ("transfer_cancelled", {"shard": 3, "consumer": "a"}) in play.events


def test_the_shards_of_a_consumer_that_timed_out_go_to_the_others() -> None:
    play = Play(4)
    play.beat("a")
    play.beat("b")
    play.beat("a", 0, 1)
    assert play.beat("b") == [2, 3]
    play.now += TIMEOUT
    play.beat("b", 2, 3)
    play.now += 1
    assert play.beat("b", 2, 3) == [0, 1, 2, 3]


def test_exactly_the_timeout_is_not_too_late() -> None:
    play = Play(1)
    play.beat("a")
    play.now += TIMEOUT
    assert play.beat("a", 0) == [0]
    play.now += TIMEOUT + 0.001
    with pytest.raises(ApiError) as error:
        play.beat("a", 0)
    assert _code(error) == (400, "NotExistConsumerWithBody")


def test_an_unknown_consumer_that_names_shards_is_refused_until_it_comes_empty_handed() -> None:
    play = Play(1)
    play.beat("a")
    assert play.group.evict("a")
    with pytest.raises(ApiError) as error:
        play.beat("a", 0)
    assert _code(error) == (400, "NotExistConsumerWithBody")
    assert play.states() == {0: "not_alloc"}
    assert play.beat("a") == [0]


def test_a_consumer_that_starts_again_under_its_name_gets_its_shards_back() -> None:
    play = Play(2)
    play.beat("a")
    play.beat("a", 0, 1)
    assert play.beat("a") == [0, 1]


def test_evicting_whoever_is_not_there() -> None:
    assert not Play().group.evict("nobody")


# --- checkpoints and fencing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "force", "expected"),
    [
        ("holder", False, None),
        ("other member", False, (400, "ConsumerNotMatch")),
        ("stranger", False, (404, "ConsumerNotExist")),
        ("holder", True, None),
        ("other member", True, None),
        ("stranger", True, None),
        ("", True, None),
    ],
)
def test_who_may_write_a_checkpoint(who: str, force: bool, expected: tuple[int, str] | None) -> None:
    play = Play(1)
    play.beat("holder")
    play.beat("other member")
    play.commit(0, 7, "holder")
    if expected is None:
        play.commit(0, 9, who, force)
        assert play.group.leases[0].checkpoint == 9
        assert play.group.leases[0].writer == who
    else:
        with pytest.raises(ApiError) as error:
            play.commit(0, 9, who, force)
        assert _code(error) == expected
        assert play.group.leases[0].checkpoint == 7


def test_the_holder_of_a_shard_in_transfer_may_still_write_and_the_next_may_not_yet() -> None:
    play = Play(2)
    play.beat("a")
    play.beat("b")
    play.commit(1, 5, "a")
    with pytest.raises(ApiError) as error:
        play.commit(1, 6, "b")
    assert _code(error) == (400, "ConsumerNotMatch")
    play.beat("a", 0)
    play.commit(1, 6, "b")
    with pytest.raises(ApiError) as error:
        play.commit(1, 7, "a")
    assert _code(error) == (400, "ConsumerNotMatch")


def test_a_consumer_that_timed_out_cannot_write_even_if_nobody_took_over() -> None:
    play = Play(1)
    play.beat("a")
    play.now += TIMEOUT + 1
    with pytest.raises(ApiError) as error:
        play.commit(0, 5, "a")
    assert _code(error) == (404, "ConsumerNotExist")


def test_a_checkpoint_of_a_shard_that_is_not_there() -> None:
    play = Play(1)
    with pytest.raises(ApiError) as error:
        play.commit(9, 5, force=True)
    assert _code(error) == (400, "ShardNotExist")


def test_a_checkpoint_remembers_when_and_by_whom() -> None:
    play = Play(1)
    play.beat("a")
    play.commit(0, 5, "a")
    lease = play.group.leases[0]
    assert (lease.updated, lease.writer) == (1000 * 1_000_000, "a")


# --- finished shards, splits and order -------------------------------------------------------------------------------


def test_a_readonly_shard_is_over_when_its_checkpoint_is_its_end() -> None:
    play = Play(2)
    play.beat("a")
    play.commit(0, 100, "a")
    assert play.states()[0] == "already_alloc", "it may still grow"
    play.split(0, 2, 3)
    assert play.states()[0] == "over"
    assert play.beat("a", 0, 1) == [1, 2, 3]


def test_a_readonly_shard_with_something_left_is_not_over() -> None:
    play = Play(1)
    play.beat("a")
    play.split(0, 1, 2)
    assert play.states()[0] == "already_alloc"
    play.commit(0, 99, "a")
    assert play.states()[0] == "already_alloc"
    play.commit(0, 100, "a")
    assert play.states()[0] == "over"


def test_an_empty_readonly_shard_is_over_only_once_somebody_says_so() -> None:
    play = Play(1)
    play.shards[0] = ShardFacts(end=0, readonly=True)
    play.beat("a")
    assert play.states() == {0: "already_alloc"}
    play.commit(0, 0, "a")
    assert play.states() == {0: "over"}


def test_whoever_finished_a_shard_may_say_so_again() -> None:
    play = Play(1)
    play.beat("a")
    play.split(0, 1, 2)
    play.commit(0, 100, "a")
    play.commit(0, 100, "a")
    assert play.states()[0] == "over"


def test_a_finished_shard_that_is_forced_back_is_given_out_again() -> None:
    play = Play(1)
    play.beat("a")
    play.split(0, 1, 2)
    play.commit(0, 100, "a")
    play.commit(0, 50, force=True)
    assert play.beat("a", 1, 2) == [0, 1, 2]


def test_finished_shards_are_nobodys_load() -> None:
    play = Play(2)
    play.shards = {number: ShardFacts(100, readonly=True) for number in (0, 1)} | {
        2: ShardFacts(100),
        3: ShardFacts(100),
    }
    play.beat("a")
    play.commit(0, 100, "a")
    play.commit(1, 100, "a")
    play.beat("b")
    play.beat("a", 2)
    assert play.beat("b") == [3]


@pytest.mark.parametrize("order", [False, True])
def test_children_wait_for_their_parent_only_in_an_ordered_group(order: bool) -> None:
    play = Play(1, order)
    play.beat("a")
    play.split(0, 1, 2)
    assert play.beat("a", 0) == ([0] if order else [0, 1, 2])
    play.commit(0, 100, "a")
    assert play.beat("a", 0) == [1, 2]


def test_grandchildren_wait_for_all_their_ancestors() -> None:
    play = Play(1, order=True)
    play.beat("a")
    play.split(0, 1, 2)
    play.split(1, 3, 4)
    assert play.states() == {0: "already_alloc", 1: "wait", 2: "wait", 3: "wait", 4: "wait"}
    play.commit(0, 100, "a")
    assert play.states() == {0: "over", 1: "already_alloc", 2: "already_alloc", 3: "wait", 4: "wait"}
    play.commit(1, 100, "a")
    assert play.states()[3] == "already_alloc"


def test_a_grandchild_waits_even_if_only_its_grandparent_was_set_back() -> None:
    play = Play(1, order=True)
    play.split(0, 1)
    play.split(1, 2)
    play.beat("a")
    play.commit(0, 100, "a")
    play.commit(0, 50, force=True)
    play.commit(1, 100, force=True)
    assert play.states() == {0: "already_alloc", 1: "over", 2: "wait"}


def test_a_merged_shard_waits_for_both_its_parents() -> None:
    play = Play(2, order=True)
    play.beat("a")
    play.shards = {0: ShardFacts(100, True), 1: ShardFacts(100, True), 2: ShardFacts(100, parents=(0, 1))}
    play.commit(0, 100, "a")
    assert play.states()[2] == "wait"
    play.commit(1, 100, "a")
    assert play.states()[2] == "already_alloc"


def test_a_parent_that_was_deleted_is_not_waited_for() -> None:
    play = Play(1, order=True)
    play.beat("a")
    play.split(0, 1)
    assert play.states()[1] == "wait"
    del play.shards[0]
    assert play.states() == {1: "already_alloc"}


@pytest.mark.parametrize(("before", "after"), [(False, True), (True, False)])
def test_a_change_of_order_affects_only_shards_that_come_later(before: bool, after: bool) -> None:
    play = Play(2, order=before)
    play.beat("a")
    play.split(0, 2)
    play.states()
    play.group.order = after
    play.split(1, 3)
    states = play.states()
    assert (states[2], states[3]) == ("wait", "already_alloc") if before else ("already_alloc", "wait")


def test_transitions_are_told_in_order() -> None:
    play = Play(2)
    play.beat("a")
    play.beat("b")
    play.beat("a", 0)
    play.split(0, 2)
    play.commit(0, 100, "a")
    told = [(kind, fields.get("shard"), fields.get("consumer")) for kind, fields in play.events]
    assert told == [
        ("consumer_joined", None, "a"),
        ("assigned", 0, "a"),
        ("assigned", 1, "a"),
        ("consumer_joined", None, "b"),
        ("transfer", 1, "a"),
        ("released", 1, "a"),
        ("assigned", 1, "b"),
        ("assigned", 2, "a"),
        ("over", 0, "a"),
    ]


# --- as a model ------------------------------------------------------------------------------------------------------


class GroupMachine(RuleBasedStateMachine):
    """Consumers come, beat, fall silent and are evicted; shards are consumed, split and deleted, in any order."""

    names = st.sampled_from(["a", "b", "c", "d"])

    def __init__(self) -> None:
        super().__init__()
        self.play = Play(3, order=True)
        self.holding: dict[str, set[int]] = {}  # what each consumer works on, as a well-behaved one does
        self.answers: dict[str, set[int]] = {}  # what each was told last
        self.next_shard = 3

    @rule(name=names)
    def beat(self, name: str) -> None:
        mine = self.holding.get(name, set())
        if mine and name not in self.members():
            with pytest.raises(ApiError, match="NotExistConsumerWithBody"):
                self.play.beat(name, *mine)
            self.holding[name] = set()
            return
        self.answers[name] = set(self.play.beat(name, *mine))
        self.holding[name] = mine | self.answers[name]

    @rule(name=names)
    def let_go(self, name: str) -> None:
        """Stop work on what the last answer no longer named; the next heartbeat tells."""
        self.holding[name] = self.holding.get(name, set()) & self.answers.get(name, set())

    def members(self) -> set[str]:
        self.play.group.refresh(self.play.shards, self.play.now)
        return set(self.play.group.consumers)

    @rule(seconds=st.sampled_from([1.0, 6.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.play.now += seconds

    @rule(name=names)
    def evict(self, name: str) -> None:
        self.play.group.evict(name)

    @precondition(lambda self: self.play.group.leases)
    @rule(data=st.data(), name=names, value=st.sampled_from([50, 100]), force=st.booleans())
    def commit(self, data: st.DataObject, name: str, value: int, force: bool) -> None:
        shard = data.draw(st.sampled_from(sorted(self.play.shards)))
        self.play.group.refresh(self.play.shards, self.play.now)
        lease = self.play.group.leases[shard]
        allowed = force or (name in self.play.group.consumers and lease.owner == name)
        if not allowed:
            with pytest.raises(ApiError, match=r"ConsumerNotExist|ConsumerNotMatch"):
                self.play.commit(shard, value, name, force)
            return
        self.play.commit(shard, value, name, force)
        assert lease.checkpoint == value

    @precondition(lambda self: len(self.play.shards) < 12)
    @rule(data=st.data())
    def split(self, data: st.DataObject) -> None:
        live = [number for number, facts in self.play.shards.items() if not facts.readonly]
        self.play.split(data.draw(st.sampled_from(sorted(live))), self.next_shard, self.next_shard + 1)
        self.next_shard += 2

    @precondition(lambda self: any(facts.readonly for facts in self.play.shards.values()))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        readonly = [number for number, facts in self.play.shards.items() if facts.readonly]
        del self.play.shards[data.draw(st.sampled_from(sorted(readonly)))]

    @invariant()
    def everything_fits(self) -> None:
        group = self.play.group
        group.refresh(self.play.shards, self.play.now)
        assert set(group.leases) == set(self.play.shards)
        for shard, lease in group.leases.items():
            facts = self.play.shards[shard]
            finished = facts.readonly and lease.checkpoint is not None and lease.checkpoint >= facts.end
            assert (lease.state is LeaseState.OVER) == finished
            assert (lease.state is LeaseState.TRANSFER) == bool(lease.next_owner)
            assert not lease.owner or lease.owner in group.consumers
            if lease.state in (LeaseState.ALREADY_ALLOC, LeaseState.TRANSFER):
                assert lease.owner
            if lease.state in (LeaseState.WAIT, LeaseState.NOT_ALLOC):
                assert not lease.owner
            if lease.state is LeaseState.NOT_ALLOC:
                assert not group.consumers, "while there are consumers, nothing lies about"
            if lease.state is LeaseState.WAIT:
                assert any(parent in group.leases for parent in facts.parents)
        loads = group.loads().values()
        assert not loads or max(loads) - min(loads) <= 1

    @invariant()
    def no_two_members_work_on_the_same_shard(self) -> None:
        working = [shard for name in self.members() for shard in self.holding.get(name, ())]
        assert len(set(working)) == len(working)


GroupMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestGroupModel = GroupMachine.TestCase
