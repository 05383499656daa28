"""Where a running service says how it is, and what it says."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from engine.config.settings import Settings
from engine.monitoring import address

Overview = Mapping[str, Any]
ANSWER_LIMIT_S = 3.0
LONGEST_BYTES = 4 * 1024 * 1024
PATH = "/top"


class NotThere(Exception):
    """There is nothing to look at; the text says what to do."""


def at(url: str) -> Callable[[], Overview]:
    """The service at this URL, whichever it is; each call looks anew and raises NotThere."""
    return lambda: fetch(url)


def of(settings: Settings) -> Callable[[], Overview]:
    """The service of this configuration, wherever it says to be."""
    database = Path(settings.storage.path)

    def look() -> Overview:
        try:
            url = address.read(database)
        except PermissionError as exc:
            raise NotThere(
                f"{address.file(database)} cannot be read: {exc.strerror}. "
                "Be the service's user, or say where it is with --url."
            ) from exc
        if url is None:
            raise NotThere(_not_running(settings))
        try:
            seen = fetch(url)
        except NotThere as exc:
            # A service that was killed has left its address behind.
            raise NotThere(f"{exc} {_not_running(settings)}") from exc
        if seen["database"] != settings.storage.path:
            raise NotThere(f"{url} is another service's. {_not_running(settings)}")
        return seen

    return look


def fetch(url: str) -> Overview:
    """What the service at `url` says of itself. Raises NotThere."""
    try:
        seen = orjson.loads(_get(url))
    except OSError as exc:
        reason = exc.strerror or str(exc) or type(exc).__name__
        raise NotThere(f"Nothing answers at {url} ({reason}).") from exc
    except (ValueError, http.client.HTTPException) as exc:  # not JSON, no HTTP, or no URL
        raise NotThere(f"{url} is not a rosey-llm's address, as http://127.0.0.1:9464 is.") from exc
    if not isinstance(seen, dict) or "rosey-llm" not in seen:
        raise NotThere(f"What answers at {url} is no rosey-llm of this version.")
    return seen


def _get(url: str) -> bytes:
    parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if not parts.hostname or parts.scheme not in kinds:
        raise ValueError("no URL")
    # Not urllib: it would ask a proxy of the environment for what is on this machine.
    connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=ANSWER_LIMIT_S)
    try:
        connection.request("GET", parts.path.rstrip("/").removesuffix(PATH) + PATH)
        body: bytes = connection.getresponse().read(LONGEST_BYTES)
        return body
    finally:
        connection.close()


def _not_running(settings: Settings) -> str:
    if not settings.http.enabled:
        return "Set [http] enabled = true and start the service again."
    return (
        f"No service runs on {settings.storage.path}, it seems. Start it with `rosey-llm run`, "
        "or say where it is with --config or --url."
    )
