"""OpenAI, and every server that speaks its chat completions (vLLM, llama.cpp, LM Studio, ...)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeVar
from urllib.parse import urlsplit

from orjson import JSONDecodeError

from providers.base import Completion, Message, Options, Status
from providers.encoded_prompt import EncodedPrompt
from providers.errors import (
    AuthenticationFailed,
    BadAnswer,
    ConnectionLost,
    ModelNotFound,
)
from providers.http.error_mapping import as_dict
from providers.http.provider import HttpConfig, HttpProvider
from providers.http.reasoning import Draft, usage_of
from providers.http.stream_parser import Events, ServerSentEvent, parsed

Said = TypeVar("Said")
Send = Callable[[str, Mapping[str, Any]], Awaitable[Said]]

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
        self._chat_url = f"{self.base_url}/chat/completions"
        self._refused: dict[str, frozenset[str]] = {}

    @property
    def label(self) -> str:
        return "OpenAI" if self.name == "openai" or self._is_at_home else self.name

    async def chat(self, messages: Sequence[Message], options: Options) -> Completion:
        draft = self._draft(options)
        said = await self._asked(self.session.post_json, messages, options, stream=False)
        self._take_whole(said, draft)
        draft.rest()
        return draft.completion()

    async def stream(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str | Completion]:
        draft = self._draft(options)
        send = self.session.post_stream
        try:
            with await self._asked(send, messages, options, stream=True) as reply:
                if reply.is_json:  # an error, or a server that knows no token streams
                    self._take_whole(await reply.json(), draft)
                else:
                    events = Events()
                    async for block in reply.blocks():
                        try:
                            self._take_all(events.feed(block), draft)
                        finally:  # what came before an error comes out before it
                            if piece := draft.news():
                                yield piece
                        if draft.done:
                            break
                    else:
                        with suppress(JSONDecodeError):  # it was cut within an event
                            self._take_all(events.finish(), draft)
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

    @cached_property
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

    async def _asked(
        self, send: Send[Said], messages: Sequence[Message], options: Options, *, stream: bool
    ) -> Said:
        """What `send` gets; a request is repeated once for each parameter that is refused."""
        self._check_key()
        model = options.model or self.config.default_model
        refused = self._refused.get(model, frozenset())
        while True:
            body = self._body(messages, options, refused, stream=stream)
            try:
                said = await send(self._chat_url, body)
            except BadAnswer as exc:
                parameter = self._refused_parameter(exc, body, refused)
                if parameter is None:
                    raise
                refused |= {parameter}
            else:
                if refused:
                    self._refused[model] = refused
                return said

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
            "messages": EncodedPrompt.of(messages).fragment,
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

    def _take_whole(self, said: object, draft: Draft) -> None:
        """A body that came in one piece is whole, also where its finish reason is missing."""
        draft.done = True
        self._take(said, draft)

    def _take_all(self, events: Sequence[bytes | ServerSentEvent], draft: Draft) -> None:
        for event in events:
            if draft.done:
                return
            if isinstance(event, ServerSentEvent):
                self._take(_of_its_kind(event), draft)
            elif event.strip() == b"[DONE]":
                draft.done = True
            else:
                self._take(parsed(event), draft)

    def _take(self, said: object, draft: Draft) -> None:
        """A chunk, or a whole answer."""
        if not isinstance(said, dict):
            return
        choices = said.get("choices")
        choice = as_dict(choices[0]) if choices and isinstance(choices, list) else {}
        if error := said.get("error") or choice.get("error"):
            raise self.session.failure({"error": error})
        if reason := choice.get("finish_reason"):
            self._take_reason(reason, draft)
        if (model := said.get("model")) and isinstance(model, str):
            draft.model = model
        if (usage := said.get("usage")) and isinstance(usage, dict):
            draft.usage = usage_of(usage.get("prompt_tokens"), usage.get("completion_tokens"))
        part = choice.get("delta") or choice.get("message")
        if isinstance(part, dict) and (content := part.get("content")):
            draft.add(content if isinstance(content, str) else _text(content))

    def _take_reason(self, reason: object, draft: Draft) -> None:
        if reason == "error":
            raise BadAnswer(f"{self.label} met an error while it answered")
        if isinstance(reason, str):
            draft.finish_reason = reason


def _of_its_kind(event: ServerSentEvent) -> dict[str, Any]:
    said = as_dict(parsed(event.data))
    return {"error": said} if event.kind == "error" and "error" not in said else said


def _text(content: object) -> str:
    """The text of a content that is a list of parts, of which some are text."""
    parts = [as_dict(part) for part in _list(content)]
    texts = [
        part.get("text") for part in parts if part.get("type", "text") in ("text", "output_text")
    ]
    return "".join(text for text in texts if isinstance(text, str))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
