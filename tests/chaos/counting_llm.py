"""A language model server that counts what each call of it costs, as a company would bill it."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextvars import ContextVar
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

from tests.chaos.llm import MODEL, FlakyLLMServer, asked_id
from tests.chaos.witness import now_ms
from tests.fakes.llm_server import CHAT_PATHS, Behaviour, RecordedRequest

# USD for a million tokens: of the prompt, of its cached part, of the answer.
PRICES = {
    MODEL: ("0.15", "0.075", "0.6"),
    "small": ("0.1", "0.01", "0.4"),
    "large": ("2.5", "1.25", "10"),
}
TOKENS_A_WORD = 3


@dataclass
class Call:
    """A call of the server. Its `completion_tokens` grow while it is answered.

    is_complete: all of the answer was sent, with the count of its tokens. has_failed: it was
        answered by an error, which costs nothing.
    """

    request_id: str
    model: str
    began_ms: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int = 0
    announced_tokens: int = 0
    is_complete: bool = False
    has_failed: bool = False

    @property
    def micro_usd(self) -> int:
        """What it costs, in millionths of a dollar, rounded up once."""
        if self.has_failed:
            return 0
        prompt, cached, answer = (Fraction(price) for price in PRICES[self.model])
        new_tokens = self.prompt_tokens - self.cached_tokens
        return ceil(
            new_tokens * prompt + self.cached_tokens * cached + self.completion_tokens * answer
        )


_CALL: ContextVar[Call] = ContextVar("call")


class CountingLLMServer(FlakyLLMServer):
    """A server that keeps a book. billed: all calls by request id, in order."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(rng)
        self.billed: dict[str, list[Call]] = defaultdict(list)

    async def _answer(self, request: RecordedRequest, writer: asyncio.StreamWriter) -> None:
        if request.path in CHAT_PATHS:
            messages = request.body["messages"]
            prompt_tokens = sum(4 + len(each["content"]) // 4 for each in messages)
            found = Call(
                asked_id(messages),
                request.body["model"],
                now_ms(),
                prompt_tokens,
                cached_tokens=prompt_tokens // 3 if len(messages) > 3 else 0,
            )
            self.billed[found.request_id].append(found)
            _CALL.set(found)
        await super()._answer(request, writer)

    def usage(self, body: dict[str, Any], text: str) -> dict[str, Any]:
        call, completion_tokens = _CALL.get(), TOKENS_A_WORD * len(text.split())
        call.announced_tokens = completion_tokens
        return {
            "prompt_tokens": call.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": call.prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": call.cached_tokens},
        }

    def _say(self, body: dict[str, Any]) -> str:
        text = super()._say(body)
        return text + " and more" * (len(text) % 7)  # prompts and answers of many lengths

    async def _write_answer(
        self, writer: asyncio.StreamWriter, request: RecordedRequest, behaviour: Behaviour
    ) -> None:
        call = _CALL.get()
        await super()._write_answer(writer, request, behaviour)
        # It comes in one piece, so a call that was cut before that has only its prompt.
        call.completion_tokens = call.announced_tokens
        call.is_complete = True

    async def _write_whole(
        self, writer: asyncio.StreamWriter, request: RecordedRequest, behaviour: Behaviour
    ) -> None:
        if request.path in CHAT_PATHS:
            _CALL.get().has_failed = True
        await super()._write_whole(writer, request, behaviour)

    async def _paced(self, parts: list[bytes], behaviour: Behaviour) -> AsyncIterator[bytes]:
        call = _CALL.get()
        async for part in super()._paced(parts, behaviour):
            if part is parts[-1]:
                call.is_complete = True
            else:
                call.completion_tokens += TOKENS_A_WORD
            yield part
