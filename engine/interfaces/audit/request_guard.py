"""What stands before every page: whom it answers, what it answers with.

Datasette itself answers whoever asks, under any name. A stranger's page in the operator's browser
could point a name of its own at 127.0.0.1 and read along (DNS rebinding), or make the browser ask
for something costly. So: only names of this machine, only reading, nothing for other sites.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# The port is not looked at: whoever comes through a tunnel has another one.
OWN_NAME = re.compile(rb"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
# No scripts at all, from nowhere: what a user has written could not run even if it got through.
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
REFUSED_NAME = "This page answers only under http://127.0.0.1 or http://localhost."
REFUSED_SITE = "This page answers no other site."
REFUSED_METHOD = "This page is only for reading."


class RequestGuard:
    """An ASGI application around another."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = message | {"headers": _guarded(message.get("headers", ()))}
            await send(message)

        refusal = _refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send_guarded)
        else:
            await _refuse(send_guarded, *refusal)


def _refusal(scope: Scope) -> tuple[int, str] | None:
    headers: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.lower(), []).append(value)
    hosts = headers.get(b"host", [])
    if len(hosts) != 1 or not OWN_NAME.fullmatch(hosts[0]):
        return 403, REFUSED_NAME
    if not _is_own_or_a_visit(headers):
        return 403, REFUSED_SITE
    if scope["method"] not in ("GET", "HEAD"):
        return 405, REFUSED_METHOD
    return None


def _is_own_or_a_visit(headers: dict[bytes, list[bytes]]) -> bool:
    """Whether our own page asks, or a person follows a link; browsers say so themselves."""
    if headers.get(b"sec-fetch-site", [b"none"]) in ([b"none"], [b"same-origin"]):
        return True
    return headers.get(b"sec-fetch-mode") == [b"navigate"] and (
        headers.get(b"sec-fetch-dest") == [b"document"]
    )


def _guarded(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """With our headers; pages are never kept, since what they show may be erased."""
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
