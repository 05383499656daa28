"""The Ollama provider, over Ollama's own protocol of newline-delimited JSON."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from orjson import JSONDecodeError

from providers.base import CallSettings, Completion, Message, Options, Status
from providers.encoded_prompt import EncodedPrompt
from providers.errors import ConnectionLost, ProviderError
from providers.http import address_probe, examination, model_names
from providers.http.adaptation import AdaptedRequest, adapted_prompt, without
from providers.http.draft import Draft, usage_of
from providers.http.error_mapping import as_dict
from providers.http.ollama_model import OllamaModel, is_cut
from providers.http.provider import HttpConfig, HttpProvider
from providers.http.refusals import AdaptedCall, Refusals
from providers.http.stream_parser import JsonLines, parsed
from providers.validation import Count, Seconds

logger = logging.getLogger("rosey_llm.providers")

SHOW_S = 5.0


@dataclass(frozen=True, kw_only=True)
class OllamaConfig(HttpConfig):
    """The settings of an Ollama provider.

    keep_alive: how long a model stays loaded ("10m", seconds as "300", "-1" for ever).
    first_content_timeout: long, since it includes loading the model.
    max_concurrency: Ollama does not tell how many answers it computes at once
        (OLLAMA_NUM_PARALLEL, 1 to 4 by default). Further calls would queue there, unseen, and
        without turns between channels.
    max_tokens: always sent, since without it an answer may never end.
    context_tokens: always sent, since the server's default depends on its graphics memory, and the
        server drops what exceeds it.
    """

    base_url: str = "http://localhost:11434"
    default_model: str = "llama3.2"
    first_content_timeout: Seconds | None = 300.0
    max_concurrency: Count = 4
    max_tokens: Count | None = 1024
    context_tokens: Count = 4096
    keep_alive: str = ""


class _Call(NamedTuple):
    """One call of a model, which may take several requests."""

    messages: Sequence[Message]
    settings: CallSettings
    model: OllamaModel
    attempt: AdaptedCall


class OllamaProvider(HttpProvider):
    """A provider for Ollama: chat over /api/chat, raw completions over /api/generate."""

    kind = "ollama"
    Config = OllamaConfig
    config: OllamaConfig

    def __init__(self, config: Mapping[str, Any] | None = None, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        self._models: dict[str, OllamaModel] = {}
        self._refusals = Refusals(self.name)
        self._told_of_cuts: set[str] = set()

    @property
    def label(self) -> str:
        return "Ollama"

    async def chat(self, messages: Sequence[Message], options: Options) -> Completion:
        return await self._whole_answer("chat", messages, options)

    async def complete(self, prompt: str, options: Options) -> Completion:
        return await self._whole_answer("generate", [Message("user", prompt)], options)

    async def stream(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str | Completion]:
        call = await self._call(messages, options)
        url = f"{self.base_url}/api/chat"
        while True:
            request = self._request(call, "chat", stream=True)
            draft = Draft(self.label, call.settings.model, request.sent_as)
            try:
                with await self.session.post_stream(url, request.body) as reply:
                    if await reply.form() == "json":  # one object over several lines
                        self._read(as_dict(await reply.json()), draft)
                    else:
                        lines = JsonLines()
                        async for block in reply.blocks():
                            try:
                                self._read_lines(lines.feed(block), draft)
                            finally:  # the text before an error is yielded before it is raised
                                if piece := draft.new_text():
                                    yield piece
                            if draft.done:
                                break
                        else:
                            with suppress(JSONDecodeError):  # it was cut off within a line
                                self._read_lines(lines.finish(), draft)
                    call.attempt.accept()
                    if rest := draft.last_text():
                        yield rest
                    yield self._completion(call, draft)
                    await reply.drain()
                return
            except ConnectionLost as exc:
                raise draft.cut_off(exc) from exc
            except ProviderError as exc:
                if draft.begun:
                    raise
                call.attempt.adapt(exc, request.optional)

    async def models(self) -> list[str]:
        listing = as_dict(await self.session.get_json(f"{self.base_url}/api/tags"))
        models = listing.get("models")
        names = [as_dict(m).get("name") for m in (models if isinstance(models, list) else [])]
        return [name for name in names if isinstance(name, str)]

    async def _probe(self) -> Status:
        await address_probe.require_ollama(self.session, self.base_url)
        model, names = self.config.default_model, await self.models()
        if _with_tag(model) in map(_with_tag, names):
            return Status(True)
        missing = f"model {model} is not installed; run: ollama pull {model}"
        return Status(False, missing + model_names.near(model, names), misconfigured=True)

    async def _examine(self) -> Status:
        names = await self.locate()
        if not self.config.default_model.strip():
            examination.check_model(self, names)
        return await self._probe()

    async def locate(self) -> list[str]:
        return await examination.locate_ollama(self)

    async def _whole_answer(
        self, method: str, messages: Sequence[Message], options: Options
    ) -> Completion:
        call = await self._call(messages, options)
        url = f"{self.base_url}/api/{method}"
        while True:
            request = self._request(call, method, stream=False)
            draft = Draft(self.label, call.settings.model, request.sent_as)
            try:
                self._read(as_dict(await self.session.post_json(url, request.body)), draft)
            except ProviderError as exc:
                call.attempt.adapt(exc, request.optional)
            else:
                break
        call.attempt.accept()
        draft.last_text()
        return self._completion(call, draft)

    async def _call(self, messages: Sequence[Message], options: Options) -> _Call:
        settings = self.settled(options)
        model = await self._model(settings.model)
        return _Call(messages, settings, model, self._refusals.call(settings.model))

    def _request(self, call: _Call, method: str, *, stream: bool) -> AdaptedRequest:
        attempt, (model, temperature, max_tokens) = call.attempt, call.settings
        prompt = adapted_prompt(call.messages, attempt, call.model.marks)
        settings: dict[str, Any] = {
            "temperature": temperature,
            "num_predict": max_tokens or OllamaConfig.max_tokens,
            "num_ctx": self.context_tokens(model),
        }
        sent = {name: value for name, value in settings.items() if attempt.sends(name, value)}
        fields: dict[str, Any] = {}
        if keep_alive := self.config.keep_alive:
            fields["keep_alive"] = _duration(keep_alive)
        if call.model.thinks:
            fields["think"] = False
        fields = {name: value for name, value in fields.items() if attempt.sends(name)}
        stream = stream and attempt.sends("stream")
        text = prompt.messages.fragment if method == "chat" else prompt.messages[-1].content
        optional = dict.fromkeys([*fields, *(["stream"] if stream else [])])
        return AdaptedRequest(
            {
                "model": model,
                "messages" if method == "chat" else "prompt": text,
                "stream": stream,  # without it, Ollama streams
                "options": sent,
                **fields,
            },
            {**prompt.optional, **optional, **sent},
            prompt.sent_as
            + without(temperature="temperature" not in sent, max_tokens="num_predict" not in sent),
        )

    async def _model(self, name: str) -> OllamaModel:
        """Return what the server says of a model; it is asked once."""
        known = self._models.get(name)
        if known is not None:
            return known
        try:
            async with asyncio.timeout(SHOW_S):
                details = await self.session.post_json(f"{self.base_url}/api/show", {"model": name})
        except (ProviderError, TimeoutError) as exc:
            logger.debug(
                "cannot find out about the model %(model)s: %(error)r",
                {
                    "event": "provider.model_unknown",
                    "provider": self.name,
                    "model": name,
                    "error": exc,
                },
            )
            return OllamaModel()
        model = self._models[name] = OllamaModel.of(as_dict(details))
        return model

    def _read_lines(self, lines: Iterable[bytes], draft: Draft) -> None:
        for line in lines:
            try:
                part = parsed(line)
            except JSONDecodeError:
                draft.unreadable = True
                if line.lstrip().startswith(b"{"):  # a piece of the text may be lost
                    raise
                logger.debug(
                    "%(label)s sent a line that is no JSON; it is skipped.",
                    {"event": "provider.piece_skipped", "label": self.label},
                )
                continue
            self._read(as_dict(part), draft)
            if draft.done:
                return

    def _read(self, part: dict[str, Any], draft: Draft) -> None:
        """Add one object of an answer to the draft."""
        if error := part.get("error"):
            raise self.session.failure({"error": error})
        if isinstance(model := part.get("model"), str) and model:
            draft.model = model
        message = as_dict(part.get("message"))
        text = message.get("content", part.get("response"))
        if isinstance(text, str) and text:
            if part.get("done") is True:  # a proxy may repeat the whole text here
                draft.add_whole(text, sure=False)
            else:
                draft.add(text)
        elif message.get("thinking") or part.get("thinking"):
            draft.thought = True
        if message.get("tool_calls"):
            draft.called_tool = True
        if part.get("done") is True:
            draft.done = True
            reason = part.get("done_reason")
            draft.finish_reason = reason if isinstance(reason, str) else None
            # Ollama leaves out counts of zero.
            draft.usage = usage_of(part.get("prompt_eval_count", 0), part.get("eval_count", 0))

    def _completion(self, call: _Call, draft: Draft) -> Completion:
        name, limit = call.settings.model, call.model.context_tokens
        window = self.context_tokens(name)
        size_bytes = len(EncodedPrompt.of(call.messages).encoded)
        if draft.usage and is_cut(draft.usage.prompt_tokens, size_bytes, window, limit):
            draft.prompt_cut = True
            if name not in self._told_of_cuts:
                self._told_of_cuts.add(name)
                logger.warning(
                    "Ollama seems to have dropped the start of a prompt for model %(model)s: it"
                    " read %(prompt_tokens)d tokens. Raise providers.%(provider)s.context_tokens"
                    " (now %(context_tokens)d; the model's own: %(model_tokens)s), or lower"
                    " max_context_messages.",
                    {
                        "event": "provider.prompt_cut",
                        "provider": self.name,
                        "model": name,
                        "prompt_tokens": draft.usage.prompt_tokens,
                        "context_tokens": window,
                        "model_tokens": limit or "unknown",
                    },
                )
        return draft.completion()


def _duration(text: str) -> int | str:
    """Return the text as Ollama reads it: "10m" as a string, but "300" as a number."""
    try:
        return int(text)
    except ValueError:
        return text


def _with_tag(model: str) -> str:
    """Return the model's name with its tag, "latest" by default.

    A colon before a slash belongs to a host.
    """
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"
