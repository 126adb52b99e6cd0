"""Where an SLS service is: a name, an IP address and port, or the emulator that comes with this package."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

EMULATOR = "emulator"

_REGIONAL = re.compile(r"^(?P<region>[a-z0-9-]+?)(-intranet|-internal|-share|-vpc)?\.log\.aliyuncs\.com$")
_DATA_PLANE = re.compile(r"^(?:[a-z0-9-]+\.)?(?P<region>[a-z]{2,}-[a-z0-9-]+)\.sls\.aliyuncs\.com$")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A parsed endpoint. ``url`` is what the SDK is given."""

    scheme: str
    host: str
    port: int | None

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port else "")

    @property
    def is_address(self) -> bool:
        """An IP address or localhost: there is no ``project.host`` to resolve, the project goes into Host alone."""
        return self.host == "localhost" or _address(self.host) is not None

    @property
    def is_loopback(self) -> bool:
        address = _address(self.host)
        return self.host == "localhost" or (address is not None and address.is_loopback)

    @property
    def region(self) -> str | None:
        """The region in the name of a public endpoint (``cn-hangzhou.log.aliyuncs.com``); None if there is none."""
        match = _REGIONAL.match(self.host) or _DATA_PLANE.match(self.host)
        return match["region"] if match else None


def parse_endpoint(text: str) -> Endpoint:
    """Read ``[http[s]://]host[:port]``; without a scheme it is http, as with the official SDK.

    Raises ValueError, with a message for the person who wrote it.
    """
    text = text.strip()
    if not text:
        raise ValueError("the endpoint is empty; write for example cn-hangzhou.log.aliyuncs.com, or emulator")
    scheme = text.partition("://")[0].lower() if "://" in text else "http"
    if scheme not in ("http", "https"):
        raise ValueError(f"the endpoint starts with {scheme}://; it can start with http:// or https://")
    rest = text.partition("://")[2] if "://" in text else text
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} is not an endpoint: {error}") from None
    if not host or parts.username or parts.query or parts.fragment or parts.path not in ("", "/") or " " in host:
        raise ValueError(
            f"{text!r} is not an endpoint; write host or host:port, for example cn-hangzhou.log.aliyuncs.com"
        )
    if ":" in host:
        raise ValueError(
            f"{text!r} is an IPv6 address, which the official SDK cannot use; write a name or an IPv4 address"
        )
    return Endpoint(scheme, host, port)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
