"""Decides whether the requests to a server go through an HTTP proxy."""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

NEVER = "none"
_ENTRY = re.compile(r"(?P<host>\[[^\]]+\]|[^:]+)(?::(?P<port>\d+))?")


class UnusableProxy(ValueError):
    """The proxy's address cannot be used. The message does not contain it."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy.

    address: where it is, without a login. authorization: its header of that name, or "".
    secrets: strings that must not be shown.
    """

    address: str
    authorization: str = field(default="", repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def place(self) -> str:
        return urlsplit(self.address).netloc


def proxy_of(setting: str) -> Proxy | None:
    """Return the proxy that a setting names; None for "none". Raises UnusableProxy."""
    setting = setting.strip()
    if setting.lower() == NEVER:
        return None
    return _parsed(
        setting, f'expected an address such as "http://proxy:3128", or "{NEVER}" for no proxy'
    )


def proxy_from(environment: Mapping[str, str], url: str) -> Proxy | None:
    """Return the proxy that the environment names for a URL; None if there is none.

    The variables are those of curl: http_proxy, https_proxy, all_proxy and no_proxy, also in upper
    case. As in Go, this machine itself is never reached through a proxy. Raises UnusableProxy.
    """
    parts = urlsplit(url)
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        variable = name if environment.get(name) else name.upper()
        if value := environment.get(variable, "").strip():
            break
    else:
        return None
    no_proxy = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if _is_this_machine(parts.hostname or "") or _is_exempt(parts, no_proxy):
        return None
    return _parsed(
        value if "://" in value else f"http://{value}",
        f'${variable} is not an address such as "http://proxy:3128"',
    )


def environment_proxy(url: str) -> Proxy | None:
    return proxy_from(os.environ, url)


def _parsed(address: str, problem: str) -> Proxy:
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise UnusableProxy(problem) from None
    if parts.scheme != "http" or not parts.hostname or port == 0 or parts.path.strip("/"):
        raise UnusableProxy(problem)
    bare = f"http://{parts.netloc.rpartition('@')[2]}"
    if parts.username is None:
        return Proxy(bare)
    password = unquote(parts.password or "")
    login = base64.b64encode(f"{unquote(parts.username)}:{password}".encode()).decode()
    return Proxy(bare, f"Basic {login}", (login, password, parts.password or ""))


def _is_this_machine(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _is_exempt(parts: SplitResult, no_proxy: str) -> bool:
    host = parts.hostname or ""
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    entries = no_proxy.lower().replace(",", " ").split()
    return any(_matches(entry, host, port) for entry in entries)


def _matches(entry: str, host: str, port: int | None) -> bool:
    """Return whether an entry of no_proxy means a host: a name with all below it, or addresses."""
    if entry == "*":
        return True
    with suppress(ValueError):
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
        with suppress(ValueError):
            return ipaddress.ip_address(host) in network
        return False
    found = _ENTRY.fullmatch(entry)
    if found is None or (found["port"] and int(found["port"]) != port):
        return False
    name = found["host"].strip("[]").removeprefix("*").removeprefix(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))
