"""`rosey-llm history export`: writes the history as JSON lines, CSV or Markdown, row by row."""

from __future__ import annotations

import csv
import errno
import io
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Literal

import orjson

from engine.interfaces.reports.dates import iso, shown
from engine.interfaces.reports.output import json, safe, visible
from storage.new_file import new_file
from storage.queries import channels, entries
from storage.queries.entries import HistoryEntry
from storage.queries.reader import Reader
from storage.queries.selection import Selection
from storage.row_kinds import label
from storage.sidecar import sidecar_path

Format = Literal["jsonl", "csv", "markdown"]
FORMULA = re.compile(r"[=+\-@\t\r]")  # what a spreadsheet runs, of what a stranger wrote
# A lone carriage return ends a line of Markdown, too.
_LINE_END, _QUOTED = re.compile("\r\n|\r|\n"), r"\g<0>> "


def rows(connection: Reader, selection: Selection, kind: Format) -> Iterator[HistoryEntry]:
    """Yield the rows, oldest first; for Markdown, channel by channel."""
    if kind == "markdown" and selection.channel_id is None:
        for channel_id in channels.ids(connection):
            yield from entries.in_order(connection, replace(selection, channel_id=channel_id))
    else:
        yield from entries.in_order(connection, selection)


def render(found: Iterable[HistoryEntry], kind: Format) -> Iterator[bytes]:
    """Yield the bytes of the head line, if the format has one, and then of each row."""
    match kind:
        case "jsonl":
            return _jsonl(found)
        case "csv":
            return _csv(found)
        case "markdown":
            return _markdown(found)


def _jsonl(found: Iterable[HistoryEntry]) -> Iterator[bytes]:
    for entry in found:
        yield json({"time": iso(entry.time_ms), **entry.record}).encode() + b"\n"


def _csv(found: Iterable[HistoryEntry]) -> Iterator[bytes]:
    names = [name for name in HistoryEntry.__dataclass_fields__ if name != "time_ms"]
    yield _csv_line(["time", *names])
    for entry in found:
        values = entry.record
        for name in ("details", "personal"):
            if values[name] is not None:
                values[name] = orjson.dumps(values[name]).decode()
        yield _csv_line([iso(entry.time_ms), *values.values()])


def _csv_line(values: list[object]) -> bytes:
    line = io.StringIO()  # ended by CRLF, so that a CR or LF in a text is quoted
    csv.writer(line).writerow(map(_inert, values))
    return line.getvalue().encode()


def _inert(value: object) -> object:
    """Return what a spreadsheet shows as text, even if it looks like a formula."""
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def _markdown(found: Iterable[HistoryEntry]) -> Iterator[bytes]:
    """Yield a heading when the channel changes, and each row as a quote."""
    channel: str | None = None
    for entry in found:
        if entry.channel != channel:
            channel = entry.channel
            yield f"# {_escaped(visible(channel))}\n\n".encode()
        who = "(erased)" if entry.erased else _escaped(visible(entry.username))
        by = "/".join(filter(None, (entry.persona, entry.full_model)))
        head = {
            "message": f"**{who}**",
            "prompt": f"**{who}** (raw completion)",
            "answer": f"**{_escaped(visible(by))}** to {who}",
            "completion": f"**{_escaped(visible(by, 'model'))}** to {who}",
            "error": f"**error {_escaped(visible(entry.code))}** to {who}",
            "cancelled": f"**stopped** by {who}",
        }.get(entry.kind, f"{who} {label(entry.kind, entry.persona, entry.full_model, _bold)}")
        request_id = _escaped(visible(entry.request_id))
        yield f"{head} · {shown(entry.time_ms)} · {request_id}\n\n".encode()
        text = f"[erased on {shown(entry.erased_ms)}]" if entry.erased else entry.content
        if text:
            yield f"> {_LINE_END.sub(_QUOTED, _escaped(text))}\n\n".encode()


def _bold(name: str) -> str:
    return f"**{_escaped(visible(name))}**"


def _escaped(text: str) -> str:
    """Escape tags: a message must not become part of the page that shows the Markdown."""
    return text.replace("<", "\\<")


@contextmanager
def output(file: Path | None, database: Path, *, replace: bool) -> Iterator[IO[bytes]]:
    """Open standard output, or a `new_file`, which only its owner can read.

    Raises OSError if it cannot be written, or if it is one of the files of `database`.
    """
    if file is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if file.resolve() in _files_of(database):
        raise FileExistsError(errno.EEXIST, "it belongs to the database", str(file))
    with new_file(file, replace=replace) as opened:
        yield opened


def _files_of(database: Path) -> set[Path]:
    suffixes = ("", "-wal", "-shm", "-search", ".lock", ".http")
    return {sidecar_path(database, suffix) for suffix in suffixes}


def safe_for_terminal(line: bytes) -> bytes:
    """Make control characters visible. A file gets the text unchanged; a terminal must not."""
    return "\n".join(safe(line.decode())).encode()
