"""Finds out whether an address is right, and which one was meant, without calls that cost money.

A server that does not know a path says so in different ways: 404, 405, a redirect, a page for
people, or a JSON error with status 200. A chat call without messages tells them apart from a chat
API, which complains about the messages.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from providers.errors import (
    AuthenticationFailed,
    BadAnswer,
    ModelNotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    WrongAddress,
)
from providers.http.error_mapping import as_dict
from providers.http.session import Session

TRY_S = 3.0
OLLAMA_PORT = 11434

_PREFIXES = ("/v1", "/api/v1", "/openai/v1", "/v1beta/openai")
_METHODS = re.compile(r"(/(chat|completions|models|embeddings|responses))+$")
_KNOWN_TAIL = re.compile(
    r"(/(v\d+\w*|api|openai|chat|completions|models|embeddings|responses|generate|tags|version))+$"
)
_NO_PATH = re.compile(r"\b(endpoint|route|path|method|url|page)\b", re.IGNORECASE)
_OTHER_SCHEME = {"http": "https", "https": "http"}
_GATEWAY = (502, 503, 504, 524, 529)

LooksRight = Callable[[Session, str], Awaitable[bool]]


async def models_at(session: Session, base_url: str) -> list[str] | None:
    """Return the models of a server with OpenAI's protocol; None if it has no list of them.

    Raises ProviderError if the server cannot be reached or refuses the key.
    """
    try:
        answer = await session.get_json(f"{base_url}/models")
    except ProviderError as exc:
        if not knows_no_path(exc):
            raise
        return None
    listing = answer.get("data") if isinstance(answer, dict) else answer
    if not isinstance(listing, list):
        return None
    names = [as_dict(model).get("id") for model in listing]
    return [name for name in names if isinstance(name, str)]


async def require_chat(session: Session, base_url: str, model: str) -> None:
    """Return if the address has OpenAI's chat API, as far as a call without messages can tell.

    Raises WrongAddress, ModelNotFound if the server does not know the model, or the error of a
    server that cannot be reached or refuses the key.
    """
    url = f"{base_url}/chat/completions"
    try:
        answer = await session.post_json(url, {"model": model})
    except ProviderError as exc:
        problem = _problem(session, exc, url, model)
        if problem is None:
            return
        raise problem from exc
    _check_answer(session, answer, url)


def knows_no_path(exc: ProviderError) -> bool:
    """Return whether a GET failed because the server has nothing at this path, or only a page."""
    if exc.status is None:
        return isinstance(exc, BadAnswer)
    refused = isinstance(exc, AuthenticationFailed | RateLimited)
    return not refused and exc.status not in (408, *_GATEWAY)


def chat_addresses(base_url: str) -> Iterator[str]:
    """Yield addresses that may have been meant by `base_url`, for OpenAI's protocol."""
    parts = urlsplit(base_url)
    short, stem = _METHODS.sub("", parts.path), _KNOWN_TAIL.sub("", parts.path)
    paths = [short, *(stem + prefix for prefix in _PREFIXES), stem]
    paths += _PREFIXES if stem else ()
    yield from _addresses(parts, paths, parts.path)


def ollama_addresses(base_url: str) -> Iterator[str]:
    """Yield addresses that may have been meant by `base_url`, for Ollama's protocol."""
    parts = urlsplit(base_url)
    stem = _KNOWN_TAIL.sub("", parts.path)
    yield from _addresses(parts, [stem, ""], parts.path)
    if parts.port is None:
        yield f"http://{parts.netloc}:{OLLAMA_PORT}"


async def search(own: Session, base_url: str, addresses: Sequence[str], looks: LooksRight) -> str:
    """Return the first address that looks right; "" if none does. All are tried at once.

    Only the server of `base_url` gets the key, which `own` sends.
    """
    others = Session(label=own.label, name=own.name, connect_timeout_s=TRY_S)
    origin = _origin(base_url)

    async def try_one(address: str) -> bool:
        try:
            async with asyncio.timeout(TRY_S):
                return await looks(own if _origin(address) == origin else others, address)
        except (ProviderError, TimeoutError):
            return False

    tries = [(address, asyncio.create_task(try_one(address))) for address in addresses]
    try:
        for address, looks_right in tries:
            if await looks_right:
                return address
    finally:
        for _, task in tries:
            task.cancel()
        await asyncio.gather(*(task for _, task in tries), return_exceptions=True)
        await others.aclose()
    return ""


async def has_chat(session: Session, base_url: str) -> bool:
    """Return whether an address surely has OpenAI's chat API; a refused key shows it, too."""
    try:
        await require_chat(session, base_url, "")
    except (AuthenticationFailed, QuotaExhausted, ModelNotFound):
        return True
    except ProviderError:
        return False
    return True


async def require_ollama(session: Session, base_url: str) -> None:
    """Raise WrongAddress if the server there is not Ollama, ProviderError if it has no answer."""
    url = f"{base_url}/api/version"
    try:
        answer = await session.get_json(url)
    except ProviderError as exc:
        if not knows_no_path(exc):
            raise
        raise wrong(session, "version", url, exc) from exc
    if "version" not in as_dict(answer):
        raise wrong(session, "version", url, BadAnswer("its answer has none"))


async def has_ollama(session: Session, base_url: str) -> bool:
    """Return whether an address is that of an Ollama server."""
    await require_ollama(session, base_url)
    return True


def wrong(session: Session, what: str, url: str, exc: ProviderError) -> WrongAddress:
    """Return the error for an address at which the server does not know its API."""
    reason = str(exc).removeprefix(f"{session.label} API error: ")
    return WrongAddress(f"{session.label} has no {what} at {url} ({reason})", status=exc.status)


def _problem(session: Session, exc: ProviderError, url: str, model: str) -> ProviderError | None:
    """Return why no call to this address can succeed; None if the error is about the call."""
    status = exc.status
    if isinstance(exc, AuthenticationFailed | QuotaExhausted):
        return exc
    if status is None:
        return wrong(session, "chat", url, exc) if isinstance(exc, BadAnswer) else exc
    if status in (404, 405, 410) and _names_model(str(exc), model):
        return exc if isinstance(exc, ModelNotFound) else ModelNotFound(str(exc), status=status)
    if 300 <= status < 400 or status in (404, 405, 410):
        return wrong(session, "chat", url, exc)
    if status in _GATEWAY:
        return exc
    if status == 400:
        return _plain_http(session, exc, url)
    return exc if isinstance(exc, ModelNotFound) else None


def _plain_http(session: Session, exc: ProviderError, url: str) -> ProviderError | None:
    """Return the error of a server that expects TLS; None if it is a chat API's complaint."""
    if isinstance(exc, ModelNotFound):
        return exc
    text = str(exc).partition("400 Bad Request")[2]
    if url.startswith("http:") and (not text or "HTTPS" in text):
        problem = wrong(session, "chat", url, exc)
        problem.sure = bool(text)
        return problem
    return None


def _check_answer(session: Session, answer: Any, url: str) -> None:
    """Raise the error that a reply with status 200 holds, if it is no chat API's complaint."""
    first = answer[0] if isinstance(answer, list) and len(answer) == 1 else answer
    found = as_dict(first)
    if "choices" in found:
        return
    if not (error := found.get("error")):
        exc: ProviderError = BadAnswer("its answer has no choices")
        raise wrong(session, "chat", url, exc)
    exc = session.failure({"error": error})
    if exc.needs_person and not isinstance(exc, WrongAddress):
        raise exc
    if isinstance(exc, WrongAddress) or _NO_PATH.search(str(exc)):
        raise wrong(session, "chat", url, exc)


def _names_model(text: str, model: str) -> bool:
    return (bool(model) and model in text) or re.search(r"\bmodel\b", text, re.I) is not None


def _addresses(parts: SplitResult, paths: Sequence[str], given: str) -> Iterator[str]:
    """Yield the paths on the server of `parts`, then over the other of http and https."""
    unlike = [path for path in dict.fromkeys(paths) if path != given]
    for scheme, tried in ((parts.scheme, unlike), (_OTHER_SCHEME[parts.scheme], [given, *unlike])):
        for path in tried:
            yield parts._replace(scheme=scheme, path=path).geturl()


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
