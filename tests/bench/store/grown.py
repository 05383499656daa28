"""Large databases for measurements: channels with exchanges and their snapshots.

They have the engine's own schema, hash chain and snapshots, written in few large transactions. They
take minutes to make, so they are kept in data/bench-cache, which may be removed at any time. If the
schema, the snapshots or the content changes, they are made again.

`python -m tests.bench.store.grown PATH CHANNELS EXCHANGES` makes one; it writes `{}` when it
begins, and again when it is done.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from engine.actors.conversation import Conversation
from storage import hash_chain
from storage.row_kinds import Kind
from storage.writer.database import Database
from tests.bench.children import module, running, write_line
from tests.bench.store import page_cache

FOLDER = Path("data/bench-cache")
GROW_LIMIT_S = 1800.0
WINDOW = 10
DAY_MS = 24 * 60 * 60 * 1000
YEAR_MS = 365 * DAY_MS
BATCH = 50_000
USERS = 500
FACTS = ", ".join(hash_chain.FACTS)
INSERT = (
    "INSERT INTO history (id, channel_id, username, content, salt, digest, published_ms,"  # noqa: S608
    f" {FACTS}) VALUES (?, ?, ?, ?, ?, ?, ?{', ?' * len(hash_chain.FACTS)})"
)
HistoryRow = tuple[str | int | bytes | None, ...]

# The texts: all different, with words as frequent as in a language.
TEXT_BYTES = 200
WORDS = 4000
PHRASES = 2**11
PHRASE_BYTES = 48
TAGS = 50_000
_SYLLABLES = [c + v for c in "bdfgklmnprstvw" for v in ("a", "e", "i", "o", "u", "ai", "en", "or")]
_SCATTER = 2654435761  # Knuth's: spreads neighbours far apart, with no collision


@dataclass(frozen=True)
class Size:
    """The size of a database: channels, and exchanges in each."""

    channels: int
    exchanges: int

    @property
    def rows(self) -> int:
        return 2 * self.channels * self.exchanges


def channel(number: int) -> str:
    return f"channel-{number:07}"


def user(number: int) -> str:
    return f"user-{number % USERS}"


def message_number(size: Size, channel_number: int, exchange: int) -> int:
    """Return the number of a message's text; its answer has the next number."""
    return 2 * (exchange * size.channels + channel_number)


async def cached_database(size: Size) -> Path:
    """Return the path of the cached database. It may be read or started with, not added to."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    name = f"{size.channels}x{size.exchanges}"
    path = (FOLDER / f"{name}-{await _key()}.db").absolute()
    if not path.exists():
        _remove(FOLDER, f"{name}-*")
        print(f"Making a database of {size.rows:,} rows in {FOLDER} ...", file=sys.stderr)
        growing = path.with_suffix(".growing")
        command = module("store.grown", str(growing), str(size.channels), str(size.exchanges))
        async with running("the maker of the database", command) as child:
            await child.read_line(GROW_LIMIT_S)
        growing.rename(path)
        _remove(FOLDER, f"{growing.name}*")
    return path


async def copy_of(size: Size, folder: Path) -> Path:
    """Return a copy in `folder` to write to, fully on disk and, if it fits, in memory."""
    original, copy = await cached_database(size), folder / "grown.db"
    folder.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec("cp", "--", str(original), str(copy))
    if await process.wait():
        raise OSError(f"Cannot copy {original} to {copy}; see the message of cp.")
    await asyncio.to_thread(page_cache.write_back, copy)
    return copy


async def _key() -> str:
    """Return a digest of everything that decides what a new database looks like."""
    digest = hashlib.sha256()
    digest.update(Path(__file__).read_bytes())
    sample = Conversation(WINDOW)
    sample.answered("alice", "Hello", "Hi")
    digest.update(sample.encode())
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        path = Path(folder) / "empty.db"
        database = Database(path)
        await database.open()
        await database.close()
        with closing(sqlite3.connect(path)) as connection:
            schema = connection.execute("SELECT sql FROM sqlite_schema ORDER BY name").fetchall()
            digest.update(
                repr([schema, connection.execute("PRAGMA page_size").fetchone()]).encode()
            )
    return digest.hexdigest()[:12]


def _remove(folder: Path, pattern: str) -> None:
    for file in folder.glob(pattern):
        file.unlink()


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
    page_cache.write_back(path)


def _fill(connection: sqlite3.Connection, size: Size, now_ms: int) -> None:
    began_ms = now_ms - YEAR_MS
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO channel (id, name, created_ms) VALUES (?, ?, ?)",
        ((n + 1, channel(n), began_ms) for n in range(size.channels)),
    )
    connection.execute("COMMIT")
    heads = [hash_chain.of_channel(channel(n)) for n in range(size.channels)]
    # Round by round, so that a channel's rows lie apart, as they do when all channels talk.
    for exchange in range(size.exchanges):
        at_ms = began_ms + exchange * (YEAR_MS - 3 * DAY_MS) // size.exchanges
        for first in range(0, size.channels, BATCH):
            numbers = range(first, min(first + BATCH, size.channels))
            connection.execute("BEGIN")
            connection.executemany(INSERT, _rows(size, exchange, numbers, heads, at_ms))
            connection.execute("COMMIT")
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO snapshot (channel_id, upto, ts_ms, body) VALUES (?, ?, ?, ?)",
        _snapshots(size, now_ms),
    )
    connection.execute("COMMIT")


def _rows(
    size: Size, exchange: int, numbers: range, heads: list[bytes], at_ms: int
) -> Iterator[HistoryRow]:
    for n in numbers:
        asked = message_number(size, n, exchange)
        ts_ms, request_id, name = at_ms + n // 20, f"{asked:08x}-{n:07}", user(n)
        message: HistoryRow = (2 * exchange + 1, ts_ms, "message", request_id, "default")
        answer: HistoryRow = (2 * exchange + 2, ts_ms, "answer", request_id, "default")
        details = (
            f'{{"accepted_ms":{ts_ms},"started_ms":{ts_ms + 1},"persona_version":"3f1c5a09b2d7",'
            f'"exchanges":{min(exchange, 4)},"prompt_digest":"{heads[n].hex()}","waited_ms":0,'
            '"attempts":1,"temperature":0.7}'
        )
        by: HistoryRow = ("ollama", "llama3.2", "stop", 600, 50, 1200, None, details)
        for number, facts in ((asked, message + (None,) * 8), (asked + 1, answer + by)):
            content, salt = text(number), hash_chain.new_salt()
            private = hash_chain.of_private(salt, name, content)
            heads[n] = hash_chain.of_row(heads[n], private, facts)  # type: ignore[arg-type]
            published_ms = ts_ms + 1201 if number != asked else None
            yield (number + 1, n + 1, name, content, salt, heads[n], published_ms, *facts)


def _snapshots(size: Size, now_ms: int) -> Iterator[HistoryRow]:
    newest = range(max(0, size.exchanges - WINDOW // 2), size.exchanges)
    for n in range(size.channels):
        conversation = Conversation(WINDOW)
        asked = [message_number(size, n, exchange) for exchange in newest]
        conversation.replay(row for number in asked for row in _past(number, user(n)))
        yield n + 1, asked[-1] + 2, now_ms, conversation.encode()


def _past(number: int, name: str) -> Iterator[tuple[Kind, str, str, None]]:
    yield "message", name, text(number), None
    yield "answer", name, text(number + 1), None


def word(rank: int) -> str:
    """Return the `rank`th most common word, from 0; the same in every process."""
    return _words[rank]


def tag(number: int) -> str:
    """Return a word that is in one of TAGS texts."""
    return f"case{number * _SCATTER % TAGS:05}"


def text(number: int) -> str:
    """Return the text with this number, below 2**32, of TEXT_BYTES bytes."""
    scattered = number * _SCATTER & 0xFFFFFFFF
    phrases = " ".join(
        (
            _phrases[scattered & 2047],
            _phrases[scattered >> 11 & 2047],
            _phrases[scattered >> 21],
            _phrases[number & 2047],
        )
    )
    return f"{phrases[: TEXT_BYTES - 10]} {tag(number)}"


def _vocabulary(chance: random.Random) -> list[str]:
    known: dict[str, None] = {}
    while len(known) < WORDS:
        # Common words are short, as in languages.
        syllables = 1 if len(known) < 60 else chance.choice((2, 2, 3))
        known["".join(chance.choices(_SYLLABLES, k=syllables))] = None
    return list(known)


def _phrase(chance: random.Random, weights: list[float]) -> str:
    words: list[str] = []
    while len(" ".join(words)) < PHRASE_BYTES:
        words += chance.choices(_words, cum_weights=weights)
    return " ".join(words)


_chance = random.Random(1)
_words = _vocabulary(_chance)
_weights = list(accumulate(1 / rank for rank in range(1, WORDS + 1)))
_phrases = [_phrase(_chance, _weights) for _ in range(PHRASES)]


if __name__ == "__main__":
    write_line({})
    asyncio.run(grow(Path(sys.argv[1]), Size(int(sys.argv[2]), int(sys.argv[3]))))
    write_line({})
