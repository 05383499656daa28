"""HTTP to a provider: one session, and every failure told as one of our own errors.

Nothing else in the providers imports aiohttp, so its errors and its traps end here: a total timeout
of 300 s by default, a limit on lines that raises no ClientError, POSTs that follow redirects.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from http import HTTPStatus
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import aiohttp
import orjson
from aiohttp.http_exceptions import HttpProcessingError

from providers import trace
from providers.errors import (
    BadAnswer,
    ConnectionLost,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
)
from providers.refusal import read_failure, said_in
from providers.sse import TooLong

logger = logging.getLogger("rosey_llm.providers")

REPLY_LIMIT_BYTES = 16 * 1024 * 1024
ERROR_LIMIT_BYTES = 256 * 1024
ERROR_BODY_S = 5.0
DRAIN_S = 0.25

Item = TypeVar("Item")
Made = TypeVar("Made")


class Reader(Protocol[Item]):
    """`sse.Events` and `sse.JsonLines`."""

    def feed(self, block: bytes) -> list[Item]: ...

    def finish(self) -> list[Item]: ...


class Reply:
    """A 200 answer whose body is still to be read."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    @property
    def is_json(self) -> bool:
        return self._response.content_type == "application/json"

    def blocks(self) -> AsyncIterator[bytes]:
        """The body as it comes in."""
        return self._response.content.iter_any()

    async def items(
        self, reader: Reader[Item], make: Callable[[Item], Made]
    ) -> AsyncGenerator[Made, None]:
        """What `make` (which parses JSON) gives for each item that `reader` finds in the body."""
        async for block in self.blocks():
            for item in reader.feed(block):
                yield make(item)
        for item in reader.finish():
            # A body that was cut may end within an item; the caller sees that its end is missing.
            with suppress(orjson.JSONDecodeError):
                yield make(item)

    async def json(self) -> Any:
        body = bytearray()
        async for block in self.blocks():
            body += block
            if len(body) > REPLY_LIMIT_BYTES:
                raise TooLong(f"a reply of more than {REPLY_LIMIT_BYTES} bytes")
        return orjson.loads(body)

    async def drain(self) -> None:
        """Read past the answer's end, so that the connection can be used again."""
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(DRAIN_S):
                async for _ in self.blocks():
                    pass


class Session:
    """The connections to one provider, opened on first use. All calls raise ProviderError."""

    def __init__(
        self,
        *,
        label: str,
        connect_timeout_s: float = 10.0,
        keepalive_s: float = 60.0,
        headers: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
    ) -> None:
        self.label = label
        self._connect_timeout_s = connect_timeout_s
        self._keepalive_s = keepalive_s
        # A compressed token stream would wait in the compressor's buffer.
        self._headers = {"Accept-Encoding": "identity", **(headers or {})}
        self._secrets = tuple(secrets)
        self._client: aiohttp.ClientSession | None = None
        self._closed = False

    async def get_json(self, url: str) -> Any:
        async with self._reply("GET", url, None) as reply:
            return await reply.json()

    async def post_json(self, url: str, body: Mapping[str, Any]) -> Any:
        async with self.post_stream(url, body) as reply:
            return await reply.json()

    @asynccontextmanager
    async def post_stream(
        self, url: str, body: Mapping[str, Any], *, reuse: bool = True
    ) -> AsyncIterator[Reply]:
        """The reply once its status is known; leaving before its end closes the connection.

        Without `reuse` no later call gets this connection.
        """
        async with self._reply("POST", url, orjson.dumps(body), reuse=reuse) as reply:
            yield reply

    async def aclose(self) -> None:
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def failure(
        self, said: object, *, status: int | None = None, headers: Mapping[str, str] | None = None
    ) -> ProviderError:
        """The error for what the provider said: parsed JSON of any shape, or text."""
        return read_failure(
            self.label, said, status=status, headers=headers or {}, secrets=self._secrets
        )

    @asynccontextmanager
    async def _reply(
        self, method: str, url: str, body: bytes | None, *, reuse: bool = True
    ) -> AsyncIterator[Reply]:
        context = trace.current.get()
        headers = context.headers if context is not None else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if not reuse:
            headers["Connection"] = "close"
        with self._translated(url):
            async with self._opened().request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                if response.status != HTTPStatus.OK:
                    raise await self._refused(response)
                yield Reply(response)

    def _opened(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ProviderUnavailable(f"{self.label} was closed", refused=True)
        if self._client is None:
            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=self._keepalive_s),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
            )
        return self._client

    async def _refused(self, response: aiohttp.ClientResponse) -> ProviderError:
        body = bytearray()
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(ERROR_BODY_S):
                async for block in response.content.iter_any():
                    body += block
                    if len(body) > ERROR_LIMIT_BYTES:
                        break
        error = self.failure(said_in(bytes(body)), status=response.status, headers=response.headers)
        request_id = response.headers.get("x-request-id", "unknown")
        # Not the error itself: it may quote what was asked.
        logger.info("%s: status %d, request id %s", self.label, response.status, request_id)
        return error

    @contextmanager
    def _translated(self, url: str) -> Iterator[None]:
        try:
            yield
        except (
            aiohttp.ClientConnectorError,
            aiohttp.ConnectionTimeoutError,
            aiohttp.InvalidURL,
        ) as exc:
            where = urlsplit(url).netloc
            raise ProviderUnavailable(
                f"{self.label} cannot be reached at {where}: {_why(exc)}", refused=True
            ) from exc
        except TimeoutError as exc:
            raise ProviderTimeout(f"{self.label} did not answer in time") from exc
        except TooLong as exc:
            raise BadAnswer(f"{self.label} sent {exc}") from exc
        except (
            orjson.JSONDecodeError,
            UnicodeError,
            aiohttp.ClientResponseError,
            HttpProcessingError,
        ) as exc:
            raise BadAnswer(f"{self.label} sent an answer that cannot be read") from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise ConnectionLost(f"the connection to {self.label} was lost") from exc


def _why(exc: Exception) -> str:
    match exc:
        case aiohttp.ConnectionTimeoutError():
            return "no connection in time"
        case aiohttp.ClientConnectorCertificateError():
            return "its certificate is not trusted"
        case aiohttp.ClientConnectorDNSError():
            return "no such host"
        case aiohttp.ClientConnectorError(os_error=OSError(errno=int(number))) if number > 0:
            return os.strerror(number).lower()
    return "no connection"
