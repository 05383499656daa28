"""What `rosey-llm bot irc` was asked to do, and what a server may refuse."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

PLAIN_PORT, TLS_PORT = 6667, 6697
LINES_PER_S, TWITCH_LINES_PER_S = 1.0, 0.6


class IrcRefused(Exception):
    """A server cannot be reached, or does not let the bot in. The text says what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IrcOptions:
    """Where to go, and as whom.

    - `channels`: the key of each channel by its name; "" if it has none
    - `account`: with which `secret` logs in by SASL; without it the secret is the server's password
    - `prefix`: what stands in front of a channel's name in `channel_id`
    - `rate`: lines a second; None is the platform's usual one
    """

    host: str
    port: int
    channels: Mapping[str, str]
    nick: str
    tls: bool = False
    account: str = ""
    secret: str = field(default="", repr=False)
    prefix: str = "irc"
    rate: float | None = None

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def lines_per_s(self) -> float:
        is_twitch = self.host.lower().endswith((".twitch.tv", ".chat.twitch.tv"))
        return self.rate or (TWITCH_LINES_PER_S if is_twitch else LINES_PER_S)

    @property
    def shows_secret(self) -> bool:
        """Whether the secret goes through a network unencrypted."""
        return bool(self.secret) and not self.tls and not _is_loopback(self.host)


def server_address(text: str, tls: bool) -> tuple[str, int]:
    """Return host and port of HOST, HOST:PORT or [IPv6]:PORT. Raise ValueError."""
    host, port = text, ""
    if text.startswith("["):
        host, found, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
        if not found or (rest and not rest.startswith(":")):
            raise ValueError(f"expected HOST, HOST:PORT or [IPv6]:PORT, got {text!r}")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not host or any(each.isspace() or each == "/" for each in host):
        raise ValueError(f"expected HOST, HOST:PORT or [IPv6]:PORT, got {text!r}")
    if not port:
        return host, TLS_PORT if tls else PLAIN_PORT
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"expected a port from 1 to 65535, got {port!r}")
    return host, int(port)


def channel_name(text: str) -> str:
    """Return a channel's name; "lobby" is "#lobby". Raise ValueError."""
    name = text if text[:1] in ("#", "&", "+", "!") else f"#{text}"
    if not 1 < len(name.encode()) <= 200 or any(
        each in " ,:\x07" or ord(each) < 32 for each in name
    ):
        raise ValueError(f"expected a channel such as '#lobby', got {text!r}")
    return name


def nickname(text: str) -> str:
    """Return a nickname. Raise ValueError; the server itself knows what else it does not take."""
    if not text or len(text) > 60 or any(each in " ,:!@*" or ord(each) < 33 for each in text):
        raise ValueError(f"expected a nickname such as 'rosey', got {text!r}")
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
