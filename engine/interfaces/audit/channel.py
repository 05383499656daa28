"""The channel page of the audit page: a channel's history, shown like a chat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from datasette.app import Datasette
from datasette.utils.asgi import NotFound, Request, Response

from engine.config.channel_rules import NO_RULE
from engine.interfaces.audit.filters import day
from engine.interfaces.audit.reading import ask, number, words
from engine.interfaces.reports.output import visible
from storage.queries import recent_channels, scrollback
from storage.queries.asked_providers import AskedProviders, asked_providers
from storage.queries.entries import HistoryEntry
from storage.queries.reader import Reader
from storage.queries.scrollback import HistoryPage

ENTRIES = 60
TURNS = 1000  # looked at for the providers that were asked


class DatedEntry(NamedTuple):
    """A history entry; `day` is set if it is the first entry of its day on the page."""

    entry: HistoryEntry
    day: str | None


@dataclass(frozen=True, slots=True)
class ChannelView:
    id: int
    name: str
    persona: str | None
    model: str | None
    asked: AskedProviders
    page: HistoryPage
    entries: list[DatedEntry]

    @property
    def seen_by(self) -> str:
        """The providers that saw what was said, each with its turns; "" for none."""
        named = ", ".join(f"{visible(name)} ({n:,})" for name, n in self.asked.turns.items())
        return named if self.asked.is_all or not named else f"{named} in the newest {TURNS:,} turns"


async def page(datasette: Datasette, request: Request) -> Response:
    channel_id = int(request.url_vars["channel"])
    user = words(request, "user")
    at, before, after = (number(request, name) for name in ("at", "before", "after"))
    room = await ask(datasette, lambda reader: _view(reader, channel_id, user, at, before, after))
    if room is None:
        raise NotFound("There is no such channel.")
    rule = datasette.rules.rule_of(room.name)
    context = {"room": room, "user": user, "rule": rule if rule is not NO_RULE else None}
    return Response.html(await datasette.render_template("channel.html", context, request=request))


def _view(
    reader: Reader,
    channel_id: int,
    user: str,
    at: int | None,
    before: int | None,
    after: int | None,
) -> ChannelView | None:
    name = scrollback.name_of(reader, channel_id)
    if name is None:
        return None
    if at is not None:
        shown = scrollback.around(reader, channel_id, at=at, limit=ENTRIES)
    elif after is not None:
        shown = scrollback.forth(reader, channel_id, after=after, user=user, limit=ENTRIES)
    else:
        shown = scrollback.back(reader, channel_id, before=before, user=user, limit=ENTRIES)
    persona = recent_channels.persona_of(reader, channel_id)
    switched = recent_channels.switched_model(reader, channel_id)
    model = "/".join(switched) if switched else None
    asked = asked_providers(reader, channel_id, TURNS)
    return ChannelView(channel_id, name, persona, model, asked, shown, _by_day(shown.entries))


def _by_day(entries: list[HistoryEntry]) -> list[DatedEntry]:
    dated = []
    last = None
    for entry in entries:
        today = day(entry.time_ms)
        dated.append(DatedEntry(entry, today if today != last else None))
        last = today
    return dated
