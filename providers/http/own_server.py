"""Tells a server of one's own, which runs on a few machines, from a service on the internet."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from urllib.parse import urlsplit

# Names that are resolved only within a network of one's own: by mDNS, routers, containers.
_OWN_DOMAINS = (".local", ".localhost", ".lan", ".internal", ".home.arpa", ".svc")


def is_own_server(url: str) -> bool:
    """Return whether an address is that of this machine or of a network of one's own.

    Only the address is looked at: nothing is resolved. It may be one that cannot be used.
    """
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return False
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        return address.is_private or address.is_loopback
    return bool(host) and ("." not in host or host.endswith(_OWN_DOMAINS))
