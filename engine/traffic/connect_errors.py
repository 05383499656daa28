"""ConnectError: says in two sentences why a NATS server cannot be used and what to do."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence

import nats.errors

from engine.traffic.login import LoginError, without_login

_SILENT = (  # also the case if one side waits for a TLS handshake that the other does not begin
    "it does not answer as a NATS server does",
    "Set [nats] url to a NATS server, as tls://... if it uses TLS, and tls_first as its"
    " handshake_first.",
)


class ConnectError(ConnectionError):
    """A NATS server cannot be used. The text never contains credentials."""

    def __init__(self, url: str, reason: BaseException) -> None:
        problem, todo = _explain(reason)
        super().__init__(f"Cannot connect to NATS at {without_login(url)}: {problem}. {todo}")


def is_refusal(exc: BaseException | None) -> bool:
    """Return whether there is a server, and it or this side refuses the connection."""
    # nats-py raises its base class if the server refuses a login.
    return isinstance(exc, ssl.SSLError | LoginError) or type(exc) is nats.errors.Error


def most_telling(errors: Sequence[BaseException]) -> BaseException:
    """Return the error that says why: the newest refusal, or else the newest of all.

    nats-py tries again until the time is up, and which error comes last is chance.
    """
    return next((exc for exc in reversed(errors) if is_refusal(exc)), errors[-1])


def _explain(reason: BaseException) -> tuple[str, str]:
    """Return (what failed, what to do); the first has no full stop at its end."""
    match reason:
        case LoginError():
            return str(reason), "Correct [nats], or the server."
        case ssl.SSLCertVerificationError(verify_message=problem):
            return (
                f"its certificate is not trusted: {problem.rstrip('.')}",
                "Set [nats] tls_ca to the authority that signed it, and url to a name in it.",
            )
        case ssl.SSLError():
            return _explain_tls(reason.reason or "the handshake did not succeed")
        case TimeoutError():
            return _SILENT
        case OSError():
            return _cause(reason), "Start the server, or correct [nats] url."
        case nats.errors.Error() if "authorization violation" in str(reason).lower():
            return (
                "it refuses the login",
                "Set [nats] user and password, token or credentials as the server expects them.",
            )
        case nats.errors.Error() if "expecting INFO" in str(reason):
            return _SILENT
    text = str(reason).removeprefix("nats: ").strip("'.")
    return text or type(reason).__name__, "See the server's log."


def _explain_tls(reason: str) -> tuple[str, str]:
    if reason == "WRONG_VERSION_NUMBER":
        return (
            "it does not begin with TLS",
            "Set [nats] tls_first = false, or handshake_first: true in the server's tls block.",
        )
    if "CERTIFICATE_REQUIRED" in reason:
        return "it requires a client certificate", "Set [nats] tls_cert and tls_key."
    text = reason.lower().replace("_", " ")
    return f"TLS failed: {text}", "Compare [nats] tls_ca, tls_cert and tls_first with the server."


def _cause(exc: OSError) -> str:
    if exc.errno is not None:
        return os.strerror(exc.errno) if exc.errno > 0 else str(exc.strerror)
    if str(exc).startswith("Multiple exceptions"):  # a name with several addresses
        return "none of its addresses answers"
    return str(exc) or "the connection broke"
