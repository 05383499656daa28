"""`Speaker`: says texts in rooms, in order, and no faster than a platform allows."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Protocol, Self

from engine.client.growing_message import GrowingMessage
from engine.client.parts import Unit, split
from engine.client.safe_line import MARK, safe_line

log = logging.getLogger("rosey_llm.speaker")

QUEUE_LIMIT = 1000
LEAST_WAIT_S = 0.05
TAKEN_BACK = "..."
FAILED = object()
Post = Callable[[str, str], Awaitable[Any]]
Edit = Callable[[str, Any, str], Awaitable[Any]]


class SlowDown(Exception):
    """Raised by a bot's `post` or `edit` if its platform says how many seconds to wait."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"The platform asks for a pause of {wait_s:g} s.")
        self.wait_s = wait_s


class TooMuchToSay(Exception):
    """The queue of a channel is full, and nothing was added."""


class SpeakerClock(Protocol):
    """The time that a speaker keeps, in seconds."""

    def time(self) -> float:
        """Return the time."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class LoopClock:
    """The time of the event loop."""

    def time(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class PiecesOfText(Protocol):
    """What a speaker can follow, such as the `Pieces` of `Client.stream`."""

    @property
    def text(self) -> str: ...

    def __aiter__(self) -> AsyncIterator[str]: ...


class Speaker:
    """A speaker for all rooms of a bot: each has its own queue, and one pace holds for all.

    >>> async with Speaker(post, edit, limit=2000, unit="characters") as speaker:
    ...     speaker.say("discord/42", "Hello")

    - `post`: sends a text to a channel, and returns what `edit` needs to change it
    - `edit`: changes a message that `post` has sent. Without it, texts are sent when they are whole
    - `limit`, `unit`, `one_line`: of a message in a room; longer texts are split
    - `first`: characters that begin a command elsewhere (`safe_line`); implies `one_line`
    - `lines_per_s`: how many messages are posted in a second, in all rooms together
    - `edit_every_s`: a growing message is not changed more often
    - `clock`: for tests

    Both functions may raise SlowDown: the same text is then sent after that pause. Any other error
    is logged, and the next text has its turn. Leaving the `async with` waits until all is said.
    """

    def __init__(
        self,
        post: Post,
        edit: Edit | None = None,
        *,
        limit: int,
        unit: Unit = "bytes",
        one_line: bool = False,
        first: str = "",
        lines_per_s: float = 1.0,
        edit_every_s: float = 1.0,
        clock: SpeakerClock | None = None,
    ) -> None:
        self._post, self._edit = post, edit
        self._limit, self._unit, self._one_line = limit, unit, one_line
        self._first = first
        self._gap_s, self._edit_every_s = 1 / lines_per_s, edit_every_s
        self._clock = clock or LoopClock()
        self._free_s = 0.0
        self._queues: dict[str, deque[GrowingMessage]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def say(self, channel_id: str, text: str) -> GrowingMessage:
        """Say a text after those before it. Raise TooMuchToSay if 1000 wait there."""
        message = self.grow(channel_id)
        message.finish(text)
        return message

    def grow(self, channel_id: str) -> GrowingMessage:
        """Return a message that grows; those after it wait until it is finished."""
        queue = self._queues.setdefault(channel_id, deque())
        if len(queue) >= QUEUE_LIMIT:
            raise TooMuchToSay(f"{QUEUE_LIMIT} texts wait in {channel_id!r}. Say it later.")
        message = GrowingMessage()
        queue.append(message)
        if channel_id not in self._tasks:
            self._tasks[channel_id] = asyncio.create_task(self._speak(channel_id, queue))
        return message

    async def follow(self, channel_id: str, pieces: PiecesOfText) -> None:
        """Show an answer while it grows, and return when all of it is in the room.

        If it fails, what came of it stays, and the error is raised.
        """
        message = self.grow(channel_id)
        try:
            async for _ in pieces:
                message.show(pieces.text)
        finally:
            message.finish(pieces.text)
        await message.said.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        tasks = list(self._tasks.values())
        for queue in self._queues.values():
            for message in queue:
                message.finish()
        for task in tasks if exc is not None else ():
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _speak(self, channel_id: str, queue: deque[GrowingMessage]) -> None:
        """Say what is in a channel's queue, until it is empty."""
        try:
            while queue:
                try:
                    await self._say(channel_id, queue[0])
                finally:
                    queue.popleft().said.set()
        finally:
            del self._tasks[channel_id], self._queues[channel_id]

    async def _say(self, channel_id: str, message: GrowingMessage) -> None:
        posted: list[tuple[Any, str]] = []
        changed_s: float | None = None
        while True:
            await message.changed.wait()
            if self._edit is None and not message.is_finished:
                message.changed.clear()
                continue
            if changed_s is not None:
                await self._sleep_until(changed_s + self._edit_every_s)
            # Look only now: it may have grown meanwhile.
            message.changed.clear()
            is_final = message.is_finished
            if await self._show(channel_id, self._parts(message.text), posted):
                changed_s = self._clock.time()
            if is_final:
                return

    async def _show(self, channel_id: str, parts: list[str], posted: list[tuple[Any, str]]) -> bool:
        """Make the messages of the room equal to the parts; return whether one had to change."""
        changes = False
        parts = parts + [TAKEN_BACK] * (len(posted) - len(parts))
        for at, part in enumerate(parts):
            if at == len(posted):
                posted.append((FAILED, ""))
            message, text = posted[at]
            if message is FAILED:
                await self._wait_for_turn()
                message = await self._call(self._post, channel_id, part)
                # The platform may have asked for a pause meanwhile.
                self._free_s = max(self._free_s, self._clock.time() + self._gap_s)
                posted[at] = message, part
            elif text == part or self._edit is None:
                continue
            elif await self._call(self._edit, channel_id, message, part) is not FAILED:
                posted[at] = message, part
            changes = True
        return changes

    def _parts(self, text: str) -> list[str]:
        if not self._first:
            return split(text, self._limit, self._unit, one_line=self._one_line)
        lines = split(text, self._limit - len(MARK), self._unit, one_line=True)
        return [line for each in lines if (line := safe_line(each, self._first))]

    async def _call(self, action: Callable[..., Awaitable[Any]], *values: Any) -> Any:
        while True:
            try:
                return await action(*values)
            except SlowDown as exc:
                await self._clock.sleep(max(LEAST_WAIT_S, exc.wait_s))
            except Exception:  # the bot's own code: the next text must have its turn
                log.exception(
                    "Cannot say a text in channel %(channel).80r.",
                    {"event": "client.say_failed", "channel": values[0]},
                )
                return FAILED

    async def _wait_for_turn(self) -> None:
        """Keep the pace, in the order in which the channels ask."""
        turn_s = max(self._clock.time(), self._free_s)
        self._free_s = turn_s + self._gap_s
        await self._sleep_until(turn_s)

    async def _sleep_until(self, time_s: float) -> None:
        missing_s = time_s - self._clock.time()
        if missing_s > 0:
            await self._clock.sleep(missing_s)
