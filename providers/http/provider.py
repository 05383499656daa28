"""The base class of providers over HTTP, with their address, their key and their session."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from providers.base import LLMProvider, ProviderConfig, Status
from providers.errors import AuthenticationFailed, ProviderError
from providers.http.extras import (
    checked_headers,
    checked_query,
    header_value,
    merged,
    secrets_of,
)
from providers.http.proxy import UnusableProxy, environment_proxy, proxy_of
from providers.http.route import Route, trusting
from providers.http.session import Session
from providers.validation import Secret, ValidationError
from providers.version import our_version

STATUS_S = 5.0
DIAGNOSIS_S = 20.0
NO_KEY = Secret("")
KEY_HEADERS = frozenset({"authorization", "api-key", "x-api-key"})


@dataclass(frozen=True, kw_only=True)
class HttpConfig(ProviderConfig):
    """The settings of a provider over HTTP.

    proxy: the address of an HTTP proxy; "" means that of the environment, "none" means no proxy.
    ca_file: the only authorities to trust; "" means those of the system.
    headers, query: sent with every request; a header here replaces ours. They may hold keys.
    """

    base_url: str = ""
    api_key: Secret = NO_KEY
    proxy: Secret = NO_KEY
    ca_file: str = ""
    headers: Mapping[str, Secret] = field(default_factory=dict)
    query: Mapping[str, Secret] = field(default_factory=dict)


class HttpProvider(LLMProvider):
    """A provider over HTTP. A subclass writes `_probe` instead of `is_available`."""

    Config = HttpConfig
    config: HttpConfig

    def __init__(self, config: Mapping[str, Any] | None = None, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        self.base_url = _checked_url(self.config.base_url, f"providers.{self.name}.base_url")
        path = f"providers.{self.name}"
        key = self.header_value("api_key", self.config.api_key)
        own_headers = checked_headers(self.config.headers, f"{path}.headers")
        query = checked_query(self.config.query, f"{path}.query")
        remote = self.base_url.startswith("https:")
        self.session = Session(
            label=self.label,
            name=self.name,
            base_url=self.base_url,
            route=self._route(query),
            connect_timeout_s=self.config.connect_timeout,
            keeps_after_stream=remote or None,
            headers=merged(
                {"User-Agent": f"rosey-llm/{our_version()}"},
                self.extra_headers(),
                {"Authorization": f"Bearer {key}"} if key else {},
                own_headers,
            ),
            secrets=[key, *secrets_of(own_headers, query)],
        )

    @property
    def has_key(self) -> bool:
        """Whether a key is sent, by `api_key` or by a header of the settings."""
        named = {name.lower() for name, value in self.config.headers.items() if value.strip()}
        return bool(self.config.api_key.strip()) or bool(KEY_HEADERS & named)

    def _route(self, query: Mapping[str, str]) -> Route:
        path, config = f"providers.{self.name}", self.config
        problem = ""
        try:
            proxy = proxy_of(config.proxy) if config.proxy else environment_proxy(self.base_url)
        except UnusableProxy as exc:
            if config.proxy:
                raise ValidationError(f"{path}.proxy", str(exc)) from None
            # No error of the settings: a provider that is not used must not prevent a start.
            proxy, problem = None, f"{exc}; correct it, or set {path}.proxy"
        try:
            tls = trusting(config.ca_file) if config.ca_file else None
        except (OSError, ValueError) as exc:
            raise ValidationError(
                f"{path}.ca_file",
                f"expected a file of certificates in PEM format: {getattr(exc, 'strerror', exc)}",
            ) from exc
        return Route(proxy, problem, tls, query)

    def extra_headers(self) -> dict[str, str]:
        """Return the headers of every request, except the key and those of the settings."""
        return {}

    def header_value(self, key: str, value: str) -> str:
        """Return `value` stripped; ValidationError, without the value, if no header can hold it."""
        return header_value(value, f"providers.{self.name}.{key}")

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
            return Status(False, f"{exc}{hint}", misconfigured=exc.needs_person)

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
        raise ValidationError(
            path,
            "expected an address without a user, a query or a fragment; `query` takes parameters",
        )
    return url.strip().rstrip("/")
