"""The schema of ``tests:``, which is the same whatever is installed."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_rows: Schema = {"$ref": "#/definitions/rows"}
_text: Schema = {"$ref": "#/definitions/text"}
_refusal: Schema = {
    "anyOf": [
        _text,
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "reason": {"description": "A part of the dead letter's reason.", "allOf": [_text]},
                "row": {"description": "The row as the stage was given it.", "type": "object"},
            },
        },
    ]
}

DEFINITIONS: dict[str, Schema] = {
    "rows": {
        "anyOf": [
            {"type": "array", "items": {"type": "object"}},
            {
                "type": "object",
                "additionalProperties": False,
                "required": ["file"],
                "properties": {"file": {"description": "JSON lines, relative to this file.", "allOf": [_text]}},
            },
        ]
    },
    "test": {
        "type": "object",
        "additionalProperties": False,
        "required": ["given"],
        "anyOf": [{"required": ["expect"]}, {"required": ["dead"]}],
        "properties": {
            "given": {
                "description": "Rows by stage: what a source reads, or what comes to another stage.",
                "type": "object",
                "minProperties": 1,
                "additionalProperties": _rows,
            },
            "expect": {
                "description": "Rows by stage: what comes to a sink, or what STAGE or STAGE.OUTPUT puts out.",
                "type": "object",
                "additionalProperties": _rows,
            },
            "dead": {
                "description": "Rows that stages refuse, by stage; there must be no others.",
                "type": "object",
                "additionalProperties": {"type": "array", "items": _refusal},
            },
            "environ": {
                "description": "What ${NAME} stands for in this test.",
                "type": "object",
                "additionalProperties": {"type": ["string", "number", "boolean"]},
            },
            "in_order": {
                "description": "The rows must come in the order given here.",
                "allOf": [{"$ref": "#/definitions/truth"}],
            },
            "columns": {
                "description": "all: rows have exactly the expected columns; some: they may have further ones.",
                "enum": ["all", "some"],
            },
            "description": {"description": "For people; nothing reads it.", "allOf": [_text]},
        },
    },
}
"""What `TESTS` refers to."""

TESTS: Schema = {"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#/definitions/test"}}
