"""Taking a request URI apart: path and query parameters, decoded, or the reason why not.

Follows RFC 3986 for the parts and the percent-encoding, RFC 9112 §3.2 for the forms of a request target, and the
URL standard's ``application/x-www-form-urlencoded`` for the query (``&`` between parameters, ``+`` for a space).
"""

from __future__ import annotations

import re
from urllib.parse import unquote

_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\x9f\ud800-\udfff]")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")

Parameters = list[tuple[str, str]]


class Malformed(ValueError):
    """A URI that cannot be taken apart; the text says why."""


def parse(uri: str) -> tuple[str, Parameters]:
    """The decoded path and the decoded parameters in their order, repeated ones included.

    ``/a%20b?x=1&y`` gives ``("/a b", [("x", "1"), ("y", "")])``. A URI with scheme and host gives what follows them.
    ``*`` is a path of its own. A fragment is left out; empty parameters (``a=1&&b=2``) are too.

    Raises Malformed for an empty text, a space or control character, an incomplete escape, escapes that are no
    UTF-8, and a text that begins neither with ``/`` nor with a scheme and host.
    """
    # The usual case needs no search: printable ASCII without a space or an escape.
    plain = uri.isascii() and uri.isprintable() and " " not in uri
    if not plain and (found := _UNPRINTABLE.search(uri)):
        raise Malformed(f"{_name(found[0])} at character {found.start() + 1}")
    if "%" in uri and (found := _BAD_ESCAPE.search(uri)):
        raise Malformed(
            f"bad percent escape {uri[found.start() : found.start() + 3]!r} at character {found.start() + 1}"
        )
    if "#" in uri:
        uri = uri.partition("#")[0]
    if uri[:1] != "/":
        uri = _without_host(uri)
    path, _, query = uri.partition("?")
    if "%" in path:
        path = decode(path)
    return path, _parameters(query) if query else []


def _without_host(uri: str) -> str:
    if not uri:
        raise Malformed("empty")
    if uri == "*":
        return uri
    if uri[:1] == "?":
        raise Malformed("no path before the query")
    absolute = _ABSOLUTE.match(uri)
    if not absolute:
        raise Malformed("neither a path that begins with / nor an absolute URI")
    rest = uri[absolute.end() :]
    return rest if rest[:1] == "/" else "/" + rest


def _parameters(query: str) -> Parameters:
    if "%" not in query and "+" not in query:
        return [piece.partition("=")[::2] for piece in query.split("&") if piece]
    pairs = [piece.partition("=")[::2] for piece in query.split("&") if piece]
    return [(_decode_parameter(name), _decode_parameter(value)) for name, value in pairs]


def _decode_parameter(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    return decode(text) if "%" in text else text


def decode(text: str) -> str:
    """A text with its escapes, which are whole, decoded. Raises Malformed where they are no UTF-8."""
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise Malformed(f"escapes that are not UTF-8 in {_shortened(text)!r}") from None


def _name(character: str) -> str:
    if character == " ":
        return "space"
    if "\ud800" <= character <= "\udfff":
        return f"lone surrogate U+{ord(character):04X}"
    return f"control character U+{ord(character):04X}"


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
