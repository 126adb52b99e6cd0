"""Where the official consumer stalls: its heartbeats go on, so its shards are nobody else's, and nothing is read."""

from __future__ import annotations

from pathlib import Path

from .conftest import LOGSTORE, OFFICIAL, OURS, PROJECT, Bench
from .parties import PATIENCE

PLACE = (PROJECT, LOGSTORE)
HERE = Path(__file__).parent


def test_one_checkpoint_that_is_refused(bench: Bench) -> None:
    """The official worker writes what it has not written yet when a shard has been idle for 30 seconds."""
    quota = {"status": 403, "code": "WriteQuotaExceed", "count": 1}
    bench.create()
    first = bench.put(range(3))
    fault = bench.control.fault("error", "update_checkpoint", group=OFFICIAL, **quota)
    official = bench.official(kind="remembers").start()
    official.until(first)
    official.order("forward 31")
    official.until_said("worker ended")
    bench.control.wait_for("fault", fault=fault)
    assert "CheckPointException" in official.stderr
    mark = bench.control.last_event()
    second = bench.put(range(3, 6))
    beats = bench.beats(OFFICIAL)
    assert all(beat["held"] == beat["assigned"] == [0] for beat in beats)
    assert bench.control.events("pull", after=mark) == []
    assert official.rows == first
    assert bench.checkpoint(OFFICIAL) is None
    official.kill()

    fault = bench.control.fault("error", "update_checkpoint", group=OURS, **quota)
    ours = bench.ours().start()
    bench.until_checkpoint(OURS, 6)
    bench.control.wait_for("fault", fault=fault)
    assert ours.rows == first + second
    ours.tell_to_stop().ended()


def test_a_processor_that_does_not_call_its_base(bench: Bench, tmp_path: Path) -> None:
    bench.create()
    rows = bench.put(range(5))
    official = bench.official(kind="without base").start()
    official.until_said("worker ended")
    assert "AttributeError" in official.stderr
    assert all(beat["assigned"] == [0] for beat in bench.beats(OFFICIAL))
    assert bench.control.events("pull") == []
    assert official.rows == []
    official.kill()

    ours = bench.ours(sink="bare", site=_plugin(tmp_path / "site")).start()
    bench.until_checkpoint(OURS, 5)
    assert ours.rows == rows
    ours.tell_to_stop().ended()


def _plugin(site: Path) -> Path:
    """The sink of `bare_sink.py`, as pip would install it."""
    info = site / "bare_sink-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bare-sink\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[etlcore]\nbare = bare_sink\n")
    for name in ("bare_sink.py", "desk.py"):
        (site / name).write_bytes((HERE / name).read_bytes())
    return site


def test_in_order_behind_an_empty_parent(bench: Bench) -> None:
    bench.create()
    children = bench.control.split(*PLACE, 0)
    rows = [row for child in children for row in bench.put(range(child * 10, child * 10 + 5), child)]

    official = bench.official(in_order=True).start()
    bench.control.wait_for("pull", shard=0, count=5, timeout=PATIENCE)  # asked again and again, and never committed
    bench.beats(OFFICIAL)
    state = bench.control.group_state(*PLACE, OFFICIAL)
    assert [shard["state"] for shard in state["shards"]] == ["already_alloc", "wait", "wait"]
    assert [shard["checkpoint"] for shard in state["shards"]] == [None, None, None]
    assert {event["shard"] for event in bench.control.events("pull")} == {0}
    assert official.rows == []
    official.kill()

    ours = bench.ours(group_in_order=True).start()
    for child in children:
        bench.until_checkpoint(OURS, 5, child)
    assert sorted(ours.rows, key=int) == rows
    ours.tell_to_stop().ended()
