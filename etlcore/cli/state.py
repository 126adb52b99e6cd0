"""`etl state`: what is kept between runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etlcore.cli.state_reset import reset
from etlcore.cli.whereabouts import Ordered, find, json_option, local, state_option_without_file, table

if TYPE_CHECKING:
    from etlcore.state import RunRecord, StateStore, StoredPosition
    from etlcore.state.lock import Holder

_MOST = 20  # partitions of a pipeline that are shown
_BACK = 200  # runs in which positions are looked for that are not kept here: all that the history has


@click.group(cls=Ordered)
def state() -> None:
    """The state directory: positions of sources, dead letters, the history of runs, and who runs at the moment."""


@state.command(short_help="Positions, dead letters, the last runs, and who runs now.")
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@state_option_without_file
@click.option(
    "--runs", "most", metavar="N", type=click.IntRange(0), default=10, show_default=True, help="The last N runs."
)
@json_option
def show(file: Path | None, state: Path | None, most: int, as_json: bool) -> None:
    """Show the state of the pipeline FILE, or of all pipelines of a state directory.

    For each pipeline: who has it to itself at the moment, the positions that are kept here (a consumer group keeps its
    own: the last run says how far it came), the dead letters of each stage, and the last runs. Of a run that was
    killed it says that it did not end.
    """
    from etlcore.state import StateStore
    from etlcore.state.schema import VERSION
    from etlcore.state.values import dumps

    where = find(file, state)
    with StateStore(where.directory) as store:
        names = store.pipelines() if where.pipeline is None else [where.pipeline]
        found = [_look(store, name, most) for name in names]
    if as_json:
        data = {"directory": str(where.directory), "version": VERSION, "pipelines": [one.to_json() for one in found]}
        click.echo(dumps(data, indent=2))
        return
    click.echo(f"state in {where.directory}")
    if not found:
        click.echo("nothing is kept there yet")
    for one in found:
        click.echo()
        for line in one.lines():
            click.echo(line)


def _look(store: StateStore, pipeline: str, most: int) -> _Known:
    from etlcore.state import Selection, holder_of

    counts = store.count_letters(Selection(pipeline=pipeline))
    runs = store.runs(pipeline, max(most, _BACK))
    return _Known(
        pipeline=pipeline,
        holder=holder_of(store.directory, pipeline),
        positions=store.stored_positions(pipeline),
        dead_letters={stage: count for (_, stage), count in counts.items()},
        runs=runs[:most],
        committed=_committed(runs),
    )


def _committed(runs: list[RunRecord]) -> dict[tuple[str, str], Any]:
    """What runs committed, the newest first: a run that had nothing to do, or one partition, tells of no others."""
    found: dict[tuple[str, str], Any] = {}
    for run in runs:
        if run.kind == "run":
            for stage, about in (run.committed or {}).items():
                for partition, position in (about["positions"] or {}).items():
                    found.setdefault((stage, partition), position)
    return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class _Known:
    """All that is kept of one pipeline."""

    pipeline: str
    holder: Holder | None
    positions: list[StoredPosition]
    dead_letters: dict[str, int]
    runs: list[RunRecord]
    committed: dict[tuple[str, str], Any]
    """``{(stage, partition): position}``: the last that is known of where its sources keep their positions."""

    def to_json(self) -> dict[str, Any]:
        return {
            "pipeline": self.pipeline,
            "holder": None if self.holder is None else asdict(self.holder),
            "positions": [
                {
                    "stage": position.stage,
                    "partition": position.partition,
                    "position": position.value,
                    "time": position.time.isoformat(),
                }
                for position in self.positions
            ],
            "committed": [
                {"stage": stage, "partition": partition, "position": position}
                for (stage, partition), position in self.committed.items()
            ],
            "dead_letters": self.dead_letters,
            "runs": [self._run_to_json(run) for run in self.runs],
        }

    def _run_to_json(self, run: RunRecord) -> dict[str, Any]:
        data = asdict(run)
        data["started"] = run.started.isoformat()
        data["ended"] = None if run.ended is None else run.ended.isoformat()
        return {**data, "under_way": self._under_way(run)}

    def _under_way(self, run: RunRecord) -> bool:
        return run.ended is None and self.holder is not None and self.holder.run == run.run

    def lines(self) -> Iterator[str]:
        yield self.pipeline
        yield f"  in use by {self.holder}" if self.holder else "  nobody runs it"
        yield from self._positions()
        letters = ", ".join(f"{stage} {count:,}" for stage, count in self.dead_letters.items())
        yield f"  dead letters: {letters or 'none'}"
        if self.runs:
            yield "  last runs:"
            head = ["run", "kind", "started", "exit", "read", "delivered", "filtered", "dead", "abandoned", "ending"]
            yield from table([head, *(self._run(run) for run in self.runs)], indent="    ")

    def _positions(self) -> Iterator[str]:
        from etlcore.state.values import dumps

        rows = [[p.stage, p.partition, local(p.time), dumps(p.value)] for p in self.positions]
        if rows:
            yield "  positions:"
            rows.insert(0, ["stage", "partition", "committed", "position"])
        else:
            rows = [[stage, name, dumps(value)] for (stage, name), value in self.committed.items()]
            if not rows:
                yield "  positions: none"
                return
            yield "  positions: none kept here; the last runs committed"
            rows.insert(0, ["stage", "partition", "position"])
        yield from table(rows[: _MOST + 1], indent="    ")
        if len(rows) > _MOST + 1:
            yield f"    and {len(rows) - _MOST - 1:,} more partitions: --json shows all"

    def _run(self, run: RunRecord) -> list[str]:
        balance = run.balance or {}
        rows = [
            f"{balance[name]:,}" if name in balance else "-"
            for name in ("read", "delivered", "filtered", "dead", "abandoned")
        ]
        ending = run.reason or ""
        if run.ended is None:
            ending = "under way" if self._under_way(run) else "did not end: it was killed, or the machine stopped"
        code = "-" if run.exit_code is None else str(run.exit_code)
        return [run.run, run.kind, local(run.started), code, *rows, ending]


state.add_command(reset)
