"""A database with a secret in every place that can hold text, and processes that die erasing it.

python -m tests.support.secrets_database TEMPLATE FOLDER    is killed while erasing, at many points
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from engine.commands import records
from engine.commands.records import Chat
from engine.operations import admin_requests, erasure
from storage import mailboxes, search_index, snapshots
from storage.erasure import Scope
from storage.history import Row
from tests.support import command_writes as writes
from tests.support.archive import Archive

SECRET = "xylophonic"
USER = "Mallory"
TOLD_MS = 1_700_000_000_000
ROWS = 3 * 2 * 30
REQUEST = {"scope": Scope(user=USER.lower()).to_json(), "compact": True}
POINTS = ("COMMIT", "VACUUM", "PRAGMA wal_checkpoint", "PRAGMA main.wal_checkpoint")


def write_database(path: Path) -> None:
    """Write ROWS rows of mallory and as many of bob, mixed, in three channels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(Archive(path)) as archive:
        archive.connection.execute("BEGIN")
        for number in range(30):
            for channel in ("#a", "#b", "#c"):
                for user in (USER, "bob"):
                    _add_turn(archive, channel, user, f"{channel}-{user[0]}-{number}")
        for channel in ("#a", "#b", "#c"):
            snapshots.save(archive.connection, channel, 1, 0, _text(USER).encode())
            for user in (USER, "bob"):
                body = records.encode(Chat(_text(user)))
                request_id, id_ = f"w{user[0]}", _personal(user)
                writes.put(
                    archive.connection, channel, request_id, user, body, (), TOLD_MS, personal=id_
                )
        archive.connection.execute("COMMIT")
        leave_deleted_text(archive.connection, _text(USER))
    with search_index.open_index(path) as index:
        while index.feed(500):
            pass


def leave_deleted_text(connection: sqlite3.Connection, text: str) -> None:
    """Leave text in unused space of the file, as moved rows and older versions do."""
    connection.execute("PRAGMA secure_delete=OFF")
    connection.execute("INSERT INTO channel (name, created_ms) VALUES (?, 0)", (text * 10,))
    connection.execute("DELETE FROM channel WHERE name = ?", (text * 10,))


def _add_turn(archive: Archive, channel: str, user: str, request_id: str) -> None:
    text = _text(user)
    accepted = writes.put(archive.connection, channel, request_id, user, text.encode(), (), TOLD_MS)
    assert isinstance(accepted, mailboxes.Accepted)
    rows = (
        Row("message", request_id, user, text, personal=_personal(user)),
        Row("answer", request_id, user, text, personal=_personal(user)),
    )
    writes.settle(
        archive.connection,
        accepted.id,
        channel,
        request_id,
        rows,
        "response",
        text.encode(),
        TOLD_MS,
    )


def _personal(user: str) -> str:
    """An id that has the secret, too."""
    return orjson.dumps({"user_id": _text(user)}).decode()


def _text(user: str) -> str:
    return f"{user} says: {SECRET if user == USER else 'hello'} " * 3


def files_containing(folder: Path, *words: str) -> list[tuple[str, str]]:
    """Return (file name, word) for each file of a folder whose bytes hold a word, in any case.

    It runs in another process: opening and closing a database file here would release the SQLite
    locks of all connections of this process.
    """
    found = []
    for word in words:
        listed = subprocess.run(
            ["grep", "-rlaiF", word, str(folder)],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
        assert listed.returncode in (0, 1), listed
        found += [(Path(name).name, word) for name in sorted(listed.stdout.splitlines())]
    return found


def erase(path: Path) -> None:
    admin_requests.wait_until_done(
        path, erasure.REQUEST_KIND, REQUEST, erasure.handler, lambda left: None
    )


def _die_at(point: int) -> None:
    """Die before or after one of the statements in POINTS, as in a power cut."""
    left = point

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            nonlocal left
            if not sql.startswith(POINTS):
                return super().execute(sql, *parameters)
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            cursor = super().execute(sql, *parameters)
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return cursor

    connect = sqlite3.connect

    def connect_mortal(
        *args: Any, factory: type[sqlite3.Connection] = sqlite3.Connection, **more: Any
    ) -> sqlite3.Connection:
        return connect(*args, factory=type("Mortal", (Connection, factory), {}), **more)

    sqlite3.connect = connect_mortal  # type: ignore[assignment]


def main(template: Path, folder: Path) -> None:
    for point in range(0, 1000, 3):  # an odd step, to hit before and after statements of each kind
        shutil.copytree(template, folder / str(point))
        child = os.fork()
        if not child:
            _die_at(point)
            erase(folder / str(point) / "rosey-llm.db")
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
