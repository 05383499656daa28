"""Turns the exceptions of the HTTP client into our own errors."""

from __future__ import annotations

import os
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp
import orjson
from aiohttp.http_exceptions import HttpProcessingError

from providers.errors import (
    AuthenticationFailed,
    BadAnswer,
    ConnectionLost,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    WrongAddress,
)
from providers.host_exhausted import host_exhausted
from providers.http.proxy import Proxy
from providers.http.stream_parser import TooLong

FOREIGN = (
    aiohttp.ClientError,
    HttpProcessingError,
    OSError,
    TooLong,
    UnicodeError,
    orjson.JSONDecodeError,
)


def translated(exc: Exception, label: str, url: str, proxy: Proxy | None) -> ProviderError:
    """Return our own error for one of `FOREIGN`.

    label: the provider's name in error texts. url: the address that was called.
    """
    if exhausted := host_exhausted(exc, label):
        return exhausted
    match exc:
        case aiohttp.ClientHttpProxyError(status=int(status)) if proxy:
            return proxy_refusal(label, proxy, status)
        case (
            aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError() | aiohttp.InvalidURL()
        ):
            problem = f"cannot be reached {_way(exc, url, proxy)}: {_connect_problem(exc)}"
            return ProviderUnavailable(f"{label} {problem}", refused=True)
        case TimeoutError():
            return ProviderTimeout(f"{label} did not answer in time")
        case TooLong():
            return BadAnswer(f"{label} sent {exc}")
        case aiohttp.ClientResponseError() | HttpProcessingError() | ValueError():
            return BadAnswer(f"{label} sent an answer that cannot be read")
    return ConnectionLost(f"the connection to {label} was lost")


def proxy_refusal(label: str, proxy: Proxy, status: int) -> ProviderError:
    """Return the error for a proxy's reply to a request that it did not pass on."""
    try:
        reason = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        reason = str(status)
    problem = f"{label} cannot be reached through the proxy at {proxy.place}: {reason}"
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        login = "; set a login in the proxy's address, http://user:password@host:port"
        return AuthenticationFailed(problem + login, status=status)
    if status < 500:
        return WrongAddress(problem, status=status)
    return ProviderUnavailable(problem, status=status, refused=True)


def _way(exc: Exception, url: str, proxy: Proxy | None) -> str:
    if proxy and isinstance(
        exc,
        (
            aiohttp.ClientProxyConnectionError,
            aiohttp.ClientConnectorDNSError,
            aiohttp.ConnectionTimeoutError,
        ),
    ):
        return f"through the proxy at {proxy.place}"
    return f"at {urlsplit(url).netloc}"


def _connect_problem(exc: Exception) -> str:
    match exc:
        case aiohttp.ConnectionTimeoutError():
            return "no connection in time"
        case aiohttp.ClientConnectorCertificateError():
            return "its certificate is not trusted; set ca_file if its authority is one of yours"
        case aiohttp.ClientSSLError():
            return "no TLS connection; does base_url need http:// instead of https://?"
        case aiohttp.ClientConnectorDNSError():
            return "no such host"
        case aiohttp.ClientConnectorError(os_error=OSError(errno=int(number))) if number > 0:
            return os.strerror(number).lower()
    return "no connection"
