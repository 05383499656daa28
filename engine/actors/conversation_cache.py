"""The conversation that an actor keeps in memory: loaded when needed, snapshotted when changed.

The history is the truth: the cache may be dropped at any time, and is then loaded again.
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
    """The cached conversation of one channel; used by its actor only."""

    __slots__ = ("_channel_id", "_conversation", "_database", "_forgotten", "_snapshot_upto")

    def __init__(self, channel_id: str, database: Database) -> None:
        self._channel_id = channel_id
        self._database = database
        self._conversation: Conversation | None = None
        self._snapshot_upto = 0
        self._forgotten = 0

    @property
    def changed(self) -> bool:
        """Whether the conversation has changed since its latest snapshot."""
        return self._conversation is not None and self._conversation.upto > self._snapshot_upto

    async def conversation(self, window: int) -> Conversation:
        """Return the conversation, loaded from snapshot and history if it is not in memory.

        If `window` has changed, it is loaded again: a larger window shows more of the history.
        """
        if self._conversation is not None and self._conversation.window == window:
            return self._conversation
        while True:
            forgotten = self._forgotten
            conversation, snapshot_upto = await self._load(window)
            if forgotten == self._forgotten:
                break  # otherwise it may hold messages that were erased meanwhile
        self._conversation, self._snapshot_upto = conversation, snapshot_upto
        return conversation

    def apply(self, rows: Iterable[Row], upto: int) -> None:
        """Apply committed rows, exactly as a load after a restart would."""
        if self._conversation is not None:
            self._conversation.replay(rows)
            self._conversation.upto = upto

    def drop(self) -> None:
        """Remove the conversation from memory: it may be ahead of the history, or wrong."""
        self._conversation = None

    def forget(self) -> None:
        """Drop the conversation, even one being loaded now: the history was changed."""
        self._conversation = None
        self._snapshot_upto = 0
        self._forgotten += 1

    async def snapshot(self) -> None:
        """Commit a snapshot of the conversation as it is at the call, if it has changed."""
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
        """Return the conversation on disk, and the history row up to which its snapshot goes."""
        load = partial(snapshots.load, name=self._channel_id, max_messages=window)
        loaded = await self._database.write(load)
        conversation = Conversation(window)
        if loaded.body is not None:
            try:
                conversation = Conversation.decode(loaded.body, window)
            except ValueError as exc:
                wrong = not isinstance(exc, SmallerWindow)
                level = logging.WARNING if wrong else logging.DEBUG
                log.log(
                    level,
                    "Channel %(channel).80r is loaded from history: %(error)s.",
                    {"event": "channel.replayed", "channel": self._channel_id, "error": exc},
                )
                loaded = await self._database.write(partial(load, trust_snapshot=False))
        conversation.replay(loaded.rows)
        conversation.upto = loaded.upto
        return conversation, loaded.snapshot_upto
