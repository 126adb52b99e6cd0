"""The scheduler itself: it forces what threads show rarely, names a deadlock, and replays."""

from __future__ import annotations

import pytest

from tests.runtime.scheduling import Deadlock, Listed, Scheduler, Seeded, scheduled


def _count(scheduler: Scheduler, locked: bool) -> int:
    """Two workers that each add 1 twice: without a lock around the sum, some interleavings lose an addition."""
    total = 0
    lock = scheduler.lock()

    def add() -> None:
        nonlocal total
        for _ in range(2):
            if locked:
                with lock:
                    seen = total
                    scheduler.point()
                    total = seen + 1
            else:
                seen = total
                scheduler.point()
                total = seen + 1

    def main() -> None:
        for worker in [scheduler.start(name, add) for name in "ab"]:
            worker.join()

    scheduler.run(main)
    return total


def test_it_finds_a_race_that_a_lock_prevents() -> None:
    free = {_count(Scheduler(Seeded(seed)), locked=False) for seed in range(50)}
    assert free == {2, 3, 4}
    assert {_count(Scheduler(Seeded(seed)), locked=True) for seed in range(50)} == {4}


def test_the_same_seed_or_the_same_choices_give_the_same_run() -> None:
    for seed in range(20):
        first = Scheduler(Seeded(seed))
        total = _count(first, locked=False)
        again, listed = Scheduler(Seeded(seed)), Scheduler(Listed(first.choices()))
        assert _count(again, locked=False) == total == _count(listed, locked=False)
        assert again.history == first.history == listed.history


def test_a_deadlock_names_who_waits_for_what_and_can_be_replayed() -> None:
    def crossed(scheduler: Scheduler) -> None:
        left, right = scheduler.lock(), scheduler.lock()

        def take(first: object, second: object) -> None:
            with first, second:  # type: ignore[attr-defined]
                pass

        def main() -> None:
            workers = [
                scheduler.start("one", lambda: take(left, right)),
                scheduler.start("two", lambda: take(right, left)),
            ]
            for worker in workers:
                worker.join()

        scheduler.run(main)

    found: Scheduler | None = None
    for seed in range(50):
        scheduler = Scheduler(Seeded(seed))
        try:
            crossed(scheduler)
        except Deadlock as deadlock:
            found, text = scheduler, str(deadlock)
            break
    assert found is not None
    assert "one waits for the lock of crossed, which two holds, at test_scheduling.py:" in text
    assert "two waits for the lock of crossed, which one holds" in text
    assert "main waits for the end of one" in text
    with pytest.raises(Deadlock, match="one waits for the lock"):
        crossed(Scheduler(Listed(found.choices())))


def test_a_wait_that_nobody_ends_is_a_deadlock() -> None:
    scheduler = Scheduler(Seeded(0))
    condition = scheduler.condition()

    def main() -> None:
        with condition:
            condition.wait()

    with pytest.raises(Deadlock, match="main waits for a change under the condition of "):
        scheduler.run(main)


def test_a_lost_wake_up_is_found() -> None:
    """Looking before the lock is taken: the notification may come in between."""

    def lost(scheduler: Scheduler) -> None:
        condition, ready = scheduler.condition(), []

        def wait() -> None:
            if not ready:
                with condition:
                    condition.wait()

        def main() -> None:
            worker = scheduler.start("waiter", wait)
            scheduler.point()
            ready.append(True)
            with condition:
                condition.notify_all()
            worker.join()

        scheduler.run(main)

    outcomes = set()
    for seed in range(100):
        try:
            lost(Scheduler(Seeded(seed)))
            outcomes.add("fine")
        except Deadlock:
            outcomes.add("lost")
    assert outcomes == {"fine", "lost"}


def test_time_passes_only_when_nobody_can_go_on() -> None:
    scheduler = Scheduler(Seeded(3))
    condition, flag = scheduler.condition(), scheduler.flag()
    seen: list[object] = []

    def sleeper(name: str, seconds: float) -> None:
        scheduler.sleep(seconds)
        seen.append((name, scheduler.now()))

    def main() -> None:
        workers = [scheduler.start(n, lambda n=n, s=s: sleeper(n, s)) for n, s in [("late", 30.0), ("early", 1.0)]]
        assert scheduler.now() == 0
        with condition:
            assert not condition.wait(0.5)
        assert scheduler.now() == 0.5
        assert not flag.wait(0.1)
        workers[0].join()

    scheduler.run(main)
    assert seen == [("early", 1.0), ("late", 30.0)]


def test_surprises_fire_timeouts_early_and_wake_for_no_reason() -> None:
    woken = set()
    for seed in range(30):
        with scheduled(seed, surprises=0.3) as scheduler:
            condition = scheduler.condition()
            ready: list[bool] = []

            def wait(condition=condition, ready=ready) -> None:  # type: ignore[no-untyped-def]
                with condition:
                    condition.wait()
                    woken.add(bool(ready))

            def main(scheduler=scheduler, condition=condition, ready=ready, wait=wait) -> None:  # type: ignore[no-untyped-def]
                worker = scheduler.start("waiter", wait)
                for _ in range(5):
                    scheduler.point()
                with condition:
                    ready.append(True)
                    condition.notify_all()
                worker.join(10)

            scheduler.run(main)
    assert woken == {True, False}


def test_what_main_raises_comes_out_and_the_other_workers_are_unwound() -> None:
    scheduler = Scheduler(Seeded(1))
    unwound: list[str] = []

    def stuck() -> None:
        try:
            scheduler.flag().wait()
        finally:
            unwound.append("stuck")

    def main() -> None:
        scheduler.start("stuck", stuck)
        scheduler.sleep(1)
        raise ValueError("that was it")

    with pytest.raises(ValueError, match="that was it") as caught:
        scheduler.run(main)
    assert unwound == ["stuck"]
    assert any("Listed(" in note for note in caught.value.__notes__)


def test_a_worker_that_locks_twice_is_told() -> None:
    scheduler = Scheduler(Seeded(0))
    lock = scheduler.lock()

    def main() -> None:
        with lock, lock:
            pass

    with pytest.raises(AssertionError, match=r"main locks the lock of .* twice"):
        scheduler.run(main)
