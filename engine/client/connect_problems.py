"""Why a NATS server cannot be used: the problem in words, and which remedy it needs."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from typing import Literal, NamedTuple

import nats.errors

from engine.client.credentials import LoginError

Kind = Literal["setup", "untrusted", "no tls", "certificate", "tls", "silent", "down", "login", ""]


class Problem(NamedTuple):
    """What is wrong; `text` has no full stop at its end."""

    kind: Kind
    text: str


# Also the case if one side waits for a TLS handshake that the other does not begin.
SILENT = Problem("silent", "it does not answer as a NATS server does")


def is_refusal(exc: BaseException | None) -> bool:
    """Return whether there is a server, and it or this side refuses the connection."""
    # nats-py raises its base class if the server refuses a login.
    return isinstance(exc, ssl.SSLError | LoginError) or type(exc) is nats.errors.Error


def most_telling(errors: Sequence[BaseException]) -> BaseException:
    """Return the error that says why: the newest refusal, or else the newest of all.

    After several attempts, which error comes last is chance.
    """
    return next((exc for exc in reversed(errors) if is_refusal(exc)), errors[-1])


def problem_of(reason: BaseException) -> Problem:
    """Return what an error of a connection means; its text has no secrets."""
    match reason:
        case LoginError():
            return Problem("setup", str(reason))
        case ssl.SSLCertVerificationError(verify_message=problem):
            return Problem("untrusted", f"its certificate is not trusted: {problem.rstrip('.')}")
        case ssl.SSLError():
            return _tls_problem(reason.reason or "the handshake did not succeed")
        case TimeoutError():
            return SILENT
        case OSError():
            return Problem("down", _cause(reason))
        case nats.errors.Error() if "authorization violation" in str(reason).lower():
            return Problem("login", "it refuses the login")
        case nats.errors.Error() if "expecting INFO" in str(reason):
            return SILENT
    text = str(reason).removeprefix("nats: ").strip("'.")
    return Problem("", text or type(reason).__name__)


def _tls_problem(reason: str) -> Problem:
    if reason == "WRONG_VERSION_NUMBER":
        return Problem("no tls", "it does not begin with TLS")
    if "CERTIFICATE_REQUIRED" in reason:
        return Problem("certificate", "it requires a client certificate")
    return Problem("tls", f"TLS failed: {reason.lower().replace('_', ' ')}")


def _cause(exc: OSError) -> str:
    if exc.errno is not None:
        return os.strerror(exc.errno) if exc.errno > 0 else str(exc.strerror)
    if str(exc).startswith("Multiple exceptions"):  # a name with several addresses
        return "none of its addresses answers"
    return str(exc) or "the connection broke"
