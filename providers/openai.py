"""OpenAI, and every server that speaks its chat completions (vLLM, llama.cpp, LM Studio, ...)."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

import orjson

from providers.base import Completion, Message, Options, Status
from providers.errors import (
    AuthenticationFailed,
    BadAnswer,
    ConnectionLost,
    ModelNotFound,
)
from providers.http import HttpConfig, HttpProvider
from providers.reasoning import Draft, usage_of
from providers.refusal import as_dict
from providers.session import Reply
from providers.sse import Event, Events

# The parameters that some models refuse, and what to send in place of them.
_INSTEAD = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
    "temperature": None,
}


@dataclass(frozen=True, kw_only=True)
class OpenAIConfig(HttpConfig):
    """max_tokens_field: how the token cap is called; "auto" finds it out."""

    base_url: str = "https://api.openai.com/v1"
    organization: str = ""
    default_model: str = "gpt-4"
    max_tokens_field: Literal["auto", "max_tokens", "max_completion_tokens"] = "auto"


class OpenAIProvider(HttpProvider):
    """Chat completions over HTTP. Remembers for each model which parameters it refuses."""

    kind = "openai"
    Config = OpenAIConfig
    config: OpenAIConfig

    # A server of one's own may go without a key; on this host a call without one is pointless.
    key_host: ClassVar[str] = "api.openai.com"
    key_variable: ClassVar[str] = "OPENAI_API_KEY"

    def __init__(self, config: Mapping[str, Any] | None = None, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        self._refused: dict[str, frozenset[str]] = {}

    @property
    def label(self) -> str:
        return "OpenAI" if self.name == "openai" or self._is_at_home else self.name

    async def chat(self, messages: Sequence[Message], options: Options) -> Completion:
        draft = self._draft(options)
        async with self._asked(messages, options, stream=False) as reply:
            self._take_whole(as_dict(await reply.json()), draft)
        draft.rest()
        return draft.completion()

    async def stream(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str | Completion]:
        draft = self._draft(options)
        try:
            async with self._asked(messages, options, stream=True) as reply:
                async with aclosing(self._pieces(reply, draft)) as pieces:
                    async for piece in pieces:
                        yield piece
                if rest := draft.rest():
                    yield rest
                yield draft.completion()
                await reply.drain()
        except ConnectionLost as exc:
            raise draft.cut_off(exc) from exc

    async def models(self) -> list[str]:
        self._check_key()
        try:
            said = as_dict(await self.session.get_json(f"{self.base_url}/models"))
        except ModelNotFound:  # a 404: the server keeps no list
            return []
        names = [as_dict(model).get("id") for model in _list(said.get("data"))]
        return [name for name in names if isinstance(name, str)]

    async def _probe(self) -> Status:
        try:
            await self._touch()
        except AuthenticationFailed as exc:
            hint = f"; check providers.{self.name}.api_key" if exc.status else ""
            return Status(False, f"{exc}{hint}")
        return Status(True)

    async def _touch(self) -> None:
        """A call that costs nothing and proves that server and key work."""
        await self.models()

    def extra_headers(self) -> dict[str, str]:
        organization = self.header_value("organization", self.config.organization)
        return {"OpenAI-Organization": organization} if organization else {}

    @property
    def _is_at_home(self) -> bool:
        return urlsplit(self.config.base_url.strip()).hostname == self.key_host

    def _check_key(self) -> None:
        if self._is_at_home and not self.config.api_key.strip():
            # The settings give the variable's value to no other address than the default one.
            default = self.base_url == self.Config().base_url
            hint = f" (or {self.key_variable} in the service's environment)" if default else ""
            raise AuthenticationFailed(
                f"{self.label} needs an API key: set providers.{self.name}.api_key{hint}"
            )

    def _draft(self, options: Options) -> Draft:
        return Draft(self.label, options.model or self.config.default_model)

    @asynccontextmanager
    async def _asked(
        self, messages: Sequence[Message], options: Options, *, stream: bool
    ) -> AsyncIterator[Reply]:
        """The reply; a request is repeated once for each parameter that the model refuses."""
        self._check_key()
        model = options.model or self.config.default_model
        refused = self._refused.get(model, frozenset())
        # llama.cpp closes after a token stream without saying so, and a call sent on that
        # connection would be lost; a server without TLS is quickly connected to again.
        reuse = not stream or self.base_url.startswith("https:")
        async with AsyncExitStack() as stack:
            while True:
                body = self._body(messages, options, refused, stream=stream)
                try:
                    url = f"{self.base_url}/chat/completions"
                    asking = self.session.post_stream(url, body, reuse=reuse)
                    reply = await stack.enter_async_context(asking)
                    break
                except BadAnswer as exc:
                    parameter = self._refused_parameter(exc, body, refused)
                    if parameter is None:
                        raise
                    refused |= {parameter}
            if refused:
                self._refused[model] = refused
            yield reply

    def _body(
        self,
        messages: Sequence[Message],
        options: Options,
        refused: frozenset[str],
        *,
        stream: bool,
    ) -> dict[str, Any]:
        model, temperature, max_tokens = self.settled(options)
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "stream": stream,
        }
        if stream:
            body["stream_options"] = {"include_usage": True}
        if "temperature" not in refused:
            body["temperature"] = temperature
        if max_tokens is not None:
            body[self._cap_field(refused)] = max_tokens
        return body

    def _cap_field(self, refused: frozenset[str]) -> str:
        if self.config.max_tokens_field != "auto":
            return self.config.max_tokens_field
        first = "max_completion_tokens" if self._is_at_home else "max_tokens"
        return _INSTEAD[first] or first if first in refused else first

    def _refused_parameter(
        self, exc: BadAnswer, body: Mapping[str, Any], refused: frozenset[str]
    ) -> str | None:
        """The parameter of `body` that the error names, if another request can do without it."""
        if exc.status not in (400, 422):
            return None
        for parameter, instead in _INSTEAD.items():
            fixed = instead is not None and self.config.max_tokens_field != "auto"
            if parameter not in body or fixed or instead in refused:
                continue
            if re.search(rf"\b{parameter}\b", str(exc)):
                return parameter
        return None

    async def _pieces(self, reply: Reply, draft: Draft) -> AsyncGenerator[str, None]:
        if reply.is_json:  # an error, or a server that knows no token streams
            if piece := self._take_whole(as_dict(await reply.json()), draft):
                yield piece
            return
        async with aclosing(reply.items(Events(), _chunk)) as chunks:
            async for chunk in chunks:
                if chunk is None:
                    draft.done = True
                    return
                if piece := self._take(chunk, draft):
                    yield piece

    def _take_whole(self, said: dict[str, Any], draft: Draft) -> str:
        """A body that came in one piece is whole, also where its finish reason is missing."""
        draft.done = True
        return self._take(said, draft)

    def _take(self, said: dict[str, Any], draft: Draft) -> str:
        """What a chunk, or a whole answer, adds to the text; its other news go into `draft`."""
        choice = next((as_dict(c) for c in _list(said.get("choices"))), {})
        if error := said.get("error") or choice.get("error"):
            raise self.session.failure({"error": error})
        if choice.get("finish_reason") == "error":
            raise BadAnswer(f"{self.label} met an error while it answered")
        if isinstance(model := said.get("model"), str) and model:
            draft.model = model
        if usage := as_dict(said.get("usage")):
            draft.usage = usage_of(usage.get("prompt_tokens"), usage.get("completion_tokens"))
        if isinstance(reason := choice.get("finish_reason"), str) and reason:
            draft.finish_reason = reason
        part = as_dict(choice.get("delta") or choice.get("message"))
        return draft.add(_text(part.get("content")))


def _chunk(event: Event) -> dict[str, Any] | None:
    """A chunk of an answer; None for the end."""
    if event.data.strip() == "[DONE]":
        return None
    chunk = as_dict(orjson.loads(event.data))
    return {"error": chunk} if event.kind == "error" and "error" not in chunk else chunk


def _text(content: object) -> str:
    """The text of a content that is a string, or a list of parts of which some are text."""
    if isinstance(content, str):
        return content
    parts = [as_dict(part) for part in _list(content)]
    texts = [
        part.get("text") for part in parts if part.get("type", "text") in ("text", "output_text")
    ]
    return "".join(text for text in texts if isinstance(text, str))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
