"""The connection of a client: what it hears with which rights, and what it does when it is lost."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg

from engine.client.address import CannotConnect
from engine.client.client import Client
from engine.client.subjects import Subjects
from engine.errors import LLMError
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.bot_rights import BOT, ENGINE, RIGHTS, logins
from tests.support.nats_servers import Server, service
from tests.support.patience import WAIT_S, until
from tests.support.relay import Relay
from tests.support.service_harness import House

pytestmark = pytest.mark.process


async def subscriptions(server: Server) -> set[str]:
    """What each client of a server with `http` has subscribed to, without its replies."""

    def asked() -> Any:
        address = f"http://127.0.0.1:{server.port + 1}/connz?subs=1"
        with urllib.request.urlopen(address, timeout=WAIT_S) as page:
            return json.load(page)

    connections = (await asyncio.to_thread(asked))["connections"]
    subjects = {each for one in connections for each in one.get("subscriptions_list", ())}
    return {each for each in subjects if not each.startswith("_INBOX")}


async def failure(rosey: Client, text: str, channel: str = "#lobby") -> LLMError:
    """Ask, with more time if the client knew too little of its failure to say `text`."""
    for timeout_s in (0.2, 2.0, 20.0):
        with pytest.raises(LLMError) as caught:
            await rosey.chat("Hi", channel, timeout_s=timeout_s)
        if text in str(caught.value):
            return caught.value
    raise AssertionError(str(caught.value))


@pytest.mark.parametrize("rights", RIGHTS)
async def test_answers_are_heard_by_one_subscription_if_it_hears_no_requests(
    tmp_path: Path, rights: str
) -> None:
    expected = {
        "one": {"llm.*"},
        "three": set(Subjects().shared),
        "all": set(Subjects().shared),  # else nobody would be told that no service listens
        "no replies": set(Subjects().shared),
        "replies": set(),
    }
    server = Server(tmp_path, logins(RIGHTS[rights]))
    server.config += f"\nhttp: 127.0.0.1:{server.port + 1}"
    async with server, Client(f"{BOT}:{server.port}"):
        assert await subscriptions(server) == expected[rights]


@pytest.mark.parametrize("rights", [each for each in RIGHTS if each != "no replies"])
async def test_that_nobody_listens_is_heard_at_once(tmp_path: Path, rights: str) -> None:
    async with (
        Server(tmp_path, logins(RIGHTS[rights])) as server,
        Client(f"{BOT}:{server.port}") as rosey,
        Client(f"{BOT}:{server.port}"),
    ):
        async with asyncio.timeout(WAIT_S):
            assert not await rosey.is_served(timeout_s=2 * WAIT_S)
        assert (await failure(rosey, "Nobody listens on llm.request")).code == "no_answer"


async def test_a_question_waits_for_the_service_to_start(
    tmp_path: Path, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        Server(tmp_path, logins(RIGHTS["three"])) as server,
        Client(f"{BOT}:{server.port}") as rosey,
    ):
        assert not await rosey.is_served()
        assert (await failure(rosey, "Nobody listens on llm.request")).code == "no_answer"
        assert caplog.text.count("Nobody listens on llm.request: start the service") == 1
        asked = asyncio.create_task(rosey.chat("Hi", "#lobby"))
        async with service(house, server, **ENGINE):
            assert (await asked).content
            assert await rosey.is_served()


async def test_a_question_survives_the_loss_of_the_server(
    tmp_path: Path, house: House, llm: LLMServer
) -> None:
    held = asyncio.Event()
    llm.plan(Behaviour(text="Still here.", hold=held))
    async with (
        Server(tmp_path, logins(RIGHTS["one"])) as server,
        service(house, server, **ENGINE),
        Client(f"{BOT}:{server.port}") as rosey,
    ):
        outcomes = rosey.outcomes()
        asked = asyncio.create_task(rosey.chat("Hi", "#lobby"))
        await llm.wait_for_requests(1)
        await server.stop()
        held.set()
        await failure(rosey, "connection to NATS is lost", "#other")
        await server.start()
        assert (await asked).content == "Still here."
        assert (await anext(outcomes)).request_id
    assert len(llm.prompts) == 1


@pytest.mark.parametrize("streams", [False, True])
async def test_an_outcome_that_came_while_the_client_was_away_is_found_again(
    house: House, llm: LLMServer, caplog: pytest.LogCaptureFixture, streams: bool
) -> None:
    await house.open()
    held = asyncio.Event()
    llm.plan(Behaviour(pieces=["One ", "two"], hold=held, hold_after=1))
    address, _, port = house.url.rpartition(":")
    async with Relay(int(port)) as relay, Client(f"{address}:{relay.port}") as rosey:

        async def answer() -> str:
            if not streams:
                return (await rosey.chat("Count", "#lobby")).content
            async with rosey.stream("Count", "#lobby") as pieces:
                return "".join([piece async for piece in pieces])

        asked = asyncio.create_task(answer())
        await llm.wait_for_requests(1)
        await relay.cut()
        await until(lambda: "Cannot connect to NATS" in caplog.text)
        held.set()
        assert (await house.bot.outcomes(1))[0]["content"] == "One two"
        assert not asked.done()
        await relay.mend()
        assert await asked == "One two"
        assert len(llm.prompts) == 1
    assert caplog.text.count("Cannot connect to NATS") == 1
    assert "Connected to NATS again." in caplog.text


async def test_a_login_that_may_not_ask_is_told_at_once(tmp_path: Path) -> None:
    config = logins(RIGHTS["replies"], '"other"')
    async with Server(tmp_path, config) as server, Client(f"{BOT}:{server.port}") as rosey:
        with pytest.raises(LLMError, match=r"publish to llm\.request") as caught:
            await rosey.chat("Hi", "#lobby")
        assert caught.value.code == "not_permitted"
        with pytest.raises(LLMError, match=r"subscribe to llm\.response") as caught:
            rosey.outcomes()
        assert caught.value.code == "not_permitted"


async def test_a_login_that_hears_nothing_cannot_connect(tmp_path: Path) -> None:
    async with Server(tmp_path, logins('allow: "other"')) as server:
        with pytest.raises(CannotConnect, match=r"subscribe neither to llm\.response and"):
            async with Client(f"{BOT}:{server.port}"):
                pass


async def test_a_wrong_login_or_address_is_said_without_the_password(tmp_path: Path) -> None:
    async with Server(tmp_path, logins(RIGHTS["replies"])) as server:
        with pytest.raises(CannotConnect, match=r"refuses the login\. Put the login") as caught:
            async with Client(f"nats://bot:wrong-secret@127.0.0.1:{server.port}"):
                pass
        assert "wrong-secret" not in str(caught.value)
    with pytest.raises(CannotConnect, match=r"Connection refused\. Start the service"):
        async with Client(server.url):
            pass


@pytest.mark.parametrize("subject", ["llm.*", "llm.>"])
async def test_a_bot_of_the_embedded_server_may_hear_all_answers_by_one_subscription(
    house: House, subject: str
) -> None:
    await house.open()
    heard: list[str] = []

    async def note(msg: Msg) -> None:
        heard.append(msg.subject)

    await house.bot.client.subscribe(subject, cb=note)
    await house.bot.flush()
    async with Client(house.url) as rosey:
        await rosey.chat("Not for others", "#lobby")
        async with rosey.stream("For all", "#lobby") as pieces:
            assert [piece async for piece in pieces]
    await house.bot.outcomes(2)
    await house.bot.flush()
    assert set(heard) == {"llm.response", "llm.stream"}  # no llm.request of another bot
    log = (house.folder / "data" / "nats" / "nats-server.log").read_text()
    assert "Violation" not in log
