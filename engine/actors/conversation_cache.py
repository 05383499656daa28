"""What an actor remembers: its channel's conversation, read when needed, and its snapshots.

History is the truth. Memory may be dropped at any time, and is then read anew.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial

from engine.actors.conversation import Conversation, SmallerWindow
from engine.clock import now_ms
from storage import snapshots
from storage.history import Row
from storage.writer.database import Database

log = logging.getLogger("rosey_llm.channel")


class ConversationCache:
    """Belongs to one actor."""

    __slots__ = ("_channel_id", "_conversation", "_database", "_forgotten", "_snapshot_upto")

    def __init__(self, channel_id: str, database: Database) -> None:
        self._channel_id = channel_id
        self._database = database
        self._conversation: Conversation | None = None
        self._snapshot_upto = 0
        self._forgotten = 0

    @property
    def changed(self) -> bool:
        """Whether the conversation has gone on since its latest snapshot."""
        return self._conversation is not None and self._conversation.upto > self._snapshot_upto

    async def conversation(self, window: int) -> Conversation:
        """Loaded from snapshot and history where it is not in memory.

        One that was kept for another window is read anew: a greater one shows more of history.
        """
        if self._conversation is not None and self._conversation.window == window:
            return self._conversation
        while True:
            forgotten = self._forgotten
            conversation, snapshot_upto = await self._load(window)
            if forgotten == self._forgotten:
                break  # else it may hold what was erased in the meantime
        self._conversation, self._snapshot_upto = conversation, snapshot_upto
        return conversation

    def apply(self, rows: Iterable[Row], upto: int) -> None:
        """Take up what has been committed, just as a restart would read it."""
        if self._conversation is not None:
            self._conversation.replay((r.kind, r.username, r.content, r.persona) for r in rows)
            self._conversation.upto = upto

    def drop(self) -> None:
        """It may be ahead of what was committed, or wrong."""
        self._conversation = None

    def forget(self) -> None:
        """The history was changed: what is known of it, or being read just now, is read anew."""
        self._conversation = None
        self._snapshot_upto = 0
        self._forgotten += 1

    async def snapshot(self) -> None:
        """Store the conversation; on return it is committed up to where it stood at the call."""
        conversation = self._conversation
        if conversation is None or not self.changed:
            return
        upto, forgotten = conversation.upto, self._forgotten
        save = partial(
            snapshots.save,
            name=self._channel_id,
            upto=upto,
            ts_ms=now_ms(),
            body=conversation.encode(),
        )
        await self._database.write(save)
        if forgotten == self._forgotten:
            self._snapshot_upto = max(self._snapshot_upto, upto)

    async def _load(self, window: int) -> tuple[Conversation, int]:
        """The conversation as it stands on disk, and how far its snapshot reaches."""
        load = partial(snapshots.load, name=self._channel_id, max_messages=window)
        loaded = await self._database.write(load)
        conversation = Conversation(window)
        if loaded.body is not None:
            try:
                conversation = Conversation.decode(loaded.body, window)
            except ValueError as exc:
                wrong = not isinstance(exc, SmallerWindow)
                level = logging.WARNING if wrong else logging.DEBUG
                log.log(level, "Channel %.80r is read from its history: %s", self._channel_id, exc)
                loaded = await self._database.write(partial(load, trust_snapshot=False))
        conversation.replay((r.kind, r.username, r.content, r.persona) for r in loaded.rows)
        conversation.upto = loaded.upto
        return conversation, loaded.snapshot_upto
