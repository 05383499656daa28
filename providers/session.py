"""HTTP to a provider: one session, and every failure told as one of our own errors.

Nothing else in the providers imports aiohttp, so its errors and its traps end here: a total timeout
of 300 s by default, a limit on lines that raises no ClientError, POSTs that follow redirects.
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import math
import os
import re
import time
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import aiohttp
import orjson
from aiohttp.http_exceptions import HttpProcessingError

from providers.base import LLMProvider, ProviderConfig, Status
from providers.errors import (
    AuthenticationFailed,
    BadAnswer,
    ConnectionLost,
    ContextTooLong,
    ModelNotFound,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
)
from providers.records import RecordError, Secret
from providers.sse import TooLong

logger = logging.getLogger("rosey_llm.providers")

REPLY_LIMIT_BYTES = 16 * 1024 * 1024
ERROR_LIMIT_BYTES = 256 * 1024
ERROR_BODY_S = 5.0
DRAIN_S = 0.25
STATUS_S = 5.0
NO_KEY = Secret("")

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class HttpConfig(ProviderConfig):
    """What every provider that speaks HTTP may say."""

    base_url: str = ""
    api_key: Secret = NO_KEY


class HttpProvider(LLMProvider):
    """A provider behind a URL. A subclass writes `_probe` instead of `is_available`."""

    Config = HttpConfig
    config: HttpConfig

    def __init__(self, config: Mapping[str, Any] | None = None, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        self.base_url = _checked_url(self.config.base_url, f"providers.{self.name}.base_url")
        key = self.header_value("api_key", self.config.api_key)
        self.session = Session(
            label=self.label,
            connect_timeout_s=self.config.connect_timeout,
            # llama.cpp drops idle connections after 5 s, and a POST on a dropped one is lost.
            keepalive_s=60.0 if self.base_url.startswith("https:") else 4.0,
            headers={**self.extra_headers(), **({"Authorization": f"Bearer {key}"} if key else {})},
            secrets=[key] if key else [],
        )

    def extra_headers(self) -> dict[str, str]:
        """Headers of every request, besides the key."""
        return {}

    def header_value(self, field: str, value: str) -> str:
        """`value` as a header can carry it; RecordError, without the value, where it cannot."""
        value = value.strip()
        if not (value.isascii() and value.isprintable()):
            raise RecordError(
                f"providers.{self.name}.{field}", "expected printable ASCII characters"
            )
        return value

    @abstractmethod
    async def _probe(self) -> Status:
        """The status, or a ProviderError that says why there is none."""

    async def status(self) -> Status:
        try:
            async with asyncio.timeout(STATUS_S):
                return await self._probe()
        except TimeoutError:
            return Status(False, f"{self.label} did not answer within {STATUS_S:g} seconds")
        except ProviderError as exc:
            return Status(False, str(exc))

    async def is_available(self) -> bool:
        return (await self.status()).available

    async def aclose(self) -> None:
        await self.session.aclose()


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
        headers = {"Content-Type": "application/json"} if body is not None else {}
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
        error = self.failure(_said(bytes(body)), status=response.status, headers=response.headers)
        logger.info("%s (request id %s)", error, response.headers.get("x-request-id", "unknown"))
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


def _checked_url(url: str, path: str) -> str:
    """`url` without its trailing slash; RecordError, without the value, where it is no address."""
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise RecordError(path, 'expected an address such as "http://localhost:11434"')
    if parts.username is not None or parts.query or parts.fragment:
        raise RecordError(path, "expected an address without a user, a query or a fragment")
    return url.strip().rstrip("/")


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


# --- What a refusal means -------------------------------------------------------------------

_BY_WORD: dict[str, type[ProviderError]] = {
    "insufficient_quota": QuotaExhausted,
    "credit_balance_exhausted": QuotaExhausted,
    "billing_hard_limit_reached": QuotaExhausted,
    "payment_required": QuotaExhausted,
    "rate_limit_exceeded": RateLimited,
    "rate_limit_error": RateLimited,
    "slow_down": RateLimited,
    "context_length_exceeded": ContextTooLong,
    "exceed_context_size_error": ContextTooLong,
    "invalid_api_key": AuthenticationFailed,
    "authentication": AuthenticationFailed,
    "authentication_error": AuthenticationFailed,
    "permission_denied": AuthenticationFailed,
    "model_not_found": ModelNotFound,
    "not_found": ModelNotFound,
    "content_policy_violation": BadAnswer,
    "refusal": BadAnswer,
    "timeout": ProviderTimeout,
    "server": ProviderUnavailable,
    "server_error": ProviderUnavailable,
    "unavailable_error": ProviderUnavailable,
    "overloaded_error": ProviderUnavailable,
    "provider_overloaded": ProviderUnavailable,
    "provider_unavailable": ProviderUnavailable,
    "server_is_overloaded": ProviderUnavailable,
}
_BY_STATUS: dict[int, type[ProviderError]] = {
    401: AuthenticationFailed,
    402: QuotaExhausted,
    403: AuthenticationFailed,
    404: ModelNotFound,
    408: ProviderTimeout,
    429: RateLimited,
    504: ProviderTimeout,
    524: ProviderTimeout,
}
_PHRASES = {524: "A Timeout Occurred", 529: "Overloaded"}
_CONTEXT = re.compile(
    r"context (length|window|size)|maximum context|prompt is (too )?long", re.IGNORECASE
)
_NO_MODEL = re.compile(
    r"\bmodel\b.{0,100}\b(not found|does not exist)|not a valid model|invalid model name",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"\s*<|.*<(!doctype|html|body)\b", re.IGNORECASE | re.DOTALL)
_KEYS = re.compile(r"\b(?:sk|gsk|hf|xai)[-_][\w*.\-]{4,}")
_BEARER = re.compile(r"\bBearer\s+\S+", re.IGNORECASE)
_LOCAL_PATH = re.compile(
    r"(?<![\w/.])(?:file:/*|~|[A-Za-z]:)?[/\\](?![/\\])[\w.\-]+(?:[/\\][\w.\-]+)+"
)
_TEXT_CHARACTERS = 200


def read_failure(
    label: str,
    said: object,
    *,
    status: int | None = None,
    headers: Mapping[str, str],
    secrets: Sequence[str] = (),
) -> ProviderError:
    """The error for what a provider said: its class, its sentence, when to come again.

    `said` is an error body's JSON in whatever shape, or its text. `status` is that of the reply,
    None where the error came within a reply of status 200.
    """
    problem = _problem(said)
    status = status or _status_of(problem)
    text = _text_of(problem)
    cls = _class_of(status, _words(problem), text)
    sentence = " ".join(filter(None, [f"{label} API error:", _phrase(status)]))
    if told := _tidy(text, secrets):
        sentence += f": {told}" if status else f" {told}"
    parameter = problem.get("param")
    if isinstance(parameter, str) and parameter not in sentence:
        sentence += f" (parameter {_tidy(parameter, secrets)[:60]})"
    if cls is ProviderUnavailable and "loading model" in text.lower():
        sentence += " (it is starting; try again in a moment)"
    return cls(sentence, status=status, retry_after_s=_retry_after_s(headers, problem))


def as_dict(value: object) -> dict[str, Any]:
    """`value` where it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def _said(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")


def _problem(said: object) -> dict[str, Any]:
    """The object that describes the error, wherever the provider put it."""
    if isinstance(said, dict):
        error = said.get("error") or said.get("detail") or said
        return error if isinstance(error, dict) else {**said, "message": error}
    return {"message": said}


def _text_of(problem: Mapping[str, Any]) -> str:
    message = problem.get("message") or problem.get("detail")
    if isinstance(message, list):  # FastAPI: one object for each field that is wrong
        parts = [as_dict(part) for part in message]
        return "; ".join(f"{part.get('msg', '')} {part.get('loc', '')}" for part in parts)
    raw = as_dict(problem.get("metadata")).get("raw")
    texts = [text for text in (message, raw) if isinstance(text, str) and text]
    return ": ".join(texts)


def _words(problem: Mapping[str, Any]) -> list[str]:
    """The error's names, the most telling first."""
    metadata = as_dict(problem.get("metadata"))
    names = [metadata.get("error_type"), *(problem.get(k) for k in ("error_type", "code", "type"))]
    return [name.lower() for name in names if isinstance(name, str)]


def _status_of(problem: Mapping[str, Any]) -> int | None:
    for number in (problem.get("http_status"), problem.get("code")):
        with suppress(TypeError, ValueError, OverflowError):
            if number is not None and 400 <= int(number) <= 599:
                return int(number)
    return None


def _class_of(status: int | None, words: list[str], text: str) -> type[ProviderError]:
    for word in words:
        if word in _BY_WORD:
            return _BY_WORD[word]
    if status in (None, 400, 413, 422, 500) and _CONTEXT.search(text):
        return ContextTooLong
    if status in (None, 400, 422) and _NO_MODEL.search(text):
        return ModelNotFound
    if status is None:
        return BadAnswer
    return _BY_STATUS.get(status, ProviderUnavailable if status >= 500 else BadAnswer)


def _phrase(status: int | None) -> str:
    if status is None:
        return ""
    with suppress(ValueError):
        return f"{status} {HTTPStatus(status).phrase}"
    return f"{status} {_PHRASES.get(status, '')}".rstrip()


def _tidy(text: str, secrets: Sequence[str]) -> str:
    """A provider's text as one short line without markup, keys and local paths."""
    if _MARKUP.match(text):
        return ""
    text = text[: 100 * _TEXT_CHARACTERS]
    for secret in secrets:
        # Shorter ones are placeholders ("x"), which would make holes in every word.
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    text = _BEARER.sub("Bearer ***", _KEYS.sub("***", text))
    text = _LOCAL_PATH.sub("(path)", text)
    text = "".join(c for c in " ".join(text.split()) if c.isprintable())
    return text if len(text) <= _TEXT_CHARACTERS else text[: _TEXT_CHARACTERS - 3] + "..."


def _retry_after_s(headers: Mapping[str, str], problem: Mapping[str, Any]) -> float | None:
    """How long the provider asks to wait; None where it says nothing sensible."""
    metadata = as_dict(problem.get("metadata"))
    milliseconds = _number(headers.get("retry-after-ms"))
    said = [
        None if milliseconds is None else milliseconds / 1000,
        _number(headers.get("retry-after")),
        _seconds_until(headers.get("retry-after")),
        _number(as_dict(problem.get("availability")).get("retry_after")),
        _number(problem.get("retry_after")),
        _number(metadata.get("retry_after")),
        _number(metadata.get("retry_after_seconds")),
    ]
    return next((seconds for seconds in said if seconds is not None), None)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _seconds_until(date: str | None) -> float | None:
    try:
        then = email.utils.parsedate_to_datetime(date or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return then - time.time() if then > time.time() else None
