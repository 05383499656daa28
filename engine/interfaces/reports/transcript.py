"""`rosey-llm history show`: prints a channel's history as a conversation, and follows it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from engine.interfaces.reports.dates import iso, shown
from engine.interfaces.reports.output import Output, Span, indented, number, visible
from storage.errors import CannotOpen
from storage.queries import channels, entries
from storage.queries.entries import HistoryEntry
from storage.queries.reader import Reader, reading
from storage.queries.selection import Selection
from storage.row_kinds import label, row_kind

POLL_S = 0.25
COLOURS = ("cyan", "green", "yellow", "blue", "magenta", "bright_cyan", "bright_green")
INDENT = " " * 27


def print_entries(
    out: Output, found: Iterable[HistoryEntry], *, with_ids: bool, as_json: bool
) -> None:
    for each in found:
        if as_json:
            out.json({"time": iso(each.time_ms), **each.record})
        else:
            _print(out, each, with_ids)
    out.flush()


def _print(out: Output, entry: HistoryEntry, with_ids: bool) -> None:
    first, *rest = indented(_text(entry), INDENT)
    out.line((shown(entry.time_ms), "dim"), "  ", *_head(entry), (first, _style(entry)))
    for line in rest:
        out.line((line, _style(entry)))
    if with_ids:
        out.line((f"{INDENT}{_ids(entry)}", "dim"))


def _head(entry: HistoryEntry) -> list[Span]:
    """Return who speaks and to whom, as styled spans."""
    name = "(erased)" if entry.erased else visible(entry.username)
    user = (name, f"bold {colour(name)}")
    match entry.kind:
        case "message" | "prompt":
            raw = " (raw completion)" if entry.kind == "prompt" else ""
            return [user, (f"{raw}: ", "dim")]
        case "answer" | "completion":
            model = visible(entry.full_model)
            head = (f"{visible(entry.persona, 'model')} ", "bold")
            return [head, (f"[{model}] to ", "dim"), user, (": ", "dim")]
        case "error":
            why = ", ".join((entry.details or {}).get("categories", ()))
            code = f"! {visible(entry.code)}{f' ({visible(why)})' if why else ''}"
            return [(code, "bold red"), (" to ", "dim"), user, (": ", "dim")]
        case "cancelled":
            return [("! stopped", "bold yellow"), (" for ", "dim"), user, (": ", "dim")]
        case _:
            return [("* ", "bold")]


def _text(entry: HistoryEntry) -> str:
    who = "(erased)" if entry.erased else visible(entry.username)
    if entry.kind == "erased":
        return entry.content
    if row_kind(entry.kind).style == "notice":
        did = label(entry.kind, entry.persona, entry.full_model, visible)
        return f"{who} {did}"
    if entry.erased_ms is not None:
        return f"[erased on {shown(entry.erased_ms)}]"
    return entry.content or "(nothing)"


def _style(entry: HistoryEntry) -> str:
    style = row_kind(entry.kind).style
    if entry.erased or style == "notice":
        return "dim italic"
    return {"error": "red", "cancelled": "yellow"}.get(style, "")


def _ids(entry: HistoryEntry) -> str:
    """Return the row's ids and, for an answer, tokens and latency."""
    parts = [f"row {entry.id}", f"request {visible(entry.request_id)}"]
    if entry.completion_tokens is not None:
        parts.append(f"tokens {number(entry.prompt_tokens)} + {number(entry.completion_tokens)}")
    if entry.latency_ms is not None:
        parts.append(f"{number(entry.latency_ms)} ms")
    if entry.finish_reason:
        parts.append(visible(entry.finish_reason))
    return "(" + ", ".join(parts) + ")"


def colour(name: str) -> str:
    """Return a colour, always the same one for the same name."""
    return COLOURS[sum(name.encode()) % len(COLOURS)]


def follow(
    path: Path, channel: str, selection: Selection, after_id: int
) -> Iterator[list[HistoryEntry]]:
    """Yield new rows as they are committed, for ever; also after a backup replaces the file."""
    while True:
        try:
            file = path.stat()  # before it is opened: a file that replaces it now is noticed
            with reading(path) as connection:
                after_id = min(after_id, entries.newest_id(connection))
                while path.stat().st_ino == file.st_ino:
                    channel_id = channels.find(connection, channel)
                    if channel_id is not None:
                        known = replace(selection, channel_id=channel_id, until_ms=None)
                        for found in _new(connection, known, after_id):
                            after_id = found[-1].id
                            yield found
                    time.sleep(POLL_S)
        except (CannotOpen, OSError):
            time.sleep(POLL_S)  # the file is just being replaced


def _new(connection: Reader, selection: Selection, after_id: int) -> Iterator[list[HistoryEntry]]:
    while found := entries.after(connection, selection, after_id):
        yield found
        after_id = found[-1].id
