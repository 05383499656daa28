"""Ways to change a history behind its back, and what `verify` then says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from storage import erasure, usage, verification
from storage.erasure import Scope
from storage.erasure_events import Erasure
from storage.history import Row
from storage.queries.reader import open_reader
from storage.usage import Charge
from storage.verification import Seal, TamperedRow
from tests.support.archive import Archive

ORDER = Erasure("order")

FULL = Row(
    "answer", "r9", "bob", "Yes.", "default", "ollama", "llama3.2", "stop", 40, 9, 800, "code",
    {"attempts": 1, "persona_version": "0123456789abcdef"}, '{"user_id":"U9"}',
)  # fmt: skip


# These are set later than the row, and are not part of its digest.
LATER = {"erased_ms", "published_ms"}


@contextmanager
def nine_rows(path: Path) -> Iterator[Archive]:
    """Rows 1 to 9: three turns in each of two channels, and one with a value in each column."""
    with closing(Archive(path)) as archive:
        archive.connection.execute("PRAGMA foreign_keys=OFF")
        for text in ("one", "two"):
            for channel in ("#a", "#b"):
                archive.say(text, channel=channel, user=f"user of {channel}", ts_ms=1000)
        archive.add([FULL], "#a", 2000)
        used = Charge(
            ("*", "c:#a", f"e:{FULL.provider}"),
            0,
            prompt_tokens=FULL.prompt_tokens or 0,
            completion_tokens=FULL.completion_tokens or 0,
        )
        usage.add(archive.connection, [used])
        yield archive


def erase(archive: Archive, scope: Scope, at_ms: int = 5000) -> None:
    found = erasure.find(archive.connection, scope, 0, 10**9)
    row_ids = [row_id for row_id, _ in found.rows]
    erasure.blank(archive.connection, row_ids, at_ms, lambda channel, request_id: b"{}", ORDER)


def broken(archive: Archive, seal: Seal | None = None) -> TamperedRow:
    with closing(open_reader(archive.path)) as connection, pytest.raises(TamperedRow) as caught:
        verification.verify(connection, seal)
    return caught.value


def proved(archive: Archive, seal: Seal | None = None) -> verification.Verified:
    with closing(open_reader(archive.path)) as connection:
        return verification.verify(connection, seal)


def change(archive: Archive, sql: str, *values: object) -> None:
    assert archive.connection.execute(sql, values).rowcount >= 1


def copy_as(archive: Archive, row_id: int, new_id: int) -> None:
    columns = [
        row[1] for row in archive.connection.execute("PRAGMA table_info(history)") if row[1] != "id"
    ]
    names = ", ".join(columns)
    change(
        archive,
        f"INSERT INTO history (id, {names}) SELECT ?, {names} FROM history WHERE id = ?",  # noqa: S608
        new_id,
        row_id,
    )


COLUMNS = {
    "id": 99,
    "channel_id": 2,
    "seq": 77,
    "ts_ms": 2001,
    "kind": "completion",
    "request_id": "r8",
    "username": "Bob",
    "content": "No.",
    "persona": "concise",
    "provider": "openai",
    "model": "llama3.3",
    "finish_reason": "length",
    "prompt_tokens": 41,
    "completion_tokens": 10,
    "latency_ms": 801,
    "code": "cod",
    "details": '{"attempts":2,"persona_version":"0123456789abcdef"}',
    "personal": '{"user_id":"U8"}',
    "salt": b"x" * 16,
    "digest": b"x" * 32,
    "private": b"x" * 32,
    "erased_ms": 1,
}
