"""The headers and query parameters that a provider's table adds to every request, checked.

Their values may be keys, so no error shows them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, quote_plus

from providers.validation import ValidationError

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# The HTTP client sets these from the body and the connection.
_RESERVED = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def checked_headers(headers: Mapping[str, str], path: str) -> dict[str, str]:
    """Return the headers with stripped values; ValidationError if one cannot be sent.

    path: their place in the configuration. An empty value, such as that of a variable that is not
    set, removes a header.
    """
    seen: dict[str, str] = {}
    for name in headers:
        if not _NAME.fullmatch(name):
            raise ValidationError(path, "expected names of letters, digits and hyphens")
        if name.lower() in _RESERVED:
            raise ValidationError(f"{path}.{name}", "cannot be set: it follows from the request")
        if (first := seen.setdefault(name.lower(), name)) != name:
            raise ValidationError(f"{path}.{name}", f"the same as {first}; case does not matter")
    return {name: header_value(value, f"{path}.{name}") for name, value in headers.items()}


def checked_query(query: Mapping[str, str], path: str) -> dict[str, str]:
    """Return the parameters that have a value, stripped; ValidationError if one cannot be sent."""
    for name, value in query.items():
        if not name or not value.strip().isprintable():
            raise ValidationError(f"{path}.{name}", "expected a name and a value of one line")
    return {name: value.strip() for name, value in query.items() if value.strip()}


def secrets_of(headers: Mapping[str, str], query: Mapping[str, str]) -> list[str]:
    """Return the strings of checked headers and parameters that must not be shown.

    A server may also quote a parameter as it stands in the address, or a key without the word
    before it ("Bearer ...").
    """
    values = [*headers.values(), *query.values()]
    keys = [value.split()[-1] for value in headers.values() if value]
    quoted = [
        write(value, safe=safe)
        for value in query.values()
        for write in (quote, quote_plus)
        for safe in ("", "/")
    ]
    return [*values, *keys, *quoted]


def header_value(value: str, path: str) -> str:
    """Return `value` stripped; ValidationError, without the value, if no header can hold it."""
    value = value.strip()
    if not (value.isascii() and value.isprintable()):
        raise ValidationError(path, "expected printable ASCII characters")
    return value


def merged(*groups: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of all groups that have a value; a later group goes before an earlier."""
    found: dict[str, tuple[str, str]] = {}
    for headers in groups:
        found |= {name.lower(): (name, value) for name, value in headers.items()}
    return {name: value for name, value in found.values() if value}
