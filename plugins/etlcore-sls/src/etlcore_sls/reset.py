"""Moving a consumer group's checkpoints, for `etl state reset`: on the server, and only while nobody reads.

The service does not list the consumers of a group. It says with each checkpoint whose shard it is, be it of a consumer
that is long gone. Whether that one lives is found out by writing the same checkpoint again in its name, which the
service accepts from the living alone.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from etlcore_sls.client import Group, SlsClient
from etlcore_sls.errors import SlsError, SlsFailure
from etlcore_sls.loading import load_sdk

if TYPE_CHECKING:
    from etlcore_sls.source import SlsSource


@dataclass(frozen=True, slots=True)
class _Owned:
    """A shard of the group: its checkpoint and its consumer, each empty where there is none."""

    shard: int
    checkpoint: str
    consumer: str


class _Admin(SlsClient):
    """What only somebody who stands outside of the group may ask for."""

    def owned(self) -> list[_Owned]:
        answer = self._call(self._sdk.get_check_point, *self._group, -1)
        return [
            _Owned(int(item["shard"]), str(item.get("checkpoint") or ""), str(item.get("consumer") or ""))
            for item in answer.get_consumer_group_check_points() or ()
        ]

    def force(self, shard: int, cursor: str) -> None:
        """Move a checkpoint, whoever the shard belongs to."""
        self._call(self._sdk.update_check_point, *self._group, shard, cursor, consumer="", force_success=True)


def position_at(source: SlsSource, where: str | datetime) -> dict[str, str]:
    """``{partition: cursor}`` at begin, end or a time of receipt. Raises SlsFailure."""
    with _admin(source) as client:
        at: Literal["begin", "end"] | int = "begin" if where == "begin" else "end"
        if isinstance(where, datetime):
            at = int(where.timestamp())
        return {_partition(shard): client.cursor(shard, at) for shard in client.shards()}


def committed(source: SlsSource) -> dict[str, str]:
    """``{partition: cursor}`` of the group's checkpoints. Raises SlsFailure."""
    with _admin(source) as client:
        return {_partition(owned.shard): owned.checkpoint for owned in client.owned() if owned.checkpoint}


def reset(source: SlsSource, positions: Mapping[str, object]) -> None:
    """Move checkpoints, ``{partition: cursor}``. Raises SlsFailure while a consumer of the group is alive."""
    wanted = {_shard(partition): _cursor(partition, cursor) for partition, cursor in positions.items()}
    with _admin(source) as client, _names_of_nobody(source.context.state_directory) as own:
        alive = sorted(_alive(client, own))
        if alive:
            group = _group(client, source)
            raise SlsFailure(
                f"the consumer group {group.name} is in use, by {', '.join(alive)}: stop it, wait {group.timeout} s "
                "until the group has given it up, and try again"
            )
        for done, (shard, cursor) in enumerate(wanted.items()):
            try:
                client.force(shard, cursor)
            except SlsError as error:
                raise SlsFailure(f"{_partition(shard)}: {error} ({done} of {len(wanted)} were moved)") from error


def _alive(client: _Admin, own: frozenset[str]) -> set[str]:
    """The consumers that the group still counts on, but for those in ``own``."""
    found = [owned for owned in client.owned() if owned.consumer and owned.consumer not in own]
    alive: set[str] = set()
    gone: set[str] = set()
    for owned in sorted(found, key=lambda owned: not owned.checkpoint):  # those with a checkpoint tell for sure
        if owned.consumer in alive | gone:
            continue
        lives = not owned.checkpoint or _accepts(client, owned)
        (alive if lives else gone).add(owned.consumer)
    return alive


def _accepts(client: _Admin, owned: _Owned) -> bool:
    try:
        client.commit(owned.shard, owned.checkpoint, owned.consumer)
    except SlsError as error:
        if error.is_consumer_gone or error.is_not_the_owner:
            return False
        raise
    return True


@contextmanager
def _admin(source: SlsSource) -> Iterator[_Admin]:
    """A client for the source's group, which must exist. What the service refuses becomes an SlsFailure."""
    load_sdk()
    if not hasattr(source, "_closing"):
        source._closing = []  # `close` looks there; a source that is reset is not open
    config = source.config
    client = _Admin(config, *source._service())
    try:
        _group(client, source)
        yield client
    except SlsError as error:
        raise SlsFailure(f"the logstore {config.project}/{config.logstore} at {config.endpoint}: {error}") from error
    finally:
        client.close()


def _group(client: _Admin, source: SlsSource) -> Group:
    group = client.group()
    if group is None:
        raise SlsFailure(
            f"there is no consumer group {source.config.consumer_group} yet: the first run makes it, and begins where "
            "the option `start` says"
        )
    return group


@contextmanager
def _names_of_nobody(directory: Path) -> Iterator[frozenset[str]]:
    """The consumer names kept in the state directory that no process uses, and none takes meanwhile.

    The group counts on a consumer for a while after it has stopped; but of these it is known that they have.
    """
    with ExitStack() as stack:
        names = set()
        for path in sorted(directory.glob("sls-consumer-*.name")):
            file = os.open(path, os.O_RDWR)
            stack.callback(os.close, file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            names.add(os.pread(file, 200, 0).decode("ascii", "replace").strip())
        yield frozenset(names)


def _partition(shard: int) -> str:
    return f"shard {shard}"


def _shard(partition: str) -> int:
    found = re.fullmatch(r"shard (\d+)", partition)
    if found is None:
        raise SlsFailure(f"{partition!r} is no partition of a logstore: they are called `shard 0`, `shard 1`, …")
    return int(found[1])


def _cursor(partition: str, cursor: object) -> str:
    if not isinstance(cursor, str) or not cursor:
        raise SlsFailure(f'{partition}: {cursor!r} is no cursor: a cursor is a text such as "MTYxNDc1MDAyNw=="')
    return cursor
