"""The options that the three `python` stages share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from etlcore.builtin import python_function
from etlcore.builtin.options import Options


class CallOptions(Options):
    """Which function is called, and with what."""

    call: str = Field(
        description="The function: module:function, or file.py:function with a file relative to the pipeline file."
    )
    options: dict[str, Any] = Field(default={}, description="Keyword arguments for the function.")

    @field_validator("call")
    @classmethod
    def _names_a_function(cls, call: str, info: ValidationInfo) -> str:
        directory = (info.context or {}).get("directory")
        if directory is None:
            python_function.split(call)
        else:  # whoever checks a whole pipeline file says where it lies
            python_function.check(call, Path(directory))
        return call
