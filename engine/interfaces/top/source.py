"""Fetches the overview of a running service over HTTP, by URL or by its configuration."""

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
    """No overview can be fetched; the text says what to do."""


def at(url: str) -> Callable[[], Overview]:
    """Return a function that fetches from the service at this URL. The function raises NotThere."""
    return lambda: fetch(url)


def of(settings: Settings) -> Callable[[], Overview]:
    """Return a function that fetches from this configuration's service. It raises NotThere.

    The service's URL is read from the file beside its database each time.
    """
    database = Path(settings.storage.path)

    def fetch_own() -> Overview:
        try:
            url = address.read(database)
        except PermissionError as exc:
            raise NotThere(
                f"Cannot read {address.file(database)}: {exc.strerror}. "
                "Run this command as the service's user, or give the service's address with --url."
            ) from exc
        if url is None:
            raise NotThere(_not_running(settings))
        try:
            overview = fetch(url)
        except NotThere as exc:
            # A service that was killed has left its address behind.
            raise NotThere(f"{exc} {_not_running(settings)}") from exc
        if overview["database"] != settings.storage.path:
            raise NotThere(f"{url} belongs to another service. {_not_running(settings)}")
        return overview

    return fetch_own


def fetch(url: str) -> Overview:
    """Return the overview of the service at `url`. Raises NotThere."""
    try:
        overview = orjson.loads(_get(url))
    except OSError as exc:
        reason = exc.strerror or str(exc) or type(exc).__name__
        raise NotThere(f"Nothing answers at {url} ({reason}).") from exc
    except (ValueError, http.client.HTTPException) as exc:  # not JSON, no HTTP, or no URL
        raise NotThere(
            f"{url} is not the address of a rosey-llm, such as http://127.0.0.1:9464."
        ) from exc
    if not isinstance(overview, dict) or "rosey-llm" not in overview:
        raise NotThere(f"The server at {url} is not a rosey-llm of this version.")
    return overview


def _get(url: str) -> bytes:
    parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if not parts.hostname or parts.scheme not in kinds:
        raise ValueError("no URL")
    # Not urllib: it would use a proxy from the environment even for this machine.
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
        f"No service seems to run on {settings.storage.path}. Start it with `rosey-llm run`, "
        "or choose another with --config or --url."
    )
