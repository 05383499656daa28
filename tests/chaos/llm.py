"""A language model server for chaos runs: all its answers differ, and some of its calls fail."""

from __future__ import annotations

import asyncio
import random
import re
from collections import defaultdict
from itertools import count
from typing import Any

from engine.config.personas import BUILT_IN
from tests.fakes.llm_server import CHAT_PATHS, Behaviour, LLMServer, RecordedRequest

MODEL = "test-model"
MODELS = ("openai/small", "openai/large", "default")  # what bots switch to
Prompt = tuple[str, ...]
_PERSONAS = {persona.prompt: name for name, persona in BUILT_IN.items()}
_QUESTION = re.compile(r"say (\S+)$")


def question(request_id: str) -> str:
    """Return the text of a bot's message; the id in it identifies its prompt."""
    return f"say {request_id}"


def asked_id(messages: list[dict[str, Any]]) -> str:
    """Return the id of the request that a prompt is for; "?" if it names none."""
    found = _QUESTION.search(messages[-1]["content"])
    return found[1] if found else "?"


class FlakyLLMServer(LLMServer):
    """A language model server that fails some calls while `failing` is set.

    seen: the prompts of each request id, each as model, persona, and then the messages in order.
    The same question gets a different answer each time, so that a second generation shows.
    """

    def __init__(self, rng: random.Random) -> None:
        self.seen: dict[str, list[Prompt]] = defaultdict(list)
        self.failing = True
        self.planned_failures = 0
        self._rng = rng
        self._numbers = count(1)
        super().__init__(self._say)

    async def _answer(self, request: RecordedRequest, writer: asyncio.StreamWriter) -> None:
        if request.path in CHAT_PATHS:
            messages: list[dict[str, Any]] = request.body["messages"]
            self.seen[asked_id(messages)].append(_short(request.body["model"], messages))
            self.plan(self._behaviour())
        # These lists would keep every prompt of a long run.
        self.requests.clear()
        self.prompts.clear()
        await super()._answer(request, writer)

    def _say(self, body: dict[str, Any]) -> str:
        return f"said {asked_id(body['messages'])} for the time {next(self._numbers)}"

    def _behaviour(self) -> Behaviour:
        rng = self._rng
        delay_s, gap_s = rng.uniform(0.001, 0.02), rng.choice([0.0, 0.0, 0.002])
        if not self.failing or rng.random() > 0.06:
            return Behaviour(delay_s=delay_s, gap_s=gap_s)
        self.planned_failures += 1
        return rng.choice(
            [
                Behaviour(status=500, delay_s=delay_s),
                Behaviour(status=429, delay_s=delay_s),
                Behaviour(hang_after=0),
                Behaviour(hang_after=1),
                Behaviour(cut_after=0, delay_s=delay_s),
                Behaviour(cut_after=2, delay_s=delay_s),
            ]
        )


def _short(model: str, messages: list[dict[str, Any]]) -> Prompt:
    shown = [f"model {model}"]
    for message in messages:
        content = message["content"]
        if message["role"] == "system":
            content = _PERSONAS.get(content, content)
        shown.append(f"{message['role']} {content}")
    return tuple(shown)
