"""The IRC bot on a real ngircd, with a whole engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.errors import CannotStart
from tests.fakes.llm_server import Behaviour
from tests.support.irc_bot import irc_bot
from tests.support.irc_servers import IrcServer, Person
from tests.support.nats_servers import lasting_port
from tests.support.service_harness import House
from tests.support.tls_servers import Authority

pytestmark = pytest.mark.process

LONG = " ".join(f"word{number:04}" for number in range(140))[:1249]
CODE = "Look:\n\n```python\n/quit = 1\nprint('!chat hello')\n@cached\n```\n**Done.**"
KEYED = """
[Channel]
Name = #keyed
Modes = +k sesame
"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[IrcServer]:
    folder = tmp_path / "irc"
    folder.mkdir()
    async with IrcServer(folder, KEYED) as server:
        yield server


async def test_two_people_in_two_channels_get_whole_answers(
    house: House, server: IrcServer
) -> None:
    await house.open()
    async with (
        irc_bot(house.url, server.port, "#lobby", "#dev"),
        Person.talking(server, "alice", "#lobby") as alice,
        Person.talking(server, "bob", "#dev") as bob,
    ):
        alice.say("good morning")  # is for no bot
        alice.say("!chat \x02Hello\x0f, \x0304world")
        await alice.until_told("alice: You said: Hello, world")
        bob.say("!chat help")
        await bob.until(lambda: bool(bob.told()))
        assert bob.told()[0].startswith("bob: Help: !chat TEXT talks to me;")
        assert bob.told()[0].endswith("!chat help shows this.")
        house.llm.plan(Behaviour(text=LONG), Behaviour(text=CODE))
        alice.say("!chat long")
        await alice.until(lambda: " ".join(alice.told()[1:]) == f"alice: {LONG}")
        bob.say("!CHAT code")
        await bob.until_told("Done.")
        assert bob.told()[1:] == [
            "bob: Look:",
            "> /quit = 1",
            "print('!chat hello')",
            "> @cached",
            "Done.",
        ]
        assert all(len(f"{line}\r\n".encode()) <= 512 for line in alice.raw + bob.raw)
    names = {row["name"] for row in house.rows("SELECT name FROM channel")}
    assert names == {"irc/#lobby", "irc/#dev"}


async def test_a_stop_ends_the_answer_that_is_written_and_those_that_wait_come_next(
    house: House, server: IrcServer
) -> None:
    await house.open()
    never = asyncio.Event()
    house.llm.plan(Behaviour(hold=never), Behaviour(text="Next."))
    async with (
        irc_bot(house.url, server.port, "#lobby"),
        Person.talking(server, "alice", "#lobby") as alice,
        Person.talking(server, "bob", "#lobby") as bob,
    ):
        alice.say("!chat slow")
        await house.llm.wait_for_requests(1)
        alice.say("!chat next")
        await bob.until_raw("!chat next")
        bob.say("!chat stop")
        await bob.until_told("bob: Stopped.")
        await bob.until_told("alice: Next.")
        assert sorted(bob.told()) == ["alice: Next.", "bob: Stopped."]  # and no error for alice
    never.set()


@pytest.mark.parametrize("everything", [False, True])
async def test_a_stop_drops_what_waits_in_the_bot(
    house: House, server: IrcServer, everything: bool
) -> None:
    house.config["permissions"] = {"stop_all": "admin", "admins": ["alice"]}
    await house.open()
    never = asyncio.Event()
    house.llm.plan(Behaviour(hold=never))
    async with (
        irc_bot(house.url, server.port, "#lobby"),
        Person.talking(server, "alice", "#lobby") as alice,
        Person.talking(server, "bob", "#lobby") as bob,
    ):
        alice.say("!chat slow")
        await house.llm.wait_for_requests(1)
        for person, other, text in (
            (alice, bob, "one"),
            (bob, alice, "two"),
            (alice, bob, "three"),
        ):
            person.say(f"!chat {text}")
            await other.until_raw(f"!chat {text}")
        bob.say("!chat stop all")
        await bob.until_told("bob: Only admins may drop what others have waiting.")
        alice.say("!chat stop all" if everything else "!chat stop")
        number = 3 if everything else 2
        await alice.until_told(f"alice: Stopped. {number} more questions dropped.")
        if not everything:
            await bob.until_told("bob: You said: two")
        bob.say("!chat last")
        await bob.until_told("bob: You said: last")
        asked = [prompt[-1]["content"].rpartition(": ")[2] for prompt in house.llm.prompts]
        assert asked == ["slow", *([] if everything else ["two"]), "last"]
    never.set()


async def test_a_stop_also_ends_an_answer_of_which_only_lines_are_left(
    house: House, server: IrcServer
) -> None:
    await house.open()
    house.llm.plan(Behaviour(text="\n".join(f"line {number}" for number in range(5000))))
    async with (
        irc_bot(house.url, server.port, "#lobby"),
        Person.talking(server, "alice", "#lobby") as alice,
    ):
        alice.say("!chat count")
        await alice.until_told("line 3")
        alice.say("!chat stop")
        await alice.until_told("alice: Stopped.")
        alice.say("!chat again")
        await alice.until_told("alice: You said: again")
        assert "line 4999" not in alice.told()


async def test_persona_and_reset_go_over_the_wire(house: House, server: IrcServer) -> None:
    house.config["personas"] = {"poet": {"prompt": "You are a poet."}}
    await house.open()
    async with (
        irc_bot(house.url, server.port, "#lobby"),
        Person.talking(server, "alice", "#lobby") as alice,
    ):
        alice.say("!chat persona poet")
        await alice.until_told("alice: Persona: poet from now on.")
        alice.say("!chat persona nobody")
        await alice.until(lambda: any("nobody" in line for line in alice.told()))
        alice.say("!chat reset")
        await alice.until(lambda: any("Conversation reset" in line for line in alice.told()))
        assert alice.told()[2] == "alice: Conversation reset: 0 messages cleared."


async def test_one_person_cannot_fill_the_room(house: House, server: IrcServer) -> None:
    await house.open()
    hold = asyncio.Event()
    house.llm.plan(Behaviour(text="1", hold=hold))
    async with (
        irc_bot(house.url, server.port, "#lobby"),
        Person.talking(server, "alice", "#lobby") as alice,
        Person.talking(server, "bob", "#lobby") as bob,
    ):
        for number in range(8):
            alice.say(f"!chat {number}")
        refusal = "alice: 5 of your questions wait already. Ask again later."
        await alice.until_told(refusal)
        bob.say("!chat mine")
        await alice.until(lambda: any(who == "bob" for who, _, _ in alice.heard))
        hold.set()
        await bob.until_told("bob: You said: bob: mine")
        answers = ["alice: 1", *(f"alice: You said: {number}" for number in range(1, 5))]
        assert bob.told() == [refusal, *answers, "bob: You said: bob: mine"]


async def test_a_restart_of_the_irc_server_loses_and_repeats_nothing(
    house: House, server: IrcServer
) -> None:
    await house.open()
    hold = asyncio.Event()
    house.llm.plan(Behaviour(text="Held.", hold=hold))
    async with irc_bot(house.url, server.port, "#lobby") as bot:
        async with Person.talking(server, "alice", "#lobby") as alice:
            alice.say("!chat slow")
            alice.say("!chat second")
            await house.llm.wait_for_requests(1)
            alice.say("third")  # a line behind it: the server has passed on the second one
            async with Person.talking(server, "bob", "#lobby") as bob:
                alice.say("third")
                await bob.until(lambda: bool(bob.heard))
                await server.kill()
        await bot.reported("is lost")
        hold.set()
        await server.start()
        async with Person.talking(server, "alice", "#lobby") as alice:
            await alice.until_told("alice: You said: second")
            assert alice.told() == ["alice: Held.", "alice: You said: second"]
    assert len(house.llm.prompts) == 2


async def test_a_restart_of_the_engine_loses_and_repeats_nothing(
    house: House, server: IrcServer
) -> None:
    house.config["nats"]["port"] = server.port + 1
    await house.open()
    async with (
        irc_bot(house.url, server.port, "#lobby"),
        Person.talking(server, "alice", "#lobby") as alice,
    ):
        alice.say("!chat before")
        await alice.until_told("alice: You said: before")
        await house.close()
        for number in range(3):
            alice.say(f"!chat {number}")
        await house.open()
        await alice.until_told("alice: You said: 2")
        assert alice.told()[1:] == [f"alice: You said: {number}" for number in range(3)]


async def test_a_nickname_in_use_is_said_and_another_one_taken(
    house: House, server: IrcServer
) -> None:
    await house.open()
    async with (
        Person.talking(server, "rosey", "#lobby") as person,
        irc_bot(house.url, server.port, "#lobby") as bot,
    ):
        assert "The nickname rosey is in use; trying rosey_." in bot.reports
        assert "rosey_ is in #lobby. Say there: !chat help" in bot.reports
        person.say("!chat hello")
        await person.until(lambda: bool(person.told(by="rosey_")))
        assert person.told(by="rosey_") == ["rosey: You said: hello"]


async def test_who_is_kicked_says_so_and_comes_back_when_invited(
    house: House, server: IrcServer
) -> None:
    await house.open()
    hold = asyncio.Event()
    house.llm.plan(Behaviour(text="Here I am.", hold=hold))
    async with (
        Person.talking(server, "alice", "#lobby") as alice,  # the first one is the operator
        irc_bot(house.url, server.port, "#lobby") as bot,
    ):
        alice.say("!chat hello")
        await house.llm.wait_for_requests(1)
        alice.type("KICK #lobby rosey :too loud")
        kicked = await bot.reported("has kicked")
        assert kicked == "alice has kicked the bot out of #lobby: too loud. Trying again in 60 s."
        hold.set()
        alice.type("INVITE rosey #lobby")
        await alice.until_told("alice: Here I am.")


async def test_a_channel_that_cannot_be_joined_is_said_with_what_to_do(
    house: House, server: IrcServer
) -> None:
    await house.open()
    async with (
        Person.talking(server, "alice", "#club") as alice,
        Person.talking(server, "bob", "#ban") as bob,
    ):
        alice.type("MODE #club +i")
        bob.type("MODE #ban +b rosey!*@*")
        await alice.until_raw("MODE #club +i")
        await bob.until_raw("MODE #ban +b")
        more = {"#keyed": "wrong", "#club": "", "#ban": ""}
        async with irc_bot(house.url, server.port, "#lobby", keys=more) as bot:
            assert "put it into the file of --keys" in await bot.reported("join #keyed: it needs")
            assert "/invite the bot" in await bot.reported("join #club: it is for invited")
            assert "ask its operators" in await bot.reported("join #ban: the bot is banned")
        async with irc_bot(house.url, server.port, keys={"#keyed": "sesame"}) as bot:
            await bot.reported("rosey is in #keyed.")


async def test_a_channel_in_which_only_some_may_speak_is_said_and_no_line_is_lost(
    house: House, server: IrcServer
) -> None:
    await house.open()
    async with (
        Person.talking(server, "alice", "#lobby") as alice,
        irc_bot(house.url, server.port, "#lobby") as bot,
    ):
        alice.type("MODE #lobby +m")
        alice.say("!chat hello")
        assert "Give it voice: /mode #lobby +v rosey." in await bot.reported("takes no line")
        alice.type("MODE #lobby +v rosey")
        await alice.until_told("alice: You said: hello")
        assert len(alice.told()) == 1


async def test_tls_and_a_certificate_that_is_not_valid_here(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.open()
    folder = tmp_path / "tls"
    folder.mkdir()
    authority = Authority(folder, "ca")
    certificate, key = authority.certificate("irc", "IP:127.0.0.1")
    port = lasting_port()
    ssl = f"[SSL]\nCertFile = {certificate}\nKeyFile = {key}\nPorts = {port}\n"
    async with IrcServer(folder, ssl) as server:
        with pytest.raises(CannotStart, match=r"Name its authority's file in .* SSL_CERT_FILE"):
            async with irc_bot(house.url, port, "#lobby", tls=True):
                pass
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        async with (
            irc_bot(house.url, port, "#lobby", tls=True),
            Person.talking(server, "alice", "#lobby") as alice,
        ):
            alice.say("!chat hello")
            await alice.until_told("alice: You said: hello")
