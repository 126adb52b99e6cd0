"""What can go wrong with SLS, in classes that say what to do about it."""

from __future__ import annotations

import re
from typing import Any

_GROUP_GONE = {"ConsumerGroupNotExist"}
# The misspelt ones are what the official Go client looks for beside the right ones.
_CONSUMER_GONE = {"ConsumerNotExist", "ConsumerNotExsit", "NotExistConsumerWithBody"}
_NOT_THE_OWNER = {"ConsumerNotMatch"}
_SHARD_GONE = {"ShardNotExist", "ShardNotExsit"}
_INVALID_CURSOR = {"InvalidCursor"}
_QUOTA = {"ReadQuotaExceed", "ShardReadQuotaExceed", "WriteQuotaExceed", "ShardWriteQuotaExceed", "QuotaExceed"}
# What PutLogs says of logs that it will not take, as documented; one of them is enough for the whole request.
_BAD_LOGS = {"PostBodyInvalid", "PostBodyTooLarge", "InvalidTimestamp", "InvalidEncoding", "InvalidKey"}
_TRANSIENT = {"InternalServerError", "RequestTimeout", "ServerBusy", "ServiceUnavailable", "Throttling"}

NO_ANSWER = "no answer"
_HINTS = {
    NO_ANSWER: "check `endpoint`, `proxy` and the network",
    "ProjectNotExist": "check `project` and that the endpoint is the one of its region",
    "LogStoreNotExist": "check `logstore`",
    "SignatureNotMatch": "check the access key's secret",
    "RequestTimeExpired": "this machine's clock is more than 15 minutes off; set it",
    "ParameterInvalid": "check `query` and `processor`",
}


class SlsError(Exception):
    """A request that SLS refused or that did not reach it.

    ``code`` is SLS's error code (`NO_ANSWER` when there was no answer), ``status`` the HTTP status (0 when there was
    none).
    """

    def __init__(self, code: str, message: str, status: int, request_id: str = "") -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status
        self.request_id = request_id

    def __str__(self) -> str:
        text = f"{self.code}: {self.message}"
        if self.request_id:
            text += f" (request {self.request_id})"
        hint = _HINTS.get(self.code) or (_AUTH_HINT if self.is_auth else "")
        return f"{text}; {hint}" if hint else text

    @property
    def is_group_gone(self) -> bool:
        return self.code in _GROUP_GONE

    @property
    def is_consumer_gone(self) -> bool:
        """The group no longer knows this consumer: none of its shards are its own."""
        return self.code in _CONSUMER_GONE

    @property
    def is_not_the_owner(self) -> bool:
        """The shard belongs to another consumer."""
        return self.code in _NOT_THE_OWNER

    @property
    def is_shard_gone(self) -> bool:
        return self.code in _SHARD_GONE

    @property
    def is_invalid_cursor(self) -> bool:
        return self.code in _INVALID_CURSOR

    @property
    def is_auth(self) -> bool:
        """The credentials were not accepted; other ones, or newer ones, may be."""
        return self.status == 401 or "AccessKeyId" in self.code or "SecurityToken" in self.code

    @property
    def is_transient(self) -> bool:
        """The same request may succeed a little later."""
        return self.status == 0 or self.status >= 500 or self.code in _TRANSIENT or self.is_quota

    @property
    def is_quota(self) -> bool:
        """More was asked for than a quota allows; later it may not be."""
        return (
            self.status == 429 or self.code in _QUOTA or self.code == "Throttling" or self.code.endswith("QuotaExceed")
        )

    @property
    def is_bad_logs(self) -> bool:
        """A write was refused because of what it holds, and always will be."""
        return self.status == 413 or self.code in _BAD_LOGS

    @property
    def is_denied(self) -> bool:
        """The credentials are good, and do not allow this."""
        return (self.status == 403 and not self.is_quota) or "denied by" in self.message


_AUTH_HINT = "check `access_key_id` and its secret, or `credentials`; for temporary ones also `security_token`"


class SlsFailure(Exception):
    """The source or the sink cannot go on. The message is for the operator: what is wrong and what to do next."""


def from_log_exception(error: Any) -> SlsError:
    """An `SlsError` from the SDK's LogException."""
    status = int(error.get_resp_status() or 0)
    code, message = str(error.get_error_code()), str(error.get_error_message())
    # The SDK raises its own errors (no connection, a body that is not JSON) with the default status 200.
    if status == 200:
        status = 0
        if code == "LogRequestError":
            code, message = NO_ANSWER, _reason(message)
    return SlsError(code, message, status, str(error.get_request_id() or ""))


def _reason(message: str) -> str:
    """What a person wants to know of an error message of urllib3."""
    found = re.search(
        r"Failed to resolve '[^']+' \([^)]*\)|\[Errno -?\d+\] ([^'\")]+)|(Read timed out|Connection aborted)", message
    )
    if found is None:
        return message
    return str(found[1] or found[0])
