"""ConnectError: says in two sentences why a NATS server cannot be used and what to do."""

from __future__ import annotations

from collections.abc import Mapping

from engine.client.address import without_login
from engine.client.connect_problems import Kind, problem_of

_REMEDIES: Mapping[Kind, str] = {
    "setup": "Correct [nats], or the server.",
    "untrusted": "Set [nats] tls_ca to the authority that signed it, and url to a name in it.",
    "no tls": "Set [nats] tls_first = false, or handshake_first: true in the server's tls block.",
    "certificate": "Set [nats] tls_cert and tls_key.",
    "tls": "Compare [nats] tls_ca, tls_cert and tls_first with the server.",
    "silent": "Set [nats] url to a NATS server, as tls://... if it uses TLS, and tls_first as its"
    " handshake_first.",
    "down": "Start the server, or correct [nats] url.",
    "login": "Set [nats] user and password, token or credentials as the server expects them.",
    "": "See the server's log.",
}


class ConnectError(ConnectionError):
    """A NATS server cannot be used. The text never contains credentials."""

    def __init__(self, url: str, reason: BaseException) -> None:
        kind, problem = problem_of(reason)
        where = without_login(url)
        super().__init__(f"Cannot connect to NATS at {where}: {problem}. {_REMEDIES[kind]}")
