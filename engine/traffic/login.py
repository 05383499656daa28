"""The options with which our clients log in to NATS: password, token, credentials file, TLS."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import nats.errors

from engine.config.settings import NatsSettings

PAUSE_S = 0.5
PING_INTERVAL_S = 10.0
_JWT = re.compile(r"-----BEGIN NATS USER JWT-----\s+(\S+)")
_SEED = re.compile(r"-----BEGIN USER NKEY SEED-----\s+(\S+)")


class LoginError(nats.errors.Error):
    """The client does not log in: TLS is required but not offered, or a file is not usable."""


def client_options(
    settings: NatsSettings,
    url: str,
    user: str = "",
    password: str = "",
    ping_interval_s: float = PING_INTERVAL_S,
) -> dict[str, Any]:
    """Return nats-py's options for a connection to `url`, secrets included. Raise LoginError.

    A connection counts as lost if the server is silent for three ping intervals.
    """
    options: dict[str, Any] = {
        "servers": addresses(url),
        "name": "rosey-llm",
        "allow_reconnect": True,
        "reconnect_time_wait": PAUSE_S,
        "ping_interval": ping_interval_s,
        "max_outstanding_pings": 2,
    }
    if user := user or settings.user:
        options |= {"user": user, "password": password or str(settings.password)}
        options["inbox_prefix"] = inbox_prefix(user)
    if settings.token:
        options["token"] = str(settings.token)
    if settings.credentials:
        options |= _login_by_file(settings.credentials)
    if context := _tls_context(settings, url):
        # With tls_first nothing is sent in plain text; without it, nothing secret is.
        options |= {"tls": context, "tls_handshake_first": settings.tls_first}
    return options


def inbox_prefix(user: str) -> str:
    """Return how the reply subjects of this login begin.

    The server may let a login read only its own replies (docs/security.md).
    """
    return f"_INBOX.{user}" if re.fullmatch(r"[\w-]+", user) else "_INBOX"


def addresses(url: str) -> list[str]:
    """Return the servers of `[nats] url`: one address, or those of a cluster with commas."""
    return [each.strip() for each in url.split(",")]


def without_login(url: str) -> str:
    """Return the URL without its user and password, so that it may be shown."""
    found = []
    for each in addresses(url):
        parts = urlsplit(each)
        found.append(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))
    return ", ".join(found)


def _login_by_file(path: str) -> dict[str, Any]:
    """Return the options for a .creds file (read again at every login) or an nkey seed file."""
    seed, jwt = read_credentials(path)
    return {"user_credentials": path} if jwt else {"nkeys_seed_str": seed}


def read_credentials(path: str) -> tuple[str, str]:
    """Return (nkey seed, JWT); the JWT is "" if the file has only a seed. Raise LoginError."""
    # Imported here because few setups need it, and it would slow down every start.
    import nkeys  # type: ignore[import-untyped]

    try:
        text = Path(path).read_text(encoding="ascii")
        jwt, seed = _JWT.search(text), _SEED.search(text)
        found = seed[1] if seed else text.strip()
        nkeys.from_seed(bytearray(found.encode())).wipe()
    except OSError as exc:
        raise LoginError(f"{path} cannot be read: {exc.strerror}") from exc
    except (ValueError, nkeys.NkeysError) as exc:
        raise LoginError(f"{path} is neither a .creds file nor an nkey seed") from exc
    return found, jwt[1] if jwt else ""


def check_tls(settings: NatsSettings) -> None:
    """Raise LoginError if the files of [nats] tls_ca, tls_cert and tls_key are not usable."""
    _tls_context(settings, settings.url)


def _tls_context(settings: NatsSettings, url: str) -> ssl.SSLContext | None:
    """Return the TLS settings as a context, or None if they do not require TLS."""
    is_tls = any(each.startswith("tls://") for each in addresses(url))
    if not (is_tls or settings.tls_ca or settings.tls_cert):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca or None)
        if settings.tls_cert:
            context.load_cert_chain(settings.tls_cert, settings.tls_key or None)
    except OSError as exc:
        files = ", ".join(filter(None, (settings.tls_ca, settings.tls_cert, settings.tls_key)))
        why = exc.reason if isinstance(exc, ssl.SSLError) else exc.strerror
        raise LoginError(f"TLS cannot be set up with {files}: {why or exc}") from exc
    return context
