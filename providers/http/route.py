"""The way that requests take to a provider: its proxy, the authorities it trusts, its query."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from providers.http.proxy import Proxy


@dataclass(frozen=True, slots=True)
class Route:
    """How requests reach a provider.

    proxy: None for none. problem: why no request can be sent, or "".
    tls: the trusted authorities; None means those of the system.
    query: parameters that are added to every address.
    """

    proxy: Proxy | None = None
    problem: str = ""
    tls: ssl.SSLContext | None = None
    query: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        return self.proxy.secrets if self.proxy else ()

    def shown(self, exc: Exception) -> Exception | None:
        """Return an exception of the HTTP client if it may be shown as a cause, else None.

        Its text can have the whole address, and a query may hold a key.
        """
        return None if self.query else exc

    def headers_for(self, base_url: str) -> dict[str, str]:
        """Return headers for all requests. The proxy reads them if there is no TLS."""
        if self.proxy and self.proxy.authorization and base_url.startswith("http:"):
            return {"Proxy-Authorization": self.proxy.authorization}
        return {}

    def options_for(self, base_url: str) -> dict[str, Any]:
        """Return arguments for all requests of the HTTP client."""
        options: dict[str, Any] = {}
        if self.query:
            options["params"] = self.query
        if self.proxy:
            options["proxy"] = self.proxy.address
            if self.proxy.authorization and base_url.startswith("https:"):
                options["proxy_headers"] = {"Proxy-Authorization": self.proxy.authorization}
        return options


DIRECT = Route()


def trusting(ca_file: str) -> ssl.SSLContext:
    """Return a TLS context that trusts only the authorities in a file.

    Raises OSError (also ssl.SSLError) if the file cannot be used.
    """
    return ssl.create_default_context(cafile=str(Path(ca_file).expanduser()))
