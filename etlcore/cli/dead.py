"""`etl dead`: the rows that stages refused, listed, shown, run again or deleted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace as changed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from etlcore.cli.dead_filters import chosen, filters, id_option
from etlcore.cli.dead_replay import replay
from etlcore.cli.whereabouts import (
    Ordered,
    Whereabouts,
    brief,
    confirm,
    find,
    json_option,
    local,
    state_option_without_file,
    table,
    yes_option,
)

if TYPE_CHECKING:
    from etlcore.state import DeadLetter, Selection, StateStore

_SHOWN = 50
_REASON = 120  # characters of a reason in a list


@click.group(cls=Ordered)
def dead() -> None:
    """Dead letters: rows that a stage refused, kept with the reason until they are replayed or purged.

    They are kept in the state directory, with the row as the stage was given it, the traceback, the position of the
    source, the run, and the version of the pipeline (the SHA-256 of its file).
    """


file_argument = click.argument("file", metavar="[FILE]", required=False, type=click.Path(path_type=Path))


@dead.command("list", short_help="List them.")
@file_argument
@state_option_without_file
@filters
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1),
    help=f"The newest N. Default: {_SHOWN}; with --json all.",
)
@json_option
def list_(file: Path | None, state: Path | None, limit: int | None, as_json: bool, **given: Any) -> int:
    """List the dead letters of the pipeline FILE, or of all pipelines of a state directory; the newest last.

    With --json every line is one dead letter, with its row and its traceback.
    """
    from etlcore.state import StateStore

    where = find(file, state)
    selection = chosen(where.pipeline, **given)
    with StateStore(where.directory) as store:
        newest = limit if as_json else limit or _SHOWN
        if as_json:
            for letter in store.letters(selection, newest=newest):
                click.echo(_json(letter))
            return 0
        letters = list(store.letters(selection, newest=newest))
        count = sum(store.count_letters(selection).values())
    for line in _listing(where, letters, count):
        click.echo(line)
    return 0


def _listing(where: Whereabouts, letters: list[DeadLetter], count: int) -> Iterator[str]:
    whose = f" of {where.pipeline}" if where.pipeline else ""
    if not letters:
        yield f"no dead letters{whose} in {where.directory}"
        return
    several = where.pipeline is None
    head = ["id", "time", *(["pipeline"] if several else []), "stage", "attempts", "reason"]
    rows = [
        [
            str(letter.id),
            local(letter.time),
            *([letter.pipeline] if several else []),
            letter.stage,
            str(letter.attempts),
            brief(letter.reason, _REASON),
        ]
        for letter in letters
    ]
    yield from table([head, *rows])
    newest = f", the newest {len(letters):,} shown" if len(letters) < count else ""
    yield f"{count:,} dead letter{'' if count == 1 else 's'}{whose} in {where.directory}{newest}"
    yield f"  -> etl dead show {where.arguments} {letters[-1].id}"


@dead.command(short_help="Show some in full: row, reason, traceback.")
@click.argument("wanted", metavar="[FILE] ID…", nargs=-1, required=True)
@state_option_without_file
@json_option
def show(wanted: tuple[str, ...], state: Path | None, as_json: bool) -> int:
    """Show dead letters in full: the row as it was, the reason, the traceback, and where the row came from.

    Without FILE they are those of the state directory, as for `etl dead list`. Bytes, times and the like are written as
    they are stored: {"$bytes": "aGk="}. With --json every line is one dead letter.
    """
    from etlcore.state import Selection, StateStore

    file, ids = _file_and_ids(wanted)
    where = find(file, state)
    with StateStore(where.directory) as store:
        letters = {letter.id: letter for letter in store.letters(Selection(where.pipeline, ids=ids))}
    for number, letter in enumerate(letters.values()):
        if as_json:
            click.echo(_json(letter))
            continue
        if number:
            click.echo()
        for line in _full(letter):
            click.echo(line)
    missing = [str(number) for number in ids if number not in letters]
    if missing:
        whose = f" of {where.pipeline}" if where.pipeline else ""
        click.echo(
            f"there is no dead letter {', '.join(missing)}{whose} in {where.directory}\n"
            f"  -> etl dead list {where.arguments}",
            err=True,
        )
        return 2
    return 0


def _file_and_ids(wanted: tuple[str, ...]) -> tuple[Path | None, list[int]]:
    from etlcore.cli.app import usage_error

    first, *rest = wanted
    file = None if first.isdecimal() else Path(first)
    numbers = rest if file is not None else list(wanted)
    wrong = [text for text in numbers if not text.isdecimal()]
    if wrong:
        usage_error(f"{wrong[0]!r} is not the id of a dead letter", "etl dead list shows the ids")
    if not numbers:
        usage_error("no id is given", f"etl dead list {first} shows the ids")
    return file, list(dict.fromkeys(map(int, numbers)))


def _full(letter: DeadLetter) -> Iterator[str]:
    from etlcore.state.values import dumps

    data = letter.to_json()
    positions = letter.positions or {}
    again = f", replayed from {letter.replayed_from}" if letter.replayed_from is not None else ""
    yield f"dead letter {letter.id} of {letter.pipeline}"
    yield from table(
        [
            ["stage", letter.stage],
            ["time", letter.time.astimezone().isoformat(" ", timespec="seconds")],
            ["attempts", f"{letter.attempts}{again}"],
            ["run", letter.run],
            ["version", letter.version or "-"],
            ["position", ", ".join(f"{name}: {dumps(value)}" for name, value in positions.items()) or "-"],
        ],
        indent="  ",
    )
    yield from _block("reason", letter.reason)
    yield from _block("row", dumps(data["row"], indent=2))
    if letter.traceback:
        yield from _block("traceback", letter.traceback)


def _block(head: str, text: str) -> Iterator[str]:
    yield f"  {head}"
    for line in text.splitlines() or [""]:
        yield f"    {line}"


def _json(letter: DeadLetter) -> str:
    from etlcore.state.values import dumps

    return dumps(letter.to_json())


dead.add_command(replay)


@dead.command(short_help="Delete them for good.")
@file_argument
@state_option_without_file
@filters
@id_option
@yes_option
def purge(file: Path | None, state: Path | None, yes: bool, **given: Any) -> int:
    """Delete dead letters for good: those of the pipeline FILE, or of all pipelines of a state directory.

    Says what will be deleted and asks, unless --yes is given. The exit code is 2 when the answer is no.
    """
    from etlcore.state import StateStore

    where = find(file, state)
    with StateStore(where.directory) as store:
        selection = changed(chosen(where.pipeline, **given), upto=store.last_letter())  # none that comes meanwhile
        if not yes:
            _ask(where, store, selection)
        count = store.delete_letters(selection)
    click.echo(f"{count:,} dead letter{'' if count == 1 else 's'} deleted")
    return 0


def _ask(where: Whereabouts, store: StateStore, selection: Selection) -> None:
    counts = store.count_letters(selection)
    if not counts:
        return
    rows = [[f"{count:,}", pipeline, stage] for (pipeline, stage), count in counts.items()]
    for line in table([["letters", "pipeline", "stage"], *rows]):
        click.echo(line, err=True)
    total = sum(counts.values())
    confirm(
        f"Delete {'this dead letter' if total == 1 else f'these {total:,} dead letters'} from {where.directory}?",
        "nothing was deleted",
    )
