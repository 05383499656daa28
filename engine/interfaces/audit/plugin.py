"""The Datasette plugin of the audit page: its routes, template filters, guard and error pages."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

import jinja2
import pluggy
from datasette.app import Datasette
from datasette.utils.asgi import Base400, Request, Response
from datasette.views.base import DatasetteError

from engine.interfaces.audit import channel, costs, overview, search, turn, turns
from engine.interfaces.audit.filters import FILTERS
from engine.interfaces.audit.request_guard import App, RequestGuard
from storage.queries.time_limit import TookTooLong

View = Callable[[Datasette, Request], Awaitable[Response]]
hookimpl = pluggy.HookimplMarker("datasette")
log = logging.getLogger("rosey_llm.audit")
# Datasette's message for an unknown path of one part.
NO_PAGE = ("", "404", "Database not found")


@hookimpl
def register_routes() -> list[tuple[str, View]]:
    return [
        (r"/$", overview.page),
        (r"/channel/(?P<channel>\d{1,18})$", channel.page),
        (r"/turns$", turns.page),
        (r"/turn/(?P<turn>\d{1,18})$", turn.page),
        (r"/search$", search.page),
        (r"/costs$", costs.page),
        (r"/costs\.json$", costs.as_json),
    ]


@hookimpl
def prepare_jinja2_environment(env: jinja2.Environment) -> None:
    env.filters.update(FILTERS)
    env.globals["zone"] = datetime.now().astimezone().tzname()
    env.trim_blocks = env.lstrip_blocks = True


@hookimpl
def asgi_wrapper(datasette: Datasette) -> Callable[[App], App]:
    # Datasette asks for this before `build` has set it.
    return lambda app: RequestGuard(app, lambda: datasette.admission)


@hookimpl
def handle_exception(
    datasette: Datasette, request: Request, exception: Exception
) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        status, message = _explain(exception)
        if status == 500:
            log.error(
                "The page %(path)s failed.",
                {"event": "audit.page_failed", "path": request.path},
                exc_info=exception,
            )
        if request.path.partition("?")[0].endswith(".json"):
            return Response.json({"ok": False, "error": message, "status": status}, status=status)
        context = {"status": status, "error": message, "title": None}
        body = await datasette.render_template("error.html", context, request=request)
        return Response.html(body, status=status)

    return answer


def _explain(exception: Exception) -> tuple[int, str]:
    """Return the HTTP status and a sentence for the visitor."""
    match exception:
        case TookTooLong():
            return 503, f"{exception} Narrow it down, for example to one channel."
        case Base400():
            message = str(exception.args[0]) if exception.args else ""
            plain = "There is no such page." if message in NO_PAGE else message
            return exception.status, plain
        case DatasetteError():
            return exception.status, str(exception.message)
        case _:
            return 500, "This page failed. See the terminal for details."
