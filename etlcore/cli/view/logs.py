"""Log messages to standard error: etlcore's and the stages' at the level asked for, all others from WARNING up."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

Show = Callable[[logging.LogRecord], None]


class _Handler(logging.Handler):
    def __init__(self, show: Show) -> None:
        super().__init__()
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._show(record)
        except Exception:  # noqa: BLE001 - a message that cannot be shown ends no run
            self.handleError(record)


@contextmanager
def logging_to(show: Show, level: int) -> Iterator[None]:
    """While the block runs, hand every log record to ``show``, and with it warnings and exceptions of lost threads."""
    root, own = logging.getLogger(), logging.getLogger("etlcore")
    handler = _Handler(show)
    before = root.handlers[:], root.level, own.level, threading.excepthook, sys.unraisablehook
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    own.setLevel(level)
    logging.captureWarnings(True)
    threading.excepthook = _thread_failed
    sys.unraisablehook = _unraisable
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:], root.level, own.level, threading.excepthook, sys.unraisablehook = before


def listen_to_packages(modules: Iterator[str] | set[str], level: int) -> None:
    """Messages from the packages that a pipeline's stages come from are of interest as etlcore's own are."""
    for package in sorted({module.partition(".")[0] for module in modules} - {"etlcore"}):
        logger = logging.getLogger(package)
        if logger.level == logging.NOTSET:
            logger.setLevel(level)


def message(record: logging.LogRecord) -> tuple[str, str]:
    """The stage a record comes from (or else its logger), and its text without that."""
    text = record.getMessage()
    stage = getattr(record, "stage", None)
    if isinstance(stage, str):
        return stage, text.removeprefix(f"{stage}: ")
    return record.name, text


def traceback_of(record: logging.LogRecord) -> str:
    """The traceback that a record carries; empty where it carries none."""
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    return _FORMATTER.formatException(record.exc_info)


_FORMATTER = logging.Formatter()


def _thread_failed(failed: Any) -> None:
    if failed.exc_type is SystemExit:
        return
    name = failed.thread.name if failed.thread is not None else "?"
    _tell(f"thread {name} ended with", failed.exc_type, failed.exc_value, failed.exc_traceback)


def _unraisable(failed: Any) -> None:
    what = failed.err_msg or "exception ignored in"
    _tell(f"{what} {failed.object!r:.200}:", failed.exc_type, failed.exc_value, failed.exc_traceback)


def _tell(what: str, kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    log = logging.getLogger("etlcore")
    log.warning("%s %s: %s", what, kind.__name__, error)
    if error is not None:
        log.debug("its traceback:", exc_info=(kind, error, traceback))
