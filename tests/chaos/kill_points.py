"""Points at which a chaos run can kill an engine, patched in: the product has no hooks for them.

before_accepted   after_accepted     around the commit that accepts a command
before_attempted  after_attempted    around the commit that counts an attempt
before_settled    after_settled      around the commit of a turn and its outcome
before_published                     committed, not handed to NATS yet
while_published                      handed to NATS, which has not confirmed it
after_published                      confirmed by NATS, not marked in the outbox yet
before_marked     after_marked       around the commit that marks it as published
before_snapshot   after_snapshot     around the commit of a snapshot
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

from engine.traffic.publisher import Parcel, Publisher
from storage import snapshots
from storage.commands import Accept, Attempt, MarkPublished, Settle
from storage.outbox import Settled

VARIABLE = "ROSEY_LLM_CHAOS_KILL_AT"
_WRITES: dict[str, tuple[object, str]] = {
    "accepted": (Accept, "apply_all"),
    "attempted": (Attempt, "apply_all"),
    "settled": (Settle, "apply_all"),
    "marked": (MarkPublished, "apply_all"),
    "snapshot": (snapshots, "save"),
}
COMMITS = [f"{when}_{write}" for write in _WRITES for when in ("before", "after")]
POINTS = [*COMMITS, "before_published", "while_published", "after_published"]


class KillPoint:
    """A point that kills this process with SIGKILL when it is reached for the `count`-th time."""

    def __init__(self, name: str, count: int) -> None:
        if name not in POINTS:
            raise ValueError(f"no kill point {name}; there are {', '.join(POINTS)}")
        self._name = name
        self._left = count
        # The kinds of writes in the open transaction; used by the writer thread only.
        self.writes: set[str] = set()

    def reach(self, name: str) -> None:
        if name != self._name:
            return
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def reach_commit(self, when: str) -> None:
        for write in sorted(self.writes):
            self.reach(f"{when}_{write}")


def install_from_environment() -> None:
    """Install the environment's kill point; `before_settled:3` dies before the third commit."""
    if setting := os.environ.get(VARIABLE):
        name, _, count = setting.partition(":")
        _install(KillPoint(name, int(count or 1)))


def replace_attribute(owner: object, name: str, new: object) -> Any:
    """Set an attribute, and return its old value."""
    old = getattr(owner, name)
    setattr(owner, name, new)
    return old


def _install(point: KillPoint) -> None:
    for write, (owner, name) in _WRITES.items():
        recording = _recording(point, write, getattr(owner, name))
        replace_attribute(owner, name, staticmethod(recording))
    replace_attribute(sqlite3, "connect", partial(_connect, sqlite3.connect, point))
    _install_in_publisher(point)


def _recording(point: KillPoint, write: str, work: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*args: Any, **more: Any) -> Any:
        point.writes.add(write)
        return work(*args, **more)

    return noted


def _connect(
    connect: Callable[..., sqlite3.Connection],
    point: KillPoint,
    *args: Any,
    factory: type[sqlite3.Connection] = sqlite3.Connection,
    **more: Any,
) -> sqlite3.Connection:
    both = type("Mortal", (_connection_class(point), factory), {})
    return connect(*args, factory=both, **more)


def _connection_class(point: KillPoint) -> type[sqlite3.Connection]:
    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql.startswith("BEGIN"):
                point.writes.clear()
            if sql == "COMMIT":
                point.reach_commit("before")
            cursor: sqlite3.Cursor = super().execute(sql, *parameters)
            if sql == "COMMIT":
                point.reach_commit("after")
            return cursor

    return Connection


def _install_in_publisher(point: KillPoint) -> None:
    publish, send, sent = Publisher.publish, Publisher._send, Publisher._mark_sent

    def new_publish(self: Publisher, outcome: Settled) -> None:
        point.reach("before_published")
        publish(self, outcome)

    async def new_send(self: Publisher, parcel: Parcel) -> None:
        await send(self, parcel)
        if parcel.outbox_id is not None:
            point.reach("while_published")

    def new_sent(self: Publisher, batch: list[Parcel]) -> None:
        if any(parcel.outbox_id is not None for parcel in batch):
            point.reach("after_published")
        sent(self, batch)

    replace_attribute(Publisher, "publish", new_publish)
    replace_attribute(Publisher, "_send", new_send)
    replace_attribute(Publisher, "_mark_sent", new_sent)
