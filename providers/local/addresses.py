"""Which addresses a model may be fetched from: https, and http on this machine."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote, urlsplit


class AddressRefused(Exception):
    """Nothing is fetched from the address. The message says why, and what to do."""


def check_address(url: str, *, redirected_from: str = "") -> None:
    """Raise AddressRefused if a file may not come from there.

    A redirect may not lead from another machine to this one.
    """
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
        usable = usable and url.isascii() and re.search(r"[\s\x00-\x1f]", url) is None
    except ValueError:
        usable = False
    begin = f"{shown(redirected_from)} redirects to " if redirected_from else ""
    if not usable or parts.scheme not in ("http", "https"):
        raise AddressRefused(f"{begin}{shown(url)}, which is not the https:// address of a file.")
    if parts.username is not None:
        raise AddressRefused(f"{begin}{shown(url)} with a login, which this command cannot use.")
    if redirected_from and is_loopback(url) and not is_loopback(redirected_from):
        raise AddressRefused(f"{begin}{shown(url)}, which is on this machine.")
    if parts.scheme == "http" and not is_loopback(url):
        raise AddressRefused(
            f"{begin}{shown(url)}: over http:// others can see and change what comes."
            " Use the https:// address."
        )


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def shown(url: str) -> str:
    """Return the address without a login and a query, which may hold keys."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "the address"
    text = f"{parts.scheme}://{host}{parts.path}" if host else parts.path
    return "".join(c for c in text if c.isprintable())[:200]


def file_name(url: str) -> str:
    """Return the name that the file has at the address; "" if it is not that of a GGUF file."""
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    return name if re.fullmatch(r"[\w+=@-][\w.+=@ -]{0,150}\.gguf", name, re.ASCII) else ""
