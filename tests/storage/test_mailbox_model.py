"""Tests of commands' lives, in any order, against a model of a few dicts."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from storage import mailboxes, outbox
from storage.mailboxes import Accepted, AlreadyWaiting
from storage.migrations import migrate
from storage.outbox import Settled
from tests.support import command_writes, mailbox_commands

CHANNELS = st.sampled_from(["#a", "#b"])
REQUESTS = st.sampled_from(["r1", "r2", "r3"])
REPLIES = st.lists(st.sampled_from(["x", "y", "z"]), max_size=2, unique=True).map(tuple)
Key = tuple[str, str]


@dataclass
class Waits:
    row_id: int
    replies: list[str]
    attempts: int = 0


@dataclass
class Has:
    """An outcome."""

    id: int
    body: bytes
    replies: tuple[str, ...]
    at_ms: int
    published: bool = False


class LifeOfCommands(RuleBasedStateMachine):
    """A model. `ever` has every row id that was ever given: late results have old ones."""

    @initialize()
    def begin(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.execute("PRAGMA foreign_keys=ON")
        migrate(self.connection, ":memory:")
        self.now_ms = 0
        self.waiting: dict[Key, Waits] = {}
        self.outcomes: dict[Key, Has] = {}
        self.rows: dict[str, list[str]] = {"#a": [], "#b": []}
        self.ever: list[tuple[int, Key]] = []

    def teardown(self) -> None:
        self.connection.close()

    @rule(channel=CHANNELS, request_id=REQUESTS, replies=REPLIES)
    def put(self, channel: str, request_id: str, replies: tuple[str, ...]) -> None:
        key = (channel, request_id)
        acceptance = mailbox_commands.put(self.connection, request_id, channel, replies=replies)
        if key in self.outcomes:
            assert isinstance(acceptance, Settled)
            assert (acceptance.body, acceptance.replies) == (self.outcomes[key].body, replies)
        elif key in self.waiting:
            assert acceptance == AlreadyWaiting()
            waits = self.waiting[key]
            waits.replies += [each for each in replies if each not in waits.replies]
        else:
            assert isinstance(acceptance, Accepted)
            self.waiting[key] = Waits(acceptance.id, list(replies))
            self.ever.append((acceptance.id, key))

    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        if self.waiting:
            waits = data.draw(st.sampled_from(list(self.waiting.values())))
            waits.attempts += 1
            assert mailboxes.take(self.connection, waits.row_id) == waits.attempts

    @rule(data=st.data(), text=st.sampled_from(["Hi.", "Hello.", ""]))
    def settle(self, data: st.DataObject, text: str) -> None:
        """Also settle commands that were settled long ago or were never put."""
        if not self.ever:
            return
        row_id, key = data.draw(st.sampled_from(self.ever))
        channel, request_id = key
        self.now_ms += 1
        settled = mailbox_commands.settle(
            self.connection, row_id, request_id, channel, text=text, now_ms=self.now_ms
        )
        waits = self.waiting.get(key)
        if waits is None or waits.row_id != row_id:
            assert settled is None
            return
        assert settled is not None
        assert settled.replies == tuple(waits.replies)
        del self.waiting[key]
        self._has(key, settled, ["Hello", text])

    @rule(channel=CHANNELS, request_id=REQUESTS, replies=REPLIES)
    def settle_at_once(self, channel: str, request_id: str, replies: tuple[str, ...]) -> None:
        key = (channel, request_id)
        self.now_ms += 1
        text = f"at {self.now_ms}"
        settled = mailbox_commands.settle_at_once(
            self.connection, request_id, channel, text=text, replies=replies, now_ms=self.now_ms
        )
        if key in self.outcomes:
            assert settled.body == self.outcomes[key].body
            return
        waits = self.waiting.pop(key, None)
        merged = dict.fromkeys([*(waits.replies if waits else ()), *replies])
        assert (settled.body, settled.replies) == (text.encode(), tuple(merged))
        self._has(key, settled, [""])

    @rule(data=st.data())
    def publish(self, data: st.DataObject) -> None:
        if self.outcomes:
            outcome = data.draw(st.sampled_from(list(self.outcomes.values())))
            command_writes.published(self.connection, [outcome.id], self.now_ms)
            outcome.published = True

    @rule(age_ms=st.integers(-1, 5))
    def prune(self, age_ms: int) -> None:
        before_ms = self.now_ms - age_ms
        forgotten = [
            key
            for key, outcome in self.outcomes.items()
            if outcome.published and outcome.at_ms < before_ms
        ]
        assert outbox.prune(self.connection, before_ms) == len(forgotten)
        for key in forgotten:
            del self.outcomes[key]

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        waiting = mailboxes.waiting(self.connection)
        assert [((row.channel, row.request_id), row.id, row.replies) for row in waiting] == [
            (key, waits.row_id, tuple(waits.replies)) for key, waits in self.waiting.items()
        ]
        unpublished = outbox.unpublished(self.connection)
        assert [((each.channel, each.request_id), each.body) for each in unpublished] == [
            (key, outcome.body) for key, outcome in self.outcomes.items() if not outcome.published
        ]

    @invariant()
    def a_request_waits_or_has_an_outcome_but_never_both(self) -> None:
        both = self.connection.execute(
            "SELECT count(*) FROM mailbox JOIN outbox USING (channel_id, request_id)"
        )
        assert both.fetchone() == (0,)

    @invariant()
    def history_only_grows_and_has_no_gaps(self) -> None:
        for channel, contents in self.rows.items():
            kept = mailbox_commands.kept(self.connection, channel)
            assert [content for _, _, content in kept] == contents
            assert [seq for seq, _, _ in kept] == list(range(1, len(kept) + 1))

    def _has(self, key: Key, settled: Settled, contents: list[str]) -> None:
        self.outcomes[key] = Has(settled.id, settled.body, settled.replies, self.now_ms)
        self.rows[key[0]] += contents


TestLifeOfCommands = LifeOfCommands.TestCase
TestLifeOfCommands.settings = settings(
    deadline=None, max_examples=100, stateful_step_count=40, database=None
)
