"""The way for a test to talk to an emulator, in this process or in another one: the same calls for both."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from etlcore_sls.emulator.events import Event

CONTROL_PATH = "/_emulator/"
_POLL_SECONDS = 10.0


class ControlError(RuntimeError):
    """The emulator refused an action; the message says why."""


class EventTimeout(AssertionError):
    """The events that a test waited for did not come. The message holds the newest ones that did."""


class Control:
    """Faults, events, state and interventions. ``send(action, parameters)`` does one and returns its result."""

    def __init__(self, send: Callable[[str, dict[str, Any]], Any]) -> None:
        self._send = send

    # --- faults ------------------------------------------------------------------------------------------------------

    def fault(self, action: str, operation: str | None = None, *, count: int | None = None, **fields: Any) -> int:
        """Order a fault and return its number.

        ``action`` is ``error`` (with ``status``, ``code``, ``message``), ``hang`` (until ``release``), ``delay``
        (``seconds``), ``slow`` (``bytes_per_second``) or ``cut`` (the connection; ``response_bytes`` of the response
        get through first). ``operation`` is ``pull_logs``, ``heartbeat``, ``update_checkpoint``, ``put_logs`` and so
        on (None: any). Only requests with this ``project``, ``logstore``, ``shard``, ``group`` or ``consumer`` are
        hit; the first ``skip`` of them are spared, ``count`` are hit (None: all). With ``point="after"`` the operation
        takes effect first.
        """
        places = ("project", "logstore", "shard", "group", "consumer")
        where = {name: fields.pop(name) for name in places if name in fields}
        return int(
            self._send(
                "add_fault", {"action": action, "operation": operation, "count": count, "where": where, **fields}
            )
        )

    def release(self, fault: int) -> None:
        """Take a fault back; what hangs in it goes on."""
        self._send("remove_faults", {"number": fault})

    def clear_faults(self) -> None:
        """Take all faults back."""
        self._send("remove_faults", {})

    def faults(self) -> list[dict[str, Any]]:
        """The faults as they stand; ``hits`` says how often each one happened."""
        return list(self._send("faults", {}))

    # --- events ------------------------------------------------------------------------------------------------------

    def events(self, kind: str | None = None, *, after: int = 0, **where: Any) -> list[Event]:
        """What happened, in order: the events of a kind, newer than number ``after``, with these values."""
        return list(self._send("events", {"kind": kind, "after": after, "where": where}))

    def last_event(self) -> int:
        """The number of the newest event, to be used as ``after`` later."""
        return int(self._send("last_event", {}))

    def wait_for(
        self, kind: str | None = None, *, count: int = 1, after: int = 0, timeout: float = 60.0, **where: Any
    ) -> list[Event]:
        """Block until there are ``count`` such events; all of them. Raises EventTimeout."""
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            query = {"kind": kind, "after": after, "where": where, "count": count, "wait": min(left, _POLL_SECONDS)}
            found = list(self._send("events", query))
            if len(found) >= count:
                return found
            if not left:
                raise self._late(f"{count} events {kind} {where}, found {len(found)}", timeout)

    def wait_until(self, predicate: Callable[[Event], bool], *, after: int = 0, timeout: float = 60.0) -> Event:
        """Block until an event fulfils a predicate; that event. Raises EventTimeout."""
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            for event in self._send("events", {"after": after, "count": 1, "wait": min(left, _POLL_SECONDS)}):
                after = event["number"]
                if predicate(event):
                    return dict(event)
            if not left:
                raise self._late("an event that fulfils the predicate", timeout)

    def wait_for_state(
        self,
        project: str,
        logstore: str,
        group: str,
        predicate: Callable[[Mapping[str, Any]], bool],
        *,
        timeout: float = 60.0,
    ) -> dict[str, Any]:
        """Block until a consumer group's state fulfils a predicate, looking after every event; that state."""
        deadline = time.monotonic() + timeout
        while True:
            last = self.last_event()
            state = self.group_state(project, logstore, group)
            if predicate(state):
                return state
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._late(f"a state of group {group}; it is {state}", timeout)
            self._send("events", {"after": last, "count": 1, "wait": min(left, _POLL_SECONDS)})

    def _late(self, what: str, timeout: float) -> EventTimeout:
        newest = "\n".join(f"  {event}" for event in self.events()[-20:])
        return EventTimeout(f"waited {timeout:g} s for {what}; the newest events:\n{newest}")

    # --- state and interventions -------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Projects, their logstores, shards and consumer groups."""
        return dict(self._send("state", {}))

    def group_state(self, project: str, logstore: str, group: str) -> dict[str, Any]:
        """One consumer group: ``consumers``, ``shards`` (state, owner, checkpoint as a number of LogGroups, rows and
        groups behind) and the totals ``rows_committed``, ``rows_behind``, ``groups_behind``."""
        return dict(self._send("group_state", {"project": project, "logstore": logstore, "group": group}))

    def evict(self, project: str, logstore: str, group: str, consumer: str) -> None:
        """Take a consumer out of its group at once, as its timeout would."""
        where = {"project": project, "logstore": logstore, "group": group, "consumer": consumer}
        self._send("evict", where)

    def trim(self, project: str, logstore: str, shard: int, keep: int = 0) -> int:
        """Let all but the newest ``keep`` LogGroups of a shard expire; how many went."""
        return int(self._send("trim", {"project": project, "logstore": logstore, "shard": shard, "keep": keep}))

    def split(self, project: str, logstore: str, shard: int, *, key: str | None = None, parts: int = 2) -> list[int]:
        """Split a shard at a hash key or into even parts; the numbers of its children."""
        where = {"project": project, "logstore": logstore, "shard": shard}
        return list(self._send("split", {**where, "key": key, "parts": parts}))

    def merge(self, project: str, logstore: str, shard: int) -> int:
        """Merge a shard with its right neighbour; the number of the new shard."""
        return int(self._send("merge", {"project": project, "logstore": logstore, "shard": shard}))

    def advance_clock(self, seconds: float) -> float:
        """Set the server's clock forward (or back); its new time. Timeouts and expiry follow it."""
        return float(self._send("advance_clock", {"seconds": seconds}))

    def set_keys(self, keys: Iterable[Mapping[str, Any]]) -> None:
        """Replace the access keys: mappings of access_key_id, secret and perhaps security_token and expires."""
        self._send("set_keys", {"keys": [dict(key) for key in keys]})

    def create(self, project: str, logstore: str, *, shards: int = 2, **options: Any) -> None:
        """Create a logstore, and its project when there is none."""
        self._send("create", {"project": project, "logstore": logstore, "shards": shards, "options": options})

    def put(
        self,
        project: str,
        logstore: str,
        rows: list[dict[str, Any]],
        *,
        shard: int | None = None,
        rows_per_group: int = 100,
        **fields: Any,
    ) -> list[list[int]]:
        """Write rows quickly, ``rows_per_group`` to a LogGroup; pairs of shard and number, one for each LogGroup.

        ``fields`` are ``topic``, ``source`` and ``tags``; ``__time__`` in a row is its time.
        """
        where = {"project": project, "logstore": logstore, "shard": shard}
        return list(self._send("put", {**where, "rows": rows, "rows_per_group": rows_per_group, **fields}))


class RemoteControl(Control):
    """Control of an emulator in another process, by its endpoint (``http://127.0.0.1:PORT``)."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        super().__init__(self._post)

    def _post(self, action: str, parameters: dict[str, Any]) -> Any:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=120)
        try:
            body = json.dumps(parameters)
            connection.request("POST", CONTROL_PATH + action, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            document = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ControlError(f"{document.get('errorCode')}: {document.get('errorMessage')}")
        return document["result"]
