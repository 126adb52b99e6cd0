"""Which dead letters a replay gives to which stage, and which it cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from etlcore.spec.model import Pipeline
from etlcore.state import Selection, StateStore


class Impossible(Exception):
    """These dead letters cannot be replayed; the text says why, and the next step."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be replayed: the letters of ``selection``, into the stage ``into`` instead of that which refused
    them.
    """

    selection: Selection
    into: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Which letters are given to which stage."""

    selections: dict[str, Selection]
    count: int
    staying: list[str]
    """Sentences about letters that were meant and cannot be replayed."""


def make_plan(pipeline: Pipeline, store: StateStore, wanted: Wanted) -> Plan:
    """What a replay would do with the letters that are there now. Raises Impossible, and StateError."""
    meant = replace(wanted.selection, pipeline=pipeline.name, upto=store.last_letter())
    found = {stage: count for (_, stage), count in store.count_letters(meant).items()}
    kinds = {stage.name: stage.kind for stage in pipeline.stages}
    if wanted.into is not None:
        _check_target(pipeline, wanted.into, kinds)
        return Plan({wanted.into: meant} if found else {}, sum(found.values()), [])
    if meant.stage is not None and meant.stage not in kinds and not found:
        raise Impossible(_no_stage(pipeline, meant.stage))
    gone = [stage for stage in found if stage not in kinds]
    if gone:
        raise Impossible(_vanished(pipeline, gone, found))
    sources = [stage for stage in found if kinds[stage] == "source"]
    if sources and meant.stage is not None:
        raise Impossible(_of_source(pipeline, meant.stage, found))
    stages = [name for name in kinds if name in found and name not in sources]
    return Plan(
        {name: replace(meant, stage=name) for name in stages},
        sum(found[name] for name in stages),
        [_of_source(pipeline, name, found) for name in sources],
    )


def _check_target(pipeline: Pipeline, into: str, kinds: Mapping[str, str]) -> None:
    if into not in kinds:
        raise Impossible(_no_stage(pipeline, into))
    if kinds[into] == "source":
        raise Impossible(f"stage {into} is a source: it takes no rows\n  -> give them to a transform or a sink")


def _no_stage(pipeline: Pipeline, name: str) -> str:
    from etlcore.plugins.names import closest

    close = closest(name, [stage.name for stage in pipeline.stages])
    hint = f"did you mean `{close}`?" if close else f"its stages are {_stages(pipeline)}"
    return f"the pipeline {pipeline.name} has no stage `{name}`\n  -> {hint}"


def _vanished(pipeline: Pipeline, gone: list[str], found: dict[str, int]) -> str:
    whose = ", ".join(f"{in_letters(found[stage])} of the stage `{stage}`" for stage in gone)
    example = f"--stage {gone[0]} --into STAGE"
    return (
        f"the pipeline {pipeline.name} no longer has every stage that refused rows: there are {whose}; "
        f"its stages are {_stages(pipeline)}\n"
        f"  -> give them to another stage ({example}), replay others (--stage), or delete them (etl dead purge)"
    )


def _of_source(pipeline: Pipeline, stage: str, found: dict[str, int]) -> str:
    return (
        f"{in_letters(found[stage])} of the source `{stage}` cannot go back to it: a source takes no rows\n"
        f"  -> give them to another stage: --stage {stage} --into STAGE ({_stages(pipeline, taking=True)})"
    )


def _stages(pipeline: Pipeline, *, taking: bool = False) -> str:
    from etlcore.plugins.names import quoted

    names = [stage.name for stage in pipeline.stages if not taking or stage.kind != "source"]
    return quoted(names, "or" if taking else "and")


def in_letters(count: int) -> str:
    """``3 dead letters``."""
    return f"{count:,} dead letter{'' if count == 1 else 's'}"
