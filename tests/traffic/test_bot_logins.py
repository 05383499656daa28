"""Who gets into the embedded NATS server, and what bots may do there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats
import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from engine.operations import check
from engine.traffic.embedded import refusal_reports
from tests.support.bot_urls import port_of
from tests.support.nats_servers import REFUSED, RawClient
from tests.support.patience import WAIT_S, until
from tests.support.service_harness import Bot, House

PASSWORD = "alpha-secret"
HASH = "$2b$04$DXEV2e9s3YmZ4OYN5DH.euzU0pQhIs/q6BRvhhQD4PywV7g3zk2fW"  # of the same password
OUTPUTS = ("llm.response", "llm.error", "llm.stream", "llm.status")
INPUTS = ("rosey.command.chat", "llm.request")


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusal_reports, "POLL_S", 0.01)


def shared(house: House, **more: Any) -> House:
    """Two bots with logins; subjects of their own, which also match those of the engine."""
    users = [
        {"name": "alpha", "password": PASSWORD},
        {"name": "beta", "password": HASH},
    ]
    house.config["nats"] |= {"users": users, "allow": ["rosey.>", "llm.>", "rooms.*"]} | more
    return house


def url_for(house: House, user: str) -> str:
    return f"nats://{user}:{PASSWORD}@127.0.0.1:{port_of(house.url)}"


@asynccontextmanager
async def connected(
    house: House, user: str, **options: Any
) -> AsyncIterator[tuple[Client, asyncio.Queue[str]]]:
    """A client with a login, and what the server refuses it."""
    refused: asyncio.Queue[str] = asyncio.Queue()

    async def note(exc: Exception) -> None:
        await refused.put(str(exc).lower())

    client = await nats.connect(
        url_for(house, user), error_cb=note, allow_reconnect=False, **options
    )
    try:
        yield client, refused
    finally:
        await client.close()


async def settled(client: Client) -> None:
    await asyncio.sleep(0)
    await client.flush()


async def test_a_client_without_a_login_is_not_let_in_and_the_log_says_what_to_do(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await house.open()
    port = port_of(house.url)
    for login in ({}, {"user": "bot", "pass": ""}, {"user": "bot", "pass": "guessed"}):
        with pytest.raises(ConnectionError, match=REFUSED):
            async with RawClient.connected(port, **login):
                pass
    said = "A client without user and password was refused. A bot connects with the address in"
    await until(lambda: f"{said} {house.folder}/data/nats/url" in caplog.text)
    await until(lambda: 'user "bot" and was refused' in caplog.text)
    assert caplog.text.count("was refused") == 2
    assert "guessed" not in caplog.text


async def test_a_server_that_is_open_lets_in_clients_without_a_login_as_bots(house: House) -> None:
    house.config["nats"]["open"] = True
    await house.open()
    anonymous = await Bot.connect(f"nats://127.0.0.1:{port_of(house.url)}")
    assert (await anonymous.ask("Hi"))["content"] == "You said: Hi"
    assert (await house.bot.outcomes(1))[0]["content"] == "You said: Hi"
    await anonymous.close()


@pytest.mark.parametrize("user", ["alpha", "beta"])
async def test_a_login_of_the_settings_is_taken_with_its_password_or_its_hash(
    house: House, user: str
) -> None:
    await shared(house).open()
    bot = await Bot.connect(url_for(house, user))
    assert (await bot.ask("Hi"))["content"] == "You said: Hi"
    await bot.close()
    for wrong in ("open-barley", HASH):
        with pytest.raises(ConnectionError, match=REFUSED):
            async with RawClient.connected(port_of(house.url), user=user, **{"pass": wrong}):
                pass


async def test_a_login_without_a_password_lets_nobody_in(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.config["nats"]["users"] = [{"name": "irc", "password": "${NOT_SET_ANYWHERE}"}]
    note = (
        "The password of irc in [[nats.users]] is empty here; without it, that bot cannot log in."
    )
    assert note in (await check.report(house.settings)).notes
    await house.open()
    assert "The bot irc cannot log in to the embedded NATS server" in caplog.text
    for login in ({"user": "irc", "pass": ""}, {"user": "irc"}):
        with pytest.raises(ConnectionError, match=REFUSED):
            async with RawClient.connected(port_of(house.url), **login):
                pass


async def test_bots_use_the_opened_subjects_among_themselves_and_reply(house: House) -> None:
    await shared(house).open()
    async with connected(house, "alpha") as (alpha, _), connected(house, "beta") as (beta, _):

        async def reply(msg: Msg) -> None:
            await beta.publish(msg.reply, b"from beta: " + msg.data)

        for subject in ("rosey.events.>", "rooms.lobby"):
            await beta.subscribe(subject, cb=reply)
        await settled(beta)
        for subject in ("rosey.events.join", "rooms.lobby"):
            answer = await alpha.request(subject, b"Hello", timeout=WAIT_S)
            assert answer.data == b"from beta: Hello"


@pytest.mark.parametrize("subject", [*OUTPUTS, "_INBOX.engine.x", "rooms.a.b", "$SRV.PING.x"])
async def test_an_open_pattern_lets_nobody_publish_for_the_engine(
    house: House, subject: str
) -> None:
    await shared(house).open()
    async with connected(house, "alpha") as (alpha, refused):
        await alpha.publish(subject, b'{"type": "llm_response", "content": "forged"}')
        async with asyncio.timeout(WAIT_S):
            assert (
                f'permissions violation for publish to "{subject.lower()}"' in await refused.get()
            )
    assert (await house.bot.ask("Hi"))["content"] == "You said: Hi"
    assert [each["content"] for each in await house.bot.outcomes(1)] == ["You said: Hi"]
    assert len(house.bot.received_outcomes()) == 1


async def test_an_open_pattern_lets_nobody_hear_the_requests_of_others(house: House) -> None:
    await shared(house).open()
    heard: asyncio.Queue[Msg] = asyncio.Queue()
    async with connected(house, "alpha") as (alpha, refused):
        for subject in ("rosey.>", "rosey.*.chat", "llm.*"):
            await alpha.subscribe(subject, cb=heard.put)
        await settled(alpha)
        for subject in INPUTS:
            await alpha.subscribe(subject, cb=heard.put)
            async with asyncio.timeout(WAIT_S):
                assert f'subscription to "{subject}"' in await refused.get()
        async with connected(house, "beta") as (beta, _):
            await beta.publish("rosey.command.chat", b"{}")
            await beta.publish("llm.request", b"{}")
            await beta.publish("rosey.last", b"")
            await settled(beta)
        subjects: list[str] = []
        async with asyncio.timeout(WAIT_S):
            while not {"rosey.last", "llm.error"} <= set(subjects):
                subjects.append((await heard.get()).subject)
    assert not set(INPUTS) & set(subjects)


async def test_reply_subjects_that_begin_with_the_name_of_a_login_are_its_own(house: House) -> None:
    await shared(house).open()
    heard: asyncio.Queue[Msg] = asyncio.Queue()
    async with (
        connected(house, "alpha", inbox_prefix="_INBOX.alpha") as (alpha, _),
        connected(house, "beta") as (spy, refused),
    ):
        await spy.subscribe("_INBOX.>", cb=heard.put)
        await spy.subscribe("_INBOX.alpha.>", cb=heard.put)
        async with asyncio.timeout(WAIT_S):
            assert 'subscription to "_inbox.alpha.>"' in await refused.get()
        answer = await alpha.request(
            "rosey.command.chat", b'{"args": "Hi", "channel_id": "#a"}', timeout=WAIT_S
        )
        await spy.publish("_INBOX.beta.end", b"")
        async with asyncio.timeout(WAIT_S):
            assert (await heard.get()).subject == "_INBOX.beta.end"
    assert b"You said: Hi" in answer.data


async def test_without_allow_bots_reach_only_the_engine(house: House) -> None:
    await shared(house, allow=[]).open()
    async with connected(house, "alpha") as (alpha, refused):
        for subject in ("rosey.events.join", "_INBOX.beta.x"):
            await alpha.publish(subject, b"")
            async with asyncio.timeout(WAIT_S):
                assert f'publish to "{subject.lower()}"' in await refused.get()
