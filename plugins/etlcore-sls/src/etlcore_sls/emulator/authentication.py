"""Who sent a request: signatures V1 and V4, security tokens and the age of a request."""

from __future__ import annotations

import hashlib
import hmac
from calendar import timegm
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import strptime

from etlcore_sls.emulator.errors import ApiError
from etlcore_sls.emulator.settings import AccessKey
from etlcore_sls.wire.signature import (
    V1_SCHEME,
    Authorization,
    SignatureFormatError,
    SignedRequest,
    parse_authorization,
    v1_signatures,
    v4_signatures,
)


def authenticate(
    request: SignedRequest, body: bytes, keys: Mapping[str, AccessKey], now: float, max_skew: float
) -> AccessKey:
    """The key that a request was signed with.

    Raises ApiError: Unauthorized, SignatureNotMatch, SecurityTokenInvalid, SecurityTokenExpired, RequestTimeExpired,
    InvalidRequestTime, MissingAuthorization or InvalidContentMD5.
    """
    header = request.headers.get("authorization", "")
    if not header:
        raise ApiError(401, "Unauthorized", "the request has no Authorization header; sign it with an access key")
    try:
        authorization = parse_authorization(header)
    except SignatureFormatError as error:
        raise ApiError(401, "Unauthorized", str(error)) from None
    key = keys.get(authorization.access_key_id)
    if key is None:
        raise ApiError(401, "Unauthorized", f"AccessKeyId not found: {authorization.access_key_id}")
    _check_age(request, authorization, now, max_skew)
    _check_token(request, key, now)
    if authorization.scheme == V1_SCHEME:
        _check_v1(request, body, key, authorization)
    else:
        _check_v4(request, body, key, authorization)
    return key


def _check_age(request: SignedRequest, authorization: Authorization, now: float, max_skew: float) -> None:
    signed, other = ("date", "x-log-date") if authorization.scheme == V1_SCHEME else ("x-log-date", "date")
    text = request.headers.get(signed) or request.headers.get(other, "")
    if not text:
        raise ApiError(400, "MissingDate", "Date does not exist in http header")
    try:
        if text.endswith("Z") and "T" in text:
            sent: float = timegm(strptime(text, "%Y%m%dT%H%M%SZ"))
        else:
            sent = parsedate_to_datetime(text).timestamp()
    except ValueError:
        raise ApiError(400, "InvalidRequestTime", f"Request time {text} not follow RFC822 spec") from None
    if abs(now - sent) > max_skew:
        message = f"Request time {text} has been expired while server time is {int(now)}"
        raise ApiError(400, "RequestTimeExpired", message)


def _check_token(request: SignedRequest, key: AccessKey, now: float) -> None:
    token = request.headers.get("x-acs-security-token", "")
    if not hmac.compare_digest(token.encode(), key.security_token.encode()):
        raise ApiError(401, "SecurityTokenInvalid", f"the security token does not belong to {key.access_key_id}")
    if key.expires is not None and now > key.expires:
        raise ApiError(401, "SecurityTokenExpired", f"the security token of {key.access_key_id} has expired")


def _check_v1(request: SignedRequest, body: bytes, key: AccessKey, authorization: Authorization) -> None:
    digest = request.headers.get("content-md5", "")
    if digest and digest.upper() != hashlib.md5(body, usedforsecurity=False).hexdigest().upper():
        raise ApiError(400, "InvalidContentMD5", "Content-MD5 is not the MD5 of the body")
    if not any(hmac.compare_digest(text, authorization.signature) for text in v1_signatures(request, key.secret)):
        raise _mismatch(authorization)


def _check_v4(request: SignedRequest, body: bytes, key: AccessKey, authorization: Authorization) -> None:
    if request.headers.get("x-log-content-sha256", "") != hashlib.sha256(body).hexdigest():
        raise ApiError(401, "SignatureNotMatch", "x-log-content-sha256 is not the SHA-256 of the body")
    valid = v4_signatures(request, key.secret, authorization.date, authorization.region)
    if not any(hmac.compare_digest(text, authorization.signature) for text in valid):
        raise _mismatch(authorization)


def _mismatch(authorization: Authorization) -> ApiError:
    message = f"signature {authorization.signature} does not match that of {authorization.access_key_id}"
    return ApiError(401, "SignatureNotMatch", message)
