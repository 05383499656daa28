"""The provider for OpenAI and servers with its chat completions (vLLM, llama.cpp, LM Studio)."""

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
)
from providers.http import address_probe, examination
from providers.http.error_mapping import as_dict
from providers.http.provider import HttpConfig, HttpProvider
from providers.http.reasoning import Draft, usage_of
from providers.http.stream_parser import Events, ServerSentEvent, parsed

Sent = TypeVar("Sent")
Send = Callable[[str, Mapping[str, Any]], Awaitable[Sent]]

# The parameters that some models refuse, and the ones to send instead; None: leave it out.
_REPLACEMENTS = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
    "temperature": None,
}


@dataclass(frozen=True, kw_only=True)
class OpenAIConfig(HttpConfig):
    """The settings of a provider with OpenAI's protocol.

    max_tokens_field: the parameter that limits the tokens; "auto" finds it out.
    """

    base_url: str = "https://api.openai.com/v1"
    organization: str = ""
    default_model: str = "gpt-4"
    max_tokens_field: Literal["auto", "max_tokens", "max_completion_tokens"] = "auto"


class OpenAIProvider(HttpProvider):
    """A provider with OpenAI's protocol. It remembers which parameters each model refuses."""

    kind = "openai"
    Config = OpenAIConfig
    config: OpenAIConfig

    # Other servers may work without a key; a call to this host without a key cannot succeed.
    key_host: ClassVar[str] = "api.openai.com"
    key_variable: ClassVar[str] = "OPENAI_API_KEY"

    def __init__(self, config: Mapping[str, Any] | None = None, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        self._chat_url = f"{self.base_url}/chat/completions"
        self._refused: dict[str, frozenset[str]] = {}

    @property
    def label(self) -> str:
        return "OpenAI" if self.name == "openai" or self._is_key_host else self.name

    async def chat(self, messages: Sequence[Message], options: Options) -> Completion:
        draft = self._draft(options)
        answer = await self._request(self.session.post_json, messages, options, stream=False)
        self._read_whole(answer, draft)
        draft.last_text()
        return draft.completion()

    async def stream(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str | Completion]:
        draft = self._draft(options)
        send = self.session.post_stream
        try:
            with await self._request(send, messages, options, stream=True) as reply:
                if reply.is_json:  # an error, or a server without token streams
                    self._read_whole(await reply.json(), draft)
                else:
                    events = Events()
                    async for block in reply.blocks():
                        try:
                            self._read_events(events.feed(block), draft)
                        finally:  # the text before an error is yielded before it is raised
                            if piece := draft.new_text():
                                yield piece
                        if draft.done:
                            break
                    else:
                        with suppress(JSONDecodeError):  # it was cut off within an event
                            self._read_events(events.finish(), draft)
                if rest := draft.last_text():
                    yield rest
                yield draft.completion()
                await reply.drain()
        except ConnectionLost as exc:
            raise draft.cut_off(exc) from exc

    async def models(self) -> list[str]:
        self._check_key()
        return await address_probe.models_at(self.session, self.base_url) or []

    async def _probe(self) -> Status:
        # A list of models proves address and key; without one, the chat API itself is asked.
        if not await self._check_access():
            try:
                model = self.config.default_model
                await address_probe.require_chat(self.session, self.base_url, model)
            except address_probe.WrongAddress as exc:
                if exc.sure:
                    raise
        return Status(True)

    async def _examine(self) -> Status:
        await examination.of_chat(self)
        return Status(True)

    async def locate(self) -> list[str]:
        return await examination.locate_chat(self, self._check_access)

    async def _check_access(self) -> bool:
        """Make a free call that fails if the key does; return whether it proved the address."""
        return bool(await self.models())

    def extra_headers(self) -> dict[str, str]:
        organization = self.header_value("organization", self.config.organization)
        return {"OpenAI-Organization": organization} if organization else {}

    @cached_property
    def _is_key_host(self) -> bool:
        return urlsplit(self.config.base_url.strip()).hostname == self.key_host

    def _check_key(self) -> None:
        if self._is_key_host and not self.config.api_key.strip():
            # The settings use the variable only for the default address.
            default = self.base_url == self.Config().base_url
            hint = f" (or {self.key_variable} in the service's environment)" if default else ""
            raise AuthenticationFailed(
                f"{self.label} needs an API key: set providers.{self.name}.api_key{hint}"
            )

    def _draft(self, options: Options) -> Draft:
        return Draft(self.label, options.model or self.config.default_model)

    async def _request(
        self, send: Send[Sent], messages: Sequence[Message], options: Options, *, stream: bool
    ) -> Sent:
        """Return what `send` returns; repeat the request once for each refused parameter."""
        self._check_key()
        model = options.model or self.config.default_model
        refused = self._refused.get(model, frozenset())
        while True:
            body = self._body(messages, options, refused, stream=stream)
            try:
                reply = await send(self._chat_url, body)
            except BadAnswer as exc:
                parameter = self._refused_parameter(exc, body, refused)
                if parameter is None:
                    raise
                refused |= {parameter}
            else:
                if refused:
                    self._refused[model] = refused
                return reply

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
        first = "max_completion_tokens" if self._is_key_host else "max_tokens"
        return _REPLACEMENTS[first] or first if first in refused else first

    def _refused_parameter(
        self, exc: BadAnswer, body: Mapping[str, Any], refused: frozenset[str]
    ) -> str | None:
        """Return the parameter of `body` that the error names, if a request can do without it."""
        if exc.status not in (400, 422):
            return None
        for parameter, replacement in _REPLACEMENTS.items():
            fixed = replacement is not None and self.config.max_tokens_field != "auto"
            if parameter not in body or fixed or replacement in refused:
                continue
            if re.search(rf"\b{parameter}\b", str(exc)):
                return parameter
        return None

    def _read_whole(self, answer: object, draft: Draft) -> None:
        """Add a whole answer to the draft. It is complete even without a finish reason."""
        draft.done = True
        self._read(answer, draft)

    def _read_events(self, events: Sequence[bytes | ServerSentEvent], draft: Draft) -> None:
        for event in events:
            if draft.done:
                return
            if isinstance(event, ServerSentEvent):
                self._read(_object_of(event), draft)
            elif event.strip() == b"[DONE]":
                draft.done = True
            else:
                self._read(parsed(event), draft)

    def _read(self, answer: object, draft: Draft) -> None:
        """Add a chunk, or a whole answer, to the draft."""
        if not isinstance(answer, dict):
            return
        choices = answer.get("choices")
        choice = as_dict(choices[0]) if choices and isinstance(choices, list) else {}
        if error := answer.get("error") or choice.get("error"):
            raise self.session.failure({"error": error})
        if reason := choice.get("finish_reason"):
            self._read_reason(reason, draft)
        if (model := answer.get("model")) and isinstance(model, str):
            draft.model = model
        if (usage := answer.get("usage")) and isinstance(usage, dict):
            draft.usage = usage_of(usage.get("prompt_tokens"), usage.get("completion_tokens"))
        part = choice.get("delta") or choice.get("message")
        if isinstance(part, dict) and (content := part.get("content")):
            draft.add(content if isinstance(content, str) else _text(content))

    def _read_reason(self, reason: object, draft: Draft) -> None:
        if reason == "error":
            raise BadAnswer(f"{self.label} reported an error in the middle of its answer")
        if isinstance(reason, str):
            draft.finish_reason = reason


def _object_of(event: ServerSentEvent) -> dict[str, Any]:
    data = as_dict(parsed(event.data))
    return {"error": data} if event.kind == "error" and "error" not in data else data


def _text(content: object) -> str:
    """Return the text in a content that is a list of parts of several types."""
    parts = [as_dict(part) for part in _list(content)]
    texts = [
        part.get("text") for part in parts if part.get("type", "text") in ("text", "output_text")
    ]
    return "".join(text for text in texts if isinstance(text, str))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
