"""`rosey-llm history search`: updates the search index, searches it and prints the hits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.interfaces.reports.dates import iso, shown
from engine.interfaces.reports.output import Output, Span, safe, visible
from engine.interfaces.reports.transcript import colour
from storage import search_index
from storage.errors import IndexDamaged
from storage.queries import search as hits
from storage.queries.search import Hit
from storage.queries.selection import Selection
from storage.search_index import SearchIndex

BATCH_ROWS = 10_000
HIT_STYLE = "bold black on yellow"
# Called with the rows indexed so far and the rows to index.
OnProgress = Callable[[int, int], None]


def search(
    database: Path,
    match: str,
    selection: Selection,
    limit: int,
    *,
    best: bool,
    warn: Callable[[str], None],
    on_progress: OnProgress,
) -> list[Hit]:
    """Update the index, then search it. Raises StorageUnavailable."""
    try:
        return _search(database, match, selection, limit, best, warn, on_progress)
    except IndexDamaged:
        search_index.remove(database)
        return _search(database, match, selection, limit, best, warn, on_progress)


def _search(
    database: Path,
    match: str,
    selection: Selection,
    limit: int,
    best: bool,
    warn: Callable[[str], None],
    on_progress: OnProgress,
) -> list[Hit]:
    with search_index.open_to_search(database) as index:
        if index.in_memory:
            warn(
                f"Cannot write {search_index.path_of(database)}: the index is built in memory, "
                "for this search only."
            )
        _catch_up(index, on_progress)
        return hits.search(index, match, selection, limit, best=best)


def _catch_up(index: SearchIndex, on_progress: OnProgress) -> None:
    """Index the rows that exist now; those written meanwhile wait for the next search."""
    behind = index.behind
    done = 0
    while done < behind:
        fed = index.feed(BATCH_ROWS)
        if not fed:
            return
        done += fed
        on_progress(min(done, behind), behind)


def print_hits(out: Output, found: list[Hit], *, as_json: bool) -> None:
    for hit in found:
        if as_json:
            excerpt = "".join(text for text, _ in hit.excerpt)
            out.json({"time": iso(hit.entry.time_ms), "excerpt": excerpt, **hit.entry.record})
        else:
            _print(out, hit)


def _print(out: Output, hit: Hit) -> None:
    entry = hit.entry
    name = visible(entry.username)
    who: list[Span] = [(name, f"bold {colour(name)}")]
    if entry.kind not in ("message", "prompt"):
        by = entry.persona if entry.kind in ("answer", "completion") else entry.kind
        who = [(visible(by, "model"), "bold"), (f" to {name}", "dim")]
    out.line(
        (shown(entry.time_ms), "dim"),
        "  ",
        (visible(entry.channel), "bold"),
        "  ",
        *who,
        "  ",
        (visible(entry.request_id), "dim"),
    )
    # Lines are joined: an excerpt shows the words in context, not the layout of the text.
    out.line(
        "    ",
        *((" ".join(safe(text)), HIT_STYLE if is_hit else "") for text, is_hit in hit.excerpt),
    )
