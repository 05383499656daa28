"""The HTTP session of a provider, which turns every failure into a ProviderError.

Only this module, `reply` and `transport_errors` import aiohttp, so its errors and its surprising
defaults end here: a total timeout of 300 s, a limit on lines that raises no ClientError, redirected
POSTs, logins from ~/.netrc together with proxies from the environment.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any

import aiohttp
import orjson

from providers import origin, trace
from providers.errors import ProviderError, ProviderUnavailable, WrongAddress
from providers.http.error_mapping import decode_body, read_failure
from providers.http.keep_alive import LONGEST_S, keep_alive_s, server_name
from providers.http.redirect import redirected
from providers.http.refusals import texts_in
from providers.http.reply import Reply
from providers.http.route import DIRECT, Route
from providers.http.transport_errors import FOREIGN, proxy_refusal, translated

logger = logging.getLogger("rosey_llm.providers")

ERROR_LIMIT_BYTES = 256 * 1024
ERROR_BODY_S = 5.0


class Session:
    """The connections to one provider, opened on first use. Failed calls raise ProviderError.

    label: the provider's name in error texts. name: that of its table, for the log.
    base_url: the address below which all calls are made.
    route: the proxy, the authorities and the query parameters of the requests.
    secrets: strings that must not be in error texts.
    server_name: that of the server's program, such as "llama.cpp", by its last reply.
    keeps_after_stream: whether the server keeps a connection open after a token stream; None means
        that its first reply shows it.
    """

    def __init__(
        self,
        *,
        label: str,
        name: str = "",
        base_url: str = "",
        route: Route = DIRECT,
        connect_timeout_s: float = 10.0,
        headers: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
        keeps_after_stream: bool | None = None,
    ) -> None:
        self.label = label
        self.name = name
        self._base_url = base_url
        self._route = route
        self._connect_timeout_s = connect_timeout_s
        self._keep_alive_s = LONGEST_S
        self._told: tuple[str | None, str | None] = (None, None)
        self.server_name = ""
        # With compression, pieces of a token stream would wait in the compressor's buffer.
        headers = {"Accept-Encoding": "identity", **(headers or {})}
        self._headers = headers | route.headers_for(base_url)
        self._options = route.options_for(base_url)
        # The longest first: one may be a part of another.
        self._secrets = tuple(sorted({*secrets, *route.secrets} - {""}, key=len, reverse=True))
        # By the seconds for which they keep idle connections; 0 for not at all.
        self._clients: dict[int, aiohttp.ClientSession] = {}
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
        return translated(exc, self.label, url, self._route.proxy)

    async def _reply(
        self, method: str, url: str, body: bytes | None, *, stream: bool = False
    ) -> Reply:
        keep = not stream or bool(self._keeps_after_stream)
        client = self._client(keep=keep)
        context = trace.current.get()
        headers: Mapping[str, str] | None = context.headers if context else None
        if self._route.proxy:
            headers = {**self._client_headers(keep=keep), **(headers or {})}
        try:
            response = await client.request(
                method,
                url,
                data=body and aiohttp.BytesPayload(body, content_type="application/json"),
                headers=headers,
                allow_redirects=False,
                **self._options,
            )
        except FOREIGN as exc:
            raise self.translate(exc, url) from self._route.shown(exc)
        self._note_keep_alive(response.headers)
        if response.status != HTTPStatus.OK:
            raise await self._refusal(response, url, body)
        if stream or self._keeps_after_stream is None:
            self._note_keeping(response.headers)
        return Reply(response, self.label, partial(self.translate, url=url), self._route.shown)

    def _client(self, *, keep: bool) -> aiohttp.ClientSession:
        """Return the client that keeps its connections for later calls, or the one without."""
        if self._closed:
            raise ProviderUnavailable(f"{self.label} was closed", refused=True)
        if self._route.problem:
            raise WrongAddress(f"{self.label} cannot be reached: {self._route.problem}")
        seconds = self._keep_alive_s if keep else 0
        client = self._clients.get(seconds)
        if client is None:
            client = self._clients[seconds] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    keepalive_timeout=seconds or None,
                    force_close=not seconds,
                    ssl=self._route.tls or True,
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                # aiohttp would send them to the proxy, too, with the key.
                headers=None if self._route.proxy else self._client_headers(keep=keep),
            )
        return client

    def _client_headers(self, *, keep: bool) -> dict[str, str]:
        # With "Connection: close", the reply would not show whether the server keeps it.
        return self._headers if keep else {"Connection": "keep-alive", **self._headers}

    def _note_keep_alive(self, headers: Mapping[str, str]) -> None:
        """Find out from a reply for how long the server keeps idle connections.

        A connector has one limit for all its connections, so a shorter one takes another connector.
        Seconds are whole and only become fewer, so there are few of these.
        """
        told = headers.get("Keep-Alive"), headers.get("Server")
        if told == self._told:  # as nearly always
            return
        self._told = told
        self.server_name = server_name(told[1])
        told_s = keep_alive_s(*told)
        if told_s is not None and told_s < self._keep_alive_s:
            self._keep_alive_s = told_s

    def _note_keeping(self, headers: Mapping[str, str]) -> None:
        """Find out from a reply whether the server keeps a connection after a token stream.

        llama.cpp closes it without notice, and a call sent on it would be lost. Other servers with
        the same HTTP library may do so too; they send a limit of calls per connection.
        """
        if headers.get("Connection", "").lower() != "close":
            counts = "max=" in headers.get("Keep-Alive", "")
            self._keeps_after_stream = not counts and headers.get("Server") != "llama.cpp"

    async def _refusal(
        self, response: aiohttp.ClientResponse, url: str, sent: bytes | None
    ) -> ProviderError:
        proxy = self._route.proxy
        if proxy and response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            response.close()
            return proxy_refusal(self.label, proxy, response.status)
        if 300 <= response.status < 400:
            response.close()
            target = response.headers.get("Location", "")
            return redirected(
                self.label, response.status, url, target, self._base_url, self._secrets
            )
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
        # The error's text is not logged, since it may quote the prompt.
        logger.info(
            "%(provider)s: status %(status)d, request id %(provider_request_id)s",
            {
                "event": "provider.refused",
                "provider": self.name or self.label,
                "code": error.code,
                "status": response.status,
                "provider_request_id": response.headers.get("x-request-id", "unknown"),
                **origin.named(),
            },
        )
        return error
