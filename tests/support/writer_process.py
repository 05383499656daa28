"""A process that writes until it is killed, or until its files may grow no more.

python -m tests.support.writer_process WHAT PATH, where WHAT is
write    prints each number once it is committed
full     prints what was written, refused, written again
crammed  fills its disk; prints the errors after a refused write, a small one, and one with room
crowded  prints what was written and logged, when the WAL may still grow, but not the database file
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import sys
from pathlib import Path

from storage import statistics
from storage.errors import StorageUnavailable
from storage.writer.database import Database
from tests.support.channel_writes import add

ROOT = Path(__file__).parents[2]
GROUP = 7
FILE_LIMIT_BYTES = 400_000


async def start(what: str, path: Path) -> asyncio.subprocess.Process:
    """Start this file as a child process; read its `stdout`."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, what, str(path)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )


async def write(database: Database) -> None:
    for first in range(0, 100_000, GROUP):
        writes = [database.write_soon(add(str(first + each))) for each in range(GROUP)]
        for done in writes:
            print(await done, flush=True)  # noqa: T201 - the parent listens


async def full(database: Database) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT_BYTES, hard))
    written, refused = [], []
    for number in range(20):
        name = f"{number} " + "x" * 50_000
        try:
            written.append(await database.write(add(name)))
        except StorageUnavailable:
            refused.append(name)
    failing = database.failing
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    again = [await database.write(add(name)) for name in refused]
    await database.close()
    print(json.dumps([written, refused, again, failing]))  # noqa: T201 - the parent listens


async def crammed(database: Database) -> None:
    assert database.path is not None
    filler = database.path.with_name("filler")
    failing = []
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    # The refused write leaves room in the WAL, which the small one then takes.
    os.truncate(filler, filler.stat().st_size - 65_536)
    with contextlib.suppress(StorageUnavailable):
        await database.write(add("x" * 200_000))
    failing.append(database.failing)
    await database.write(statistics.touch)
    failing.append(database.failing)
    filler.unlink()
    await database.write(statistics.touch)
    failing.append(database.failing)
    await database.close()
    print(json.dumps(failing))  # noqa: T201 - the parent listens


async def crowded(database: Database) -> None:
    piece = "x" * 1_000_000  # twice: in the table, and in its index
    logged = Logged()
    logging.getLogger("rosey_llm.storage").addHandler(logged)
    written = [await database.write(add(f"{number} {piece}")) for number in range(8)]
    await database.truncate_wal()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (14 * len(piece), hard))
    written += [await database.write(add(f"more {number} {piece}")) for number in range(5)]
    failing = [database.failing]
    while len(logged.said) < 2:
        written.append(await database.write(add(f"small {len(written)}")))
        if logged.said:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        await asyncio.sleep(0.1)  # time without work
    await database.close()
    print(json.dumps([written, failing, logged.said]))  # noqa: T201 - the parent listens


class Logged(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append((record.levelname, record.getMessage()))


async def main(what: str, path: str) -> None:
    database = Database(Path(path))
    await database.open()
    await {"write": write, "full": full, "crammed": crammed, "crowded": crowded}[what](database)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
