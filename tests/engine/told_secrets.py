"""A database in which mallory told a secret, in every place where text can stand.

python -m tests.engine.told_secrets TEMPLATE FOLDER    dies while erasing, at many points
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

from engine.commands import records
from engine.commands.records import Chat
from engine.operations import admin_requests, erasure
from storage import mailboxes, search_index, snapshots
from storage.erasure import Scope
from storage.history import Row
from tests.storage.audited import Archive

SECRET = "xylophonic"
USER = "Mallory"
TOLD_MS = 1_700_000_000_000
ROWS = 3 * 2 * 30
ORDER = {"scope": Scope(user=USER.lower()).to_json(), "compact": True}
POINTS = ("COMMIT", "VACUUM", "PRAGMA wal_checkpoint", "PRAGMA main.wal_checkpoint")


def tell(path: Path) -> None:
    """ROWS rows of mallory, as many of bob, among them, in three channels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(Archive(path)) as archive:
        archive.connection.execute("BEGIN")
        for number in range(30):
            for channel in ("#a", "#b", "#c"):
                for user in (USER, "bob"):
                    _turn(archive, channel, user, f"{channel}-{user[0]}-{number}")
        for channel in ("#a", "#b", "#c"):
            snapshots.save(archive.connection, channel, 1, 0, _text(USER).encode())
            for user in (USER, "bob"):
                body = records.encode(Chat(_text(user)))
                mailboxes.put(archive.connection, channel, f"w{user[0]}", user, body, (), TOLD_MS)
        archive.connection.execute("COMMIT")
        leave_remains(archive.connection, _text(USER))
    with search_index.open_index(path) as index:
        while index.feed(500):
            pass


def leave_remains(connection: sqlite3.Connection, text: str) -> None:
    """In unused space of the file, where moved rows and older versions left them, too."""
    connection.execute("PRAGMA secure_delete=OFF")
    connection.execute("INSERT INTO channel (name, created_ms) VALUES (?, 0)", (text * 10,))
    connection.execute("DELETE FROM channel WHERE name = ?", (text * 10,))


def _turn(archive: Archive, channel: str, user: str, request_id: str) -> None:
    text = _text(user)
    accepted = mailboxes.put(
        archive.connection, channel, request_id, user, text.encode(), (), TOLD_MS
    )
    assert isinstance(accepted, mailboxes.Accepted)
    rows = (Row("message", request_id, user, text), Row("answer", request_id, user, text))
    mailboxes.settle(
        archive.connection,
        accepted.id,
        channel,
        request_id,
        rows,
        "response",
        text.encode(),
        TOLD_MS,
    )


def _text(user: str) -> str:
    return f"{user} says: {SECRET if user == USER else 'hello'} " * 3


def where_is(folder: Path, *words: str) -> list[tuple[str, str]]:
    """The files of a folder that have one of these words in their bytes, in any case.

    In a process of its own: whoever opens and closes a database takes SQLite's locks away from all
    connections of the same process.
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
        path, erasure.REQUEST_KIND, ORDER, erasure.handler, lambda left: None
    )


def _die_at(point: int) -> None:
    """Before the first such statement, after it, before the second ..., as by a power cut."""
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

    def mortal(
        *args: Any, factory: type[sqlite3.Connection] = sqlite3.Connection, **more: Any
    ) -> sqlite3.Connection:
        return connect(*args, factory=type("Mortal", (Connection, factory), {}), **more)

    sqlite3.connect = mortal  # type: ignore[assignment]


def main(template: Path, folder: Path) -> None:
    for point in range(0, 1000, 3):  # so that it falls before and after statements of each kind
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
