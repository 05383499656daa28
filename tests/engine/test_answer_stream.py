"""`LLMService.stream`: an answer in pieces, which closing it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from rosey_llm import AnswerStream

from engine import LLMError, LLMService
from engine.api import answer_stream
from engine.api.answer_stream import GrowingAnswer
from engine.commands.outcomes import Answer
from engine.texts.texts import Texts
from providers import ScriptedProvider
from providers.base import Message, Options
from providers.errors import ProviderTimeout
from tests.support.patience import WAIT_S
from tests.support.service_calls import Gate, asking, rows_of

ENTRIES = "SELECT kind, content FROM history ORDER BY id"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a stream that is closed wait for long until its turn is stored."""
    monkeypatch.setattr(answer_stream, "CLOSE_WAIT_S", WAIT_S)


class Slow:
    """A script that answers "one two three", and waits before each word until it is let."""

    def __init__(self, fail_after: int = 9) -> None:
        self.asked: list[str] = []
        self.left = asyncio.Event()
        self._fail_after = fail_after
        self._let = asyncio.Semaphore(0)

    def let(self, words: int) -> None:
        for _ in range(words):
            self._let.release()

    async def __call__(self, messages: Sequence[Message], _: Options) -> AsyncIterator[str]:
        self.asked.append(messages[-1].content)
        try:
            for number, word in enumerate(("one", " two", " three")):
                await self._let.acquire()
                if number == self._fail_after:
                    raise ProviderTimeout("too slow")
                yield word
        finally:
            self.left.set()


async def rest_of(stream: AnswerStream) -> str:
    return "".join([piece async for piece in stream])


async def test_the_pieces_come_while_the_answer_grows_and_join_to_it(tmp_path: Path) -> None:
    slow, path = Slow(), tmp_path / "chat.db"
    async with LLMService(ScriptedProvider(script=slow), database=path) as service:
        async with service.stream("Count", username="alice") as pieces:
            slow.let(1)
            assert await anext(pieces) == "one"
            with pytest.raises(RuntimeError, match="not complete"):
                _ = pieces.answer
            slow.let(2)
            assert await rest_of(pieces) == " two three"
        assert (pieces.answer.content, pieces.answer.username) == ("one two three", "alice")
        assert pieces.answer.finish_reason == "stop"
        with pytest.raises(StopAsyncIteration):
            await anext(pieces)
    assert rows_of(path, ENTRIES) == [("message", "Count"), ("answer", "one two three")]


async def test_it_needs_no_async_with_and_starts_the_service() -> None:
    service = LLMService(ScriptedProvider())
    assert await rest_of(service.stream("Hello")) == "You said: Hello"
    await service.aclose()


async def test_a_stream_that_is_never_read_asks_nothing() -> None:
    provider = ScriptedProvider()
    async with LLMService(provider) as service:
        await service.stream("Hello").aclose()
    assert not provider.calls


@pytest.mark.parametrize("text", ["", "a\0b"])
async def test_wrong_arguments_are_errors_of_the_first_piece(text: str) -> None:
    async with LLMService(ScriptedProvider()) as service:
        with pytest.raises(LLMError) as caught:
            await anext(service.stream(text))
    assert caught.value.code == "invalid_request"


async def test_an_error_comes_after_the_pieces_before_it() -> None:
    slow = Slow(fail_after=1)
    async with LLMService(ScriptedProvider(script=slow)) as service:
        pieces = service.stream("Count")
        slow.let(1)
        assert await anext(pieces) == "one"
        slow.let(1)
        with pytest.raises(LLMError) as caught:
            await anext(pieces)
        assert caught.value.code == "provider_timeout"
        assert await rest_of(pieces) == ""
        with pytest.raises(RuntimeError, match="not complete"):
            _ = pieces.answer


async def test_a_closed_stream_has_stopped_its_answer_and_stored_its_turn(tmp_path: Path) -> None:
    slow, path = Slow(), tmp_path / "chat.db"
    async with LLMService(ScriptedProvider(script=slow), database=path) as service:
        async with service.stream("Count") as pieces:
            slow.let(1)
            assert await anext(pieces) == "one"
        assert slow.left.is_set()
        assert rows_of(path, ENTRIES) == [("message", "Count"), ("cancelled", "one")]
        await pieces.aclose()
        assert await rest_of(pieces) == ""
        slow.let(3)
        assert (await service.chat("Again")).content == "one two three"


async def test_a_stream_that_is_dropped_stops_its_answer() -> None:
    slow = Slow()
    async with LLMService(ScriptedProvider(script=slow)) as service:
        slow.let(1)
        async for piece in service.stream("Count"):
            assert piece == "one"
            break
        async with asyncio.timeout(WAIT_S):
            await slow.left.wait()


async def test_a_reader_that_is_cancelled_stops_its_answer() -> None:
    slow = Slow()
    async with LLMService(ScriptedProvider(script=slow)) as service:
        pieces = service.stream("Count")
        slow.let(1)
        assert await anext(pieces) == "one"
        reading = asyncio.ensure_future(anext(pieces))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        async with asyncio.timeout(WAIT_S):
            await slow.left.wait()
        assert await rest_of(pieces) == ""


async def test_another_task_may_close_it_and_the_pieces_just_end() -> None:
    slow = Slow()
    async with LLMService(ScriptedProvider(script=slow)) as service:
        pieces = service.stream("Count")
        slow.let(1)
        assert await anext(pieces) == "one"
        reading = asyncio.create_task(rest_of(pieces))
        await asyncio.sleep(0)
        await pieces.aclose()
        assert await reading == ""
        assert slow.left.is_set()


async def test_a_stream_closed_while_it_begins_asks_nothing_of_the_model() -> None:
    provider = ScriptedProvider()
    service = LLMService(provider)
    pieces = service.stream("Hello")
    reading = asyncio.create_task(rest_of(pieces))
    await asyncio.sleep(0)  # now it waits for the start of the service
    await pieces.aclose()
    assert await reading == ""
    await service.aclose()
    assert not provider.calls


async def test_a_stop_in_the_channel_ends_it_as_any_answer() -> None:
    slow = Slow()
    async with LLMService(ScriptedProvider(script=slow)) as service:
        pieces = service.stream("Count", username="alice")
        slow.let(1)
        assert await anext(pieces) == "one"
        assert (await service.stop()).content == "Stopped."
        with pytest.raises(LLMError, match="was stopped") as caught:
            await anext(pieces)
        error = caught.value
        assert (error.code, error.partial) == ("cancelled", "one")
        assert (error.username, error.action) == ("alice", "chat")


async def test_the_second_stream_of_a_channel_waits_and_closing_it_harms_no_other(
    tmp_path: Path,
) -> None:
    slow, path = Slow(), tmp_path / "chat.db"
    async with LLMService(ScriptedProvider(script=slow), database=path) as service:
        async with (
            service.stream("first") as first,
            service.stream("second") as second,
            service.stream("third") as third,
        ):
            slow.let(1)
            assert await anext(first) == "one"
            await second.aclose()
            slow.let(5)
            assert await rest_of(first) == " two three"
            assert await rest_of(third) == "one two three"
        assert await rest_of(second) == ""
    assert slow.asked == ["first", "third"]
    kinds = [kind for kind, _ in rows_of(path, ENTRIES)]
    assert kinds == ["message", "answer", "message", "cancelled", "message", "answer"]


async def test_two_callers_of_one_request_both_get_it_and_only_the_last_one_stops_it() -> None:
    slow = Slow()
    async with LLMService(ScriptedProvider(script=slow)) as service:
        for whole in (True, False):
            slow.left.clear()
            first = service.stream("Count", request_id=f"r{whole}")
            slow.let(1)
            assert await anext(first) == "one"
            async with service.stream("Count", request_id=f"r{whole}") as second:
                await first.aclose()
                assert not slow.left.is_set()
                if whole:
                    slow.let(2)
                    assert await rest_of(second) == "one two three"
            assert slow.left.is_set()
    assert slow.asked == ["Count", "Count"]


async def test_a_request_that_was_answered_comes_in_one_piece() -> None:
    provider = ScriptedProvider()
    async with LLMService(provider) as service:
        await service.chat("Hello", request_id="r")
        pieces = service.stream("Hello", request_id="r")
        assert [piece async for piece in pieces] == ["You said: Hello"]
        assert pieces.answer.request_id == "r"
    assert len(provider.calls) == 1


async def test_closing_the_service_finishes_the_running_stream_and_refuses_the_waiting() -> None:
    gate = Gate()
    service = LLMService(ScriptedProvider(script=gate))
    running, waiting = service.stream("running"), service.stream("waiting")
    reading = asyncio.create_task(rest_of(running))
    await gate.until(1)
    late = asyncio.create_task(rest_of(waiting))
    await asyncio.sleep(0)
    closing = asyncio.create_task(service.aclose())
    await gate.let(1)
    assert await reading == "re: running"
    with pytest.raises(LLMError, match="closed") as caught:
        await late
    assert caught.value.code == "busy"
    await closing
    with pytest.raises(RuntimeError, match="closed"):
        await anext(service.stream("too late"))


async def test_a_full_mailbox_refuses_a_stream_and_leaves_nothing_behind() -> None:
    gate = Gate()
    async with LLMService(ScriptedProvider(script=gate)) as service:
        asks = [asking(service, f"m{number}") for number in range(33)]
        await gate.until(1)
        with pytest.raises(LLMError) as caught:
            await anext(service.stream("one too many", request_id="r"))
        assert caught.value.code == "busy"
        await gate.let(34)
        await asyncio.gather(*asks)
        assert await rest_of(service.stream("again", request_id="r")) == "re: again"


async def test_an_answer_that_starts_again_goes_on_if_it_is_the_same_and_is_an_error_if_not() -> (
    None
):
    for content in ("one two", "uno dos"):
        outcome: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        growing = GrowingAnswer(outcome, Texts())
        growing.add(0, "one")
        assert growing.take() == "one"
        for index, text in enumerate(content.split()):
            growing.add(index, text)
        assert growing.take() == ""
        outcome.set_result(Answer("c", "r", "chat", content))
        if content == "one two":
            assert growing.take() == " two"
        else:
            with pytest.raises(LLMError, match="started again"):
                growing.take()
