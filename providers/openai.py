"""The provider for OpenAI and servers with its chat completions (vLLM, llama.cpp, LM Studio)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from orjson import JSONDecodeError

from providers.base import Completion, Message, Moderation, Options, Status
from providers.control_marks import ControlMarks
from providers.errors import (
    AuthenticationFailed,
    ConnectionLost,
    ProviderError,
    WrongAddress,
)
from providers.http import address_probe, examination
from providers.http.adaptation import AdaptedRequest, adapted_prompt, without
from providers.http.chat_completion import read_answer, read_events
from providers.http.draft import Draft
from providers.http.moderation import read_moderation
from providers.http.own_server import is_own_server
from providers.http.plain_chunks import PlainChunks
from providers.http.provider import HttpConfig, HttpProvider
from providers.http.refusals import AdaptedCall, Refusals
from providers.http.server_slots import ServerSlots
from providers.http.stream_parser import Events
from providers.validation import Count

# vLLM and SGLang compute so many at once. LM Studio computes fewer; it queues the others.
OWN_SERVER_CONCURRENCY = 64


@dataclass(frozen=True, kw_only=True)
class OpenAIConfig(HttpConfig):
    """The settings of a provider with OpenAI's protocol.

    max_concurrency: a service on the internet has hundreds of machines, and says when it is too
        much; a server of one's own has `OWN_SERVER_CONCURRENCY` by default, and llama.cpp as many
        as it says after its first answer.
    max_tokens_field: the parameter that limits the tokens; "auto" finds it out.
    """

    base_url: str = "https://api.openai.com/v1"
    organization: str = ""
    default_model: str = "gpt-4"
    max_concurrency: Count = 512
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
        values = dict(config or {})
        if is_own_server(str(values.get("base_url", ""))):
            values.setdefault("max_concurrency", OWN_SERVER_CONCURRENCY)
        super().__init__(values, name=name)
        self._slots: ServerSlots | None = None
        if "max_concurrency" not in (config or {}):
            self._slots = ServerSlots(self.session, self.base_url)
        self._chat_url = f"{self.base_url}/chat/completions"
        self._refusals = Refusals(self.name)
        # The marks to break in texts of users; none for a server that may be any.
        self.marks: ControlMarks | None = None

    @cached_property
    def label(self) -> str:
        return "OpenAI" if self.name == "openai" or self._is_key_host else self.name

    @property
    def max_concurrency(self) -> int:
        """What the settings say; else the slots of a llama.cpp server; else the default."""
        return (self._slots and self._slots.total) or self.config.max_concurrency

    async def chat(self, messages: Sequence[Message], options: Options) -> Completion:
        self._check_key()
        attempt = self._attempt(options)
        while True:
            request = self._request(messages, options, attempt, stream=False)
            draft = self._draft(options, request)
            try:
                answer = await self.session.post_json(self._chat_url, request.body)
                self._read_whole(answer, draft)
            except ProviderError as exc:
                attempt.adapt(exc, request.optional)
            else:
                break
        self._accept(attempt)
        draft.last_text()
        return draft.completion()

    async def stream(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str | Completion]:
        self._check_key()
        attempt, failure = self._attempt(options), self.session.failure
        while True:
            request = self._request(messages, options, attempt, stream=True)
            draft = self._draft(options, request)
            try:
                with await self.session.post_stream(self._chat_url, request.body) as reply:
                    if await reply.is_one_value():  # an error, or a server without token streams
                        self._read_whole(await reply.json(), draft)
                    else:
                        events, plain = Events(), PlainChunks()
                        async for block in reply.blocks():
                            try:
                                read_events(events.feed(block), draft, failure, plain)
                            finally:  # the text before an error is yielded before it is raised
                                if piece := draft.new_text():
                                    yield piece
                            if draft.done:
                                break
                        else:
                            with suppress(JSONDecodeError):  # it was cut off within an event
                                read_events(events.finish(), draft, failure, plain)
                    self._accept(attempt)
                    if rest := draft.last_text():
                        yield rest
                    yield draft.completion()
                    await reply.drain()
                return
            except ConnectionLost as exc:
                raise draft.cut_off(exc) from exc
            except ProviderError as exc:
                if draft.begun:
                    raise
                attempt.adapt(exc, request.optional)

    async def moderate(self, text: str, model: str) -> Moderation:
        self._check_key()
        body = {"model": model, "input": text}
        answer = await self.session.post_json(f"{self.base_url}/moderations", body)
        return read_moderation(self.label, answer)

    async def models(self) -> list[str]:
        self._check_key()
        return await address_probe.models_at(self.session, self.base_url) or []

    async def aclose(self) -> None:
        if self._slots is not None:
            await self._slots.aclose()
        await super().aclose()

    async def _probe(self) -> Status:
        # A list of models proves address and key; without one, the chat API itself is asked.
        if not await self._check_access():
            try:
                model = self.config.default_model
                await address_probe.require_chat(self.session, self.base_url, model)
            except WrongAddress as exc:
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
        if self._is_key_host and not self.has_key:
            # The settings use the variable only for the default address.
            default = self.base_url == self.Config().base_url
            hint = f" (or {self.key_variable} in the service's environment)" if default else ""
            raise AuthenticationFailed(
                f"{self.label} needs an API key: set providers.{self.name}.api_key{hint}"
            )

    def _attempt(self, options: Options) -> AdaptedCall:
        return self._refusals.call(options.model or self.config.default_model)

    def _accept(self, attempt: AdaptedCall) -> None:
        attempt.accept()
        if self._slots is not None:
            self._slots.ask_soon()

    def _draft(self, options: Options, request: AdaptedRequest) -> Draft:
        return Draft(self.label, options.model or self.config.default_model, request.sent_as)

    def _request(
        self, messages: Sequence[Message], options: Options, attempt: AdaptedCall, *, stream: bool
    ) -> AdaptedRequest:
        model, temperature, max_tokens = self.settled(options)
        prompt = adapted_prompt(messages, attempt, self.marks)
        body: dict[str, Any] = {"model": model, "messages": prompt.messages.fragment}
        optional = dict(prompt.optional)
        if attempt.sends("stream"):
            body["stream"], optional["stream"] = stream, None
            if stream and attempt.sends("stream_options"):
                body["stream_options"] = {"include_usage": True}
                optional["stream_options"] = None
        if has_temperature := attempt.sends("temperature", temperature):
            body["temperature"] = optional["temperature"] = temperature
        if cap := max_tokens and self._cap_field(attempt, max_tokens):
            body[cap] = optional[cap] = max_tokens
        sent_as = prompt.sent_as
        if not has_temperature or (max_tokens and not cap):
            sent_as += without(
                temperature=not has_temperature, max_tokens=bool(max_tokens and not cap)
            )
        return AdaptedRequest(body, optional, sent_as)

    def _cap_field(self, attempt: AdaptedCall, max_tokens: int) -> str | None:
        """Return the name by which the limit of tokens is sent; None if it is not sent."""
        names = ["max_tokens", "max_completion_tokens"]
        if self.config.max_tokens_field != "auto":
            names = [self.config.max_tokens_field]
        elif self._is_key_host:
            names.reverse()
        taken = next((name for name in names if attempt.sends(name)), None)
        return taken if taken and attempt.sends(taken, max_tokens) else None

    def _read_whole(self, answer: object, draft: Draft) -> None:
        """Add a whole answer to the draft. It is complete even without a finish reason."""
        draft.done = True
        read_answer(answer, draft, self.session.failure)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
