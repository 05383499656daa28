"""The outcomes that go to all bots, each of them once."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from typing import Self

from engine.commands.outcomes import Answer, Failure

log = logging.getLogger("rosey_llm.client")

UNREAD_LIMIT = 10_000
SEEN_LIMIT = 4096


class SeenOutcomes:
    """The newest outcomes that were handed on: a repeated request publishes its outcome again.

    A refusal, such as `busy`, leaves no outcome behind, so the same request may get another answer
    later: only the same bytes are the same outcome.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str, int], None] = OrderedDict()

    def is_new(self, outcome: Answer | Failure, data: bytes) -> bool:
        key = outcome.channel_id, outcome.request_id, hash(data)
        if key in self._seen:
            self._seen.move_to_end(key)
            return False
        self._seen[key] = None
        if len(self._seen) > SEEN_LIMIT:
            self._seen.popitem(last=False)
        return True


class OutcomeStream:
    """The outcomes since `Client.outcomes` was called: an async iterator of Answer and Failure.

    It ends when the client is closed, or with `aclose`. If 10,000 wait to be read, the oldest ones
    are dropped, and the log says so.
    """

    def __init__(self) -> None:
        self._unread: deque[Answer | Failure] = deque()
        self._changed = asyncio.Event()
        self._ended = self._warned = False

    def add(self, outcome: Answer | Failure) -> None:
        if len(self._unread) >= UNREAD_LIMIT:
            self._unread.popleft()
            if not self._warned:
                self._warned = True
                log.warning(
                    "%(count)d outcomes wait to be read; the oldest are dropped.",
                    {"event": "client.outcomes_dropped", "count": UNREAD_LIMIT},
                )
        self._unread.append(outcome)
        self._changed.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Answer | Failure:
        while not self._unread:
            if self._ended:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._unread.popleft()

    def end(self) -> None:
        """End after what is unread."""
        self._ended = True
        self._changed.set()

    async def aclose(self) -> None:
        self._unread.clear()
        self.end()
