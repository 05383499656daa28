"""What the history says of a run: which prompts are proved, and who waited for whom."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from contextlib import closing
from pathlib import Path

import orjson

from engine.answering import prompt
from engine.interfaces.reports import prompt_rebuild
from providers.encoded_prompt import EncodedPrompt
from storage.queries import channels, turns
from storage.queries.reader import Reader, open_reader
from tests.rooms.models import RecordedModel

DATABASE = Path("data", "rosey-llm.db")
# The outcomes of all turns that asked a model, in the order of the turns.
OUTCOMES = (
    "SELECT h.request_id, h.username, h.ts_ms, h.details FROM history h"
    " WHERE h.channel_id = ? AND h.details LIKE '%\"started_ms\"%' ORDER BY h.id"
)
_HINT = re.compile(r"Round (\d+)\. This is \S+ of \w+\.$")


def _indexed(database: Path) -> Path:
    """Return a copy in which a turn is found by its id at once: an hour has twenty thousand."""
    copy = database.with_name("proofs.db")
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute("CREATE INDEX by_request ON history (channel_id, request_id)")
        target.commit()
    return copy


class Proofs:
    """The proofs of the prompts in a database, room by room.

    seen: the digests that providers received, by request id.
    proved: the round whose hint a proved prompt has, by request id; None if it has none.
    faults: what is not proved, or was not what a provider received.
    """

    def __init__(self, database: Path, models: Iterable[RecordedModel]) -> None:
        self.seen: dict[str, set[str]] = defaultdict(set)
        self.proved: dict[str, int | None] = {}
        self.faults: list[str] = []
        self._database = _indexed(database)
        self._rounds: dict[str, list[int]] = defaultdict(list)
        for model in models:
            for request_id, digests in model.seen.items():
                self.seen[request_id] |= digests

    def rounds(self, room: str) -> list[int]:
        """Return the rounds of a room's proved prompts, in the order of the turns."""
        return self._rounds[room]

    def prove(self, room: str) -> None:
        """Rebuild all prompts of a room."""
        with closing(open_reader(self._database)) as connection:
            channel = channels.find(connection, room)
            assert channel is not None, room
            for request_id, _, _, details in connection.execute(OUTCOMES, (channel,)).fetchall():
                if "prompt_digest" in orjson.loads(details):
                    self._prove(connection, room, channel, request_id)

    def _prove(self, connection: Reader, room: str, channel: int, request_id: str) -> None:
        (turn,) = turns.find(connection, request_id, channel)
        rebuilt = prompt_rebuild.rebuild(connection, turn)
        if not rebuilt.matches:
            self.faults.append(f"{request_id} is not proved: {rebuilt.doubts}")
            return
        without_salt = prompt.digest(EncodedPrompt.of(rebuilt.messages), None)
        if request_id in self.seen and self.seen[request_id] != {without_salt}:
            self.faults.append(f"{request_id}: a provider received another prompt")
        hint = _HINT.search(rebuilt.messages[0].content)
        self.proved[request_id] = int(hint[1]) if hint else None
        if hint:
            self._rounds[room].append(int(hint[1]))

    def waits(self, room: str, flooder: str, beside: Collection[str]) -> Counter[int]:
        """Return how many turns of the flooder the others' messages waited for, and how often.

        A message waits for the turns before its own that had not ended when it was accepted.

        beside: the ids of requests that wait for no turn.
        """
        with closing(open_reader(self._database)) as connection:
            channel = channels.find(connection, room)
            rows = connection.execute(OUTCOMES, (channel,)).fetchall()
        waits, ended = Counter[int](), list[int]()
        for request_id, username, ts_ms, details in rows:
            if request_id in beside:
                continue
            if username == flooder:
                ended.append(ts_ms)
                continue
            accepted_ms, ahead = orjson.loads(details)["accepted_ms"], 0
            while ahead < len(ended) and ended[-1 - ahead] > accepted_ms:
                ahead += 1
            waits[ahead] += 1
        return waits
