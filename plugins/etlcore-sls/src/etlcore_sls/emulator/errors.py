"""Errors as the service returns them: an HTTP status, an error code that clients match on, and a message.

Which statuses and codes are assumed is in README.md.
"""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """One refused request. ``code`` is what the official clients match on."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message


def parameter_invalid(message: str) -> ApiError:
    return ApiError(400, "ParameterInvalid", message)


def project_missing(project: str) -> ApiError:
    return ApiError(404, "ProjectNotExist", f"The Project does not exist: {project}")


def logstore_missing(logstore: str) -> ApiError:
    return ApiError(404, "LogStoreNotExist", f"logstore {logstore} does not exist")


def shard_missing(shard: Any) -> ApiError:
    return ApiError(400, "ShardNotExist", f"shard {shard} does not exist")


def group_missing(group: str) -> ApiError:
    return ApiError(404, "ConsumerGroupNotExist", f"consumer group {group} does not exist")


def consumer_missing(consumer: str) -> ApiError:
    return ApiError(404, "ConsumerNotExist", f"consumer {consumer} does not exist or has timed out")


def consumer_unknown_with_shards(consumer: str) -> ApiError:
    return ApiError(
        400,
        "NotExistConsumerWithBody",
        f"consumer {consumer} is not in the consumer group, yet its heartbeat names shards; send an empty list first",
    )


def consumer_not_match(consumer: str, shard: int, owner: str) -> ApiError:
    held_by = f"consumer {owner}" if owner else "no consumer"
    return ApiError(400, "ConsumerNotMatch", f"shard {shard} is held by {held_by}, not by {consumer or 'nobody'}")


def invalid_cursor(cursor: str, first: str, last: str) -> ApiError:
    return ApiError(400, "InvalidCursor", f"Cursor {cursor} is out of range: the shard holds {first} to {last}")


def malformed_cursor(cursor: str) -> ApiError:
    return parameter_invalid(f"Cursor {cursor} is malformed")
