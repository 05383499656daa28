"""Verifies that the history is as it was written: computes every digest again, finds every gap.

The chain reveals a change unless all later digests were computed again as well. A process that can
write the file can do that; a seal that is kept elsewhere reveals it: `<last id>:<SHA-256 over the
digests of all rows up to it>`. Erasing leaves the digests as they are, so old seals stay valid.
"""

from __future__ import annotations

import gc
import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from storage import channels, erasure_events, hash_chain, persona_versions, schema, usage

CHUNK = 128  # many more do not fit the processor's cache: half as fast
SEAL = re.compile(r"(\d{1,18}):([0-9a-f]{64})")
COLUMNS = (
    "id, channel_id, username, content, personal, salt, digest, private, erased_ms,"
    f" {', '.join(hash_chain.FACTS)}"
)
SEQ, TS_MS = 9, 10  # their places in COLUMNS
Advance = Callable[[int], object]
Values = tuple[Any, ...]


class TamperedRow(Exception):
    """The history is not as it was written; the text says what is wrong with the first such row.

    row_id: None if it is not a single row that is wrong.
    """

    def __init__(
        self,
        problem: str,
        *,
        row_id: int | None = None,
        channel: str | None = None,
        seq: int | None = None,
        ts_ms: int | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.row_id = row_id
        self.channel = channel
        self.seq = seq
        self.ts_ms = ts_ms


@dataclass(frozen=True, slots=True)
class Seal:
    """A digest over all rows up to `last_id`."""

    last_id: int
    digest: str

    def __str__(self) -> str:
        return f"{self.last_id}:{self.digest}"

    @classmethod
    def parse(cls, text: str) -> Seal:
        """Parse `<last id>:<digest>`. Raises ValueError."""
        found = SEAL.fullmatch(text.strip().lower())
        if found is None:
            raise ValueError("a seal is a number, a colon and 64 hexadecimal digits")
        return cls(int(found[1]), found[2])


@dataclass(frozen=True, slots=True)
class Verified:
    """What was verified. Times are in ms since 1970; a single channel has no seal."""

    rows: int
    channels: int
    erased: int
    first_ms: int | None
    last_ms: int | None
    seal: Seal | None


def given_ids(connection: sqlite3.Connection) -> int:
    """Return the highest id that the history ever gave a row."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'history'").fetchone()
    return int(row[0]) if row else 0


def verify(
    connection: sqlite3.Connection, seal: Seal | None = None, advance: Advance = lambda rows: None
) -> Verified:
    """Check the whole history as it is now. Raises TamperedRow at the first wrong row.

    Reads the table once, in its own transaction; holds one digest for each channel. `advance` is
    called with the number of rows read since the last call.
    """
    with _Verification(connection) as checking:
        return checking.all_rows(seal, advance)


def verify_channel(
    connection: sqlite3.Connection, channel: str, advance: Advance = lambda rows: None
) -> Verified:
    """Check the rows of one channel. Raises TamperedRow, or KeyError for an unknown channel."""
    with _Verification(connection) as checking:
        return checking.one_channel(channel, advance)


@dataclass(slots=True)
class _Head:
    """A channel's newest row so far."""

    digest: bytes
    seq: int = 0


class _Verification:
    """One pass over rows in the order of their ids."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._cursor.row_factory = None
        self._names: dict[int, str] = {}
        self._heads: dict[int, _Head] = {}
        self._fold = hashlib.sha256()
        self._erased = 0
        self._last_id = 0
        self._collects = False
        self._covered: erasure_events.Ranges = []  # from the first one that may still matter

    def __enter__(self) -> _Verification:
        self._connection.execute("BEGIN")
        # Millions of rows make no cycles, and looking for cycles takes a tenth of the time.
        self._collects = gc.isenabled()
        gc.disable()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._collects:
            gc.enable()
        self._cursor.close()
        self._connection.execute("ROLLBACK")

    def all_rows(self, seal: Seal | None, advance: Advance) -> Verified:
        self._load_names("", ())
        self._load_covered()
        given = given_ids(self._connection)
        rows = self._rows("ORDER BY id", ())
        first_ms = last_ms = None
        for chunk in rows:
            if first_ms is None:
                first_ms = chunk[0][TS_MS]
            for part in _split(chunk, seal):
                self._check(part, gapless=True)
                if seal is not None and self._last_id == seal.last_id:
                    self._check_seal(seal)
            last_ms = chunk[-1][TS_MS]
            advance(len(chunk))
        if self._last_id != given:
            raise TamperedRow(_end_problem(self._last_id, given))
        if seal is not None and seal.last_id > self._last_id:
            raise TamperedRow(
                f"The seal was made when there were {seal.last_id} rows; there are only"
                f" {self._last_id}. This is an older state of the history, or its newest rows were"
                " removed."
            )
        if seal is not None and seal.last_id == 0:
            self._check_empty_seal(seal)
        self._check_personas()
        self._check_usage()
        return Verified(
            self._last_id,
            self._count_channels(),
            self._erased,
            first_ms,
            last_ms,
            Seal(self._last_id, self._fold.hexdigest()),
        )

    def one_channel(self, channel: str, advance: Advance) -> Verified:
        self._load_names("WHERE name IN (?, ?)", (channel, channels.ENGINE))
        ids = {name: each for each, name in self._names.items()}
        if channel not in ids:
            raise KeyError(channel)
        channel_id = ids[channel]
        if channel != channels.ENGINE and (events := ids.get(channels.ENGINE)):
            # The erasures that this channel's erased rows refer to.
            for chunk in self._rows("WHERE channel_id = ? ORDER BY id", (events,)):
                self._check(chunk, gapless=False)
            del self._heads[events]
            self._last_id = 0
        self._load_covered()
        first_ms = last_ms = None
        for chunk in self._rows("WHERE channel_id = ? ORDER BY id", (channel_id,)):
            first_ms = chunk[0][TS_MS] if first_ms is None else first_ms
            self._check(chunk, gapless=False)
            last_ms = chunk[-1][TS_MS]
            advance(len(chunk))
        rows = self._heads[channel_id].seq
        return Verified(rows, self._count_channels(), self._erased, first_ms, last_ms, None)

    def _count_channels(self) -> int:
        names = self._names
        return sum(
            head.seq > 0 and names[each] != channels.ENGINE for each, head in self._heads.items()
        )

    def _load_names(self, where: str, values: Values) -> None:
        self._cursor.execute(f"SELECT id, name FROM channel {where}", values)  # noqa: S608
        self._names = dict(self._cursor.fetchall())
        self._heads = {
            each: _Head(hash_chain.of_channel(name)) for each, name in self._names.items()
        }

    def _load_covered(self) -> None:
        """Load the ids of the rows that have an event of their erasure, the last one first."""
        try:
            self._covered = list(reversed(erasure_events.covered(self._connection)))
        except (KeyError, TypeError, ValueError) as exc:
            problem = "The event of an erasure cannot be read: it was changed."
            raise TamperedRow(problem) from exc

    def _rows(self, how: str, values: Values) -> Iterator[list[Values]]:
        try:
            self._cursor.execute(f"SELECT {COLUMNS} FROM history {how}", values)  # noqa: S608
            while chunk := self._cursor.fetchmany(CHUNK):
                yield chunk
        except sqlite3.DatabaseError as exc:
            raise TamperedRow(f"Cannot read the file after row {self._last_id}: {exc}.") from exc

    def _check(self, rows: list[Values], *, gapless: bool) -> None:
        # The only loop that must be fast: names are local, rare cases are handled elsewhere.
        heads, fold, last_id = self._heads, self._fold.update, self._last_id
        sha256, dumps = hashlib.sha256, orjson.dumps
        for row in rows:
            row_id, channel_id, username, content, personal, salt, link, *others = row
            private, erased_ms, *facts = others
            head = heads.get(channel_id)
            if head is None or facts[0] != head.seq + 1 or (gapless and row_id != last_id + 1):
                raise self._misplaced(row, last_id, gapless)
            try:
                if erased_ms is None and private is None:
                    texts = (
                        (username, content) if personal is None else (username, content, personal)
                    )
                    private = sha256(salt + dumps(texts)).digest()
                else:
                    self._check_erased(row)
                own = sha256(head.digest + private + dumps(facts)).digest()
            except TypeError:  # a value of the wrong type
                own = b""
            if own != link:
                raise self._tampered(row, _changed_problem(row))
            head.digest, head.seq = own, facts[0]
            fold(own)
            last_id = row_id
        self._last_id = last_id

    def _check_erased(self, row: Values) -> None:
        if problem := _erased_problem(row) or self._uncovered_problem(row[0]):
            raise self._tampered(row, problem)
        self._erased += 1

    def _uncovered_problem(self, row_id: int) -> str:
        """Return what is wrong with an erased row without an event; rows come in order of id."""
        covered = self._covered
        while covered and covered[-1][1] < row_id:
            covered.pop()
        if covered and covered[-1][0] <= row_id:
            return ""
        return "It is marked as erased, but no erasure of it was recorded."

    def _misplaced(self, row: Values, last_id: int, gapless: bool) -> TamperedRow:
        row_id, channel_id, seq = row[0], row[1], row[SEQ]
        if not isinstance(seq, int) or row_id <= last_id:
            return self._tampered(row, "The file is damaged: its rows are not in order.")
        if gapless and row_id != last_id + 1:
            removed = _removed(last_id + 1, row_id - 1, "the history")
            return self._tampered(row, f"Before it, {removed}.")
        if channel_id not in self._names:
            return self._tampered(row, f"It belongs to channel {channel_id}, which was removed.")
        due = self._heads[channel_id].seq + 1
        if seq > due:
            return self._tampered(row, f"Before it, {_removed(due, seq - 1, 'its channel')}.")
        return self._tampered(
            row,
            f"It is numbered as row {seq} of its channel, but row {due} is expected: it was"
            " inserted, moved from another channel, or changed.",
        )

    def _tampered(self, row: Values, problem: str) -> TamperedRow:
        channel = self._names.get(row[1], f"(no name, id {row[1]})")
        # A damaged file may hold values of any type.
        seq, ts_ms = (each if isinstance(each, int) else None for each in (row[SEQ], row[TS_MS]))
        return TamperedRow(problem, row_id=row[0], channel=channel, seq=seq, ts_ms=ts_ms)

    def _check_seal(self, seal: Seal) -> None:
        if self._fold.hexdigest() != seal.digest:
            raise TamperedRow(
                f"The rows up to {seal.last_id} do not match the seal, although their chain holds:"
                " rows were changed and all later digests computed again, or the order between"
                " channels was changed."
            )

    def _check_empty_seal(self, seal: Seal) -> None:
        if seal.digest != hashlib.sha256().hexdigest():
            raise TamperedRow("The seal is not that of a history without rows.")

    def _check_personas(self) -> None:
        for version, name, prompt in self._cursor.execute(
            "SELECT version, name, prompt FROM persona_version"
        ):
            if persona_versions.version(prompt) != version:
                raise TamperedRow(f'The text of persona "{name}", version {version}, was changed.')

    def _check_usage(self) -> None:
        """Check the sums of `storage/usage.py`, if the file has them: an older one has not."""
        if not schema.is_current(self._connection):
            return
        if missing := usage.missing(self._connection):
            raise TamperedRow(
                f"The rows of the history have {missing.in_history:,} tokens that count for"
                f' "{missing.scope}" in the table usage, but it has {missing.in_sums:,}: it was'
                " changed."
            )


def _split(rows: list[Values], seal: Seal | None) -> list[list[Values]]:
    """Split rows so that the seal's last row is the last one of a part."""
    if seal is None or not rows[0][0] <= seal.last_id < rows[-1][0]:
        return [rows]
    at = sum(row[0] <= seal.last_id for row in rows)
    return [rows[:at], rows[at:]]


def _erased_problem(row: Values) -> str:
    """Return what is wrong with an erased row; "" if nothing is."""
    _, _, username, content, personal, salt, _, private, erased_ms, *_ = row
    if erased_ms is None:
        return "It has the digest of an erased row, but is not marked as erased."
    if private is None:
        return "It is marked as erased, but the digest of its text is missing."
    there = {
        "a text": content != "",
        "a user": username is not None,
        "personal facts": personal is not None,
        "a salt": salt is not None,
    }
    left = [name for name, is_there in there.items() if is_there]
    return f"It is marked as erased, but has {' and '.join(left)}." if left else ""


def _changed_problem(row: Values) -> str:
    first = ", or its channel was renamed" if row[SEQ] == 1 else ""
    return f"It is not as it was written: one of its values or its digest was changed{first}."


def _end_problem(last_id: int, given: int) -> str:
    if given > last_id:
        return f"At the end, {_removed(last_id + 1, given, 'the history')}."
    return (
        f"The database has counted {given} rows (sqlite_sequence), but there are {last_id}: rows"
        " were inserted, or the count was changed."
    )


def _removed(first: int, last: int, of: str) -> str:
    if first == last:
        return f"row {first} of {of} was removed"
    return f"rows {first} to {last} of {of} were removed"
