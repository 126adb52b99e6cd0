"""The two request signatures of SLS, computed from what travels in a request.

V1: base64(HMAC-SHA1(secret, method, Content-MD5, Content-Type, date, x-log-*/x-acs-* headers, resource)).
V4: HMAC-SHA256 with a key derived from secret, date and region over a canonical request, headers as a closed list.

A server sees the request, not what the client meant to send, so a few things are ambiguous; where official clients
differ, the ``*_signatures`` functions return every text that one of them signs.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from urllib.parse import quote

V1_SCHEME, V4_SCHEME = "LOG", "SLS4-HMAC-SHA256"
_V1_SCHEMES = (V1_SCHEME, "SLS")  # the Go client's word for the same


class SignatureFormatError(ValueError):
    """An Authorization header that follows neither scheme."""


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it was received. Header names are lower case; the path is percent-decoded, ``raw_path`` is not."""

    method: str
    path: str
    raw_path: str
    params: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Authorization:
    """The parts of an Authorization header; ``region`` and ``date`` are empty for V1."""

    scheme: str
    access_key_id: str
    signature: str
    date: str = ""
    region: str = ""


def parse_authorization(header: str) -> Authorization:
    """Read ``LOG id:signature`` or ``SLS4-HMAC-SHA256 Credential=id/date/region/sls/aliyun_v4_request,Signature=hex``.

    The Go client writes ``SLS`` for ``LOG``. Raises SignatureFormatError.
    """
    scheme, _, rest = header.strip().partition(" ")
    if scheme in _V1_SCHEMES:
        access_key_id, colon, signature = rest.strip().rpartition(":")
        if colon and access_key_id and signature:
            return Authorization(V1_SCHEME, access_key_id, signature)
    elif scheme == V4_SCHEME:
        parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
        scope = parts.get("Credential", "").split("/")
        if len(scope) == 5 and scope[3:] == ["sls", "aliyun_v4_request"] and parts.get("Signature"):
            return Authorization(V4_SCHEME, scope[0], parts["Signature"], date=scope[1], region=scope[2])
    raise SignatureFormatError(
        f"Authorization must read '{V1_SCHEME} id:signature' or "
        f"'{V4_SCHEME} Credential=id/date/region/sls/aliyun_v4_request,Signature=hex'"
    )


def v1_signatures(request: SignedRequest, secret: str) -> Iterator[str]:
    """Every V1 signature that is right for a request.

    The Python SDK sends ``x-log-date`` without signing it (it is added afterwards), and signs the path as it is; the Go
    client signs what it sends, the path as it is encoded in the URL.
    """
    headers = request.headers
    date = headers.get("date") or headers.get("x-log-date", "")
    query = "&".join(f"{key}={value}" for key, value in sorted(request.params.items()))
    lead = (request.method, headers.get("content-md5", ""), headers.get("content-type", ""), date)
    signed = {name: value for name, value in headers.items() if _is_signed_extra(name)}
    variants = [{name: value for name, value in signed.items() if name != "x-log-date"}]
    if "x-log-date" in signed:
        variants.append(signed)
    for path, variant in product(dict.fromkeys((request.path, request.raw_path)), variants):
        extra = "".join(f"{name}:{value}\n" for name, value in sorted(variant.items()))
        text = "\n".join(lead) + "\n" + extra + path + (f"?{query}" if query else "")
        yield base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()


def v4_signatures(request: SignedRequest, secret: str, date: str, region: str) -> Iterator[str]:
    """Every V4 signature that is right for a request; ``date`` (YYYYMMDD) and ``region`` are the credential's scope.

    The Python SDK signs the path as it is, others as it is encoded in the URL.
    """
    headers = request.headers
    names = sorted(name for name in headers if name in ("content-type", "host") or _is_signed_extra(name))
    canonical_headers = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
    query = "&".join(_v4_parameter(key, value) for key, value in sorted(request.params.items()))
    moment, content_hash = headers.get("x-log-date", ""), headers.get("x-log-content-sha256", "")
    scope = f"{date}/{region}/sls/aliyun_v4_request"
    key = _v4_key(secret, date, region)
    for path in dict.fromkeys((request.path, request.raw_path)):
        canonical = "\n".join((request.method, path, query, canonical_headers, ";".join(names), content_hash))
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join((V4_SCHEME, moment, scope, digest))
        yield hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _is_signed_extra(name: str) -> bool:
    return name.startswith("x-acs-") or (name.startswith("x-log-") and not name.startswith("x-log-meta-"))


def _v4_parameter(key: str, value: str) -> str:
    encoded = quote(key, safe="~")
    return f"{encoded}={quote(value, safe='~')}" if value else encoded


def _v4_key(secret: str, date: str, region: str) -> bytes:
    key = ("aliyun_v4" + secret).encode()
    for part in (date, region, "sls", "aliyun_v4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
