"""The error for a redirect. It is not followed: key and prompt stay with their server."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit, urlunsplit

from providers.errors import WrongAddress

_TARGET_CHARACTERS = 200


def redirected(
    label: str, status: int, url: str, location: str, base_url: str, secrets: Sequence[str]
) -> WrongAddress:
    """Return the error of a call to `url` that was redirected to `location`.

    label: the provider's name in error texts. base_url: the configured address.
    secrets: strings that must not be in the text.
    """
    try:
        reason = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        reason = str(status)
    target = _target(url, location, secrets)
    if not target:
        return WrongAddress(
            f"{label} redirects without an address ({reason}); check base_url", status=status
        )
    method = url.removeprefix(base_url)
    remedy = "set base_url to the address of the API there"
    if base_url and method != url and target.endswith(method):
        remedy = f"set base_url to {target.removesuffix(method)}"
    return WrongAddress(f"{label} redirects to {target} ({reason}); {remedy}", status=status)


def _target(url: str, location: str, secrets: Sequence[str]) -> str:
    """Return the address of a redirect without login, query and secrets; "" if it is none."""
    try:
        parts = urlsplit(urljoin(url, location))
    except ValueError:
        return ""
    if not location or parts.scheme not in ("http", "https") or not parts.hostname:
        return ""
    target = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    for secret in secrets:
        if secret:
            target = target.replace(secret, "***")
    target = "".join(c for c in target if c.isprintable() and not c.isspace())
    return target[:_TARGET_CHARACTERS]
