"""The base class of providers over HTTP, with their address, their key and their session."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from providers.base import LLMProvider, ProviderConfig, Status
from providers.errors import AuthenticationFailed, ProviderError
from providers.http.address_probe import needs_person
from providers.http.session import Session
from providers.validation import Secret, ValidationError

STATUS_S = 5.0
DIAGNOSIS_S = 20.0
NO_KEY = Secret("")


@dataclass(frozen=True, kw_only=True)
class HttpConfig(ProviderConfig):
    """The settings of a provider over HTTP."""

    base_url: str = ""
    api_key: Secret = NO_KEY


class HttpProvider(LLMProvider):
    """A provider over HTTP. A subclass writes `_probe` instead of `is_available`."""

    Config = HttpConfig
    config: HttpConfig

    def __init__(self, config: Mapping[str, Any] | None = None, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        self.base_url = _checked_url(self.config.base_url, f"providers.{self.name}.base_url")
        key = self.header_value("api_key", self.config.api_key)
        remote = self.base_url.startswith("https:")
        self.session = Session(
            label=self.label,
            connect_timeout_s=self.config.connect_timeout,
            # llama.cpp closes idle connections after 5 s, and a POST on a closed one is lost.
            keepalive_s=60.0 if remote else 4.0,
            keeps_after_stream=remote or None,
            headers={**self.extra_headers(), **({"Authorization": f"Bearer {key}"} if key else {})},
            secrets=[key] if key else [],
        )

    def extra_headers(self) -> dict[str, str]:
        """Return the headers of every request, except the key."""
        return {}

    def header_value(self, field: str, value: str) -> str:
        """Return `value` stripped; ValidationError, without the value, if no header can hold it."""
        value = value.strip()
        if not (value.isascii() and value.isprintable()):
            raise ValidationError(
                f"providers.{self.name}.{field}", "expected printable ASCII characters"
            )
        return value

    @abstractmethod
    async def _probe(self) -> Status:
        """Ask the provider for its status; ProviderError if that fails."""

    async def _examine(self) -> Status:
        """Do `_probe`, then search for what is wrong; ProviderError if anything is."""
        return await self._probe()

    async def locate(self) -> list[str]:
        """Return the server's models, [] if it has no list of them.

        Raises ProviderError; WrongAddress names the address that was meant, if one is found.
        """
        return await self.models()

    async def status(self) -> Status:
        return await self._status_by(self._probe, STATUS_S)

    async def diagnose(self) -> Status:
        return await self._status_by(self._examine, DIAGNOSIS_S)

    async def _status_by(self, ask: Callable[[], Awaitable[Status]], limit_s: float) -> Status:
        try:
            async with asyncio.timeout(limit_s):
                return await ask()
        except TimeoutError:
            return Status(False, f"{self.label} did not answer within {limit_s:g} seconds")
        except ProviderError as exc:
            # A key that is not set has no HTTP status, and an error that names the setting.
            refused = isinstance(exc, AuthenticationFailed) and exc.status
            hint = f"; check providers.{self.name}.api_key" if refused else ""
            return Status(False, f"{exc}{hint}", misconfigured=needs_person(exc))

    async def is_available(self) -> bool:
        return (await self.status()).available

    async def aclose(self) -> None:
        await self.session.aclose()


def _checked_url(url: str, path: str) -> str:
    """Return `url` without trailing slash; ValidationError, without the value, if it is wrong."""
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValidationError(path, 'expected an address such as "http://localhost:11434"')
    if parts.username is not None or parts.query or parts.fragment:
        raise ValidationError(path, "expected an address without a user, a query or a fragment")
    return url.strip().rstrip("/")
