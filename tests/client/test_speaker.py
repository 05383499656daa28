"""`Speaker`: order, pace, edits, and the final text, on a clock that a test moves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.client.parts import split
from engine.client.speaker import QUEUE_LIMIT, SlowDown, Speaker, TooMuchToSay
from engine.errors import LLMError

LIMIT = 20


class QuickClock:
    """A clock in which every wait is over at once, but counts."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def time(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        await asyncio.sleep(0)


@dataclass
class Room:
    """A platform: what stands in its rooms, and when each call came. It may ask for pauses."""

    clock: QuickClock = field(default_factory=QuickClock)
    messages: list[list[str]] = field(default_factory=list)
    posts_s: list[float] = field(default_factory=list)
    edits_s: list[float] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    resumes_s: float = 0.0

    async def post(self, channel_id: str, text: str) -> int:
        self._check_pause()
        self.posts_s.append(self.clock.time())
        self.messages.append([channel_id, text])
        return len(self.messages) - 1

    async def edit(self, channel_id: str, message: int, text: str) -> None:
        self._check_pause()
        self.edits_s.append(self.clock.time())
        assert self.messages[message][0] == channel_id
        self.messages[message][1] = text

    def _check_pause(self) -> None:
        assert self.clock.time() >= self.resumes_s
        if self.pauses:
            pause_s = self.pauses.pop()
            self.resumes_s = self.clock.time() + pause_s
            raise SlowDown(pause_s)

    def texts(self, channel_id: str = "#a") -> list[str]:
        return [text for channel, text in self.messages if channel == channel_id]


@pytest.fixture
def room() -> Room:
    return Room()


TEXTS = st.text("ab \n", max_size=60)


@given(
    st.lists(TEXTS, max_size=6),
    TEXTS,
    st.lists(st.floats(0.1, 9), max_size=4),
    st.sampled_from([0.5, 1.0, 4.0]),
)
def test_the_final_text_always_lands_and_the_pace_is_kept(
    grown: list[str], final: str, pauses: list[float], lines_per_s: float
) -> None:
    async def grow() -> Room:
        room = Room(pauses=pauses.copy())
        async with Speaker(
            *(room.post, room.edit), limit=LIMIT, lines_per_s=lines_per_s, clock=room.clock
        ) as speaker:
            message = speaker.grow("#a")
            for text in grown:
                message.show(text)
                await asyncio.sleep(0)
            message.finish(final)
        return room

    room = asyncio.run(grow())
    texts, parts = room.texts(), split(final, LIMIT)
    assert texts[: len(parts)] == parts
    assert set(texts[len(parts) :]) <= {"..."}
    gaps = [later - earlier for earlier, later in pairwise(room.posts_s)]
    assert all(gap >= 1 / lines_per_s - 1e-6 for gap in gaps)


async def test_texts_of_a_channel_are_said_in_their_order(room: Room) -> None:
    async with Speaker(room.post, limit=LIMIT, clock=room.clock) as speaker:
        for number in range(5):
            speaker.say("#a", f"text {number} " + "word " * number)
            speaker.say("#b", str(number))
    joined = " ".join(room.texts())
    assert joined.split() == " ".join(f"text {at} " + "word " * at for at in range(5)).split()
    assert room.texts("#b") == ["0", "1", "2", "3", "4"]


async def test_a_growing_message_is_not_changed_more_often_than_its_interval(room: Room) -> None:
    async with Speaker(
        room.post, room.edit, limit=300, edit_every_s=2.0, clock=room.clock
    ) as speaker:
        message = speaker.grow("#a")
        for at in range(1, 51):
            message.show("word " * at)
            await asyncio.sleep(0)
        message.finish("All of it.")
        after = speaker.say("#a", "The next one.")
    assert after.said.is_set()
    assert room.texts() == ["All of it.", "The next one."]
    times = [room.posts_s[0], *room.edits_s]
    assert len(times) > 2
    assert all(later - earlier >= 2.0 for earlier, later in pairwise(times))


async def test_without_a_way_to_change_a_message_it_is_said_when_it_is_whole(room: Room) -> None:
    async with Speaker(room.post, limit=LIMIT, clock=room.clock) as speaker:
        message = speaker.grow("#a")
        message.show("Not ye")
        await asyncio.sleep(0)
        assert room.texts() == []
        message.finish("Not yet, but now.")
    assert room.texts() == ["Not yet, but now."]


async def test_a_platform_that_asks_for_a_pause_gets_it(room: Room) -> None:
    room.pauses = [7.0, 3.0]
    async with Speaker(room.post, limit=LIMIT, clock=room.clock) as speaker:
        speaker.say("#a", "one")
        speaker.say("#a", "two")
    assert room.texts() == ["one", "two"]
    assert room.posts_s[0] == 110.0


async def test_a_text_that_cannot_be_said_does_not_stop_the_next(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    async def post(channel_id: str, text: str) -> int:
        if text == "bad":
            raise OSError("The room is closed.")
        return await room.post(channel_id, text)

    async with Speaker(post, limit=LIMIT, clock=room.clock) as speaker:
        speaker.say("#a", "bad")
        speaker.say("#a", "good")
    assert room.texts() == ["good"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_growing_message_that_could_not_be_posted_is_posted_with_its_next_text(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    failed = asyncio.Event()

    async def post(channel_id: str, text: str) -> int:
        if text == "One":
            failed.set()
            raise OSError("The room is away.")
        return await room.post(channel_id, text)

    async with Speaker(post, room.edit, limit=LIMIT, clock=room.clock) as speaker:
        message = speaker.grow("#a")
        message.show("One")
        await failed.wait()
        message.finish("One two")
    assert room.texts() == ["One two"]
    assert "Cannot say a text in channel '#a'" in caplog.text


async def test_no_line_is_a_command_elsewhere(room: Room) -> None:
    async with Speaker(room.post, limit=LIMIT, first="/!", clock=room.clock) as speaker:
        speaker.say("#a", "/quit\n\n!chat reset and all of you")
    assert room.texts() == ["> /quit", "> !chat reset and", "all of you"]
    assert all(len(text) <= LIMIT for text in room.texts())


async def test_a_full_queue_is_an_error(room: Room) -> None:
    async with Speaker(room.post, limit=LIMIT, clock=room.clock) as speaker:
        for number in range(QUEUE_LIMIT):
            speaker.say("#a", str(number))
        with pytest.raises(TooMuchToSay, match="1000 texts wait in '#a'"):
            speaker.say("#a", "more")
    assert len(room.texts()) == QUEUE_LIMIT


class Answer:
    """The pieces of an answer, which may begin again or fail."""

    def __init__(self, *texts: str, fails: bool = False) -> None:
        self.text = ""
        self._texts, self._fails = texts, fails

    async def __aiter__(self) -> AsyncIterator[str]:
        for text in self._texts:
            self.text = text
            yield text
            await asyncio.sleep(0)
        if self._fails:
            raise LLMError("cancelled", "It was stopped.")


async def test_an_answer_is_followed_to_its_end_also_if_it_begins_again(room: Room) -> None:
    async with Speaker(room.post, room.edit, limit=LIMIT, clock=room.clock) as speaker:
        await speaker.follow("#a", Answer("One", "One two " * 4, "Second", "Second try"))
        assert room.texts()[0] == "Second try"
        with pytest.raises(LLMError):
            await speaker.follow("#b", Answer("Some", "Some of it", fails=True))
    assert room.texts("#b") == ["Some of it"]
