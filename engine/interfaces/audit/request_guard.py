"""ASGI middleware that decides which requests the audit page answers, and sets security headers.

Datasette answers any request, under any host name. A foreign page in the operator's browser could
point its own host name at 127.0.0.1 and read the data (DNS rebinding), or send expensive requests.
So only host names of this machine, only GET and HEAD, and no requests from other sites are allowed,
and only with the cookie or the key of `admission.py`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from html import escape
from typing import Any

from engine.interfaces.audit.admission import Admission, Visit, without_token

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Any port: a request through a tunnel has another one.
OWN_NAME = re.compile(rb"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
# No scripts at all: a user's text could not run even if it were not escaped.
POLICY = (
    "default-src 'none'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data:;"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
}
REFUSED_NAME = "This page is available only as http://127.0.0.1 or http://localhost."
REFUSED_SITE = "This page refuses requests from other sites."
REFUSED_METHOD = "This page is read-only."
USED_BEFORE = (
    "This address has opened the page already, and works once. In the browser that it was opened"
    " with, remove what follows the question mark. Elsewhere, end `rosey-llm audit` with Ctrl-C and"
    " start it again: it prints a new address. If nobody of yours has opened it, another user of"
    " this machine has read it off your screen or terminal."
)
NO_RIGHT = (
    "Open this page with the whole address that `rosey-llm audit` printed in its terminal. If this"
    " browser has done so already and you followed a link to here, load the page again."
)


class RequestGuard:
    """An ASGI application that guards another one."""

    def __init__(self, app: App, admission: Callable[[], Admission]) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": _guarded(message.get("headers", ()))}
            await send(message)

        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        refusal = _refusal(scope["method"], headers)
        if refusal is not None:
            await _refuse(send_guarded, *refusal)
            return
        query, admission = scope.get("query_string", b""), self._admission()
        match admission.visit(scope["method"], query, headers):
            case Visit.FIRST:
                await _admit(send_guarded, admission, without_token(scope["path"], query))
            case Visit.USED:
                await _refuse(send_guarded, 403, USED_BEFORE)
            case Visit.UNKNOWN:
                await _refuse(send_guarded, 403, NO_RIGHT)
            case Visit.ALLOWED:
                await self._app(scope, receive, send_guarded)


def _refusal(method: str, headers: dict[bytes, list[bytes]]) -> tuple[int, str] | None:
    """Return status and reason if the request must be refused whoever sends it, else None."""
    hosts = headers.get(b"host", [])
    if len(hosts) != 1 or not OWN_NAME.fullmatch(hosts[0]):
        return 403, REFUSED_NAME
    if not _is_same_site_or_visit(headers):
        return 403, REFUSED_SITE
    if method not in ("GET", "HEAD"):
        return 405, REFUSED_METHOD
    return None


def _is_same_site_or_visit(headers: dict[bytes, list[bytes]]) -> bool:
    """Decide from the browser's Sec-Fetch headers: own page or followed link, not another site."""
    if headers.get(b"sec-fetch-site", [b"none"]) in ([b"none"], [b"same-origin"]):
        return True
    return headers.get(b"sec-fetch-mode") == [b"navigate"] and (
        headers.get(b"sec-fetch-dest") == [b"document"]
    )


def _guarded(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Add the security headers; forbid caching, because shown messages may be erased later."""
    kept = [(name, value) for name, value in headers if name.lower() not in HEADERS]
    if not any(name.lower() == b"content-type" and b"css" in value for name, value in kept):
        kept = [(name, value) for name, value in kept if name.lower() != b"cache-control"]
        kept.append((b"cache-control", b"no-store"))
    return [*kept, *HEADERS.items()]


async def _refuse(send: Send, status: int, reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if status == 405:
        headers.append((b"allow", b"GET, HEAD"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{reason}\n".encode()})


async def _admit(send: Send, admission: Admission, page: str) -> None:
    """Give the cookie, and lead to the page.

    Not by a redirect: after a link from elsewhere, a browser would not send the cookie along.
    """
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"set-cookie", admission.set_cookie()),
    ]
    link = escape(page)
    body = (
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={link}">'
        f'<title>rosey-llm</title><a href="{link}">Go on to the page</a>\n'
    )
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})
