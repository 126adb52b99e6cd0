"""An emulator in this process, served by a thread: for tests, and what the command line runs."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self

from etlcore_sls.emulator.actions import perform
from etlcore_sls.emulator.control import Control, ControlError
from etlcore_sls.emulator.errors import ApiError
from etlcore_sls.emulator.faults import ConnectionCut
from etlcore_sls.emulator.server import Server
from etlcore_sls.emulator.service import Service
from etlcore_sls.emulator.settings import DEMO_KEY, AccessKey, Settings
from etlcore_sls.emulator.storage import MemoryStorage, Storage


class Emulator:
    """A running emulator; also a context manager.

    Raises OSError when its address is taken, and ValueError when its data file cannot be used.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.service = Service(self.settings, _storage(self.settings))
        try:
            self._write_samples()
            self._server = Server(self.service)
        except BaseException:
            self.service.close()
            raise
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="sls-emulator", daemon=True
        )
        self._thread.start()
        self._closed = False
        self.control = Control(self._act)

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:PORT``."""
        host = self.settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def key(self) -> AccessKey:
        """A key pair that may sign requests."""
        return self.settings.keys[0] if self.settings.keys else DEMO_KEY

    def close(self) -> None:
        """Stop listening, close every connection, and close the data file. Doing it twice is harmless."""
        if self._closed:
            return
        self._closed = True
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.service.close()
        self._server.cut_connections()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _act(self, action: str, parameters: dict[str, Any]) -> Any:
        try:
            return perform(self.service, action, parameters)
        except ApiError as error:
            raise ControlError(f"{error.code}: {error.message}") from None
        except ConnectionCut:
            raise ControlError("the emulator is closed") from None

    def _write_samples(self) -> None:
        if self.settings.samples is not None:
            from etlcore_sls.emulator.samples import write_samples

            write_samples(self.service, self.settings.samples)


def _storage(settings: Settings) -> Storage:
    if settings.data is None:
        return MemoryStorage()
    from etlcore_sls.emulator.sqlite import SqliteStorage

    return SqliteStorage(settings.data)
