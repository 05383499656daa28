"""Searches the history for rows whose text has some words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from storage.queries import entries
from storage.queries.entries import HistoryEntry
from storage.queries.selection import Selection
from storage.search_index import TOKENIZER, SearchIndex

EXCERPT_TOKENS = 28
BEGIN, END = "\x02", "\x03"
Piece = tuple[str, bool]


@dataclass(frozen=True, slots=True)
class Hit:
    """A row, and the excerpt of its text with the most matches: (piece, is it a match)."""

    entry: HistoryEntry
    excerpt: tuple[Piece, ...]


def search(
    index: SearchIndex, match: str, selection: Selection, limit: int, *, best: bool
) -> list[Hit]:
    """Return up to `limit` hits, newest first; with `best`, the best matches first.

    Newest first stops after `limit` rows. With `best`, or if few rows with the words are in the
    selection, all rows with the words are read. `match` is from `search_terms.to_match`. Raises
    StorageUnavailable.
    """
    where, values = selection.conditions("live.")
    order = "words.rank, words.rowid DESC" if best else "words.rowid DESC"
    columns = entries.columns("live.")
    with index.reading():
        of_file = index.connection.execute("PRAGMA live.table_info(history)").fetchall()
        if "personal" not in {name for _, name, *_ in of_file}:  # from before it was kept
            if selection.user_id is not None:
                return []
            columns = columns.replace("h.personal", "NULL")
        rows = index.connection.execute(
            f"SELECT {columns} FROM main.words CROSS JOIN live.history h ON h.id = words.rowid"  # noqa: S608
            " CROSS JOIN live.channel c ON c.id = h.channel_id"
            f" WHERE words MATCH ? AND h.erased_ms IS NULL AND {where} ORDER BY {order} LIMIT ?",
            (match, *values, limit),
        ).fetchall()
        found = [entries.entry(row) for row in rows]
        excerpts = _excerpts(index.connection, match, found)
    return [Hit(each, excerpts.get(each.id, ((each.content, False),))) for each in found]


def _excerpts(
    connection: sqlite3.Connection, match: str, found: list[HistoryEntry]
) -> dict[int, tuple[Piece, ...]]:
    """Mark the matches by a small index of the hits: the large one has no text to show."""
    connection.execute(f"CREATE VIRTUAL TABLE temp.hit USING fts5(content, tokenize='{TOKENIZER}')")
    try:
        connection.executemany(
            "INSERT INTO temp.hit (rowid, content) VALUES (?, ?)",
            [(each.id, _without_marks(each.content)) for each in found],
        )
        rows = connection.execute(
            "SELECT rowid, snippet(hit, 0, ?, ?, '…', ?) FROM temp.hit WHERE hit MATCH ?",
            (BEGIN, END, EXCERPT_TOKENS, match),
        ).fetchall()
    finally:
        connection.execute("DROP TABLE temp.hit")
    return {row_id: tuple(_pieces(snippet)) for row_id, snippet in rows}


def _without_marks(text: str) -> str:
    return text.replace(BEGIN, "").replace(END, "")


def _pieces(snippet: str) -> Iterator[Piece]:
    for index, part in enumerate(snippet.split(BEGIN)):
        hit, _, rest = part.partition(END) if index else ("", "", part)
        if hit:
            yield hit, True
        if rest:
            yield rest, False
