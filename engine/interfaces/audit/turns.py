"""The turns page of the audit page: the turns of all channels, filtered by facets."""

from __future__ import annotations

from urllib.parse import urlencode

from datasette.app import Datasette
from datasette.utils.asgi import Request, Response

from engine.interfaces.audit.reading import ask, number, words
from storage.queries import recent_turns

TURNS = 40
PATH = "/turns"


async def page(datasette: Datasette, request: Request) -> Response:
    chosen = {name: value for name in recent_turns.FACETS if (value := words(request, name))}
    before = number(request, "before")
    found = await ask(
        datasette, lambda reader: recent_turns.find(reader, chosen, before=before, limit=TURNS)
    )
    context = {
        "found": found,
        "chosen": chosen,
        "before": before,
        "window": recent_turns.WINDOW_ROWS,
        "with_": lambda name, value: _address(chosen | {name: value}),
        "without": lambda name: _address({k: v for k, v in chosen.items() if k != name}),
        "older": _address(chosen | {"before": str(found.next_before)}),
    }
    return Response.html(await datasette.render_template("turns.html", context, request=request))


def _address(arguments: dict[str, str]) -> str:
    return f"{PATH}?{urlencode(arguments)}" if arguments else PATH
