"""Why a NATS server cannot be used, in a sentence, and what to do about it, in another."""

from __future__ import annotations

import os
import ssl

import nats.errors

from engine.traffic.login import LoginError, without_login

_SILENT = (  # so it seems, too, where one side waits for a TLS that the other does not begin
    "does not begin as a NATS server does",
    "Set [nats] url to one, as tls://... where it has TLS, and tls_first to whether it begins so.",
)


class ConnectError(ConnectionError):
    """Nothing secret stands in the text."""

    def __init__(self, url: str, reason: BaseException) -> None:
        problem, todo = _told(reason)
        super().__init__(f"NATS at {without_login(url)} {problem}. {todo}")


def _told(reason: BaseException) -> tuple[str, str]:
    match reason:
        case LoginError():
            return f"is not asked: {reason}", "Correct [nats], or the server."
        case ssl.SSLCertVerificationError(verify_message=problem):
            return (
                f"shows a certificate that cannot be trusted: {problem.rstrip('.')}",
                "Set [nats] tls_ca to the authority that signed it, and url to a name in it.",
            )
        case ssl.SSLError():
            return _told_of_tls(reason.reason or "no TLS comes about")
        case TimeoutError():
            return _SILENT
        case OSError():
            return f"cannot be reached: {_cause(reason)}", "Start the server, or set [nats] url."
        case nats.errors.Error() if "authorization violation" in str(reason).lower():
            return (
                "refuses the login",
                "Set [nats] user and password, token or credentials as the server has them.",
            )
        case nats.errors.Error() if "expecting INFO" in str(reason):
            return _SILENT
    said = str(reason).removeprefix("nats: ").strip("'.")
    return f"refuses: {said or type(reason).__name__}", "See the server's log."


def _told_of_tls(reason: str) -> tuple[str, str]:
    if reason == "WRONG_VERSION_NUMBER":
        return (
            "does not begin with TLS",
            "Set [nats] tls_first = false, or handshake_first: true in the server's tls.",
        )
    if "CERTIFICATE_REQUIRED" in reason:
        return "asks for a certificate of ours", "Set [nats] tls_cert and tls_key."
    said = reason.lower().replace("_", " ")
    return f"fails at TLS: {said}", "Compare [nats] tls_ca, tls_cert and tls_first with the server."


def _cause(exc: OSError) -> str:
    if exc.errno is not None:
        return os.strerror(exc.errno) if exc.errno > 0 else str(exc.strerror)
    if str(exc).startswith("Multiple exceptions"):  # a name with several addresses
        return "none of its addresses answers"
    return str(exc) or "the connection breaks"
