"""The language model of the property test: each call waits until the test releases it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from providers.base import Message, Options
from providers.errors import BadAnswer
from tests.properties.model import ReferenceModel
from tests.properties.witness import Key


@dataclass(eq=False)
class Call:
    """A waiting call of the model. A deaf one ignores its cancellation."""

    key: Key
    released: asyncio.Event = field(default_factory=asyncio.Event)
    fails: bool = False
    deaf: bool = False


class ScriptedModel:
    """The script of the provider. With `at_once` set, no call waits."""

    def __init__(self, model: ReferenceModel) -> None:
        self._model = model
        self.waiting: list[Call] = []
        self.at_once = False
        self.ended = False

    async def __call__(self, messages: Sequence[Message], asked: Options) -> AsyncIterator[str]:
        text = messages[-1].content
        channel, request_id = text.split()[-2:]
        call = Call((channel, request_id))
        if not self.ended:
            in_order = "complete" not in text
            self._model.note_call(call.key, messages, asked.model, in_order=in_order)
        self.waiting.append(call)
        try:
            await self._wait(call)
            if call.fails:
                raise BadAnswer("scripted failed as told")
            yield "re: "
            yield getattr(self._model.told[call.key].command, "text", "")
        finally:
            self.waiting.remove(call)
            self._model.note_call_end(call.key)

    def release_all(self) -> None:
        """From now on let every call succeed at once, except calls that are deaf already."""
        self.at_once = True
        for call in self.waiting:
            if not call.deaf:
                call.released.set()

    async def _wait(self, call: Call) -> None:
        while not (call.released.is_set() or (self.at_once and not call.deaf)):
            try:
                await call.released.wait()
            except asyncio.CancelledError:
                if not call.deaf or self.ended:
                    raise
                self._model.note_call_end(call.key)  # a deaf call cannot be ended more than this
