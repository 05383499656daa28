"""Orders to the service that has the database, from commands in other processes.

A command places an order, the service carries it out and writes the result. An order that a crash
has cut off is still there after a restart.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Order:
    """`kind` says who carries it out, `body` what is asked."""

    id: int
    kind: str
    body: Mapping[str, Any]
    created_ms: int


def place(connection: sqlite3.Connection, kind: str, body: Mapping[str, Any], now_ms: int) -> int:
    """Ask for something; the order's id, by which `result` finds what came of it."""
    row = connection.execute(
        "INSERT INTO orders (kind, body, created_ms) VALUES (?, ?, ?) RETURNING id",
        (kind, orjson.dumps(body).decode(), now_ms),
    ).fetchone()
    return int(row[0])


def waiting(connection: sqlite3.Connection) -> list[Order]:
    """What has not been carried out, oldest first."""
    rows = connection.execute(
        "SELECT id, kind, body, created_ms FROM orders WHERE done_ms IS NULL ORDER BY id"
    )
    return [Order(id_, kind, orjson.loads(body), created) for id_, kind, body, created in rows]


def go_on_with(connection: sqlite3.Connection, order_id: int, body: Mapping[str, Any]) -> None:
    """Part of it is done: `body` is what is left to do, also after a crash."""
    connection.execute(
        "UPDATE orders SET body = ? WHERE id = ? AND done_ms IS NULL",
        (orjson.dumps(body).decode(), order_id),
    )


def left_to_do(connection: sqlite3.Connection, order_id: int) -> Mapping[str, Any]:
    """What `go_on_with` said last; {} once the order is done."""
    row = connection.execute("SELECT body FROM orders WHERE id = ?", (order_id,)).fetchone()
    found: Mapping[str, Any] = orjson.loads(row[0]) if row else {}
    return found


def finish(
    connection: sqlite3.Connection, order_id: int, result: Mapping[str, Any], now_ms: int
) -> None:
    """Write what came of it. What was asked is forgotten: it may be what is to be erased."""
    connection.execute(
        "UPDATE orders SET done_ms = ?, result = ?, body = '{}' WHERE id = ?",
        (now_ms, orjson.dumps(result).decode(), order_id),
    )


def result(connection: sqlite3.Connection, order_id: int) -> Mapping[str, Any] | None:
    """What came of an order; None while it waits. KeyError where there is no such order."""
    row = connection.execute(
        "SELECT done_ms, result FROM orders WHERE id = ?", (order_id,)
    ).fetchone()
    if row is None:
        raise KeyError(order_id)
    found: Mapping[str, Any] | None = orjson.loads(row[1]) if row[0] is not None else None
    return found


def withdraw(connection: sqlite3.Connection, order_id: int) -> None:
    """Take back an order that has not been carried out."""
    connection.execute("DELETE FROM orders WHERE id = ? AND done_ms IS NULL", (order_id,))


def prune(connection: sqlite3.Connection, before_ms: int) -> None:
    """Forget orders that were carried out before then."""
    connection.execute("DELETE FROM orders WHERE done_ms < ?", (before_ms,))
