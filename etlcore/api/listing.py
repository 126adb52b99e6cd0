"""What is installed, from Python."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etlcore.plugins.describe import Description
    from etlcore.plugins.survey import Installed


def installed(*, check: bool = False) -> list[Installed]:
    """The distributions with plugins, as `etl plugins` lists them; ``check`` imports them and finds what is wrong."""
    from etlcore.plugins import Plugins
    from etlcore.plugins.survey import survey

    return survey(Plugins(), check=check)


def describe(name: str) -> list[Description]:
    """The components of that name, as `etl plugins show` prints them. Raises PluginError when there is none."""
    from etlcore.plugins import Plugins
    from etlcore.plugins.describe import describe as described

    return described(Plugins(), name)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of pipeline files, as `etl schema` writes it; a plugin that is broken is a warning."""
    from etlcore.plugins import Plugins
    from etlcore.spec.schema import json_schema as schema

    return schema(Plugins(), lambda message: warnings.warn(message, stacklevel=3))
