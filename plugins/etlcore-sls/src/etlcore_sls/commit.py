"""Committing: moving the group's checkpoints to what was delivered, as the owner of the shard or not at all."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from etlcore_sls.clients import Clients
from etlcore_sls.credentials import Provider, expire
from etlcore_sls.errors import SlsError, SlsFailure
from etlcore_sls.holdings import Holdings, Shard

if TYPE_CHECKING:
    from etlcore_sls.client import SlsClient

_ATTEMPT_SECONDS = 5.0  # how long what may succeed is tried again
_RETRY_SECONDS = 0.1

Outcome = SlsError | None


class Committer:
    """Used by the worker alone."""

    def __init__(
        self, clients: Clients, consumer: str, holdings: Holdings, provider: Provider, log: logging.Logger
    ) -> None:
        self._clients = clients
        self._consumer = consumer
        self._holdings = holdings
        self._provider = provider
        self._log = log
        self.failure: SlsFailure | None = None
        """Why nothing can be committed any more, for good."""

    def commit(self, positions: Mapping[str, str]) -> None:
        """Move checkpoints, ``{partition: cursor}``. What is not ours any more is evicted, uncommitted.

        Raises SlsFailure when some could not be moved within a few seconds; the others have been.
        """
        pending = self._pending(positions)
        give_up = time.monotonic() + _ATTEMPT_SECONDS
        wait = _RETRY_SECONDS
        while pending:
            failed = self._attempt(pending)
            pending = [(shard, position) for shard, position, _ in failed if not self._holdings.is_evicted(shard)]
            if not pending:
                return
            if time.monotonic() + wait > give_up:
                names = ", ".join(shard.partition for shard, _ in pending)
                raise SlsFailure(f"cannot commit {names}: {failed[0][2]}") from failed[0][2]
            time.sleep(wait)
            wait = min(1.0, wait * 2)

    def _pending(self, positions: Mapping[str, str]) -> list[tuple[Shard, str]]:
        found = ((self._holdings.find(partition), position) for partition, position in positions.items())
        return [(shard, position) for shard, position in found if shard is not None and shard.checkpoint != position]

    def _attempt(self, pending: list[tuple[Shard, str]]) -> list[tuple[Shard, str, SlsError]]:
        """Commit each once; gives those that may be tried again, and why they failed."""
        outcomes = self._clients.map(self._commit_one, pending)
        failed = []
        for (shard, position), error in zip(pending, outcomes, strict=True):
            if error is None:
                self._holdings.committed(shard, position)
            elif error.is_group_gone:
                self._give_up(error)
            elif self._is_lost(shard, error):
                continue
            elif error.is_transient or (error.is_auth and expire(self._provider)):
                failed.append((shard, position, error))
            else:
                raise SlsFailure(f"cannot commit {shard.partition}: {error}") from error
        return failed

    def _commit_one(self, client: SlsClient, what: tuple[Shard, str]) -> Outcome:
        shard, position = what
        try:
            client.commit(shard.id, position, self._consumer)
        except SlsError as error:
            return error
        return None

    def _give_up(self, error: SlsError) -> None:
        self._holdings.evict()
        self.failure = SlsFailure(
            f"the consumer group was deleted: what was delivered since the last commit could not be committed ({error})"
        )
        self._holdings.fail(self.failure)

    def _is_lost(self, shard: Shard, error: SlsError) -> bool:
        """Whether the refusal says that the shard is not ours; then it is evicted, with all others if need be."""
        if error.is_consumer_gone:
            evicted = self._holdings.evict()
        elif error.is_not_the_owner or error.is_shard_gone:
            evicted = self._holdings.evict([shard.id])
        else:
            return False
        self._holdings.beat_now.set()
        if evicted:
            self._log.warning(
                "%s is no longer ours (%s): nothing more of what was read is committed, its owner reads it again",
                shard.partition,
                error.code,
            )
        return True
