"""How long an idle connection may be used again, by what the server says about itself.

A call that is sent while the server closes the connection is lost. So ours end before the server's.
"""

from __future__ import annotations

import re

# Shorter than the minute after which load balancers close one without a word.
LONGEST_S = 55
# Servers that close an idle connection after a few seconds, and do not say so in each reply.
SHORT_S = {"uvicorn": 5, "hypercorn": 5, "gunicorn": 2, "llama.cpp": 5}
_TIMEOUT = re.compile(r"\btimeout\s*=\s*(\d{1,9})", re.IGNORECASE)


def keep_alive_s(keep_alive: str | None, server: str | None) -> int | None:
    """Return for how many seconds a connection may be idle, 0 for not at all.

    keep_alive, server: the reply's headers of these names. None if they do not say.
    """
    if found := _TIMEOUT.search(keep_alive or ""):
        limit_s = int(found[1])
    else:
        name = server_name(server)
        if name not in SHORT_S:
            return None
        limit_s = SHORT_S[name]
    return min(max(limit_s - 1, 0), LONGEST_S)


def server_name(server: str | None) -> str:
    """Return the program that the header `Server` names, in lower case; "" without the header."""
    return (server or "").partition("/")[0].strip().lower()
