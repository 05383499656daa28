"""Places at which the engine can be made to die, put in from outside: the product has no hooks.

before_accepted   after_accepted     around the commit that takes a command in
before_attempted  after_attempted    around the commit that counts an attempt
before_settled    after_settled      around the commit of a turn and its outcome
before_published                     committed, and not yet handed to NATS
while_published                      handed to NATS, which has not confirmed it
after_published                      NATS has it, and its outbox row does not say so yet
before_marked     after_marked       around the commit that says so
before_snapshot   after_snapshot     around the commit of a snapshot
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from engine.traffic.publisher import Parcel, Publisher
from storage import mailboxes, snapshots
from storage.mailboxes import Settled
from storage.writer import batching
from storage.writer.batching import BatchKind

VARIABLE = "ROSEY_LLM_CHAOS_KILL_AT"
_WRITES: dict[str, tuple[ModuleType, str]] = {
    "accepted": (mailboxes, "put"),
    "attempted": (mailboxes, "take"),
    "settled": (mailboxes, "settle"),
    "marked": (mailboxes, "published"),
    "snapshot": (snapshots, "save"),
}
COMMITS = [f"{when}_{write}" for write in _WRITES for when in ("before", "after")]
POINTS = [*COMMITS, "before_published", "while_published", "after_published"]


class KillPoint:
    """Ends this process with SIGKILL when it comes to `name` for the `count`-th time."""

    def __init__(self, name: str, count: int) -> None:
        if name not in POINTS:
            raise ValueError(f"no kill point {name}; there are {', '.join(POINTS)}")
        self._name = name
        self._left = count
        # What the open transaction holds; only the writer thread touches it.
        self.inside: set[str] = set()

    def pass_by(self, name: str) -> None:
        if name != self._name:
            return
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def pass_commit(self, when: str) -> None:
        for write in sorted(self.inside):
            self.pass_by(f"{when}_{write}")


def install_from_environment() -> None:
    """`before_settled:3` in the environment dies before the third such commit."""
    if said := os.environ.get(VARIABLE):
        name, _, count = said.partition(":")
        _install(KillPoint(name, int(count or 1)))


def replace(owner: object, name: str, new: object) -> Any:
    """Put `new` in the place of an attribute; what stood there."""
    old = getattr(owner, name)
    setattr(owner, name, new)
    return old


def _install(point: KillPoint) -> None:
    for write, (module, name) in _WRITES.items():
        replace(module, name, _noting(point, write, getattr(module, name)))
    batching.KINDS[:] = [_noting_kind(point, kind) for kind in batching.KINDS]
    replace(sqlite3, "connect", partial(_connect, sqlite3.connect, point))
    _install_in_publisher(point)


def _noting(point: KillPoint, write: str, work: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*args: Any, **more: Any) -> Any:
        point.inside.add(write)
        return work(*args, **more)

    return noted


def _noting_kind(point: KillPoint, kind: BatchKind) -> BatchKind:
    """The same writes, where several are done in one go."""
    name = kind.one.__name__
    write = next(write for write, place in _WRITES.items() if place == (mailboxes, name))
    return kind._replace(one=getattr(mailboxes, name), all=_noting(point, write, kind.all))


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
                point.inside.clear()
            if sql == "COMMIT":
                point.pass_commit("before")
            cursor: sqlite3.Cursor = super().execute(sql, *parameters)
            if sql == "COMMIT":
                point.pass_commit("after")
            return cursor

    return Connection


def _install_in_publisher(point: KillPoint) -> None:
    publish, send, sent = Publisher.publish, Publisher._send, Publisher._sent

    def new_publish(self: Publisher, outcome: Settled) -> None:
        point.pass_by("before_published")
        publish(self, outcome)

    async def new_send(self: Publisher, parcel: Parcel) -> None:
        await send(self, parcel)
        if parcel.outbox_id is not None:
            point.pass_by("while_published")

    def new_sent(self: Publisher, batch: list[Parcel]) -> None:
        if any(parcel.outbox_id is not None for parcel in batch):
            point.pass_by("after_published")
        sent(self, batch)

    replace(Publisher, "publish", new_publish)
    replace(Publisher, "_send", new_send)
    replace(Publisher, "_sent", new_sent)
