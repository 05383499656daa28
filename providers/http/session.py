"""The HTTP session of a provider, which turns every failure into a ProviderError.

No other module of the providers imports aiohttp, so its errors and its surprising defaults end
here: a total timeout of 300 s, a limit on lines that raises no ClientError, redirected POSTs.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
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
from providers.http.error_mapping import decode_body, read_failure
from providers.http.refusals import texts_in
from providers.http.stream_parser import TooLong, parsed

logger = logging.getLogger("rosey_llm.providers")

REPLY_LIMIT_BYTES = 16 * 1024 * 1024
ERROR_LIMIT_BYTES = 256 * 1024
ERROR_BODY_S = 5.0
DRAIN_S = 0.25

FOREIGN = (
    aiohttp.ClientError,
    HttpProcessingError,
    OSError,
    TooLong,
    UnicodeError,
    orjson.JSONDecodeError,
)


class Reply:
    """A reply with status 200 whose body is not read yet; a context manager.

    Within its block, too, every failure becomes a ProviderError. If the block is left before the
    end of the body, the connection is closed.
    """

    def __init__(self, session: Session, response: aiohttp.ClientResponse) -> None:
        self._session = session
        self._response = response

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._response.closed:  # the body was not read to its end
            self._response.close()
        if isinstance(exc, FOREIGN):
            raise self._session.translate(exc, str(self._response.url)) from exc

    @property
    def is_json(self) -> bool:
        return self._response.content_type == "application/json"

    def blocks(self) -> AsyncIterator[bytes]:
        """Yield the body in blocks as they arrive."""
        return self._response.content.iter_any()

    async def json(self) -> Any:
        content = self._response.content
        blocks: list[bytes] = []
        size_bytes = 0
        while not content.at_eof():
            blocks.append(await content.readany())
            size_bytes += len(blocks[-1])
            if size_bytes > REPLY_LIMIT_BYTES:
                raise TooLong(f"a reply of more than {REPLY_LIMIT_BYTES} bytes")
        return parsed(b"".join(blocks))

    async def drain(self) -> None:
        """Read what follows the answer, so that the connection can be used again."""
        content = self._response.content
        if content.at_eof():
            return
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(DRAIN_S):
                while await content.readany():
                    pass


class Session:
    """The connections to one provider, opened on first use. Failed calls raise ProviderError.

    label: the provider's name in error texts.
    keepalive_s: how long an idle connection is kept.
    secrets: strings that must not be in error texts.
    keeps_after_stream: whether the server keeps a connection open after a token stream; None means
        that its first reply shows it.
    """

    def __init__(
        self,
        *,
        label: str,
        connect_timeout_s: float = 10.0,
        keepalive_s: float = 60.0,
        headers: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
        keeps_after_stream: bool | None = None,
    ) -> None:
        self.label = label
        self._connect_timeout_s = connect_timeout_s
        self._keepalive_s = keepalive_s
        # With compression, pieces of a token stream would wait in the compressor's buffer.
        self._headers = {"Accept-Encoding": "identity", **(headers or {})}
        self._secrets = tuple(secrets)
        self._clients: dict[bool, aiohttp.ClientSession] = {}
        self._keeps_after_stream = keeps_after_stream
        self._closed = False

    async def get_json(self, url: str) -> Any:
        with await self._reply("GET", url, None) as reply:
            return await reply.json()

    async def post_json(self, url: str, body: Mapping[str, Any]) -> Any:
        with await self._reply("POST", url, orjson.dumps(body)) as reply:
            return await reply.json()

    async def post_stream(self, url: str, body: Mapping[str, Any]) -> Reply:
        """Return the reply before its body is read: `with await session.post_stream(...)`."""
        return await self._reply("POST", url, orjson.dumps(body), stream=True)

    async def aclose(self) -> None:
        self._closed = True
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()

    def failure(
        self,
        body: object,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        path: str = "",
        model: str = "",
    ) -> ProviderError:
        """Return the error for a provider's error body: decoded JSON of any shape, or text.

        path, model: of the request, if known.
        """
        error = read_failure(
            self.label,
            body,
            status=status,
            headers=headers or {},
            secrets=self._secrets,
            path=path,
            model=model,
        )
        error.said = texts_in(body)
        return error

    def translate(self, exc: Exception, url: str) -> ProviderError:
        """Return our own error for one of `FOREIGN`."""
        match exc:
            case (
                aiohttp.ClientConnectorError()
                | aiohttp.ConnectionTimeoutError()
                | aiohttp.InvalidURL()
            ):
                problem = f"cannot be reached at {urlsplit(url).netloc}: {_connect_problem(exc)}"
                return ProviderUnavailable(f"{self.label} {problem}", refused=True)
            case TimeoutError():
                return ProviderTimeout(f"{self.label} did not answer in time")
            case TooLong():
                return BadAnswer(f"{self.label} sent {exc}")
            case aiohttp.ClientResponseError() | HttpProcessingError() | ValueError():
                return BadAnswer(f"{self.label} sent an answer that cannot be read")
        return ConnectionLost(f"the connection to {self.label} was lost")

    async def _reply(
        self, method: str, url: str, body: bytes | None, *, stream: bool = False
    ) -> Reply:
        client = self._client(keep=not stream or bool(self._keeps_after_stream))
        context = trace.current.get()
        try:
            response = await client.request(
                method,
                url,
                data=body and aiohttp.BytesPayload(body, content_type="application/json"),
                headers=context.headers if context else None,
                allow_redirects=False,
            )
        except FOREIGN as exc:
            raise self.translate(exc, url) from exc
        if response.status != HTTPStatus.OK:
            raise await self._refusal(response, body)
        if stream or self._keeps_after_stream is None:
            self._note_keeping(response.headers)
        return Reply(self, response)

    def _client(self, *, keep: bool) -> aiohttp.ClientSession:
        """Return the client that keeps its connections for later calls, or the one without."""
        if self._closed:
            raise ProviderUnavailable(f"{self.label} was closed", refused=True)
        client = self._clients.get(keep)
        if client is None:
            client = self._clients[keep] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=self._keepalive_s)
                if keep
                else aiohttp.TCPConnector(limit=0, force_close=True),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                # With "Connection: close", the reply would not show whether the server keeps it.
                headers=self._headers if keep else {"Connection": "keep-alive", **self._headers},
            )
        return client

    def _note_keeping(self, headers: Mapping[str, str]) -> None:
        """Find out from a reply whether the server keeps a connection after a token stream.

        llama.cpp closes it without notice, and a call sent on it would be lost. Other servers with
        the same HTTP library may do so too; they send a limit of calls per connection.
        """
        if headers.get("Connection", "").lower() != "close":
            counts = "max=" in headers.get("Keep-Alive", "")
            self._keeps_after_stream = not counts and headers.get("Server") != "llama.cpp"

    async def _refusal(self, response: aiohttp.ClientResponse, sent: bytes | None) -> ProviderError:
        body = bytearray()
        try:
            with suppress(TimeoutError, aiohttp.ClientError, OSError):
                async with asyncio.timeout(ERROR_BODY_S):
                    while len(body) <= ERROR_LIMIT_BYTES and (
                        block := await response.content.readany()
                    ):
                        body += block
        finally:
            response.close()
        error = self.failure(
            decode_body(bytes(body)),
            status=response.status,
            headers=response.headers,
            path=response.url.path,
            model=str(orjson.loads(sent).get("model", "")) if sent else "",
        )
        request_id = response.headers.get("x-request-id", "unknown")
        # The error's text is not logged, since it may quote the prompt.
        logger.info("%s: status %d, request id %s", self.label, response.status, request_id)
        return error


def _connect_problem(exc: Exception) -> str:
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
