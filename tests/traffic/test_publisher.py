"""The publisher on a connection that breaks at each of its steps."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import nats
import orjson
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from engine.actors.local_ledger import LocalLedger
from engine.commands.outcomes import Answer, Delta, Failure
from engine.config.settings import NatsSettings
from engine.traffic import connection, login
from engine.traffic.connection import NatsConnection
from engine.traffic.publisher import BATCH, MOST_UNPROVEN, Publisher
from storage import outbox
from storage.mailboxes import Accepted
from storage.outbox import Settled
from storage.writer.database import Database
from tests.support import command_writes
from tests.support.nats_servers import Server
from tests.support.patience import WAIT_S

pytestmark = pytest.mark.process
BAD_SUBJECT = "a bad subject"
# delta, delta, a, b, b's bad subject, b's good subject, delta, c, refusal, flush
CALLS = 10
Sent = tuple[str, bytes]


class BreakingConnection(NatsConnection):
    """A connection that is cut off once, before or after a call of its user.

    cut_at: the number of the call, from 0; None for never. calls: their names so far.
    on_cut: awaited when it is cut off.
    """

    def __init__(
        self, url: str, cut_at: int | None, cut_before: bool, on_cut: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(NatsSettings(), url)
        self._cut_at = cut_at
        self._cut_before = cut_before
        self._on_cut = on_cut
        self.calls: list[str] = []

    async def publish(self, subject: str, body: bytes) -> None:
        number = await self._begin("publish")
        try:
            await super().publish(subject, body)
        finally:
            await self._end(number)

    async def flush(self) -> None:
        number = await self._begin("flush")
        try:
            await super().flush()
        finally:
            await self._end(number)

    async def _begin(self, name: str) -> int:
        self.calls.append(name)
        number = len(self.calls) - 1
        if self._cut_before and number == self._cut_at:
            await self._cut()
        return number

    async def _end(self, number: int) -> None:
        if not self._cut_before and number == self._cut_at:
            await self._cut()

    async def _cut(self) -> None:
        await self._on_cut()
        assert self.client is not None
        await self.client._process_op_err(ConnectionResetError("cut"))


class Listener:
    """A client of its own that hears everything."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard: list[Sent] = []
        self._changed = asyncio.Condition()

    @classmethod
    async def connect(cls, url: str) -> Listener:
        listener = cls(await nats.connect(url))
        await listener.client.subscribe(">", cb=listener._on_msg)
        await listener.client.flush()
        return listener

    async def _on_msg(self, msg: Msg) -> None:
        if msg.subject.startswith(("llm.", "good.")):
            async with self._changed:
                self.heard.append((msg.subject, msg.data))
                self._changed.notify_all()

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S), self._changed:
            await self._changed.wait_for(reached)

    async def flush(self) -> None:
        await self.client.flush()

    async def close(self) -> None:
        await self.client.close()


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    for module in (connection, login):
        monkeypatch.setattr(module, "PAUSE_S", 0.01)
    async with Server(tmp_path, "") as server:
        yield server


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    database = Database(None)
    await database.open()
    yield database
    await database.close()


def delta(name: str, index: int, text: str) -> Delta:
    return Delta(f"#{name}", name, index, text, "alice", "chat")


def settled(connection: sqlite3.Connection, name: str, replies: tuple[str, ...]) -> Settled:
    put = command_writes.put(connection, f"#{name}", name, "alice", b"{}", replies, 1000)
    assert isinstance(put, Accepted)
    answer = Answer(f"#{name}", name, "chat", f"the answer {name}")
    found = command_writes.settle(
        connection, put.id, f"#{name}", name, (), "response", answer.encode(), 1000
    )
    assert found is not None
    return found


class Case:
    """One run of a publisher, whose connection is cut off at one place."""

    def __init__(self, server: Server, database: Database, listener: Listener) -> None:
        self._server = server
        self._database = database
        self._listener = listener
        self.outcomes: dict[str, Settled] = {}

    async def run(self, cut_at: int | None, *, cut_before: bool) -> list[Sent]:
        """Return what the listener heard; check the marks in the database on the way."""
        unmarked_at_cut: list[list[str]] = []

        async def on_cut() -> None:
            unmarked_at_cut.append(await self.unmarked())
            publisher.publish(self.outcomes["late"])  # it waits behind those that are sent again

        nats = BreakingConnection(self._server.url, cut_at, cut_before, on_cut)
        nats.start()
        await nats.connected.wait()
        publisher = Publisher(nats, NatsSettings().subjects, LocalLedger(self._database))
        self.outcomes = await self._fill(publisher)
        running = asyncio.create_task(publisher.run())
        try:
            async with asyncio.timeout(WAIT_S):
                await publisher.flush(WAIT_S)
            assert not running.done()
            left = ["late"] if cut_at is None else []
            while await self.unmarked() != left:  # noqa: ASYNC110 - they are marked at leisure
                await asyncio.sleep(0.01)
        finally:
            running.cancel()
            await asyncio.wait({running})
            await nats.close()
        await self._listener.flush()
        last = self.outcomes["c" if cut_at is None else "late"].body
        await self._listener.until(lambda: any(body == last for _, body in self._listener.heard))
        assert publisher.statistics().waiting == 0
        # Marked only after a flush, and none before.
        assert nats.calls[-1] == "flush"
        assert unmarked_at_cut == ([] if cut_at is None else [["a", "b", "c", "late"]])
        heard, self._listener.heard = self._listener.heard, []
        await self._database.write(_empty)
        return heard

    async def _fill(self, publisher: Publisher) -> dict[str, Settled]:
        replies = {"a": (), "b": (BAD_SUBJECT, "good.reply"), "c": (), "late": ()}
        outcomes = {
            name: await self._database.write(partial(settled, name=name, replies=subjects))
            for name, subjects in replies.items()
        }
        assert publisher.delta(delta("a", 0, "the"))
        assert publisher.delta(delta("a", 1, " answer"))
        publisher.publish(outcomes["a"])
        publisher.publish(outcomes["b"])
        assert publisher.delta(delta("c", 0, "the"))
        publisher.publish(outcomes["c"])
        publisher.refuse(Failure("#d", "d", "busy", "The channel is busy."), ())
        return outcomes

    async def unmarked(self) -> list[str]:
        return [each.request_id for each in await self._database.write(outbox.unpublished)]


def _empty(connection: sqlite3.Connection) -> None:
    for table in ("reply", "outbox"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names


def check(heard: list[Sent], outcomes: dict[str, Settled], place: str) -> None:
    """Check what a bot relies on, wherever the connection broke."""
    answers = [body for subject, body in heard if subject == "llm.response"]
    firsts = list(dict.fromkeys(answers))
    assert firsts == [outcome.body for outcome in outcomes.values()], (
        place
    )  # all, in order, unchanged
    assert {body for subject, body in heard if subject == "good.reply"} == {outcomes["b"].body}
    assert [orjson.loads(body)["request_id"] for subject, body in heard if subject == "llm.error"]
    for name in "ac":
        of_name = [
            (subject, orjson.loads(body))
            for subject, body in heard
            if orjson.loads(body)["request_id"] == name
        ]
        indexes = [each["index"] for subject, each in of_name if subject == "llm.stream"]
        assert indexes == sorted(set(indexes)), place  # none twice
        kinds = [subject for subject, _ in of_name]
        assert kinds == sorted(kinds, reverse=True), place  # none after the outcome


@pytest.mark.parametrize("cut_before", [True, False], ids=["before", "after"])
async def test_wherever_the_connection_breaks_outcomes_come_in_order_and_are_marked_afterwards(
    server: Server, database: Database, cut_before: bool
) -> None:
    listener = await Listener.connect(server.url)
    case = Case(server, database, listener)
    for number in range(CALLS):
        heard = await case.run(number, cut_before=cut_before)
        check(heard, case.outcomes, f"call {number}")
    await listener.close()


async def test_a_bad_reply_subject_keeps_nobody_else_from_the_outcome(
    server: Server, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    listener = await Listener.connect(server.url)
    case = Case(server, database, listener)
    heard = await case.run(None, cut_before=True)
    subjects = [subject for subject, _ in heard]
    assert subjects == [
        "llm.stream", "llm.stream", "llm.response", "llm.response", "good.reply", "llm.stream",
        "llm.response", "llm.error",
    ]  # fmt: skip
    assert caplog.text.count(f"Cannot send a message to '{BAD_SUBJECT}'") == 1
    await listener.close()


async def test_deltas_alone_do_not_wait_until_nats_has_taken_them(
    server: Server, database: Database
) -> None:
    listener = await Listener.connect(server.url)
    connection = BreakingConnection(server.url, None, True, listener.flush)
    connection.start()
    await connection.connected.wait()
    publisher = Publisher(connection, NatsSettings().subjects, LocalLedger(database))
    running = asyncio.create_task(publisher.run())
    for index in range(3):
        assert publisher.delta(delta("a", index, "text"))
        await listener.until(lambda: len(listener.heard) == index + 1)  # noqa: B023 - at once
    assert connection.calls == ["publish"] * 3
    assert publisher.statistics().deltas == 3
    running.cancel()
    await asyncio.wait({running})
    await connection.close()
    await listener.close()


async def test_a_server_that_stands_still_gets_only_so_many_deltas(
    server: Server, database: Database
) -> None:
    listener = await Listener.connect(server.url)
    connection = BreakingConnection(server.url, None, True, listener.flush)
    connection.start()
    await connection.connected.wait()
    publisher = Publisher(connection, NatsSettings().subjects, LocalLedger(database))
    size = len(delta("a", 0, "x" * 100).encode())
    count = 4 * MOST_UNPROVEN // size
    for index in range(count):
        assert publisher.delta(delta("a", index, "x" * 100))
    running = asyncio.create_task(publisher.run())
    await listener.until(lambda: len(listener.heard) == count)
    unproven = " ".join(connection.calls).split("flush")
    assert 3 <= len(unproven) - 1 < count / BATCH
    most = MOST_UNPROVEN // size + BATCH
    assert max(part.count("publish") for part in unproven) <= most
    running.cancel()
    await asyncio.wait({running})
    await connection.close()
    await listener.close()
