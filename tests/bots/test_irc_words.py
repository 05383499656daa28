"""What the IRC bot itself says is in the words of the configuration, and of the room's language."""

from __future__ import annotations

import asyncio

import pytest

from engine.config.loading import parse
from engine.texts.texts import Texts
from tests.fakes.irc_gateway import IrcGateway
from tests.fakes.llm_server import Behaviour
from tests.support.irc_bot import irc_bot
from tests.support.said import MARKED
from tests.support.service_harness import House

pytestmark = pytest.mark.process

WORDS = ("yours_wait", "room_waits", "more_dropped", "more_dropped_one")


async def ask(gateway: IrcGateway, nick: str, *texts: str) -> None:
    for text in texts:
        await gateway.send(f":{nick}!{nick}@h PRIVMSG #lobby :!chat {text}")


async def test_what_waits_in_the_bot_is_told_in_the_words_of_the_room(house: House) -> None:
    await house.open()
    rule = {"match": "irc/*", "texts": "marked"}
    tables = {"texts": {"marked": dict(MARKED)}, "channels": {"rules": [rule]}}
    settings = parse(tables, house.folder)
    never = asyncio.Event()
    house.llm.plan(Behaviour(hold=never), Behaviour(hold=never), Behaviour(hold=never))
    async with (
        IrcGateway() as gateway,
        irc_bot(
            house.url,
            gateway.port,
            "#lobby",
            texts=Texts(settings.texts, settings.language_of),
        ),
    ):

        async def told(nick: str, text: str) -> None:
            line = f"PRIVMSG #lobby :{nick}: {text}"
            await gateway.until(lambda _: line in gateway.said())

        await ask(gateway, "p0", *"012345")
        await told("p0", "[yours_wait] <5>")
        await house.llm.wait_for_requests(1)
        await ask(gateway, "p0", "stop")
        await told("p0", "Stopped. [more_dropped] <4>")
        await ask(gateway, "p0", "6", "7")
        await house.llm.wait_for_requests(2)
        await ask(gateway, "p0", "stop")
        await told("p0", "Stopped. [more_dropped_one] <1>")
        for number in range(1, 9):
            await ask(gateway, f"p{number}", *"12345")
        await ask(gateway, "p9", "1")
        await told("p9", "[room_waits] <40>")
        never.set()
