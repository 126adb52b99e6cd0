"""An SLS server on loopback: the protocol of the real one, as far as producers and consumers of logs need it.

``Emulator`` runs in this process, ``EmulatorProcess`` as a child of it, ``python -m etlcore_sls.emulator`` on its own.
Importing this costs nothing; the names load what they need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etlcore_sls.emulator.embedded import Emulator as Emulator
    from etlcore_sls.emulator.process import EmulatorError as EmulatorError
    from etlcore_sls.emulator.process import EmulatorProcess as EmulatorProcess
    from etlcore_sls.emulator.settings import AccessKey as AccessKey
    from etlcore_sls.emulator.settings import Samples as Samples
    from etlcore_sls.emulator.settings import Settings as Settings

_HOMES = {
    "AccessKey": "etlcore_sls.emulator.settings",
    "Emulator": "etlcore_sls.emulator.embedded",
    "EmulatorError": "etlcore_sls.emulator.process",
    "EmulatorProcess": "etlcore_sls.emulator.process",
    "Samples": "etlcore_sls.emulator.settings",
    "Settings": "etlcore_sls.emulator.settings",
}

__all__ = ["AccessKey", "Emulator", "EmulatorError", "EmulatorProcess", "Samples", "Settings"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
