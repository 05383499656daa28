"""A database that an older version left in the middle of its work is carried on by this one.

`tests/data/database_23a6b4f.sql` was written by the code of commit 23a6b4f and never changed since.
Values on disk keep their meaning when code is renamed: command names and fields in `mailbox.body`,
`orders.kind` and `orders.body`, snapshots, outcomes, keys of `details`. Its contents:

#lobby   two answered turns, a snapshot, and a waiting command of each kind that can wait
#garden  turns of bob and of mallory, whose erasure (order 1) was cut off after its first step
#porch   a turn of mallory after her erasure began: no part of it
#attic   one turn, to be erased by order 2, which was never begun
#office  ended turns of all kinds; o6 (a response) and o7 (an error) were not published yet
"""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
import tomlkit
from nats.aio.msg import Msg

from engine.app import build_app
from engine.monitoring.event import event_of
from storage import verification
from storage.queries.reader import open_reader
from storage.verification import Seal
from tests.fakes.llm_server import LLMServer
from tests.support.command_line import COMMAND
from tests.support.nats_servers import Server
from tests.support.patience import WAIT_S
from tests.support.secrets_database import files_containing
from tests.support.service_harness import House, ReceivedMessage

DUMP = Path(__file__).parent / "data" / "database_23a6b4f.sql"
# As the old code sealed its 31 rows.
SEAL = "31:f9100d7aa7f0c23d19770abb89bcea559bfcfc1bf7bc16b051d1e1dac7473caf"
IN_LOBBY = ["w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"]
OUTCOMES = 11  # w1 to w9, o6, o7
ORDERS = 3
FIRST_EXCHANGES = [
    "alice: Where does a rose grow?",
    "Old answer to: Where does a rose grow?",
    "bob: And a second line:\n“ünïcode”",
    "Old answer to: bob: And a second line:\n“ünïcode”",
]


class OldDatabase:
    """The dump as a file, and what today's service makes of it.

    replies: bodies published on each reply subject.
    """

    def __init__(self, house: House) -> None:
        self.house = house
        self.path = house.folder / "data" / "rosey-llm.db"
        self.replies: dict[str, list[bytes]] = defaultdict(list)
        self.path.parent.mkdir()
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(DUMP.read_text())
        self.unpublished = {
            row["request_id"]: row["body"]
            for row in house.rows("SELECT request_id, body FROM outbox WHERE published_ms IS NULL")
        }

    async def run_service(self, server: Server) -> None:
        """Start the service, and wait until it has nothing left to do."""
        house = self.house
        house.config["nats"] = {"url": server.url}
        house.file.write_text(tomlkit.dumps(house.config))
        app = house.app = build_app(house.settings, house.file)
        bot = await house.new_bot()
        await bot.client.subscribe("_INBOX.old.*", cb=self._note_reply)
        await bot.flush()
        await app.start()
        await bot.outcomes(OUTCOMES)
        async with asyncio.timeout(WAIT_S):
            while any(each is None for each in self.results()):  # noqa: ASYNC110 - it is in a file
                await asyncio.sleep(0.01)

    async def _note_reply(self, msg: Msg) -> None:
        self.replies[msg.subject].append(msg.data)

    def outcome(self, request_id: str) -> ReceivedMessage:
        (found,) = (
            each for each in self.house.bot.received_outcomes() if each["request_id"] == request_id
        )
        return found

    def results(self) -> list[Any]:
        """The result of each order; None while it waits."""
        rows = self.house.rows("SELECT result FROM orders ORDER BY id")
        return [row["result"] and orjson.loads(row["result"]) for row in rows]


@pytest.fixture
async def old(house: House, tmp_path: Path) -> AsyncIterator[OldDatabase]:
    async with Server(tmp_path, "") as server:
        old = OldDatabase(house)
        await old.run_service(server)
        yield old
        await house.close()


def request_to(llm: LLMServer, text: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The body and the headers of the one request whose newest message ends with `text`."""
    (found,) = (
        each
        for each in llm.requests
        if each.body.get("messages") and each.body["messages"][-1]["content"].endswith(text)
    )
    return found.body, found.headers


def contents(body: dict[str, Any]) -> list[str]:
    """Return the messages of a request without the system prompt."""
    return [each["content"] for each in body["messages"] if each["role"] != "system"]


async def test_every_waiting_command_gets_its_outcome_in_order(old: OldDatabase) -> None:
    received = [each["request_id"] for each in old.house.bot.received_outcomes()]
    assert [each for each in received if each in IN_LOBBY] == IN_LOBBY
    assert len(received) == OUTCOMES
    outcomes = [old.outcome(each) for each in [*IN_LOBBY, "w9"]]
    assert [each.get("action", each.get("code")) for each in outcomes] == [
        "chat", "persona", "persona", "help", "cancelled", "chat", "reset", "chat", "complete",
    ]  # fmt: skip
    assert old.outcome("w2")["persona"] == "concise"
    assert old.outcome("w3")["content"].startswith("Persona: concise.")
    assert old.outcome("w5")["error"] == "This message was erased."
    assert [orjson.loads(each) for each in old.replies["_INBOX.old.w1"]] == [old.outcome("w1")]
    assert old.house.rows("SELECT * FROM mailbox") == []


async def test_a_waiting_command_keeps_its_options(old: OldDatabase, llm: LLMServer) -> None:
    chat, headers = request_to(llm, "What with all options?")
    assert (chat["model"], chat["temperature"], chat["max_tokens"]) == ("asked-model", 0.25, 33)
    assert chat["messages"][0]["content"].startswith("Your name is Rosey. You answer as briefly")
    assert headers["traceparent"] == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert headers["tracestate"] == "rosey=old"
    completion, _ = request_to(llm, "The rose is")
    asked = completion["model"], completion["temperature"], completion["max_tokens"]
    assert asked == ("asked-model", 0.75, 5)
    assert (old.outcome("w1")["persona"], old.outcome("w1")["username"]) == ("concise", "alice")
    assert (old.outcome("w9")["persona"], old.outcome("w9")["username"]) == ("technical", "carol")
    assert {each["request_id"] for each in old.house.bot.received_deltas()} >= {"w1", "w9"}


async def test_the_conversation_in_a_snapshot_goes_on(
    old: OldDatabase, llm: LLMServer, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = request_to(llm, "What with all options?")
    assert contents(first) == [*FIRST_EXCHANGES, "alice: What with all options?"]
    later, _ = request_to(llm, "And now?")
    assert contents(later)[:4] == FIRST_EXCHANGES
    assert len(contents(later)) == 7
    after_reset, _ = request_to(llm, "And after the reset?")
    assert contents(after_reset) == ["And after the reset?"]
    # Nothing on disk was unreadable: not the snapshot, and nothing else.
    warnings = [each for each in caplog.get_records("setup") if each.levelno >= logging.WARNING]
    assert [event_of(each)[0] for each in warnings] == [
        "migration.copy",
        "migration.began",
        "migration.done",
    ]


async def test_a_cut_off_erasure_is_finished_and_a_reload_is_answered(old: OldDatabase) -> None:
    rows = old.house.rows("SELECT kind, body, done_ms FROM orders ORDER BY id")
    assert [(row["kind"], row["body"]) for row in rows] == [
        ("erase", "{}"),
        ("erase", "{}"),
        ("reload", "{}"),
    ]
    cut_off, never_begun, reload = old.results()
    assert cut_off == {"ok": True, "rows": 4}  # two of them before the process died
    assert never_begun == {"ok": True, "rows": 2}
    assert reload["ok"], reload
    erased = old.house.rows(
        "SELECT h.request_id, username, content, salt FROM history h WHERE erased_ms IS NOT NULL"
    )
    assert [row["request_id"] for row in erased] == ["m0", "m0", "m1", "m1", "a1", "a1"]
    assert old.house.history("#porch") == [("message", "I am back"), ("answer", "Hello again")]
    assert {(row["username"], row["content"], row["salt"]) for row in erased} == {(None, "", None)}
    assert old.house.rows("PRAGMA user_version") == [{"user_version": 0}]  # the files are clean
    # The copy from before the upgrade has all of it; `history erase` says so.
    old.path.with_name(f"{old.path.name}.before-m003").unlink()
    assert files_containing(old.path.parent, "secret", "in the attic") == []


async def test_unpublished_outcomes_go_out_with_the_very_same_bytes(old: OldDatabase) -> None:
    assert old.unpublished.keys() == {"o6", "o7"}
    for body in old.unpublished.values():
        assert old.house.bot.raw.count(body) == 1
    response, error = old.unpublished["o6"], old.unpublished["o7"]
    assert old.replies["_INBOX.old.answer"] == old.replies["_INBOX.old.copy"] == [response]
    assert old.replies["_INBOX.old.error"] == [error]


async def test_the_history_is_whole_and_its_details_are_understood(old: OldDatabase) -> None:
    await old.house.close()
    with closing(open_reader(old.path)) as connection:
        verified = verification.verify(connection, Seal.parse(SEAL))
        assert (verified.erased, verified.channels) == (6, 5)
    for request_id in ("l1", "l3", "o3", "o4", "o6", "o7"):
        assert prompt(old, request_id, "--json")["exact"] is True, request_id
    assert prompt(old, "b1", "--json")["exact"] is False  # mallory's turns were shown in it
    shown = prompt_text(old, "l3")
    assert "temperature 0.5, max_tokens 40" in shown
    for line in ("attempts: +1$", "accepted: +2025-06", "started: +2025-06", "waited: +0 ms"):
        assert re.search(line, shown, re.MULTILINE), (line, shown)


def prompt(old: OldDatabase, request_id: str, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(prompt_text(old, request_id, *options))
    return found


def prompt_text(old: OldDatabase, request_id: str, *options: str) -> str:
    """Return what `rosey-llm history prompt` prints of a turn."""
    return subprocess.run(
        [COMMAND, "history", "--database", str(old.path), "prompt", request_id, *options],
        capture_output=True,
        text=True,
        check=True,
        timeout=WAIT_S,
    ).stdout
