"""The client library against a real engine and a real nats-server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest

from engine.client.client import Client
from engine.client.subjects import Subjects
from engine.commands.outcomes import Answer, Failure
from engine.commands.sender import Sender
from engine.errors import LLMError
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.bot_rights import BOT, ENGINE, RIGHTS, logins
from tests.support.nats_servers import Server, service
from tests.support.patience import WAIT_S
from tests.support.service_harness import House

pytestmark = pytest.mark.process


@pytest.fixture(params=RIGHTS)
async def rosey(
    request: pytest.FixtureRequest, house: House, tmp_path: Path
) -> AsyncIterator[Client]:
    """A client with each of the rights that it must be able to live with."""
    house.config |= {"models": {"allow": ["openai/*"]}, "permissions": {"admins": ["boss"]}}
    async with (
        Server(tmp_path, logins(RIGHTS[request.param])) as server,
        service(house, server, **ENGINE),
        Client(f"{BOT}:{server.port}") as client,
    ):
        yield client


@pytest.fixture
async def embedded(house: House) -> AsyncIterator[Client]:
    """A client of the embedded server."""
    await house.open()
    async with Client(house.url, repeat_s=0.05) as client:
        yield client


async def test_every_request_has_its_answer_with_any_rights(rosey: Client, llm: LLMServer) -> None:
    llm.reply = "Hello Alice."
    answer = await rosey.chat("Hi", "#lobby", username="alice", temperature=0.5)
    assert (answer.content, answer.username, answer.model) == (
        "Hello Alice.",
        "alice",
        "test-model",
    )
    assert answer.usage is not None
    assert (await rosey.complete("Say it")).action == "complete"
    assert (await rosey.command("Hi again", "#lobby")).content == "Hello Alice."
    assert (await rosey.command("help", "#lobby")).action == "help"
    switched = await rosey.set_persona("default", "#lobby", username="alice")
    assert (switched.action, switched.persona) == ("persona", "default")
    chosen = await rosey.set_model("Big", "#lobby", username="boss")
    assert (chosen.action, chosen.provider, chosen.model) == ("model", "openai", "Big")
    shown = await rosey.command("model", "#lobby")
    assert shown.content.startswith("Model: openai/Big. ")
    with pytest.raises(LLMError, match="Only admins") as refused:
        await rosey.set_model("default", "#lobby", username="alice")
    assert (refused.value.code, refused.value.action) == ("not_allowed", "model")
    assert (await rosey.reset("#lobby")).content == "Conversation reset: 4 messages cleared."
    assert (await rosey.stop("#lobby")).action == "stop"
    with pytest.raises(LLMError, match="nobody") as caught:
        await rosey.set_persona("nobody", "#lobby")
    assert caught.value.code == "unknown_persona"


async def test_a_short_streamed_answer_comes_once(rosey: Client, llm: LLMServer) -> None:
    for text in ("Yes.", "No.", "A b c d.", "Short answers were posted twice, 4 of 4."):
        llm.reply = text
        posted = ""
        async with rosey.stream("Well?", "#lobby") as pieces:
            async for piece in pieces:
                posted += piece
        assert posted == text == pieces.text == pieces.answer.content
        assert pieces.restarts == 0


async def test_an_answer_grows_before_it_is_complete(embedded: Client, llm: LLMServer) -> None:
    held = asyncio.Event()
    llm.plan(Behaviour(pieces=["One ", "two ", "three"], hold=held, hold_after=2))
    async with embedded.stream("Count", "#lobby") as pieces:
        text = ""
        while text != "One two ":
            text += await anext(pieces)
        with pytest.raises(RuntimeError, match="not complete"):
            _ = pieces.answer
        held.set()
        assert "".join([piece async for piece in pieces]) == "three"
    assert pieces.answer.content == "One two three"


async def test_an_error_comes_in_place_of_the_next_piece(embedded: Client, llm: LLMServer) -> None:
    held = asyncio.Event()
    llm.plan(Behaviour(pieces=["One ", "two "], hold=held, hold_after=1))
    async with embedded.stream("Count", "#lobby", username="alice") as pieces:
        assert await anext(pieces) == "One "
        await embedded.stop("#lobby")
        with pytest.raises(LLMError) as caught:
            await anext(pieces)
        assert (caught.value.code, caught.value.partial) == ("cancelled", "One ")
        assert (caught.value.username, caught.value.action) == ("alice", "chat")
        held.set()
        assert [piece async for piece in pieces] == []


async def test_an_answer_can_be_followed_that_another_client_has_asked_for(
    house: House, embedded: Client, llm: LLMServer
) -> None:
    held = asyncio.Event()
    llm.plan(Behaviour(pieces=["One ", "two"], hold=held, hold_after=1))
    async with (
        Client(house.url) as other,
        other.follow("shared", "#lobby") as followed,
        embedded.stream("Count", "#lobby", request_id="shared") as pieces,
    ):
        assert await anext(pieces) == "One "
        held.set()
        assert "".join([piece async for piece in followed]) == "One two"
        with pytest.raises(LLMError) as caught:
            await anext(other.follow("never", "#lobby", timeout_s=0.05))
        assert caught.value.code == "no_answer"
    assert len(llm.prompts) == 1


async def test_two_clients_in_one_channel_hear_only_their_own_pieces(
    house: House, embedded: Client, llm: LLMServer
) -> None:
    llm.reply = lambda body: str(body["messages"][-1]["content"]).upper()

    async def told(client: Client, text: str) -> str:
        async with client.stream(text, "#lobby", username="alice") as pieces:
            return "".join([piece async for piece in pieces])

    async with Client(house.url) as other:
        texts = [f"question number {number}" for number in range(6)]
        found = await asyncio.gather(
            *(told((embedded, other)[at % 2], text) for at, text in enumerate(texts))
        )
    assert found == [text.upper() for text in texts]


async def test_a_request_that_is_repeated_is_answered_once(
    tmp_path: Path, house: House, llm: LLMServer
) -> None:
    held = asyncio.Event()
    llm.plan(Behaviour(text="Slow.", hold=held))
    async with (
        Server(tmp_path, logins(RIGHTS["one"])) as server,
        service(house, server, **ENGINE),
        Client(f"{BOT}:{server.port}", repeat_s=0.01) as rosey,
    ):
        spy = await nats.connect(server.url, **ENGINE)
        copies = await spy.subscribe("llm.request")
        await spy.flush()
        outcomes = rosey.outcomes()
        asked = asyncio.create_task(rosey.chat("Hi", "#lobby", request_id="one"))
        for _ in range(66):  # the last copy is one too many for the engine, which says so
            await copies.next_msg(WAIT_S)
        await spy.close()
        held.set()
        assert (await asked).content == "Slow."
        assert (await rosey.chat("Hi", "#lobby", request_id="one")).content == "Slow."
        await rosey.chat("And now?", "#lobby", request_id="two")
        assert [(await anext(outcomes)).request_id for _ in range(2)] == ["one", "two"]
    assert len(llm.prompts) == 2


async def test_outcomes_are_those_of_all_bots_each_once(
    house: House, embedded: Client, llm: LLMServer
) -> None:
    outcomes = embedded.outcomes()
    for _ in range(3):
        await house.bot.ask("Hello", request_id="same")
    llm.plan(Behaviour(status=401))
    await house.bot.ask("And?", request_id="other")
    answer, failure = await anext(outcomes), await anext(outcomes)
    assert isinstance(answer, Answer)
    assert isinstance(failure, Failure)
    assert (answer.request_id, answer.username, failure.code) == ("same", "alice", "provider_auth")
    await outcomes.aclose()
    assert [each async for each in outcomes] == []


async def test_a_refusal_is_told_again_since_it_leaves_nothing_behind(house: House) -> None:
    house.config["conversation"] = {"max_message_bytes": 100}
    await house.open()
    async with Client(house.url) as rosey:
        with pytest.raises(LLMError) as caught:
            await rosey.chat("x" * 101, "#lobby", request_id="one")
        assert caught.value.code == "invalid_request"
        assert (await rosey.chat("x", "#lobby", request_id="one")).content


async def test_a_busy_channel_says_when_to_ask_again(house: House, llm: LLMServer) -> None:
    house.config["channels"] = {"mailbox_limit": 1}
    await house.open()
    held = asyncio.Event()
    llm.plan(Behaviour(text="Slow.", hold=held))
    async with Client(house.url) as rosey:
        first = asyncio.create_task(rosey.chat("Hi", "#lobby"))
        await llm.wait_for_requests(1)
        others = [asyncio.create_task(rosey.chat("Hi", "#lobby")) for _ in range(3)]
        done, _ = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        error = done.pop().exception()
        assert isinstance(error, LLMError)
        assert (error.code, error.ahead) == ("busy", 1)
        assert error.retry_after_s is not None
        held.set()
        await first
        await asyncio.wait(others)


async def test_closing_a_client_ends_what_waits(house: House, llm: LLMServer) -> None:
    await house.open()
    held = asyncio.Event()
    llm.plan(Behaviour(hold=held))
    async with Client(house.url) as rosey:
        outcomes = rosey.outcomes()
        asked = asyncio.create_task(rosey.chat("Hi", "#lobby"))
        await llm.wait_for_requests(1)
    with pytest.raises(LLMError) as caught:
        await asked
    assert caught.value.code == "closed"
    assert [each async for each in outcomes] == []
    with pytest.raises(RuntimeError, match="within `async with"):
        await rosey.chat("Hi", "#lobby")
    held.set()


async def test_renamed_subjects_without_a_common_word_work_too(
    house: House, llm: LLMServer
) -> None:
    names = {"chat": "a.b", "request": "c", "response": "d.e", "error": "f.g", "stream": "h"}
    subjects = Subjects(**names)
    assert (subjects.wildcard, Subjects().wildcard) == (None, "llm.*")
    house.config["nats"]["subjects"] = names
    await house.open()
    llm.reply = "It works."
    async with Client(house.url, subjects=subjects) as rosey:
        async with rosey.stream("Hi", "#lobby") as pieces:
            assert "".join([piece async for piece in pieces]) == "It works."
        assert (await rosey.command("help", "#lobby")).action == "help"


async def test_an_argument_that_is_not_known_is_refused(embedded: Client) -> None:
    with pytest.raises(TypeError, match="Unexpected arguments: user"):
        await embedded.chat("Hi", "#lobby", user="alice")  # type: ignore[call-arg]
    with pytest.raises(LLMError, match="one word"):
        await embedded.set_persona("two words", "#lobby")
    with pytest.raises(LLMError, match="one word"):
        await embedded.set_model("two words", "#lobby")


async def test_a_message_that_the_server_does_not_take_is_an_error(embedded: Client) -> None:
    with pytest.raises(LLMError, match="Send a shorter one") as caught:
        await embedded.chat("x" * 2**21, "#lobby")
    assert caught.value.code == "invalid_request"


async def test_who_speaks_is_said_once_and_counts_for_every_call(house: House) -> None:
    house.config["permissions"] = {"trust_roles": True, "reset": "op", "persona": "op"}
    await house.open()
    alice = Sender("alice", user_id="irc/alice", roles=["op"])
    async with Client(house.url) as rosey:
        for who in ({"sender": alice}, {"username": "alice", "roles": ("op",)}):
            assert (await rosey.reset("#lobby", **who)).username == "alice"
            assert (await rosey.set_persona("default", "#lobby", **who)).action == "persona"
        answer = await rosey.chat("Hi", "#lobby", sender=alice)
        assert answer.username == "alice"
        with pytest.raises(LLMError) as caught:
            await rosey.reset("#lobby", sender=Sender("bob"))
        assert (caught.value.code, caught.value.username) == ("not_allowed", "bob")
        robot = Sender("robot", is_bot=True)
        with pytest.raises(LLMError) as caught:
            await rosey.command("Hi", "#lobby", sender=robot)
        assert (caught.value.code, str(caught.value)) == ("not_allowed", "")
        with pytest.raises(TypeError, match="Give sender or username, not both"):
            await rosey.chat("Hi", "#lobby", sender=alice, username="bob")
    asked = house.rows("SELECT personal FROM history WHERE kind = 'message'")
    assert asked == [{"personal": '{"user_id":"irc/alice"}'}]


async def test_a_limit_that_is_reached_is_told_with_its_name(house: House) -> None:
    house.config["limits"] = {"user_per_minute": 1}
    await house.open()
    async with Client(house.url) as rosey:
        await rosey.chat("Hi", "#lobby", username="alice")
        with pytest.raises(LLMError) as caught:
            await rosey.chat("Hi", "#lobby", username="alice")
        error = caught.value
        assert (error.code, error.limit, error.scope) == (
            "limit_reached",
            "user_per_minute",
            "user",
        )
