"""The server configurations of docs/security.md: what each login may publish and receive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import nats
import nats.errors
import orjson
import pytest
from nats.aio.client import Client

from engine.interfaces.terminal.service_client import service_client
from providers.validation import Secret
from tests.support.documented_server import documented_server
from tests.support.nats_servers import RawClient, Server
from tests.support.patience import WAIT_S, until
from tests.support.service_harness import House

QUESTION = orjson.dumps({"args": "Hi", "channel_id": "#lobby", "username": "alice"})
OUTPUTS = ("llm.response", "llm.error", "llm.stream")
INPUTS = ("rosey.command.chat", "llm.request")


class Guest:
    """A bot with a login, and the permissions that the server refused it."""

    def __init__(self, client: Client, refusals: asyncio.Queue[Exception]) -> None:
        self.client = client
        self._refusals = refusals

    async def refusal(self) -> str:
        async with asyncio.timeout(WAIT_S):
            return str(await self._refusals.get()).lower()

    @property
    def refused(self) -> bool:
        return not self._refusals.empty()

    async def settle(self) -> None:
        await asyncio.sleep(0)
        await self.client.flush()


@asynccontextmanager
async def guest(server: Server, user: str) -> AsyncIterator[Guest]:
    refusals: asyncio.Queue[Exception] = asyncio.Queue()
    client = await nats.connect(
        server.url,
        user=user,
        password=f"{user}-secret",
        inbox_prefix=f"_INBOX.{user}",
        error_cb=refusals.put,
    )
    try:
        yield Guest(client, refusals)
    finally:
        await client.close()


@pytest.fixture
async def permissions(house: House, tmp_path: Path) -> AsyncIterator[Server]:
    async with documented_server(house, tmp_path, "permissions") as server:
        yield server


@pytest.fixture
async def accounts(house: House, tmp_path: Path) -> AsyncIterator[Server]:
    async with documented_server(house, tmp_path, "accounts") as server:
        yield server


@pytest.mark.parametrize("subject", INPUTS)
async def test_a_bot_gets_the_answer_and_its_deltas(permissions: Server, subject: str) -> None:
    question = {"args": "Hi", "action": "chat", "message": "Hi", "stream": True, "channel_id": "c"}
    async with guest(permissions, "alpha") as alpha:
        heard = [await alpha.client.subscribe(each) for each in ("llm.response", "llm.stream")]
        await alpha.settle()
        reply = await alpha.client.request(subject, orjson.dumps(question), timeout=WAIT_S)
        assert orjson.loads(reply.data)["content"] == "You said: Hi"
        assert (await heard[0].next_msg(WAIT_S)).data == reply.data
        assert orjson.loads((await heard[1].next_msg(WAIT_S)).data)["type"] == "llm_delta"
        assert not alpha.refused


@pytest.mark.parametrize("subject", [*OUTPUTS, "_INBOX.beta.x", "_INBOX.x", "$SYS.REQ.SERVER.PING"])
async def test_a_bot_cannot_publish_for_the_engine(permissions: Server, subject: str) -> None:
    async with guest(permissions, "alpha") as alpha, guest(permissions, "beta") as beta:
        if not subject.startswith(("_INBOX.x", "$")):
            heard = await beta.client.subscribe(subject)
            await beta.settle()
        await alpha.client.publish(subject, b"forged")
        assert "permissions violation for publish" in await alpha.refusal()
        if not subject.startswith(("_INBOX.x", "$")):
            with pytest.raises(nats.errors.TimeoutError):
                await heard.next_msg(0.05)


@pytest.mark.parametrize(
    "subject",
    [*INPUTS, "_INBOX.beta.>", "_INBOX.>", "_INBOX.*.x", ">", "$SRV.PING", "$SRV.*.rosey-llm"],
)
async def test_a_bot_cannot_subscribe_to_messages_of_others(
    permissions: Server, subject: str
) -> None:
    async with guest(permissions, "alpha") as alpha:
        await alpha.client.subscribe(subject)
        assert "permissions violation for subscription" in await alpha.refusal()


@pytest.mark.parametrize("reply", ["$SYS.REQ.SERVER.PING", "other.service", "llm.response.x"])
async def test_the_engine_cannot_be_made_to_write_where_it_should_not(
    permissions: Server, house: House, reply: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with guest(permissions, "alpha") as alpha:
        await alpha.client.publish("rosey.command.chat", QUESTION, reply=reply)
        answer = await alpha.client.request("rosey.command.chat", QUESTION, timeout=WAIT_S)
        assert orjson.loads(answer.data)["type"] == "llm_response"
    refused = f'permissions violation for publish to "{reply.lower()}"'
    await until(lambda: refused in caplog.text.lower())
    assert house.app is not None
    assert house.app.inspect().connection.losses == 0


async def test_the_engine_needs_no_more_than_the_permissions_it_has(
    permissions: Server, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    async with guest(permissions, "alpha") as alpha:
        for line in ("Hi", "help", "persona", "stop", "reset", ""):
            await alpha.client.request("rosey.command.chat", ask(line), timeout=WAIT_S)
        await alpha.client.request("llm.request", b"not json", timeout=WAIT_S)
    assert "NATS refused" not in caplog.text


@pytest.mark.parametrize("verb", ["PING", "INFO", "STATS"])
async def test_a_bot_may_request_the_engines_status(permissions: Server, verb: str) -> None:
    async with guest(permissions, "alpha") as alpha:
        reply = await alpha.client.request(f"$SRV.{verb}.rosey-llm", b"", timeout=WAIT_S)
        assert orjson.loads(reply.data)["name"] == "rosey-llm"


async def test_a_bot_alone_in_its_account_gets_its_answers(accounts: Server) -> None:
    async with guest(accounts, "alpha") as alpha, guest(accounts, "beta") as beta:
        for bot in (alpha, beta):
            for subject, body in (
                ("rosey.command.chat", ask("Hi")),
                ("llm.request", b'{"action":"chat","channel_id":"c","message":"Hi"}'),
            ):
                reply = await bot.client.request(subject, body, timeout=WAIT_S)
                assert orjson.loads(reply.data)["content"] == "You said: Hi"
            assert not bot.refused


async def test_bots_in_their_own_accounts_receive_nothing_of_each_other(accounts: Server) -> None:
    async with guest(accounts, "alpha") as alpha, guest(accounts, "beta") as beta:
        heard = await beta.client.subscribe(">")
        await beta.settle()
        reply = await alpha.client.request("rosey.command.chat", QUESTION, timeout=WAIT_S)
        for subject in OUTPUTS:
            await alpha.client.publish(subject, b"forged")
        await alpha.settle()
        await beta.client.publish("end", b"")
        assert reply.data
        assert (await heard.next_msg(WAIT_S)).subject == "end"


async def test_a_forged_answer_of_a_bot_does_not_reach_the_engines_account(
    accounts: Server,
) -> None:
    async with guest(accounts, "engine") as listener, guest(accounts, "alpha") as alpha:
        heard = await listener.client.subscribe("llm.*")
        await listener.settle()
        await alpha.client.publish("llm.response", b"forged")
        reply = await alpha.client.request("rosey.command.chat", QUESTION, timeout=WAIT_S)
        bodies = [(await heard.next_msg(WAIT_S)).data]
        while bodies[-1] != reply.data:  # some number of deltas comes first
            bodies.append((await heard.next_msg(WAIT_S)).data)
        assert b"forged" not in bodies


async def test_a_reply_subject_stays_within_the_account_of_its_sender(accounts: Server) -> None:
    async with guest(accounts, "beta") as beta, guest(accounts, "alpha") as alpha:
        heard = await beta.client.subscribe("_INBOX.beta.x")
        await beta.settle()
        await alpha.client.publish("rosey.command.chat", QUESTION, reply="_INBOX.beta.x")
        await alpha.client.request("rosey.command.chat", QUESTION, timeout=WAIT_S)
        await beta.client.publish("_INBOX.beta.x", b"own")
        assert (await heard.next_msg(WAIT_S)).data == b"own"


async def test_a_client_without_a_login_is_refused(permissions: Server) -> None:
    with pytest.raises(ConnectionError):
        async with RawClient.connected(permissions.port, user="alpha"):
            pass


async def test_the_terminal_bot_works_with_a_bots_login(permissions: Server, house: House) -> None:
    settings = replace(house.settings.nats, user="alpha", password=Secret("alpha-secret"))
    async with service_client(settings, permissions.url) as bot:
        assert await bot.is_served()
        assert (await bot.command("Hi", "#lobby")).content == "You said: Hi"


def ask(line: str) -> bytes:
    return orjson.dumps({"args": line, "channel_id": "#lobby", "username": "alice"})
