"""The model of the demo: a provider that knows the answers of its script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.interfaces.demo import script
from providers.base import Message, Options
from providers.scripted import ScriptedProvider

ANSWERS = {exchange.question: exchange.answer for exchange in script.ALL}
HALVED = {exchange.question for exchange in script.SECOND}
# Files in the engine's folder. On a machine of any speed, the engine is killed in the middle of
# answers, and the people hear the rest: the model waits for both.
LISTENING = Path("listening")
KILLED = Path("killed")
POLL_S = 0.01


class DemoModel(ScriptedProvider):
    """Writes word by word, as slowly as `delay` and `chunk_delay` say.

    It begins once the file LISTENING is there, and writes the second half of the answers that are
    to be cut off once the file KILLED is there.
    """

    kind = "demo"

    def __init__(self, config: Mapping[str, Any] | None = None, *, name: str | None = None) -> None:
        super().__init__(config, name=name, script=self._pieces)

    def reply_to(self, question: str) -> str:
        return ANSWERS.get(question, "That is not in my script.")

    async def _pieces(self, messages: Sequence[Message], options: Options) -> AsyncIterator[str]:
        await _there(LISTENING)
        written = 0
        async for piece in self._reply_pieces(messages, options):
            yield piece
            written += len(piece.split())
            if messages[-1].content in HALVED and written == script.WORDS_TO_KILL:
                await _there(KILLED)


async def _there(file: Path) -> None:
    while not file.exists():  # noqa: ASYNC110, ASYNC240 - a process makes it
        await asyncio.sleep(POLL_S)
