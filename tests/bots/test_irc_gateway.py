"""The IRC bot on a fake of Twitch's gateway, and on servers that want a login."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import nats
import orjson
import pytest
from nats.aio.msg import Msg

from engine.errors import CannotStart
from engine.interfaces.bots import irc_connection
from engine.interfaces.bots.irc_options import IrcOptions
from tests.fakes.irc_gateway import IrcGateway
from tests.support.irc_bot import irc_bot
from tests.support.nats_servers import Server
from tests.support.service_harness import House

pytestmark = pytest.mark.process

TAGS = (
    "@badge-info=subscriber/8;badges=moderator/1,subscriber/6,bits/100;color=#FF0000;"
    "display-name=Alice;id=b34ccfc7-4977-403a-8a94-33c6bac34fb8;mod=1;subscriber=1;user-id=713936733"
)
ALICE = ":alice!alice@alice.tmi.twitch.tv"
QUESTION = f"{TAGS} {ALICE} PRIVMSG #lobby :!chat hello"


async def test_the_tags_of_twitch_go_over_the_wire_as_user_id_and_roles(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    async def answer(msg: Msg) -> None:
        asked.append(question := orjson.loads(msg.data))
        answer = {name: question[name] for name in ("channel_id", "request_id", "username")}
        more = {"type": "llm_response", "action": "chat", "content": "Hi."}
        await msg.respond(orjson.dumps(answer | more))

    async with Server(tmp_path, "") as server, IrcGateway() as gateway:
        service = await nats.connect(server.url)
        await service.subscribe("rosey.command.chat", cb=answer)
        await service.flush()
        async with irc_bot(server.url, gateway.port, "#lobby"):
            await gateway.send(QUESTION)
            await gateway.until(lambda _: len(gateway.said()) == 1)
            await gateway.send(f"{ALICE} PRIVMSG #lobby :!chat bye")
            await gateway.until(lambda _: len(gateway.said()) == 2)
        await service.close()
    first, second = asked
    assert first == {
        "args": "hello",
        "channel_id": "irc/#lobby",
        "request_id": "irc-b34ccfc7-4977-403a-8a94-33c6bac34fb8",
        "roles": ["moderator", "subscriber"],
        "user_id": "irc/713936733",
        "username": "alice",
    }
    assert not {"user_id", "roles", "is_bot"} & second.keys()


async def test_the_engine_answers_a_viewer_of_twitch_and_one_message_once(house: House) -> None:
    await house.open()
    async with (
        IrcGateway() as gateway,
        irc_bot(house.url, gateway.port, "#lobby", secret="oauth:abc"),
    ):
        assert gateway.received[:4] == [
            "CAP LS 302",
            "PASS oauth:abc",
            "NICK rosey",
            "USER rosey 0 * :rosey-llm, a bot: type !chat help",
        ]
        assert "CAP REQ :twitch.tv/commands twitch.tv/tags" in gateway.received
        await gateway.send(QUESTION)
        await gateway.until(lambda _: len(gateway.said()) == 1)
        await gateway.send(QUESTION)  # as a server may do after it was split
        await gateway.send(f"{ALICE} PRIVMSG #lobby :!chat bye")
        await gateway.until(lambda _: len(gateway.said()) == 2)
        assert gateway.said() == [
            "PRIVMSG #lobby :alice: You said: hello",
            "PRIVMSG #lobby :alice: You said: bye",
        ]


async def test_the_bot_connects_again_when_twitch_asks_for_it(house: House) -> None:
    await house.open()
    async with IrcGateway() as gateway, irc_bot(house.url, gateway.port, "#lobby") as bot:
        await gateway.send(":tmi.twitch.tv RECONNECT")
        assert "(the server asks for it)" in await bot.reported("is lost")
        await gateway.until(lambda received: received.count("JOIN #lobby") == 2)
        await gateway.send(QUESTION)
        await gateway.until(lambda _: len(gateway.said()) == 1)


async def test_a_line_that_may_be_lost_with_the_connection_is_said_again(house: House) -> None:
    await house.open()
    async with IrcGateway() as gateway, irc_bot(house.url, gateway.port, "#lobby") as bot:
        gateway.refusals = {"PRIVMSG": "NOTICE * :Going down"}  # and no PONG
        await gateway.send(QUESTION)
        await bot.reported("is lost")
        gateway.refusals = {}
        await gateway.until(lambda received: received.count("JOIN #lobby") == 2)
        await gateway.send(f"{ALICE} PRIVMSG #lobby :!chat bye")
        await gateway.until(lambda _: len(gateway.said()) == 3)
        again = "PRIVMSG #lobby :alice: You said: hello"
        assert gateway.said() == [again, again, "PRIVMSG #lobby :alice: You said: bye"]


async def test_a_connection_that_died_silently_is_made_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.open()
    async with IrcGateway() as gateway, irc_bot(house.url, gateway.port, "#lobby") as bot:
        monkeypatch.setattr(irc_connection, "WATCH_S", 0.05)
        await gateway.send(":tmi.twitch.tv RECONNECT")  # the next connection keeps the new pace
        await gateway.until(lambda received: received.count("JOIN #lobby") > 1)
        gateway.is_mute = True
        await bot.reported("(the server is silent)")
        monkeypatch.undo()
        gateway.is_mute = False
        begun = gateway.received.count("JOIN #lobby")
        await gateway.until(lambda received: received.count("JOIN #lobby") > begun)


async def test_lines_that_are_no_irc_change_nothing(house: House) -> None:
    await house.open()
    async with IrcGateway() as gateway, irc_bot(house.url, gateway.port, "#lobby"):
        for line in ("", ":", "@ ", "PRIVMSG", ":x PRIVMSG #lobby", "QUIT", "KICK", "\x00", "PING"):
            await gateway.send(line)
        await gateway.send(QUESTION)
        await gateway.until(lambda _: len(gateway.said()) == 1)
        assert gateway.received.count("JOIN #lobby") == 1


async def test_a_login_by_sasl_comes_before_the_channels(house: House) -> None:
    await house.open()
    async with IrcGateway("multi-prefix sasl=PLAIN,EXTERNAL account-tag") as gateway:
        async with irc_bot(house.url, gateway.port, "#lobby", account="bot", secret="open"):
            pass
        sent = gateway.received
    login = base64.b64encode(b"bot\0bot\0open").decode()
    steps = [
        "CAP REQ :account-tag multi-prefix sasl",
        "AUTHENTICATE PLAIN",
        f"AUTHENTICATE {login}",
        "CAP END",
    ]
    places = [sent.index(step) for step in [*steps, "JOIN #lobby"]]
    assert places == sorted(places)
    assert not any(line.startswith("PASS") for line in sent)
    assert sent[-1].startswith("QUIT :Leaving")


@pytest.mark.parametrize(
    ("refusals", "login", "said"),
    [
        (
            {"NICK": "NOTICE * :Login authentication failed"},
            {"secret": "oauth:wrong"},
            "has closed the connection: Login authentication failed.",
        ),
        ({"PASS": "464 * :Bad password"}, {"secret": "x"}, "wants another password: Bad password"),
        ({"NICK": "432 * 1x :Erroneous"}, {}, "does not take the nickname rosey: Erroneous"),
        ({"USER": "465 * :K-lined"}, {}, "has banned this bot: K-lined"),
        (
            {"AUTHENTICATE": "904 * :SASL failed"},
            {"account": "bot", "secret": "x"},
            "refuses the login of bot: SASL failed. Correct the account of --sasl",
        ),
    ],
)
async def test_a_refused_login_is_said(
    house: House, refusals: dict[str, str], login: dict[str, str], said: str
) -> None:
    await house.open()
    async with IrcGateway("sasl") as gateway:
        gateway.refusals = refusals
        with pytest.raises(CannotStart, match=said):
            async with irc_bot(house.url, gateway.port, "#lobby", **login):
                pass


async def test_a_server_without_sasl_is_said(house: House) -> None:
    await house.open()
    async with IrcGateway() as gateway:
        with pytest.raises(CannotStart, match=r"has no SASL\. Leave out --sasl\."):
            async with irc_bot(house.url, gateway.port, "#lobby", account="a", secret="b"):
                pass


async def test_a_port_without_tls_is_said(house: House) -> None:
    await house.open()

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b":irc.example.org NOTICE * :Looking up your hostname\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(CannotStart, match=r"does not speak TLS .*leave out --tls"):
            async with irc_bot(house.url, port, "#lobby", tls=True):
                pass


def test_twitch_has_a_pace_of_its_own() -> None:
    twitch = IrcOptions(host="irc.chat.twitch.tv", port=6697, channels={}, nick="rosey")
    assert twitch.lines_per_s == 0.6
    assert IrcOptions(host="irc.example", port=1, channels={}, nick="x").lines_per_s == 1
    assert (
        IrcOptions(host="irc.chat.twitch.tv", port=1, channels={}, nick="x", rate=3).lines_per_s
        == 3
    )
