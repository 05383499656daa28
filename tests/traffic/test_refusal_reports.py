"""What the embedded server refuses a client is said once in the engine's log, with what to do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from engine.traffic.embedded import refusal_reports
from engine.traffic.embedded.refusal_reports import (
    CLIENT_LIMIT,
    LIMIT,
    READ_LIMIT_BYTES,
    RefusalReports,
    Remedies,
)
from tests.support.bot_urls import login_of, port_of
from tests.support.nats_servers import RawClient
from tests.support.patience import until
from tests.support.service_harness import House

ENTRY = (
    '[7] 2026/12/01 09:23:43.194773 [ERR] 127.0.0.1:43488 - cid:5 - "v2:go:{}" - "$G/user:bot" - '
)
REMEDIES = Remedies(publish=[], subscribe=[], closed=[], has_jetstream=False, url_file=Path("url"))


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusal_reports, "POLL_S", 0.01)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text.removeprefix("NATS: ") for text in caplog.messages if text.startswith("NATS: ")]


async def client(house: House, **options: Any) -> Client:
    async def ignore(_: Exception) -> None: ...

    return await nats.connect(house.url, error_cb=ignore, **options)


# --- A real server


@pytest.mark.process
async def test_a_refused_client_is_named_once_with_what_clients_may_do(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await house.open()
    for _ in range(2):  # a bot that connects again, too
        bot = await client(house, name="mybot")
        for _ in range(3):
            await bot.subscribe("rooms.>")
            await bot.subscribe("llm.request", queue="workers")
            await bot.publish("rooms.lobby", b"")
            await bot.publish(bot.new_inbox() + ".x", b"")
        await bot.flush()
        await bot.close()
    await until(lambda: len(said(caplog)) == 4)
    texts = said(caplog)
    who = 'The client "mybot" (python3, user bot) may not'
    assert texts[0].startswith(f'{who} subscribe to "rooms.>". On the embedded server, clients may')
    assert texts[1].startswith(f'{who} subscribe to "llm.request".')
    assert texts[2].startswith(f'{who} publish on "rooms.lobby".')
    assert texts[3].startswith(f'{who} publish on "_INBOX.>".')
    allowed = (
        "clients may publish on rosey.command.chat, llm.request, and subscribe to llm.response"
    )
    assert all(allowed in text for text in texts)
    opens, closed = '[nats] allow, as "rooms.>"', "is not opened to bots (docs/security.md)"
    assert [opens in text for text in texts] == [True, False, True, False]
    assert [closed in text for text in texts] == [False, True, False, False]
    assert "A bot may reply once [nats] allow names" in texts[3]
    other = await client(house)
    await other.subscribe("rooms.>")
    await until(lambda: len(said(caplog)) == 5)
    assert said(caplog)[4].startswith("A client without a name (python3, user bot) may not")
    await other.close()


@pytest.mark.process
async def test_a_login_and_a_message_that_are_refused_are_said_too(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await house.open()
    port = port_of(house.url)
    for login in ({"user": "alice", "pass": "open-barley"}, {"auth_token": "open-barley"}):
        with pytest.raises(ConnectionError):
            async with RawClient.connected(port, **login):
                pass
    async with RawClient.connected(port, **login_of(house.url)) as raw:
        with contextlib.suppress(ConnectionError):  # the server does not read all of it
            await raw.publish("llm.request", bytes(2_000_000))
        await until(lambda: len(said(caplog)) == 3)
    assert said(caplog)[0].startswith('A client logged in as user "alice" and was refused.')
    assert said(caplog)[1].startswith("A client without user and password was refused.")
    assert all(f"{house.folder}/data/nats/url" in text for text in said(caplog)[:2])
    assert "larger than 1048576 bytes" in said(caplog)[2]
    assert "open-barley" not in caplog.text


@pytest.mark.process
async def test_what_a_stranger_calls_itself_cannot_forge_a_line_or_steer_a_terminal(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await house.open()
    forged = ENTRY.format("forged") + 'Publish Violation - Subject "forged"'
    bot = await client(house, name=f'e\x1b[2J"\u202e\n{forged}')
    await bot.subscribe("llm.\x1b[31m.>")
    await bot.flush()
    await bot.close()
    await until(lambda: len(said(caplog)) == 1)
    (text,) = said(caplog)
    assert text.isprintable()
    assert text.startswith('The client "e\\x1b[2J')
    assert 'may not subscribe to "llm.\\x1b[31m.>".' in text


# --- The log


@pytest.fixture
async def followed(tmp_path: Path) -> AsyncIterator[Callable[[str], None]]:
    """A log that is followed; yield what writes to it."""
    log_file = tmp_path / "nats-server.log"
    log_file.write_text(ENTRY.format("old") + 'Publish Violation - Subject "before"\n')
    following = asyncio.create_task(RefusalReports(log_file, REMEDIES).run())

    def write(text: str) -> None:
        with log_file.open("a") as file:
            file.write(text)

    yield write
    following.cancel()


def publishing(client: str, subject: str) -> str:
    return ENTRY.format(client) + f'Publish Violation - Subject "{subject}"\n'


async def test_a_client_that_tries_every_subject_is_said_a_few_times(
    followed: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(CLIENT_LIMIT * 3):
        followed(publishing("flood", f"s.{number}"))
    followed(publishing("other", "s"))
    await until(lambda: '"other"' in caplog.text)
    assert len(said(caplog)) == CLIENT_LIMIT + 1
    assert "before" not in caplog.text


async def test_clients_with_ever_new_names_end_the_reports(
    followed: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    followed("".join(publishing(f"c{number}", "s") for number in range(LIMIT * 2)))
    await until(lambda: "The NATS server refused more; " in caplog.text)
    assert len(said(caplog)) == LIMIT


async def test_half_a_line_is_read_when_the_rest_is_there_and_a_new_file_from_its_start(
    followed: Callable[[str], None], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    text = publishing("a", "first")
    followed(publishing("b", "whole") + text[:60])
    await until(lambda: '"whole"' in caplog.text)
    followed(text[60:])
    await until(lambda: '"first"' in caplog.text)
    log_file = tmp_path / "nats-server.log"
    log_file.rename(tmp_path / "nats-server.log.2026")
    log_file.write_text(publishing("a", "second"))
    await until(lambda: '"second"' in caplog.text)
    assert len(said(caplog)) == 3


async def test_of_a_flood_only_a_part_is_read(tmp_path: Path) -> None:
    log_file = tmp_path / "nats-server.log"
    log_file.write_text("")
    found = RefusalReports(log_file, REMEDIES)
    line = publishing("a", "s")
    log_file.write_text(line * (READ_LIMIT_BYTES * 5 // len(line)))
    assert sum(map(len, found.new_lines())) <= READ_LIMIT_BYTES
    assert found.new_lines() == []
