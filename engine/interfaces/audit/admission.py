"""Who may see the audit page: whoever opened it with the token that was printed, and no one else.

Every account of a machine can reach a port of 127.0.0.1. So `rosey-llm audit` prints an address
with a random token, which works once: it gives the browser a cookie that is random for each start.
Programs send the same secret in a header. Nothing is read from the database before that.
"""

from __future__ import annotations

import hmac
import secrets
from enum import Enum, auto
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

TOKEN = "token"  # noqa: S105 -- the name of a parameter
HEADER = b"authorization"


class Visit(Enum):
    """What a request is: allowed, one that brings the token, or one without a right to see."""

    ALLOWED = auto()
    FIRST = auto()
    USED = auto()
    UNKNOWN = auto()


class Admission:
    """The secrets of one start of the page.

    - `key`: what the cookie and the header of programs have
    """

    def __init__(self) -> None:
        self.key = secrets.token_urlsafe(32)
        self._token = secrets.token_urlsafe(12)
        self._is_used = False
        # Cookies are shared by all ports of a host: each start has its own name.
        self._cookie = f"rosey-llm-audit-{secrets.token_hex(4)}"

    def address(self, url: str) -> str:
        """Return the address that opens the page, once."""
        return f"{url}?{urlencode({TOKEN: self._token})}"

    def visit(self, method: str, query: bytes, headers: dict[bytes, list[bytes]]) -> Visit:
        """Return what a request is. Its token is used up if the answer is FIRST."""
        token = dict(parse_qsl(query.decode("latin-1"))).get(TOKEN)
        if self._has_key(headers):
            return Visit.ALLOWED
        if token is None or not _same(token, self._token):
            return Visit.UNKNOWN
        if self._is_used:
            return Visit.USED
        if method != "GET":
            return Visit.UNKNOWN
        self._is_used = True
        return Visit.FIRST

    def set_cookie(self) -> bytes:
        """Return the header value that gives the cookie; it ends with the browser's session."""
        return f"{self._cookie}={self.key}; Path=/; HttpOnly; SameSite=Strict".encode()

    def _has_key(self, headers: dict[bytes, list[bytes]]) -> bool:
        for given in headers.get(HEADER, ()):
            scheme, _, key = given.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer" and _same(key.strip(), self.key):
                return True
        for line in headers.get(b"cookie", ()):
            try:
                cookie = SimpleCookie(line.decode("latin-1")).get(self._cookie)
            except CookieError:
                continue
            if cookie is not None and _same(cookie.value, self.key):
                return True
        return False


def without_token(path: str, query: bytes) -> str:
    """Return the page that was asked for, without the token in its address."""
    kept = [pair for pair in parse_qsl(query.decode("latin-1"), True) if pair[0] != TOKEN]
    return f"{path}?{urlencode(kept)}" if kept else path


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
