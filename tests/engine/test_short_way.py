"""The way of a message from its actor to the provider: as few frames as the jobs on it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from engine import LLMService
from engine.commands.records import Chat
from engine.commands.request import Request
from engine.config.loading import parse
from providers.base import Completion, LLMProvider, Message, Options

OURS = [Path(__file__).parents[2] / name for name in ("engine", "providers", "storage")]
MOST_FRAMES = 11


class StackRecorder(LLMProvider):
    """A provider that notes who called it."""

    kind = "recorder"

    def __init__(self) -> None:
        super().__init__({})
        self.frames: list[str] = []

    async def chat(self, messages: Sequence[Message], options: Options) -> Completion:
        self.frames = [*_actor_frames(), *_frames_of_this_task()]
        return Completion("Hi.", "m")

    async def stream(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str | Completion]:
        self.frames = [*_actor_frames(), *_frames_of_this_task()]
        yield "Hi."
        yield Completion("Hi.", "m")

    async def is_available(self) -> bool:
        return True


def _actor_frames() -> list[str]:
    """The coroutines of the actor's task, without the one that only waits for the other task."""
    (actor,) = [task for task in asyncio.all_tasks() if task.get_name().startswith("channel ")]
    frames: list[str] = []
    coroutine: Any = actor.get_coro()
    while hasattr(coroutine, "cr_frame"):
        frames.append(coroutine.cr_frame.f_code.co_qualname)
        coroutine = coroutine.cr_await
    assert frames.pop() == "AbandonableTask.result"
    return frames


def _frames_of_this_task() -> list[str]:
    frames: list[str] = []
    frame: FrameType | None = sys._getframe(2)  # the caller of the provider
    while frame is not None:
        if any(Path(frame.f_code.co_filename).is_relative_to(folder) for folder in OURS):
            frames.append(frame.f_code.co_qualname)
        frame = frame.f_back
    return frames[::-1]


@pytest.mark.parametrize("stream", [True, False])
async def test_the_way_from_the_actor_to_the_provider_is_short(
    tmp_path: Path, stream: bool
) -> None:
    provider = StackRecorder()
    tables: dict[str, Any] = {"conversation": {"stream": stream}}
    async with LLMService(provider, settings=parse(tables, tmp_path)) as service:
        supervisor = service.inspect().engine.supervisor
        supervisor.tell(Request("#a", "r", "alice", Chat("Hello", stream=stream)))
        await service.reset("#a")  # runs after it, and calls no provider
    assert provider.frames[0] == "ChannelActor._run"
    assert len(provider.frames) <= MOST_FRAMES, "\n".join(provider.frames)
