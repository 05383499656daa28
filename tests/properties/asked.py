"""The language model, as the test has it: every call waits until it is told how to go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from providers.base import Message, Options
from providers.errors import BadAnswer
from tests.properties.model import Model
from tests.properties.witness import Key


@dataclass(eq=False)
class Call:
    """A call that waits. One that is deaf heeds no cancellation."""

    key: Key
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    fails: bool = False
    deaf: bool = False


class Asked:
    """A script for the provider. `at_once` lets all calls through."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.waiting: list[Call] = []
        self.at_once = False
        self.over = False

    async def __call__(self, messages: Sequence[Message], _: Options) -> AsyncIterator[str]:
        text = messages[-1].content
        channel, request_id = text.split()[-2:]
        call = Call((channel, request_id))
        if not self.over:
            self._model.called(call.key, messages, in_order="complete" not in text)
        self.waiting.append(call)
        try:
            await self._told(call)
            if call.fails:
                raise BadAnswer("scripted failed as told")
            yield "re: "
            yield text
        finally:
            self.waiting.remove(call)
            self._model.call_ended(call.key)

    def let_all(self) -> None:
        """From now on everything succeeds at once, but for calls that are deaf already."""
        self.at_once = True
        for call in self.waiting:
            if not call.deaf:
                call.goes_on.set()

    async def _told(self, call: Call) -> None:
        while not (call.goes_on.is_set() or (self.at_once and not call.deaf)):
            try:
                await call.goes_on.wait()
            except asyncio.CancelledError:
                if not call.deaf or self.over:
                    raise
                self._model.call_ended(call.key)  # as far as a deaf one can be ended
