"""A plugin in a file beside the pipeline, ``plugins: [./mine.py]``: for components that are worth no package.

The file is a plugin as any other: it defines `etl_components` and offers names that are its own, ``mine`` alone or with
a suffix. It is loaded as the module ``mine``, so that ``target="mine:Class"`` finds its classes.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from etlcore.plugins.errors import BrokenPlugin

_lock = threading.RLock()


@dataclass(frozen=True, slots=True)
class FilePoint:
    """Stands where an installed plugin has an entry point."""

    file: Path

    @property
    def value(self) -> str:
        return str(self.file)

    @property
    def module(self) -> str:
        return self.file.stem

    attr = ""

    def _refuse_to_hide(self, name: str) -> None:
        """A file called as another module would be that module for everybody who imports it later: ``csv``, say."""
        try:
            found = importlib.util.find_spec(name)
        except (ImportError, ValueError, AttributeError):
            return
        if found is None or found.origin is None or Path(found.origin).resolve() == self.file:
            return
        raise BrokenPlugin(
            f"{self.file} cannot be loaded as the module {name}: there is one of that name already, {found.origin}",
            "give the file another name",
        )

    def load(self) -> ModuleType:
        """The module; loaded once a process. Raises whatever the file raises."""
        name = self.file.stem
        with _lock:
            known = sys.modules.get(name)
            if known is not None:
                if getattr(known, "__file__", None) == str(self.file):
                    return known
                raise BrokenPlugin(
                    f"{self.file} cannot be loaded as the module {name}: another one of that name is loaded",
                    "give the file another name",
                )
            self._refuse_to_hide(name)
            spec = importlib.util.spec_from_file_location(name, self.file)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[name]
                raise
            return module
