"""The search page of the audit page: full-text search over all channels or one."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlencode

from datasette.app import Datasette
from datasette.utils.asgi import Request, Response

from engine.interfaces.audit.reading import ask, words
from engine.interfaces.audit.search_worker import SearchResult
from storage.errors import StorageUnavailable
from storage.queries import channels
from storage.queries.reader import Reader
from storage.queries.search_terms import to_match
from storage.queries.selection import Selection

HITS = 40
MOST_HITS = 400


@dataclass(slots=True)
class SearchForm:
    """The values of the search form; `problem` says why there is no result."""

    words: str
    channel: str
    user: str
    best: bool
    hits: int
    channel_id: int | None = None
    nearest: list[str] = field(default_factory=list)
    problem: str | None = None

    @property
    def more(self) -> str:
        """The address of the same search with more hits."""
        order = {"order": "best"} if self.best else {}
        return "/search?" + urlencode(
            {
                "q": self.words,
                "channel": self.channel,
                "user": self.user,
                **order,
                "n": min(self.hits * 2, MOST_HITS),
            }
        )


async def page(datasette: Datasette, request: Request) -> Response:
    asked = _asked(request)
    found = await _find(datasette, asked) if asked.words else None
    places = {}
    if found:
        names = {hit.entry.channel for hit in found.hits}
        places = await ask(datasette, lambda reader: _places(reader, names))
    context = {"asked": asked, "found": found, "places": places, "most": MOST_HITS}
    return Response.html(await datasette.render_template("search.html", context, request=request))


def _asked(request: Request) -> SearchForm:
    more = words(request, "n")
    hits = int(more) if more.isascii() and more.isdigit() and len(more) < 5 else HITS
    return SearchForm(
        words(request, "q"),
        words(request, "channel"),
        words(request, "user"),
        words(request, "order") == "best",
        max(1, min(hits, MOST_HITS)),
    )


async def _find(datasette: Datasette, asked: SearchForm) -> SearchResult | None:
    try:
        match = to_match(asked.words)
    except ValueError:
        asked.problem = "The search has no word: use letters or digits."
        return None
    if asked.channel:
        await ask(datasette, lambda reader: _find_channel(reader, asked))
        if asked.channel_id is None:
            asked.problem = "There is no such channel."
            return None
    selection = Selection(channel_id=asked.channel_id, username=asked.user or None)
    try:
        found: SearchResult = await datasette.finder.find(
            match, selection, asked.hits, best=asked.best
        )
    except StorageUnavailable as exc:
        asked.problem = str(exc)
        return None
    return found


def _find_channel(reader: Reader, asked: SearchForm) -> None:
    asked.channel_id = channels.find(reader, asked.channel)
    if asked.channel_id is None:
        asked.nearest = channels.nearest(reader, asked.channel)


def _places(reader: Reader, names: set[str]) -> dict[str, int | None]:
    return {name: channels.find(reader, name) for name in names}
