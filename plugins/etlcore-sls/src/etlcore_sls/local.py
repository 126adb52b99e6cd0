"""The emulator behind ``endpoint: emulator``: one process for all stages and workers of a run that share its data."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etlcore_sls.emulator import EmulatorProcess

DATA_FILE = "sls-emulator.db"


@dataclass(slots=True)
class _Shared:
    process: EmulatorProcess
    users: int


_lock = threading.Lock()
_running: dict[str, _Shared] = {}


class LocalEmulator:
    """A share in the emulator whose data is in ``directory``; the last one to be closed ends it."""

    def __init__(self, directory: Path) -> None:
        """Starts the emulator if need be, with sample logs where its data file is new. Raises EmulatorError."""
        from etlcore_sls.emulator import EmulatorProcess, Samples

        directory.mkdir(parents=True, exist_ok=True)
        self._data = str((directory / DATA_FILE).resolve())
        with _lock:
            shared = _running.get(self._data)
            if shared is None:
                shared = _running[self._data] = _Shared(EmulatorProcess(data=self._data, samples=Samples()), 0)
            shared.users += 1
        self.endpoint: str = shared.process.endpoint
        self.access_key_id: str = shared.process.key.access_key_id
        self.secret: str = shared.process.key.secret
        self._control = shared.process.control
        self._open = True

    def create(self, project: str, logstore: str) -> None:
        """Make a logstore, and its project, where there is none of that name."""
        from etlcore_sls.emulator.control import ControlError

        try:
            self._control.create(project, logstore, shards=4)
        except ControlError as error:
            if "LogStoreAlreadyExist" not in str(error):
                raise

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        with _lock:
            shared = _running[self._data]
            shared.users -= 1
            last = shared.users == 0
            if last:
                del _running[self._data]
        if last:
            shared.process.close()
