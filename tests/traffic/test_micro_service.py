"""The engine as a NATS micro service, with the requests that the `nats` command line sends."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats
import nats.errors
import orjson
import pytest
from nats.aio.client import Client
from nats.micro.service import ServiceInfo, ServicePing, ServiceStats

from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.nats_servers import Server, service
from tests.support.patience import WAIT_S, until
from tests.support.service_harness import Bot, House

NAME = re.compile(r"[a-zA-Z0-9_-]+")
SEMVER = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
NANOSECONDS_IN_AN_HOUR = 3600 * 10**9
VERBS = ("PING", "INFO", "STATS")


async def asked(client: Client, subject: str) -> dict[str, Any]:
    reply = await client.request(subject, b"", timeout=WAIT_S)
    answer: dict[str, Any] = orjson.loads(reply.data)
    return answer


def check_identity(answer: dict[str, Any], verb: str) -> None:
    """Check the fields that the published schemas (io.nats.micro.v1) require in every response."""
    assert answer["type"] == f"io.nats.micro.v1.{verb.lower()}_response"
    assert answer["name"] == "rosey-llm"
    assert NAME.fullmatch(answer["id"])
    assert SEMVER.fullmatch(answer["version"])
    assert all(isinstance(value, str) for value in answer["metadata"].values())


@pytest.mark.parametrize("verb", VERBS)
async def test_it_answers_requests_to_all_services_to_all_engines_and_to_itself(
    house: House, verb: str
) -> None:
    await house.open()
    client = house.bot.client
    to_all = await asked(client, f"$SRV.{verb}")
    check_identity(to_all, verb)
    for more in (".rosey-llm", f".rosey-llm.{to_all['id']}"):
        answer = await asked(client, f"$SRV.{verb}{more}")
        assert answer["id"] == to_all["id"]
        check_identity(answer, verb)
    with pytest.raises(nats.errors.NoRespondersError):
        await client.request(f"$SRV.{verb}.rosey-llm.another", b"", timeout=WAIT_S)


async def test_other_clients_can_read_the_responses(house: House) -> None:
    await house.open()
    client = house.bot.client
    assert ServicePing.from_dict(await asked(client, "$SRV.PING")).name == "rosey-llm"
    info = ServiceInfo.from_dict(await asked(client, "$SRV.INFO"))
    assert info.description
    assert {(each.name, each.subject) for each in info.endpoints} == {
        ("chat", "rosey.command.chat"),
        ("request", "llm.request"),
    }
    stats = ServiceStats.from_dict(await asked(client, "$SRV.STATS"))
    assert stats.started <= datetime.now(UTC).replace(tzinfo=None)
    assert [each.name for each in stats.endpoints] == ["chat", "request"]


async def test_stats_count_the_messages_on_each_subject_and_their_outcomes(
    house: House, llm: LLMServer
) -> None:
    await house.open()
    bot = house.bot
    for number in range(3):
        await bot.ask("Hi", channel=f"c{number}")
    llm.plan(Behaviour(status=401, body={"error": {"message": "no"}}))
    await bot.call("llm.request", {"action": "chat", "channel_id": "c0", "message": "Hi"})
    await bot.call("llm.request", b"not json")
    hold = asyncio.Event()
    llm.plan(Behaviour(hold=hold))
    await bot.chat("Hi", channel="c0")
    await llm.wait_for_requests(5)
    stats = await asked(bot.client, "$SRV.STATS")
    hold.set()
    chat, request = stats["endpoints"]
    assert (chat["num_requests"], chat["num_errors"], chat["last_error"]) == (4, 0, "")
    assert (request["num_requests"], request["num_errors"]) == (2, 2)
    assert request["last_error"] == "invalid_request"
    for endpoint in (chat, request):
        assert endpoint["queue_group"] == ""
        assert 0 < endpoint["average_processing_time"] <= endpoint["processing_time"]
        assert endpoint["processing_time"] < NANOSECONDS_IN_AN_HOUR
        assert endpoint["data"]["turns"] == {"answered": 3, "failed": 1, "cancelled": 0}
        assert endpoint["data"]["active_channels"] == 3
        assert endpoint["data"]["waiting"] == 1
    await bot.outcomes(6)


async def test_a_request_sent_again_while_it_waits_is_counted_and_answered_once(
    house: House, llm: LLMServer
) -> None:
    await house.open()
    hold = asyncio.Event()
    llm.plan(Behaviour(hold=hold))
    for _ in range(3):
        await house.bot.chat("Hi", request_id="same")
    await llm.wait_for_requests(1)
    hold.set()
    await house.bot.outcomes(1)
    (chat, _) = (await asked(house.bot.client, "$SRV.STATS"))["endpoints"]
    assert (chat["num_requests"], chat["num_errors"]) == (3, 0)
    assert len(llm.prompts) == 1


async def test_it_does_not_duplicate_messages(house: House) -> None:
    await house.open()
    await asked(house.bot.client, "$SRV.INFO")
    for number in range(5):
        await house.bot.ask("Hi", request_id=f"r{number}")
    await house.bot.flush()
    assert len(house.bot.received_outcomes()) == 5
    assert len(house.llm.prompts) == 5


@pytest.mark.parametrize("reply", ["llm.response", "rosey.command.chat", "llm.request"])
async def test_a_sender_cannot_make_it_answer_on_the_engines_subjects(
    house: House, reply: str
) -> None:
    await house.open()
    bot = house.bot
    await bot.client.publish("$SRV.PING", b"", reply=reply)
    await bot.client.publish("$SRV.PING", b"")
    await bot.ask("Hi")
    assert [each["type"] for each in bot.received_outcomes()] == ["llm_response"]
    (chat, request) = (await asked(bot.client, "$SRV.STATS"))["endpoints"]
    assert chat["num_requests"] + request["num_requests"] == 1


async def test_any_client_may_ask_but_cannot_impersonate_the_service(house: House) -> None:
    refusals: asyncio.Queue[Exception] = asyncio.Queue()
    await house.open()
    client = await nats.connect(house.url, error_cb=refusals.put)
    try:
        for subject in ("$SRV.PING", "$SRV.*.rosey-llm", "$SRV.>"):
            await client.subscribe(subject)
            async with asyncio.timeout(WAIT_S):
                assert "permissions violation for sub" in str(await refusals.get()).lower()
        await client.publish("$SRV.PING.another", b"")
        async with asyncio.timeout(WAIT_S):
            assert "permissions violation for publish" in str(await refusals.get()).lower()
    finally:
        await client.close()


async def test_it_answers_again_after_nats_has_gone_away_and_come_back(
    tmp_path: Path, house: House
) -> None:
    async with Server(tmp_path, "") as server, service(house, server) as app:
        connection, ids = app.inspect().connection, set()
        for kill in (True, True, False):
            bot = await Bot.connect(server.url)
            ids.add((await asked(bot.client, "$SRV.PING.rosey-llm"))["id"])
            assert (await bot.ask_until_answered("Hi", request_id=f"r{kill}"))["content"]
            await bot.close()
            if kill:
                losses = connection.losses
                await server.stop()
                await until(lambda: connection.losses > losses)  # noqa: B023
                await server.start()
                await connection.connected.wait()
                await connection.flush()
        assert len(ids) == 1


async def test_it_answers_on_a_new_client(tmp_path: Path, house: House) -> None:
    async with Server(tmp_path, "") as server, service(house, server) as app:
        connection = app.inspect().connection
        first = connection.client
        assert first is not None
        await first.close()
        await until(lambda: connection.client is not first)
        await connection.connected.wait()
        await connection.flush()
        bot = await Bot.connect(server.url)
        check_identity(await asked(bot.client, "$SRV.INFO"), "INFO")
        assert (await bot.ask("Hi"))["type"] == "llm_response"
        await bot.close()


async def test_if_the_server_does_not_allow_it_that_is_logged_once_and_all_else_works(
    tmp_path: Path, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    config = """
    authorization { users: [
      { user: engine, password: secret, permissions: {
        subscribe: ["rosey.command.chat", "llm.request"]
        publish: ["llm.response", "llm.error", "llm.stream", "_INBOX.>"] } }
      { user: bot, password: secret } ] }
    """
    async with (
        Server(tmp_path, config) as server,
        service(house, server, user="engine", password="secret"),
    ):
        bot = await Bot.connect(server.url, user="bot", password="secret")
        assert (await bot.ask("Hi"))["type"] == "llm_response"
        await bot.close()
    of_nats = [each.getMessage() for each in caplog.records if each.name == "rosey_llm.nats"]
    assert len([line for line in of_nats if "$SRV.PING" in line]) == 1
    assert "NATS refused" not in caplog.text
