"""The cache of large databases, data/bench-cache: they take minutes to make.

The folder may be removed at any time. If the schema, the snapshots or the content changes, the
databases are made again.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from engine.actors.conversation import Conversation
from storage.writer.database import Database
from tests.bench.children import module, running
from tests.bench.store import grown, page_cache, texts
from tests.bench.store.grown import Size

FOLDER = Path("data/bench-cache")
GROW_LIMIT_S = 1800.0


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
    for each in (grown, texts):
        digest.update(Path(str(each.__file__)).read_bytes())
    sample = Conversation(grown.WINDOW)
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
