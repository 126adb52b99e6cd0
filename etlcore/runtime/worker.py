"""The life of a worker: open, work until the input ends, drain, close; each kind of stage builds on it."""

from __future__ import annotations

from typing import Any

from etlcore.runtime.channel import Abandoned
from etlcore.runtime.context import WorkerContext
from etlcore.runtime.host import Failure, StageHost
from etlcore.runtime.ledger import Account, Frozen


class StageWorker:
    """One worker of a stage, with its own instance of the component. `live` is run on the worker's own thread."""

    def __init__(self, host: StageHost, component: Any, context: WorkerContext, account: Account) -> None:
        self.host = host
        self.component = component
        self.context = context
        self.account = account
        self.number = context.worker
        self.doing = "start"
        """Which method of the component is running: what a report says of a stuck worker."""
        self.ended = False

    @property
    def name(self) -> str:
        return f"{self.host.name}[{self.number}]"

    def live(self) -> None:
        """Everything, from `open` to `close`. Never raises: what goes wrong is told to the host."""
        try:
            self._live()
        finally:
            self.ended = True
            self.host.reached("closed")
            self.host.run.worker_ended()

    def _live(self) -> None:
        try:
            if self._await_downstream():
                self.doing = "open"
                self.prepare()
                self.component.open(self.context)
                self.opened()
                self.host.reached("opened")
                self.work()
        except (Abandoned, Frozen):
            pass
        except BaseException as error:  # noqa: BLE001 - a worker that dies silently would hang the run
            self.fail(error)
        finally:
            self.leave()
            self._close()

    def _await_downstream(self) -> bool:
        """Open what is behind us first, so that no row is read that nobody can take. False: it will never be open."""
        self.doing = "start"
        for host in self.host.downstream:
            host.opened.wait()
        if self.host.run.abandoned_because is not None:
            return False  # that is why the wait has ended; to open anything now would only make the end late
        if any(host.failed or host.skipped for host in self.host.downstream):
            self.host.skip()
            return False
        return True

    def prepare(self) -> None:
        """What must be known before the component is opened; all stages behind are open."""

    def opened(self) -> None:
        """What must be asked of the open component before the stages in front are opened."""

    def work(self) -> None:
        """From the first row to the drained stage."""
        raise NotImplementedError

    def leave(self) -> None:
        """Let go of the channels, whatever happened."""
        raise NotImplementedError

    def fail(self, error: BaseException, rows: int | None = None) -> None:
        held = self.account.held if rows is None else rows
        self.host.fail(Failure(self.host.name, self.number, self.doing, error, held))

    def _close(self) -> None:
        self.doing = "close"
        try:
            self.component.close()
        except BaseException as error:  # noqa: BLE001 - the other components must be closed too
            self.fail(error)
        self.doing = "end"
