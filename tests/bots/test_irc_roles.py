"""What the IRC bot says of people: their rights in a channel, their account, and who is a bot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import orjson
import pytest
from nats.aio.msg import Msg

from tests.fakes.irc_gateway import IrcGateway
from tests.fakes.llm_server import Behaviour
from tests.support.irc_bot import irc_bot
from tests.support.irc_servers import IrcServer, Person
from tests.support.nats_servers import Server
from tests.support.service_harness import House

pytestmark = pytest.mark.process

RESET = "Conversation reset: 0 messages cleared."


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[IrcServer]:
    folder = tmp_path / "irc"
    folder.mkdir()
    async with IrcServer(folder) as server:
        yield server


@pytest.fixture
async def house(house: House) -> House:
    house.config["permissions"] = {"trust_roles": True, "reset": "op", "persona": "voice"}
    return await house.open()


async def may_reset(person: Person, told: int) -> bool:
    """Try it; return whether the service let this person. told: how often it was tried before."""
    person.say("!chat reset")
    await person.until(lambda: len(_said_to(person)) > told)
    said = _said_to(person)[told]
    assert said == f"{person.nick}: {RESET}" or "may reset this conversation" in said
    return said.endswith(RESET)


def _said_to(person: Person) -> list[str]:
    return [line for line in person.told() if line.startswith(f"{person.nick}: ")]


async def test_an_operator_may_what_others_may_not_as_long_as_he_is_one(
    house: House, server: IrcServer
) -> None:
    async with (
        Person.talking(server, "alice", "#lobby") as alice,  # the first one is the operator
        irc_bot(house.url, server.port, "#lobby"),
        Person.talking(server, "bob", "#lobby") as bob,
    ):
        assert await may_reset(alice, 0)
        assert not await may_reset(bob, 0)
        alice.type("MODE #lobby +o bob")
        await bob.until_raw("MODE #lobby +o bob")
        assert await may_reset(bob, 1)
        bob.type("NICK robert")
        await bob.until_raw("NICK :robert")
        bob.nick = "robert"
        assert await may_reset(bob, 0)
        alice.type("MODE #lobby -o robert")
        await bob.until_raw("MODE #lobby -o robert")
        assert not await may_reset(bob, 1)
    assert [kind for kind, _ in house.history("irc/#lobby")] == ["reset"] * 3


async def test_who_leaves_takes_his_rights_with_him(house: House, server: IrcServer) -> None:
    async with (
        Person.talking(server, "alice", "#lobby") as alice,
        irc_bot(house.url, server.port, "#lobby"),
    ):
        async with Person.talking(server, "bob", "#lobby") as bob:
            alice.type("MODE #lobby +o bob")
            await bob.until_raw("MODE #lobby +o bob")
            assert await may_reset(bob, 0)
            bob.type("QUIT :bye")
            await alice.until_raw("QUIT")
        async with Person.talking(server, "bob", "#lobby") as another:
            assert not await may_reset(another, 0)


async def test_a_bot_that_comes_later_knows_all_rights(house: House, server: IrcServer) -> None:
    async with (
        Person.talking(server, "alice", "#lobby") as alice,
        Person.talking(server, "bob", "#lobby") as bob,
    ):
        alice.type("MODE #lobby +vv alice bob")
        await bob.until_raw("MODE #lobby +vv")
        async with irc_bot(house.url, server.port, "#lobby"):
            assert await may_reset(alice, 0)
            for person in (alice, bob):  # alice has both rights: the sign of one hides the other
                told = len(_said_to(person))
                person.say("!chat persona concise")
                await person.until(lambda who=person, told=told: len(_said_to(who)) > told)  # type: ignore[misc]
                assert "Persona: concise from now on." in _said_to(person)[told]
            assert not await may_reset(bob, 1)


ROBOT = "@account=robo;bot :robot!r@h PRIVMSG #lobby :!chat"
ALICE = "@account=alice :ally!a@h PRIVMSG #lobby :!chat"


async def test_the_account_and_the_mark_of_a_bot_go_over_the_wire(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    async def answer(msg: Msg) -> None:
        asked.append(question := orjson.loads(msg.data))
        answer = {name: question[name] for name in ("channel_id", "request_id", "username")}
        more = {"type": "llm_response", "action": "chat", "content": "Hi."}
        await msg.respond(orjson.dumps(answer | more))

    async with (
        Server(tmp_path, "") as server,
        IrcGateway("message-tags account-tag multi-prefix") as gateway,
    ):
        service = await nats.connect(server.url)
        await service.subscribe("rosey.command.chat", cb=answer)
        await service.flush()
        async with irc_bot(server.url, gateway.port, "#lobby", prefix="libera"):
            assert "CAP REQ :account-tag message-tags multi-prefix" in gateway.received
            await gateway.send(":irc 353 rosey = #lobby :@+ally rosey")
            for number, line in enumerate((ALICE, ROBOT), 1):
                await gateway.send(f"{line} hello")
                await gateway.until(lambda _, number=number: len(gateway.said()) == number)  # type: ignore[misc]
        await service.close()
    people = [
        {name: each.get(name) for name in ("username", "user_id", "roles", "is_bot")}
        for each in asked
    ]
    ally = {"username": "ally", "user_id": "libera/alice", "roles": ["op", "voice"]}
    robot = {"username": "robot", "user_id": "libera/robo", "is_bot": True}
    nothing = dict.fromkeys(people[0])
    assert people == [nothing | ally, nothing | robot]


async def test_another_bot_is_not_answered_and_no_refusal_is_said_to_it(house: House) -> None:
    async with (
        IrcGateway("message-tags account-tag") as gateway,
        irc_bot(house.url, gateway.port, "#lobby"),
    ):
        await gateway.send(f"{ROBOT} hello")
        await gateway.send(f"{ALICE} hello")
        await gateway.until(lambda _: len(gateway.said()) == 1)
        assert gateway.said() == ["PRIVMSG #lobby :ally: You said: hello"]
    assert len(house.llm.prompts) == 1


async def test_a_bot_that_fills_the_queue_hears_nothing_of_it(house: House) -> None:
    house.config["access"] = {"answer_bots": True}
    await house.reload()
    hold = asyncio.Event()
    house.llm.plan(Behaviour(text="1", hold=hold))
    async with (
        IrcGateway("message-tags account-tag") as gateway,
        irc_bot(house.url, gateway.port, "#lobby"),
    ):
        for number in range(8):
            await gateway.send(f"{ROBOT} {number}")
        for number in range(6):
            await gateway.send(f"{ALICE} {number}")
        await gateway.until(lambda _: len(gateway.said()) == 1)
        refusal = "PRIVMSG #lobby :ally: 5 of your questions wait already. Ask again later."
        assert gateway.said() == [refusal]
        hold.set()
        await gateway.until(lambda _: gateway.said()[-1].endswith(" 4"))
        robot = [line for line in gateway.said() if ":robot: " in line]
        assert len(robot) == 3  # of the 5 that had room
