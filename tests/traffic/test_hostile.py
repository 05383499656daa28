"""Hostile messages: each gets a clear error or no answer, and the service goes on."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.bot_urls import login_of, port_of
from tests.support.nats_servers import RawClient, Server, service
from tests.support.service_harness import House

INPUTS = ("rosey.command.chat", "llm.request")
CODES = {"invalid_request", "unknown_persona", "busy"}
MIB = 1024 * 1024

text = st.text(max_size=50) | st.sampled_from(
    ["*", ">", "a.b", "a b", "\0", "\r\n", "😀", "!chat reset", "x" * 10_000, "", " ", "\x1b[2J"]
)
scalar = st.none() | st.booleans() | st.integers() | st.floats() | text
value = st.recursive(scalar, lambda inner: st.lists(inner) | st.dictionaries(text, inner))
action = st.sampled_from(["chat", "complete", "reset", "stop", "dance"])
asked = st.fixed_dictionaries(
    {},
    optional={
        "command": value,
        "args": st.lists(text) | value,
        "channel_id": text | value,
        "channel": text,
        "username": text | value,
        "user": text,
        "request_id": text | value,
        "action": action | value,
        "message": text | value,
        "model": text | value,
        "persona": text | value,
        "temperature": st.floats() | value,
        "max_tokens": st.integers() | value,
        "stream": st.booleans() | value,
    },
)


def encode(message: object) -> bytes:
    """Return the message as JSON, including numbers that only some parsers accept."""
    return json.dumps(message).encode()


body = st.binary(max_size=300) | asked.map(encode)
headers = st.none() | st.binary(max_size=60) | st.binary(max_size=60).map(b"NATS/1.0".__add__)
# Characters that a subject cannot have, because the server splits the line there.
reply = st.binary(max_size=40).map(lambda raw: raw.translate(None, b" \t\r\n"))


@pytest.fixture
async def house(house: House) -> House:
    return await house.open()


@pytest.fixture
async def stranger(house: House) -> AsyncIterator[RawClient]:
    async with RawClient.connected(port_of(house.url), **login_of(house.url)) as client:
        yield client


def check(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Check that all outcomes are well formed and that nothing crashed."""
    assert house.app is not None
    assert house.app.inspect().connection.losses == 0
    assert not [record for record in caplog.records if record.exc_info], caplog.text
    for heard in house.bot.received_outcomes():
        assert heard["type"] == "llm_response" or heard["code"] in CODES, heard
        assert {"channel_id", "request_id"} <= heard.keys()
    house.bot.received.clear()
    house.bot.raw.clear()


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(subject=st.sampled_from(INPUTS), body=body, headers=headers, reply=reply)
async def test_any_bytes_with_any_headers_do_no_harm(
    house: House,
    stranger: RawClient,
    caplog: pytest.LogCaptureFixture,
    subject: str,
    body: bytes,
    headers: bytes | None,
    reply: bytes,
) -> None:
    await stranger.publish(subject, body, reply, headers)
    assert await stranger.settle() == []
    assert (await house.bot.ask("help"))["action"] == "help"
    check(house, caplog)


@pytest.mark.parametrize(
    ("headers", "reply"),
    [
        (b"", b""),
        (b"NATS/1.0", b""),
        (b"NATS/1.0\r\n\r\n", b""),
        (b"NATS/1.0 \xff\xff\xff\r\n\r\n", b""),
        (b"NATS/1.0 503\r\n\r\n", b""),
        (b"NATS/1.0 100 \xff\r\n\r\n", b""),
        (b"NATS/1.0\r\nNats-Msg-Id: \xff\0\r\n\r\n", b""),
        (b"NATS/1.0\r\n: \r\n:\r\n\xff: x\r\n\r\n", b""),
        (None, b"\xff\xfe"),
        (None, b"a\x0bb"),
        (None, b"a\x0cb"),
        (None, b"\x0b"),
        (None, b"."),
        (None, b"a..b"),
        (None, b"*"),
        (None, b">"),
        (None, b"llm.*"),
        (None, b"\0"),
        (None, b"x" * 3000),
        (None, "ümläut.😀".encode()),
    ],
)
async def test_headers_and_reply_subjects_that_nats_py_cannot_read_do_no_harm(
    house: House,
    stranger: RawClient,
    caplog: pytest.LogCaptureFixture,
    headers: bytes | None,
    reply: bytes,
) -> None:
    message = {"args": "Hi", "channel_id": "#lobby", "request_id": "r"}
    await stranger.publish("rosey.command.chat", orjson.dumps(message), reply, headers)
    assert await stranger.settle() == []
    assert (await house.bot.ask("help"))["action"] == "help"
    (outcome, *_) = await house.bot.outcomes(2)
    assert outcome["content"] == "You said: Hi"
    check(house, caplog)


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        ("rosey.command.chat", b"[" * 100_000),
        ("llm.request", b'{"a":' * 100_000),
        ("llm.request", b'{"channel_id":"c","action":"chat","message":"Hi","x":' + b"[" * 500_000),
        ("llm.request", b'{"channel_id":"c","action":"chat","message":"\\ud800"}'),
        ("rosey.command.chat", b'{"channel_id":"\\udfff","args":"Hi"}'),
        ("llm.request", b'{"channel_id":"c","action":"chat","message":"Hi","temperature":NaN}'),
        ("llm.request", b'{"channel_id":"c","action":"chat","message":"Hi","temperature":1e999}'),
        (
            "llm.request",
            b'{"channel_id":"c","action":"chat","message":"Hi","max_tokens":1' + b"0" * 5000 + b"}",
        ),
        ("llm.request", b'{"channel_id":' + b"9" * 100_000 + b"}"),
        ("llm.request", b"\xef\xbb\xbf{}"),
        ("rosey.command.chat", b"\0" * 1_000_000),
        ("rosey.command.chat", b'{"args": "' + b"x" * 1_000_000 + b'", "channel_id": "c"}'),
        ("rosey.command.chat", b'{"args": "persona ' + b"x" * 99_999 + b'", "channel_id": "c"}'),
        ("rosey.command.chat", b'{"args": "Hi", "channel_id": "' + b"x" * 900_000 + b'"}'),
        (
            "rosey.command.chat",
            b'{"args": "Hi", "channel_id": "c", "username": "' + b"x" * 900_000 + b'"}',
        ),
        (
            "llm.request",
            b'{"action":"chat","channel_id":"c","message":"Hi","model":"' + b"x" * 99_999 + b'"}',
        ),
        (
            "llm.request",
            b'{"action":"chat","channel_id":"c","message":"Hi","persona":"' + b"x" * 99_999 + b'"}',
        ),
        (
            "rosey.command.chat",
            b'{"args": "Hi", "channel_id": "c", "request_id": "' + b"x" * 900_000 + b'"}',
        ),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else value,
)
async def test_a_value_that_is_too_large_is_refused_with_a_short_error(
    house: House, subject: str, message: bytes
) -> None:
    error = await house.bot.call(subject, message)
    assert error["code"] == "invalid_request"
    assert len(orjson.dumps(error)) < 4096
    assert house.rows("SELECT * FROM history") == []
    assert house.llm.requests == []


async def test_a_channel_id_that_is_too_long_comes_back_cut(house: House) -> None:
    error = await house.bot.ask("Hi", channel="ä" * 40_000)
    assert error["error"] == "channel_id: expected at most 65536 bytes, got 80000."
    assert error["channel_id"] == "ä" * 1024


async def test_if_a_key_occurs_twice_the_last_one_counts(house: House) -> None:
    body = b'{"channel_id": "one", "args": "Hi", "channel_id": "two"}'
    assert (await house.bot.call("rosey.command.chat", body))["channel_id"] == "two"


@pytest.mark.parametrize(
    "name",
    ["a.b.c", "a b", "*", ">", "😀", "\u202e", "'; --", "%s", "x" * 10_000, "\r\n\x1b"],
)
async def test_a_channel_and_a_user_may_have_any_name(house: House, name: str) -> None:
    channel = f".{name}"
    first = await house.bot.ask("one", channel=channel, username=name, request_id="1")
    again = await house.bot.ask("one", channel=channel, username=name, request_id="1")
    await house.bot.ask("two", channel=channel, username=name)
    assert first == again
    assert (first["channel_id"], first["content"]) == (channel, "You said: one")
    assert [m["content"].split(": ")[-1] for m in house.llm.prompts[-1][1:]] == [
        "one",
        "one",
        "two",
    ]
    assert len(house.history(channel)) == 4


@pytest.mark.parametrize("key", ["channel_id", "username", "model", "persona"])
async def test_a_name_that_a_command_line_cannot_contain_is_refused(house: House, key: str) -> None:
    message = {"action": "chat", "channel_id": "c", "message": "Hi", key: "a\0b"}
    answer = await house.bot.call("llm.request", encode(message))
    assert answer["code"] == "invalid_request"
    assert answer["error"] == f"{key}: expected text, got NUL characters."
    assert house.history("c") == []


@pytest.mark.parametrize("reply", [*INPUTS, "llm.response", "llm.error", "llm.stream"])
async def test_a_reply_subject_that_is_one_of_ours_makes_no_loop(house: House, reply: str) -> None:
    message = {"args": "Hi", "channel_id": "c", "request_id": "r"}
    await house.bot.send("rosey.command.chat", message, reply=reply)
    await house.bot.send("llm.request", b"not json", reply=reply)
    await house.bot.until(lambda: len(house.bot.received_outcomes()) >= 2)
    for _ in range(3):
        await house.bot.ask("help")
    outcomes = [o for o in house.bot.received_outcomes() if o.get("action") != "help"]
    assert sorted(o["type"] for o in outcomes) == ["llm_error", "llm_response"]
    assert len(house.llm.prompts) == 1


@pytest.mark.parametrize(
    "said", ["!chat reset", "reset", '{"action":"reset","channel_id":"#lobby"}']
)
async def test_text_in_an_answer_that_looks_like_a_command_does_nothing(
    house: House, said: str
) -> None:
    house.llm.plan(Behaviour(text=said))
    assert (await house.bot.ask("one"))["content"] == said
    await house.bot.ask("two")
    assert [m["content"] for m in house.llm.prompts[-1][1:]] == ["one", said, "two"]
    assert "reset" not in [kind for kind, _ in house.history()]


async def test_memory_stays_under_a_flood_of_garbage(house: House, stranger: RawClient) -> None:
    async def flood(count: int, body: bytes) -> None:
        for _ in range(count):
            await stranger.publish("llm.request", body)
        await stranger.settle()
        await house.bot.ask("help")
        house.bot.received.clear()
        house.bot.raw.clear()

    await flood(20, b"[" * 900_000)
    await flood(500, b"garbage")
    before = peak_bytes()
    for _ in range(5):  # less at a time than would make the server disconnect a client
        await flood(30, b"[" * 900_000)
    await flood(4000, b"garbage")
    assert peak_bytes() - before < 32 * MIB


def peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@pytest.mark.process
async def test_a_delta_larger_than_the_server_takes_ends_in_one_error(
    tmp_path: Path, llm: LLMServer
) -> None:
    house = House(tmp_path, llm)
    server = Server(tmp_path, "max_payload: 32KB")
    async with server, service(house, server):
        bot = await house.new_bot()
        llm.plan(Behaviour(pieces=["small ", "\1" * 20_000]))
        error = await bot.ask("Hi", request_id="r")
        assert (error["code"], error["request_id"]) == ("provider_error", "r")
        assert "more than the NATS server takes" in error["error"]
        assert (await bot.ask("still there?"))["content"] == "You said: still there?"


async def test_only_the_owner_may_read_the_files_that_are_written(
    house: House, tmp_path: Path
) -> None:
    await house.close()
    old = os.umask(0)
    try:
        house.config["storage"] = {"path": "made/here/rosey-llm.db"}
        house.config["nats"] = {"port": 0, "store_dir": "made/there/nats"}
        await house.open()
        await house.bot.ask("Hi")
        modes: dict[str, Any] = {
            str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
            for path in (tmp_path / "made").rglob("*")
            if path.parent.name != "made"
        }
        folders = {name for name in modes if (tmp_path / name).is_dir()}
    finally:
        os.umask(old)
    assert {"rosey-llm.db", "rosey-llm.db-wal", "url", "lock"} <= {Path(n).name for n in modes}
    assert {n: oct(m) for n, m in modes.items() if m != (0o700 if n in folders else 0o600)} == {}


async def test_no_file_contains_a_key_or_a_password(house: House, tmp_path: Path) -> None:
    house.llm.plan(Behaviour(status=401, body={"error": {"message": "bad key sk-house-key"}}))
    error = await house.bot.ask("Hi")
    await asyncio.sleep(0)
    assert "sk-house-key" not in error["error"]
    texts = [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert texts
    assert not any(b"sk-house-key" in text for text in texts)
