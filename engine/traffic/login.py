"""The options with which our clients log in to NATS: password, token, credentials file, TLS."""

from __future__ import annotations

import ssl
from typing import Any

from engine.client.address import addresses, inbox_prefix
from engine.client.credentials import LoginError, read_credentials
from engine.config.settings import NatsSettings

PAUSE_S = 0.5
PING_INTERVAL_S = 10.0


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
    return {
        "servers": addresses(url),
        "name": "rosey-llm",
        "allow_reconnect": True,
        "reconnect_time_wait": PAUSE_S,
        "ping_interval": ping_interval_s,
        "max_outstanding_pings": 2,
        **login_options(settings, url, user, password),
    }


def login_options(
    settings: NatsSettings, url: str, user: str = "", password: str = ""
) -> dict[str, Any]:
    """Return those of nats-py's options that are the login, and TLS. Raise LoginError."""
    options: dict[str, Any] = {}
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


def _login_by_file(path: str) -> dict[str, Any]:
    """Return the options for a .creds file (read again at every login) or an nkey seed file."""
    seed, jwt = read_credentials(path)
    return {"user_credentials": path} if jwt else {"nkeys_seed_str": seed}


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
        # Python leaves this to the system where it is built so, as by Debian.
        context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
        if settings.tls_cert:
            context.load_cert_chain(settings.tls_cert, settings.tls_key or None)
    except OSError as exc:
        files = ", ".join(filter(None, (settings.tls_ca, settings.tls_cert, settings.tls_key)))
        why = exc.reason if isinstance(exc, ssl.SSLError) else exc.strerror
        raise LoginError(f"TLS cannot be set up with {files}: {why or exc}") from exc
    return context
