"""The graphs that are run under the scheduler: some with names, and any number of random ones."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from etlcore.spec.model import OnError, Queue, Take
from tests.runtime.stages import Do, Plan

_ONE = Queue(rows=1)
_FEW = Queue(rows=3)


def _source(**fields: object) -> Do:
    return Do("s", "source", **fields)  # type: ignore[arg-type]


def _chain(**fields: object) -> tuple[Do, ...]:
    return (_source(), Do("t", "transform", ("s",), **fields), Do("k", "sink", ("t",)))  # type: ignore[arg-type]


def diamond(**fields: object) -> tuple[Do, ...]:
    """One source, two transforms joined into one sink, and a second sink."""
    return (
        _source(),
        Do("a", "transform", ("s",), **{"queue": _FEW, **fields}),  # type: ignore[arg-type]
        Do("b", "transform", ("s",), queue=_ONE),
        Do("j", "sink", ("a", "b"), queue=_FEW),
        Do("k", "sink", ("s",), queue=_FEW),
    )


PLANS = {
    "chain": Plan(_chain()),
    "queues of one row": Plan(
        (_source(), Do("t", "transform", ("s",), queue=_ONE), Do("k", "sink", ("t",), queue=_ONE)), rows=8
    ),
    "source and sink": Plan((_source(), Do("k", "sink", ("s",), queue=_FEW)), marks=1, empty=True),
    "diamond": Plan(diamond(drop=3, reject=4, double=2)),
    "diamond with workers": Plan(diamond(workers=2, drop=3, reject=4, double=2), partitions=2, rows=8),
    "four workers": Plan(_chain(workers=4, queue=_FEW, take=Take(rows=1), slow=1.0), marks=1),
    "ordered": Plan(_chain(workers=3, ordered=True, double=3, drop=4, take=Take(rows=2)), rows=16),
    "ordered, queues of one row": Plan(
        (
            _source(),
            Do("t", "transform", ("s",), queue=_ONE, workers=2, ordered=True),
            Do("u", "transform", ("t",), queue=_ONE, workers=2, ordered=True, slow=0.5),
            Do("k", "sink", ("u",), queue=_ONE),
        ),
        rows=8,
    ),
    "keyed": Plan(_chain(workers=3, key="k", queue=Queue(rows=5)), rows=16, marks=2, keys=5),
    "keyed sink": Plan((_source(), Do("k", "sink", ("s",), workers=2, key="k", queue=_FEW)), rows=12),
    "columns": Plan(_chain(workers=2, key="k", queue=_FEW, take=Take(rows=2)), columnar=True, marks=3),
    "by row": Plan(_chain(by_row=True, reject=3, drop=4, double=5, workers=2)),
    "a buffer": Plan(_chain(buffers=3, reject=5, drop=4, queue=_FEW, take=Take(rows=2)), rows=14),
    "buffers in workers": Plan(_chain(buffers=2, workers=2, queue=_FEW), rows=14, marks=1),
    "one batch twice into a buffer": Plan(
        (
            _source(),
            Do("a", "transform", ("s",), same=True),
            Do("b", "transform", ("s",), same=True),
            Do("c", "transform", ("a", "b"), buffers=3),
            Do("k", "sink", ("c",)),
        )
    ),
    "a slow branch": Plan(
        (_source(), Do("fast", "sink", ("s",), queue=_ONE), Do("slow", "sink", ("s",), queue=_FEW, slow=3.0))
    ),
    "batches that fill up": Plan(_chain(take=Take(rows=5, seconds=2.0), workers=2), marks=2, rows=14),
    "two readers": Plan((_source(workers=2), Do("k", "sink", ("s",), queue=_FEW)), partitions=3, rows=8),
    "commits that fail": Plan(_chain(), failing_commits=3, marks=1),
    "rows that nobody wants": Plan((*_chain(drop=1), Do("x", "transform", ("s",))), rows=8),
}


def random_plan(seed: int) -> Plan:
    """A graph of two to six stages, each with whatever a stage may have."""
    rng = random.Random(seed)
    stages = [_source(workers=rng.choice([1, 1, 2]), slow=rng.choice([0.0, 0.0, 0.3]))]
    for number in range(rng.randint(0, 3)):
        outputs = [do.name for do in stages] + [f"{do.name}.side" for do in stages if do.side]
        stages.append(_random_transform(rng, f"t{number}", outputs))
    outputs = [do.name for do in stages] + [f"{do.name}.side" for do in stages if do.side]
    readers = {name for do in stages for name in do.inputs}
    ends = [name for name in outputs if name not in readers]
    sinks = rng.randint(1, 2)
    # A buffer in front of a transactional sink may keep more open than the source may read ahead: not asked of it here.
    transactional = rng.random() < 0.2 and not any(do.buffers for do in stages)
    for number in range(sinks):
        inputs = tuple(ends) if number == 0 else (rng.choice(outputs),)
        alone = transactional and number == 0
        stages.append(
            Do(
                f"k{number}",
                "sink",
                inputs,
                workers=1 if alone else rng.choice([1, 1, 2]),
                queue=_random_queue(rng),
                take=_random_take(rng),
                slow=rng.choice([0.0, 0.0, 1.0]),
                transactional=alone,
                **_random_policy(rng, names_rows=alone or rng.random() < 0.5),
            )
        )
    return Plan(
        tuple(stages),
        partitions=rng.randint(1, 3),
        rows=rng.randint(1, 14),
        batch=rng.choice([1, 3, 5, 20]),
        marks=rng.choice([0, 0, 1, 2]),
        empty=rng.random() < 0.3,
        endless=rng.random() < 0.3,
        sour=rng.choice([0, 0, 0, 3]),
        commit_interval=rng.choice([0.01, 1.0]),
        failing_commits=rng.choice([0, 0, 0, 2]),
        keys=rng.randint(1, 4),
    )


def broken(plan: Plan, seed: int) -> Plan:
    """The same plan with one stage that fails, somewhere."""
    rng = random.Random(seed)
    at = rng.randrange(len(plan.stages))
    do = plan.stages[at]
    row = f"p{rng.randrange(plan.partitions)}/{rng.randrange(plan.rows)}"
    places = {"source": ["read", "open", "close"], "sink": [row, row, row, "open", "close"]}
    place = rng.choice(places.get(do.kind, [row, row, row, "open", "close", "flush"]))
    stages = list(plan.stages)
    stages[at] = replace(do, fails=place, on_error=OnError(), bad=0, flaky=0)
    return replace(plan, stages=tuple(stages))


def _random_transform(rng: random.Random, name: str, before: list[str]) -> Do:
    workers = rng.choice([1, 1, 2, 3])
    ordered = workers > 1 and rng.random() < 0.4
    buffers = rng.choice([0, 0, 0, 2, 3])
    same = not buffers and rng.random() < 0.2
    by_row = not buffers and not same and rng.random() < 0.3
    return Do(
        name,
        "transform",
        tuple(sorted(rng.sample(before, min(len(before), rng.choice([1, 1, 2]))))),
        workers=workers,
        queue=_random_queue(rng),
        take=_random_take(rng),
        ordered=ordered,
        key="k" if workers > 1 and rng.random() < 0.4 else None,
        drop=0 if same else rng.choice([0, 0, 3]),
        reject=0 if same else rng.choice([0, 0, 4]),
        double=0 if same else rng.choice([0, 0, 2]),
        by_row=by_row,
        same=same,
        buffers=buffers,
        slow=rng.choice([0.0, 0.0, 0.0, 1.0]),
        side=rng.choice([2, 3]) if not (buffers or by_row or same) and rng.random() < 0.2 else 0,
        **({} if buffers else _random_policy(rng, by_row=by_row)),
    )


def _random_policy(rng: random.Random, *, names_rows: bool = False, by_row: bool = False) -> dict[str, Any]:
    """What to do with rows that fail; and rows that do, or attempts."""
    kind = rng.choice(["stop", "stop", "stop", "bad", "flaky"])
    if kind == "stop" or (kind == "flaky" and by_row):
        return {}
    then = rng.choice(["drop", "dead_letter"]) if kind == "bad" else "stop"
    retries = rng.randint(1, 3) if kind == "flaky" else rng.choice([0, 0, 2])
    policy = OnError(then, retries, wait=0.1, longest_wait=1.0, breaker=100 if rng.random() < 0.3 else None)  # type: ignore[arg-type]
    return {
        "on_error": policy,
        "bad": rng.choice([2, 4]) if kind == "bad" else 0,
        "flaky": rng.randint(2, 4) if kind == "flaky" else 0,
        "names_rows": names_rows and kind == "bad",
    }


def _random_queue(rng: random.Random) -> Queue:
    return rng.choice([_ONE, _FEW, Queue(rows=7), Queue(rows=50, bytes=900), Queue(rows=50)])


def _random_take(rng: random.Random) -> Take:
    return rng.choice([Take(), Take(), Take(rows=1), Take(rows=4), Take(rows=4, seconds=1.0), Take(bytes=700)])
