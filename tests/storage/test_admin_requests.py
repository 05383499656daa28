import sqlite3

import pytest

from storage import admin_requests


def test_requests_wait_in_the_order_in_which_they_were_placed(
    connection: sqlite3.Connection,
) -> None:
    first = admin_requests.place(connection, "erase", {"user": "alice"}, 1000)
    second = admin_requests.place(connection, "reload", {}, 2000)
    waiting = admin_requests.waiting(connection)
    assert [(order.id, order.kind, order.created_ms) for order in waiting] == [
        (first, "erase", 1000),
        (second, "reload", 2000),
    ]
    assert waiting[0].body == {"user": "alice"}


def test_a_waiting_request_has_no_result(connection: sqlite3.Connection) -> None:
    assert (
        admin_requests.result(connection, admin_requests.place(connection, "reload", {}, 1000))
        is None
    )


def test_a_result_ends_the_waiting_and_clears_the_body(
    connection: sqlite3.Connection,
) -> None:
    order = admin_requests.place(connection, "erase", {"user": "alice"}, 1000)
    admin_requests.finish(connection, order, {"ok": True, "rows": 3}, 2000)
    assert admin_requests.waiting(connection) == []
    assert admin_requests.result(connection, order) == {"ok": True, "rows": 3}
    assert connection.execute("SELECT body FROM orders").fetchall() == [("{}",)]


def test_an_unknown_request_raises_a_key_error(connection: sqlite3.Connection) -> None:
    with pytest.raises(KeyError):
        admin_requests.result(connection, 99)


def test_only_old_requests_that_are_done_are_pruned(connection: sqlite3.Connection) -> None:
    old = admin_requests.place(connection, "reload", {}, 1000)
    waits = admin_requests.place(connection, "reload", {}, 1000)
    young = admin_requests.place(connection, "reload", {}, 1000)
    admin_requests.finish(connection, old, {}, 2000)
    admin_requests.finish(connection, young, {}, 3000)
    admin_requests.prune(connection, before_ms=3000)
    left = [row[0] for row in connection.execute("SELECT id FROM orders ORDER BY id")]
    assert left == [waits, young]


def test_ids_are_never_reused(connection: sqlite3.Connection) -> None:
    order = admin_requests.place(connection, "reload", {}, 1000)
    admin_requests.finish(connection, order, {}, 1000)
    admin_requests.prune(connection, before_ms=9999)
    assert admin_requests.place(connection, "reload", {}, 1000) > order
