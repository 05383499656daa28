"""What calls to models used, by day and scope: a table of sums, written with each turn's outcome.

scope     whose sums these are: "*" for all, "u:id <id>" or "u:name <folded name>" of a user,
          "c:<channel>", "p:<persona>", "e:<provider>", "m:<model>"
day       days since 1970-01-01, in the operator's time zone when the turn was settled
requests  turns that asked a model
micro_usd   millionths of a dollar, as far as the price is known
estimated   requests whose tokens are an estimate, since the provider counted none
unpriced    requests without a known price

The sums are not rebuilt from the history: erasing takes the names away there. A user's rows are
deleted when the user is erased; the totals stay.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from storage.writer.bulk_statements import Insert, Values

SUMS = (
    *("requests", "prompt_tokens", "cached_tokens", "completion_tokens"),
    *("micro_usd", "estimated", "unpriced"),
)
UPSERT = Insert(
    f"INSERT INTO usage (scope, day, {', '.join(SUMS)})",
    columns=2 + len(SUMS),
    after="ON CONFLICT DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS),
)


class Charge(NamedTuple):
    """What one turn adds to the sums of its scopes."""

    scopes: Sequence[str]
    day: int
    requests: int = 1
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    micro_usd: int = 0
    estimated: int = 0
    unpriced: int = 0


class Sums(NamedTuple):
    """The sums of one scope, of one day or of several."""

    scope: str
    day: int
    requests: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    micro_usd: int
    estimated: int
    unpriced: int


def add(connection: sqlite3.Connection, charges: Iterable[Charge]) -> None:
    """Add charges to the sums of their scopes; one row for each scope and day of them."""
    sums: dict[tuple[str, int], list[int]] = {}
    for charge in charges:
        amounts = charge[2:]
        for scope in charge.scopes:
            known = sums.get((scope, charge.day))
            if known is None:
                sums[scope, charge.day] = list(amounts)
            else:
                for number, amount in enumerate(amounts):
                    known[number] += amount
    rows: list[Values] = [(*key, *amounts) for key, amounts in sums.items()]
    for _ in UPSERT.portions(connection, rows):
        pass


def by_scope(
    connection: sqlite3.Connection, kind: str, first_day: int, last_day: int, limit: int
) -> list[Sums]:
    """Return the sums of the scopes that begin with `kind`, the largest first.

    The day of each is its newest one.
    """
    rows = connection.execute(
        f"SELECT scope, max(day), {_summed()} FROM usage"  # noqa: S608
        " WHERE substr(scope, 1, ?) = ? AND day BETWEEN ? AND ? GROUP BY scope"
        " ORDER BY sum(micro_usd) DESC, sum(prompt_tokens + completion_tokens) DESC, scope LIMIT ?",
        (len(kind), kind, first_day, last_day, limit),
    )
    return [Sums(*row) for row in rows]


def by_day(connection: sqlite3.Connection, scope: str, first_day: int, last_day: int) -> list[Sums]:
    """Return the sums of a scope day by day, oldest first; days without any are left out."""
    rows = connection.execute(
        f"SELECT scope, day, {', '.join(SUMS)} FROM usage"  # noqa: S608
        " WHERE scope = ? AND day BETWEEN ? AND ? ORDER BY day",
        (scope, first_day, last_day),
    )
    return [Sums(*row) for row in rows]


def newest_day(connection: sqlite3.Connection) -> int | None:
    """Return the last day on which anything was used; None if nothing was."""
    row = connection.execute("SELECT max(day) FROM usage WHERE scope = '*'").fetchone()
    return None if row[0] is None else int(row[0])


def total(connection: sqlite3.Connection, scope: str, first_day: int, last_day: int) -> Sums:
    """Return the sums of one scope over some days."""
    row = connection.execute(
        f"SELECT ?, ?, {_summed()} FROM usage WHERE scope = ? AND day BETWEEN ? AND ?",  # noqa: S608
        (scope, last_day, scope, first_day, last_day),
    ).fetchone()
    return Sums(*row)


class Missing(NamedTuple):
    """Tokens that rows of the history have, and the sums of `scope` do not."""

    scope: str
    in_history: int
    in_sums: int


def missing(connection: sqlite3.Connection) -> Missing | None:
    """Return what the sums lack of the history's rows that are not erased; None for nothing.

    They may have more: estimates of calls without an answer, and rows that were erased.
    """
    in_history: dict[str, int] = {}
    for channel, provider, tokens in connection.execute(
        "SELECT c.name, h.provider, sum(h.prompt_tokens + h.completion_tokens) FROM history h"
        " JOIN channel c ON c.id = h.channel_id WHERE h.prompt_tokens IS NOT NULL"
        " AND h.erased_ms IS NULL AND h.id > (SELECT history_id FROM usage_from)"
        " GROUP BY h.channel_id, h.provider"
    ):
        for scope in ("*", f"c:{channel}", f"e:{provider}"):
            in_history[scope] = in_history.get(scope, 0) + tokens
    for scope, tokens in in_history.items():
        (summed,) = connection.execute(
            "SELECT coalesce(sum(prompt_tokens + completion_tokens), 0) FROM usage WHERE scope = ?",
            (scope,),
        ).fetchone()
        if summed < tokens:
            return Missing(scope, tokens, summed)
    return None


def forget(connection: sqlite3.Connection, scopes: Iterable[str]) -> bool:
    """Delete the sums of these scopes; return whether there were any."""
    wanted = [(scope,) for scope in scopes]
    return connection.executemany("DELETE FROM usage WHERE scope = ?", wanted).rowcount > 0


def forget_users(connection: sqlite3.Connection, before_day: int) -> bool:
    """Delete what users used before a day; return whether there was anything."""
    return (
        connection.execute(
            "DELETE FROM usage WHERE scope >= 'u:' AND scope < 'u;' AND day < ?", (before_day,)
        ).rowcount
        > 0
    )


def _summed() -> str:
    return ", ".join(f"coalesce(sum({name}), 0)" for name in SUMS)
