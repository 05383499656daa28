"""Large databases for measurements: channels with exchanges and their snapshots.

They have the engine's own schema, hash chain and snapshots, written in few large transactions. They
take minutes to make, so they are kept in data/bench-cache, which may be removed at any time. If the
schema, the snapshots or the content changes, they are made again.

`python -m tests.bench.store.grown FILE CHANNELS EXCHANGES` makes one.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from engine.actors.conversation import Conversation
from storage import hash_chain
from storage.history import Row
from storage.migrations import migrate
from storage.writer.database import Database
from tests.bench.children import module
from tests.bench.record import CACHE

GROW_LIMIT_S = 1800.0
WINDOW = 10
DAY_MS = 24 * 60 * 60 * 1000
YEAR_MS = 365 * DAY_MS
BATCH = 50_000
FACTS = ", ".join(hash_chain.FACTS)
INSERT = (
    "INSERT INTO history (id, channel_id, username, content, salt, digest, published_ms,"  # noqa: S608
    f" {FACTS}) VALUES (?, ?, ?, ?, ?, ?, ?{', ?' * len(hash_chain.FACTS)})"
)
Values = tuple[str | int | bytes | None, ...]

# The texts: all different, with words as frequent as in a language. Common words are short.
TEXT_BYTES = 200
TAGS = 50_000
_SYLLABLES = [c + v for c in "bdfgklmnprstvw" for v in ("a", "e", "i", "o", "u", "ai", "en", "or")]
_WORDS = [*_SYLLABLES, *(one + other for one in _SYLLABLES for other in _SYLLABLES)][:4000]
_SCATTER = 2654435761  # Knuth's: spreads neighbours far apart, with no collision


class Size(NamedTuple):
    """The size of a database: channels, and exchanges in each."""

    channels: int
    exchanges: int

    @property
    def rows(self) -> int:
        return 2 * self.channels * self.exchanges


SIZES = (Size(1_000, 5), Size(100_000, 5), Size(1_000_000, 5))


def channel(number: int) -> str:
    return f"channel-{number:07}"


def user(number: int) -> str:
    return f"user-{number % 500}"


def cached_database(size: Size) -> Path:
    """Return the path of the cached database. It may be read or started with, not added to."""
    CACHE.mkdir(parents=True, exist_ok=True)
    name = f"{size.channels}x{size.exchanges}"
    path = (CACHE / f"{name}-{_key()}.db").absolute()
    if not path.exists():
        for old in CACHE.glob(f"{name}-*"):
            old.unlink()
        print(f"Making a database of {size.rows:,} rows in {CACHE} ...", file=sys.stderr)
        growing = path.with_suffix(".growing")
        command = module("store.grown", str(growing), *map(str, size))
        subprocess.run(command, timeout=GROW_LIMIT_S, check=True)
        growing.rename(path)
        for rest in CACHE.glob(f"{growing.name}*"):  # its lock
            rest.unlink()
    return path


def copy_of(size: Size, folder: Path) -> Path:
    """Return a copy in `folder` to write to, fully on disk and, if it fits, in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / "grown.db"
    shutil.copyfile(cached_database(size), copy)
    _write_to_disk(copy)
    return copy


def _write_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _key() -> str:
    """Return a digest of everything that decides what a new database looks like."""
    sample = Conversation(WINDOW)
    sample.answered("alice", "Hello", "Hi")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, ":memory:")
        schema = connection.execute("SELECT sql FROM sqlite_schema ORDER BY name").fetchall()
    parts = (Path(__file__).read_bytes(), sample.encode(), repr(schema).encode())
    return hashlib.sha256(b"".join(parts)).hexdigest()[:12]


async def grow(path: Path, size: Size) -> None:
    """Write a new database to `path`."""
    database = Database(path)
    await database.open()
    await database.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        # A crash would ruin the file, but an unfinished file is never used.
        for pragma in ("journal_mode=DELETE", "journal_mode=OFF", "synchronous=OFF"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA cache_size=-1000000")
        _fill(connection, size, time.time_ns() // 1_000_000)
        connection.execute("PRAGMA journal_mode=WAL")
    _write_to_disk(path)


def _fill(connection: sqlite3.Connection, size: Size, now_ms: int) -> None:
    began_ms = now_ms - YEAR_MS

    def insert(statement: str, rows: Iterator[Values]) -> None:
        connection.execute("BEGIN")
        connection.executemany(statement, rows)
        connection.execute("COMMIT")

    insert(
        "INSERT INTO channel (id, name, created_ms) VALUES (?, ?, ?)",
        ((n + 1, channel(n), began_ms) for n in range(size.channels)),
    )
    heads = [hash_chain.of_channel(channel(n)) for n in range(size.channels)]
    # Round by round, so that a channel's rows lie apart, as they do when all channels talk.
    for exchange in range(size.exchanges):
        at_ms = began_ms + exchange * (YEAR_MS - 3 * DAY_MS) // size.exchanges
        for first in range(0, size.channels, BATCH):
            numbers = range(first, min(first + BATCH, size.channels))
            insert(INSERT, _rows(size, exchange, numbers, heads, at_ms))
    insert(
        "INSERT INTO snapshot (channel_id, upto, ts_ms, body) VALUES (?, ?, ?, ?)",
        _snapshots(size, now_ms),
    )
    # As if all of it was written before the sums of `storage/usage.py` were kept.
    connection.execute("UPDATE usage_from SET history_id = ?", (size.rows,))


def _message_number(size: Size, channel_number: int, exchange: int) -> int:
    """Return the number of a message's text; its answer has the next number."""
    return 2 * (exchange * size.channels + channel_number)


def _rows(
    size: Size, exchange: int, numbers: range, heads: list[bytes], at_ms: int
) -> Iterator[Values]:
    for n in numbers:
        asked = _message_number(size, n, exchange)
        ts_ms, request_id, name = at_ms + n // 20, f"{asked:08x}-{n:07}", user(n)
        more = details(ts_ms + 1, exchanges=min(exchange, 4), digest=heads[n].hex())
        encoded = orjson.dumps({"accepted_ms": ts_ms, **more}).decode()
        by: Values = ("ollama", "llama3.2", "stop", 600, 50, 1200, None, encoded)
        message: Values = (2 * exchange + 1, ts_ms, "message", request_id, "default", *[None] * 8)
        answer: Values = (2 * exchange + 2, ts_ms, "answer", request_id, "default", *by)
        for number, facts in ((asked, message), (asked + 1, answer)):
            content, salt = text(number), hash_chain.new_salt()
            private = hash_chain.of_private(salt, name, content)
            heads[n] = hash_chain.of_row(heads[n], private, facts)  # type: ignore[arg-type]
            published_ms = ts_ms + 1201 if number != asked else None
            yield (number + 1, n + 1, name, content, salt, heads[n], published_ms, *facts)


def details(started_ms: int, *, exchanges: int, digest: str) -> dict[str, Any]:
    """Return what the engine keeps with an answer."""
    return {
        "started_ms": started_ms,
        "persona_version": "3f1c5a09b2d7",
        "exchanges": exchanges,
        "prompt_digest": digest,
        "waited_ms": 0,
        "attempts": 1,
        "temperature": 0.7,
    }


def _snapshots(size: Size, now_ms: int) -> Iterator[Values]:
    newest = range(max(0, size.exchanges - WINDOW // 2), size.exchanges)
    for n in range(size.channels):
        conversation = Conversation(WINDOW)
        asked = [_message_number(size, n, exchange) for exchange in newest]
        conversation.replay(row for number in asked for row in _past(number, user(n)))
        yield n + 1, asked[-1] + 2, now_ms, conversation.encode()


def _past(number: int, name: str) -> Iterator[Row]:
    yield Row("message", "", name, text(number))
    yield Row("answer", "", name, text(number + 1))


def word(rank: int) -> str:
    """Return the `rank`th most common word, from 0; the same in every process."""
    return _WORDS[rank]


def tag(number: int) -> str:
    """Return a word that is in one of TAGS texts."""
    return f"case{number * _SCATTER % TAGS:05}"


def text(number: int) -> str:
    """Return the text with this number, below 2**32, of TEXT_BYTES bytes."""
    scattered = number * _SCATTER & 0xFFFFFFFF
    chosen = (scattered & 2047, scattered >> 11 & 2047, scattered >> 21, number & 2047)
    phrases = " ".join([_PHRASES[each] for each in chosen])
    return f"{phrases[: TEXT_BYTES - 10]} {tag(number)}"


def _phrases() -> Iterator[str]:
    chance, weights = random.Random(1), [1 / rank for rank in range(1, len(_WORDS) + 1)]
    cumulated = list(accumulate(weights))
    for _ in range(2**11):
        yield " ".join(chance.choices(_WORDS, cum_weights=cumulated, k=16))  # 47 bytes or more


_PHRASES = list(_phrases())


if __name__ == "__main__":
    file, *numbers = sys.argv[1:]
    asyncio.run(grow(Path(file), Size(*map(int, numbers))))
