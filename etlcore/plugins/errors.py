"""What can be wrong with plugins. Every error says what is wrong and, in ``hint``, the next step."""

from __future__ import annotations


class PluginError(Exception):
    """A plugin or a component cannot be had; ``message`` says why, ``hint`` what to do (it may be empty)."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UnknownName(PluginError):
    """No installed plugin offers the name. ``suggestion`` is a close name that exists, or None."""

    def __init__(self, message: str, hint: str = "", suggestion: str | None = None) -> None:
        super().__init__(message, hint)
        self.suggestion = suggestion


class WrongKind(PluginError):
    """The component exists, but as another kind of stage."""


class NameCollision(PluginError):
    """Two distributions claim the same name."""


class BrokenPlugin(PluginError):
    """The plugin cannot be imported, or does not keep the plugin contract."""


class WrongInterface(BrokenPlugin):
    """The component is written for another version of the plugin interface."""


def is_stop(error: BaseException) -> bool:
    """Whether an exception that came out of foreign code tells this process to stop, and is no fault of that code.

    Foreign code may raise anything: ``sys.exit()``, or an exception of its own that is no Exception.
    """
    if isinstance(error, Exception | SystemExit):
        return False
    return isinstance(error, KeyboardInterrupt) or type(error).__module__.partition(".")[0] == "etlcore"
