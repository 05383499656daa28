"""The Ollama provider, over Ollama's own protocol of newline-delimited JSON."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from orjson import JSONDecodeError

from providers.base import Completion, Message, Options, Status
from providers.encoded_prompt import EncodedPrompt
from providers.errors import ConnectionLost, ProviderError
from providers.http import address_probe, examination, model_names
from providers.http.error_mapping import as_dict
from providers.http.provider import HttpConfig, HttpProvider
from providers.http.reasoning import Draft, usage_of
from providers.http.stream_parser import JsonLines, parsed
from providers.validation import Count, Seconds

logger = logging.getLogger("rosey_llm.providers")

SHOW_S = 5.0


@dataclass(frozen=True, kw_only=True)
class OllamaConfig(HttpConfig):
    """The settings of an Ollama provider.

    keep_alive: how long a model stays loaded ("10m", seconds as "300", "-1" for ever).
    first_content_timeout: long, since it includes loading the model.
    max_tokens: always sent, since without it an answer may never end.
    context_tokens: always sent, since the server's default depends on its graphics memory, and the
        server drops what exceeds it.
    """

    base_url: str = "http://localhost:11434"
    default_model: str = "llama3.2"
    first_content_timeout: Seconds | None = 300.0
    max_tokens: Count | None = 1024
    context_tokens: Count = 4096
    keep_alive: str = ""


class OllamaProvider(HttpProvider):
    """A provider for Ollama: chat over /api/chat, raw completions over /api/generate."""

    kind = "ollama"
    Config = OllamaConfig
    config: OllamaConfig

    def __init__(self, config: Mapping[str, Any] | None = None, *, name: str | None = None) -> None:
        super().__init__(config, name=name)
        self._thinks: dict[str, bool] = {}

    @property
    def label(self) -> str:
        return "Ollama"

    async def chat(self, messages: Sequence[Message], options: Options) -> Completion:
        return await self._whole_answer(
            "chat", {"messages": EncodedPrompt.of(messages).fragment}, options
        )

    async def complete(self, prompt: str, options: Options) -> Completion:
        return await self._whole_answer("generate", {"prompt": prompt}, options)

    async def stream(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str | Completion]:
        body = await self._body(
            {"messages": EncodedPrompt.of(messages).fragment, "stream": True}, options
        )
        draft = Draft(self.label, body["model"])
        try:
            with await self.session.post_stream(f"{self.base_url}/api/chat", body) as reply:
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
                if rest := draft.last_text():
                    yield rest
                yield draft.completion()
                await reply.drain()
        except ConnectionLost as exc:
            raise draft.cut_off(exc) from exc

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
        self, method: str, fields: Mapping[str, Any], options: Options
    ) -> Completion:
        body = await self._body({**fields, "stream": False}, options)
        draft = Draft(self.label, body["model"])
        self._read(
            as_dict(await self.session.post_json(f"{self.base_url}/api/{method}", body)), draft
        )
        draft.last_text()
        return draft.completion()

    async def _body(self, fields: Mapping[str, Any], options: Options) -> dict[str, Any]:
        model, temperature, max_tokens = self.settled(options)
        body: dict[str, Any] = {
            "model": model,
            **fields,
            "options": {
                "temperature": temperature,
                "num_predict": max_tokens or OllamaConfig.max_tokens,
                "num_ctx": self.context_tokens(model),
            },
        }
        if keep_alive := self.config.keep_alive:
            body["keep_alive"] = _duration(keep_alive)
        if await self._can_think(model):
            body["think"] = False
        return body

    async def _can_think(self, model: str) -> bool:
        """Return whether the model thinks by default. For other models, `think` is an error."""
        if model not in self._thinks:
            try:
                async with asyncio.timeout(SHOW_S):
                    details = await self.session.post_json(
                        f"{self.base_url}/api/show", {"model": model}
                    )
            except (ProviderError, TimeoutError) as exc:
                logger.debug("cannot find out whether %s thinks: %r", model, exc)
                return False
            capabilities = as_dict(details).get("capabilities")
            self._thinks[model] = isinstance(capabilities, list) and "thinking" in capabilities
        return self._thinks[model]

    def _read_lines(self, lines: Iterable[bytes], draft: Draft) -> None:
        for line in lines:
            self._read(as_dict(parsed(line)), draft)
            if draft.done:
                return

    def _read(self, part: dict[str, Any], draft: Draft) -> None:
        """Add one object of an answer to the draft."""
        if error := part.get("error"):
            raise self.session.failure({"error": error})
        if isinstance(model := part.get("model"), str) and model:
            draft.model = model
        if part.get("done") is True:
            draft.done = True
            reason = part.get("done_reason")
            draft.finish_reason = reason if isinstance(reason, str) else None
            # Ollama leaves out counts of zero.
            draft.usage = usage_of(part.get("prompt_eval_count", 0), part.get("eval_count", 0))
        text = as_dict(part.get("message")).get("content", part.get("response"))
        if isinstance(text, str):
            draft.add(text)


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
