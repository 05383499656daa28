"""Grown databases, kept from run to run: the large ones take minutes to make.

They lie in `data/bench-cache`, which may be removed at any time. A change of the schema, of the
snapshots or of what they are filled with makes them anew.
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


async def kept(size: Size) -> Path:
    """The database itself: to be read, or started with, and not to be filled further."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    name = f"{size.channels}x{size.exchanges}"
    path = (FOLDER / f"{name}-{await _key()}.db").absolute()
    if not path.exists():
        _remove(FOLDER, f"{name}-*")
        print(f"Growing a database of {size.rows:,} rows, kept in {FOLDER} ...", file=sys.stderr)
        growing = path.with_suffix(".growing")
        command = module("store.grown", str(growing), str(size.channels), str(size.exchanges))
        async with running("the database that grows", command) as child:
            await child.line(GROW_LIMIT_S)
        growing.rename(path)
        _remove(FOLDER, f"{growing.name}*")
    return path


async def copied(size: Size, folder: Path) -> Path:
    """One to write to, in `folder`; all of it is on disk, and in memory as far as that reaches."""
    original, copy = await kept(size), folder / "grown.db"
    folder.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec("cp", "--", str(original), str(copy))
    if await process.wait():
        raise OSError(f"{original} could not be copied to {copy}")
    await asyncio.to_thread(page_cache.write_back, copy)
    return copy


async def _key() -> str:
    """What a database made now would look like."""
    said = hashlib.sha256()
    for each in (grown, texts):
        said.update(Path(str(each.__file__)).read_bytes())
    sample = Conversation(grown.WINDOW)
    sample.answered("alice", "Hello", "Hi")
    said.update(sample.encode())
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        path = Path(folder) / "empty.db"
        database = Database(path)
        await database.open()
        await database.close()
        with closing(sqlite3.connect(path)) as connection:
            schema = connection.execute("SELECT sql FROM sqlite_schema ORDER BY name").fetchall()
            said.update(repr([schema, connection.execute("PRAGMA page_size").fetchone()]).encode())
    return said.hexdigest()[:12]


def _remove(folder: Path, pattern: str) -> None:
    for file in folder.glob(pattern):
        file.unlink()
