"""The engine's exceptions. Providers and the store have their own trees.

EngineError             code
├─ RoomError            any                what a room is told, in its own words
│  ├─ InvalidRequest    invalid_request    the sender's mistake; nothing was changed
│  ├─ UnknownPersona    unknown_persona
│  ├─ Busy              busy               a mailbox or the engine is full, or the database is not
│  │  │                                    writable; nothing was accepted
│  │  ├─ TooManyCopies  busy               a request that waits was sent again too often
│  │  └─ Unwritable     busy               the database cannot be written, and a turn waits for it
│  ├─ NotAllowed        not_allowed        the sender lacks a role, or is kept out by `[access]`
│  ├─ LimitReached      limit_reached      a limit of `[limits]`
│  ├─ TextRefused       refused            `[safety]` does not let the message or the answer pass
│  ├─ Suspended         suspended          the channel's actor crashed too often
│  ├─ Cancelled         cancelled          `!chat stop`
│  └─ Internal          internal           a defect of rosey-llm; the log has the traceback
├─ LLMError             any                raised by `Client` and `LLMService`
├─ CannotStart          -                  the service cannot start; the text says what to do
│  ├─ AlreadyRunning    -                  another service uses the same files
│  ├─ SecondEngine      -                  another engine hears the same NATS subjects
│  └─ StartLater        -                  it starts or ends just now; the same may work later
└─ CannotReload         -                  a configuration was refused; nothing was changed

The codes are those of `llm.error`. An error's text is a sentence for people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.texts.sentence import Said

EXIT_INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C has ended


class EngineError(Exception):
    """`is_private`: only the reply subject of the message hears of it, not everybody."""

    code: str = "internal"
    is_private: bool = False

    def __init__(self, message: str | Said, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RoomError(EngineError):
    """`said`: the sentence, None for nothing. As a string, the error is that in English."""

    def __init__(self, said: Said | None, *, retry_after_s: float | None = None) -> None:
        super().__init__("" if said is None else said, retry_after_s=retry_after_s)
        self.said = said


class InvalidRequest(RoomError):
    code = "invalid_request"


class UnknownPersona(RoomError):
    code = "unknown_persona"


class Busy(RoomError):
    """`ahead`: the number of commands that wait in the channel's mailbox."""

    code = "busy"

    def __init__(self, said: Said, *, retry_after_s: float, ahead: int | None = None) -> None:
        super().__init__(said, retry_after_s=retry_after_s)
        self.ahead = ahead


class TooManyCopies(Busy):
    """Said to this copy's sender alone: everybody else still waits for the request's outcome."""

    is_private = True


class Unwritable(Busy):
    """The database cannot be written, and a turn is held until it can."""


class NotAllowed(RoomError):
    """A refusal without a text is private: bots that answer everything must find nothing in it."""

    code = "not_allowed"

    def __init__(self, said: Said | None = None) -> None:
        super().__init__(said)
        self.is_private = said is None


class LimitReached(RoomError):
    """`limit`: its name in `[limits]`; `scope`: "user" or "channel"."""

    code = "limit_reached"

    def __init__(self, said: Said, *, retry_after_s: float, limit: str, scope: str) -> None:
        super().__init__(said, retry_after_s=retry_after_s)
        self.limit = limit
        self.scope = scope


class TextRefused(RoomError):
    """A text that `[safety]` does not let pass.

    cause: "denied", "flagged", or "unchecked" if a check failed.
    categories: why, without a word of the text.
    """

    code = "refused"

    def __init__(self, said: Said, *, cause: str, categories: Sequence[str]) -> None:
        super().__init__(said)
        self.cause = cause
        self.categories = categories


class Suspended(RoomError):
    code = "suspended"


class Cancelled(RoomError):
    code = "cancelled"


class Internal(RoomError):
    code = "internal"


class LLMError(EngineError):
    """The failure of a call of `Client` or `LLMService`.

    - `code`: one of the codes of `llm.error`, or of those that only `Client` has
    - `retry_after_s`: seconds to wait before it is asked again; None if that is not known
    - `username`, `action`: whom the failure is for, and what was asked ("chat", "reset", ...); None
      if that is not known
    - `partial`: what had been written of an answer that was stopped, perhaps ""; else None
    - `ahead`: with "busy", how many commands wait in the channel, if that is the reason
    - `limit`, `scope`: with "limit_reached", its name in `[limits]`, and whether it is the "user"'s
      or the "channel"'s
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retry_after_s: float | None = None,
        username: str | None = None,
        action: str | None = None,
        partial: str | None = None,
        ahead: int | None = None,
        limit: str | None = None,
        scope: str | None = None,
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.code = code
        self.username = username
        self.action = action
        self.partial = partial
        self.ahead = ahead
        self.limit = limit
        self.scope = scope


class CannotStart(EngineError):
    """`exit_code`: that of `rosey-llm run`; a service manager repeats only those that may pass."""

    exit_code = 3


class AlreadyRunning(CannotStart):
    pass


class SecondEngine(CannotStart):
    exit_code = 4


class StartLater(CannotStart):
    exit_code = 75  # EX_TEMPFAIL of sysexits.h


class CannotReload(EngineError):
    pass
