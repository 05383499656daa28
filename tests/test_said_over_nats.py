"""Each sentence of the table is really said: those that only a message on NATS can hear."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import pytest

from engine.errors import InvalidRequest
from engine.texts.texts import Texts
from engine.traffic import written_numbers
from storage import replies
from tests.bots import test_irc_words as irc_words
from tests.engine import test_said_after_faults as faults
from tests.engine import test_said_in_full_rooms as full_rooms
from tests.engine import test_said_in_process as in_process
from tests.engine import test_said_of_budgets as budgets
from tests.engine import test_said_of_models as models
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.said import MARKED, key_of
from tests.support.service_harness import House

REQUEST = "llm.request"
CHAT = {"action": "chat", "channel_id": "#lobby", "message": "Hi"}
MESSAGES: dict[str, Any] = {
    "roles_not_words": CHAT | {"roles": ["mod"] * 33},
    "not_json": b"{",
    "not_an_object": b"[]",
    "reply_to_not_string": CHAT | {"reply_to": ["bots"]},
    "reply_to_unusable": CHAT | {"reply_to": "llm.response"},
    "reply_to_not_allowed": CHAT | {"reply_to": "bots.mine"},
}
COMMANDS: dict[str, dict[str, Any]] = {
    "usage": {"args": "usage", "username": "alice"},
    "usage_of_channel": {"args": "usage"},
}
BUDGETS = {
    "your_budget_used": {"user_tokens_per_day": 100},
    "channel_budget_used": {"channel_usd_per_day": 1.0},
}
OTHERS = ("answer_too_large", "copies_full", "nested_too_deeply", "not_stored", "probe")
COUNTED = ("questions", "questions_one", "tokens", "tokens_one")


@pytest.fixture
async def house(house: House) -> House:
    house.config["texts"] = dict(MARKED)
    return house


def test_each_sentence_of_the_table_is_said_by_a_test() -> None:
    said = {*in_process.CASES, *faults.CASES, *full_rooms.CASES, *budgets.CASES}
    said |= {*models.CASES, *models.OTHERS, *irc_words.WORDS}
    assert said | {*MESSAGES, *COMMANDS, *BUDGETS, *COUNTED, *OTHERS} == set(MARKED)


async def test_what_is_wrong_with_a_message_is_told_in_the_words_of_the_configuration(
    house: House,
) -> None:
    await house.open()
    for key, message in MESSAGES.items():
        refused = await house.bot.call(REQUEST, message)
        assert key_of(refused["error"]) == key
        assert refused["code"] == "invalid_request"
    probe = await house.bot.call(REQUEST, b"{}", headers={"Rosey-Probe": "1"})
    assert key_of(probe["error"]) == "probe"


async def test_a_command_that_only_bots_send_is_answered_in_the_words_of_the_configuration(
    house: House,
) -> None:
    await house.open()
    for key, command in COMMANDS.items():
        answer = await house.bot.call("rosey.command.chat", {"channel_id": "#lobby", **command})
        assert key_of(answer["content"]) == key


@pytest.mark.parametrize("key", BUDGETS)
async def test_a_budget_is_told_in_the_words_of_the_configuration(house: House, key: str) -> None:
    house.config["budgets"] = BUDGETS[key]
    await house.open()
    message = {"args": "usage", "channel_id": "#lobby", "username": "alice"}
    assert key_of((await house.bot.call("rosey.command.chat", message))["content"]) == key


async def test_what_is_one_is_counted_in_other_words(house: House, llm: LLMServer) -> None:
    house.config["conversation"] = {"stream": False}
    await house.open()
    nothing = (await house.bot.ask("usage"))["content"]
    assert [nothing.count(f"[{each}] <0>") for each in ("questions", "tokens")] == [2, 2]
    choice = {"index": 0, "message": {"content": "Hi."}, "finish_reason": "stop"}
    counted = {"prompt_tokens": 1, "completion_tokens": 0}
    llm.plan(Behaviour(body={"model": "x", "choices": [choice], "usage": counted}))
    await house.bot.ask("Hi")
    one = (await house.bot.ask("usage"))["content"]
    assert [one.count(f"[{each}_one] <1>") for each in ("questions", "tokens")] == [2, 2]


async def test_an_answer_too_large_for_nats_is_an_error_in_the_words_of_the_configuration(
    house: House, llm: LLMServer
) -> None:
    house.config["conversation"] = {"max_reply_bytes": 2**22, "stream": False}
    await house.open()
    llm.plan(Behaviour(text="x" * 2**21))
    assert key_of((await house.bot.ask("Hi"))["error"]) == "answer_too_large"


async def test_a_copy_too_many_of_a_message_from_before_a_restart_is_told_so(
    house: House, llm: LLMServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "LIMIT", 1)
    house.config["service"] = {"drain_timeout_s": 0.1}
    await house.open()
    hold = asyncio.Event()
    llm.plan(Behaviour(hold=hold), Behaviour(hold=hold))
    message = {"channel": "#lobby", "username": "alice", "args": ["Hi"], "request_id": "r"}
    await house.bot.send("rosey.command.chat", message, reply="_INBOX.first")
    await llm.wait_for_requests(1)
    await house.restart()
    await llm.wait_for_requests(2)
    copy = await house.bot.call("rosey.command.chat", message)
    assert key_of(copy["error"]) == "copies_full"
    hold.set()
    (outcome,) = await house.bot.outcomes(1)
    assert outcome["type"] == "llm_response"


async def test_a_copy_of_a_message_that_is_not_on_disk_is_told_so(
    house: House, llm: LLMServer
) -> None:
    await house.open()
    assert house.app is not None
    llm.plan(Behaviour(hold=asyncio.Event()))
    message = {"channel": "#lobby", "username": "alice", "args": "Hi", "request_id": "r"}
    await house.bot.send("rosey.command.chat", message)
    await llm.wait_for_requests(1)
    await house.app.inspect().engine.database.write(_lose_what_waits)
    refused = await house.bot.call("rosey.command.chat", message)
    assert (refused["code"], key_of(refused["error"])) == ("busy", "not_stored")
    await house.bot.ask("stop")


def _lose_what_waits(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM mailbox")


def test_a_message_nested_too_deeply_is_told_so() -> None:
    deep = b'{"channel_id": 5, "x": %b%b}' % (b"[" * 100_000, b"]" * 100_000)
    with pytest.raises(InvalidRequest) as caught:
        written_numbers.as_text({"channel_id": 5}, deep)
    assert key_of(Texts(MARKED).say("#lobby", caught.value.said)) == "nested_too_deeply"
