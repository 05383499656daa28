"""What the embedded NATS server refuses its clients, read from its log and said once in ours.

The server tells only its own log and the client, and many clients show nothing. It quotes what a
client sent as Go does, so that each entry is one line without control characters.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger("rosey_llm.nats")

POLL_S = 1.0
# A flood is read to this amount for each poll; what is beyond it is passed over.
READ_LIMIT_BYTES = 64 * 1024
CLIENT_LIMIT = 10
LIMIT = 100
SHOWN_LIMIT = 100
INBOX = "_INBOX"
JETSTREAM = ("$JS.", "$KV.", "$O.")

_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_ENTRY = re.compile(r'\[ERR\] \S+ - cid:\d+ - ((?:"(?:[^"\\]|\\.)*" - )*)(.*)')
_VIOLATION = re.compile(rf"(Subscription|Publish) Violation - Subject {_QUOTED}")
_WRONG_LOGIN = re.compile(rf"authentication error(?: - User {_QUOTED})?")
_TOO_LARGE = re.compile(r"maximum payload exceeded: (\d+) vs (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedies:
    """What to do about a refusal.

    - `publish`, `subscribe`: what clients may do
    - `closed`: the engine's own subjects, which are not opened to bots
    - `has_jetstream`: whether JetStream is on
    - `url_file`: has the address with a login for bots
    """

    publish: Sequence[str]
    subscribe: Sequence[str]
    closed: Sequence[str]
    has_jetstream: bool
    url_file: Path

    def of_subject(self, subject: str) -> str:
        """Return what to do so that a client may use the subject."""
        if subject.startswith(JETSTREAM):
            turn_on = "" if self.has_jetstream else " Set [nats] jetstream = true, and restart."
            return f"JetStream is for logins of [[nats.users]] that have jetstream = true.{turn_on}"
        allowed = (
            f"On the embedded server, clients may publish on {', '.join(self.publish)}, and"
            f" subscribe to {', '.join(self.subscribe)}."
        )
        if subject in self.closed or subject.startswith("$"):
            return f"{allowed} This one is not opened to bots (docs/security.md)."
        if subject.startswith(f"{INBOX}."):
            return f"{allowed} A bot may reply once [nats] allow names a subject for requests."
        return (
            f"{allowed} To let bots use more among themselves, name it in [nats] allow, as"
            ' "rooms.>", and restart the service.'
        )

    def of_login(self) -> str:
        return (
            f"A bot connects with the address in {self.url_file}, or with a login of"
            " [[nats.users]]; [nats] open = true lets in all clients of this machine."
        )


class RefusalReports:
    """The follower of a server's log, from its end on."""

    def __init__(self, log_file: Path, remedies: Remedies) -> None:
        self._log_file = log_file
        self._remedies = remedies
        self._inode, self._position = self._end()
        self._rest = b""
        self._said: set[tuple[str, str]] = set()
        self._by_client: Counter[str] = Counter()

    async def run(self) -> None:
        """Follow until there were too many different refusals, which is said, too."""
        while len(self._said) < LIMIT:
            await asyncio.sleep(POLL_S)
            for line in self.new_lines():
                self._take(line)
        log.warning(
            "The NATS server refused more; %(path)s has all of it.",
            {"event": "nats.refusals_omitted", "path": self._log_file},
        )

    def _end(self) -> tuple[int, int]:
        with contextlib.suppress(FileNotFoundError):
            found = self._log_file.stat()
            return found.st_ino, found.st_size
        return 0, 0

    def new_lines(self) -> list[str]:
        """Return the lines that were written since the last call; of a flood, the first ones."""
        inode, size = self._end()
        if inode != self._inode or size < self._position:  # the server has begun a new file
            self._inode, self._position, self._rest = inode, 0, b""
        if size == self._position:
            return []
        with contextlib.suppress(FileNotFoundError), self._log_file.open("rb") as file:
            file.seek(self._position)
            data = self._rest + file.read(READ_LIMIT_BYTES)
            *lines, rest = data.split(b"\n")
            passed_over = size - file.tell() > 0
            self._position = size if passed_over else file.tell()
            self._rest = b"" if passed_over else rest[-READ_LIMIT_BYTES:]
            return [line.decode(errors="replace") for line in lines]
        return []

    def _take(self, line: str) -> None:
        found = _ENTRY.search(line)
        if found is None:
            return
        client, text = _client(re.findall(_QUOTED, found[1])), found[2]
        if violation := _VIOLATION.match(text):
            does = "subscribe to" if violation[1] == "Subscription" else "publish on"
            remedy = self._remedies.of_subject(violation[2])
            self._say(client, f"{client} may not {does} {_kind(violation[2])}. {remedy}")
        elif login := _WRONG_LOGIN.match(text):
            who = f'logged in as user "{_shown(login[1])}" and' if login[1] else None
            self._say(
                "login",
                f"A client {who or 'without user and password'} was refused."
                f" {self._remedies.of_login()}",
            )
        elif size := _TOO_LARGE.match(text):
            self._say(
                client,
                f"{client} sent a message larger than {size[2]} bytes and was disconnected. Send"
                " shorter ones.",
            )

    def _say(self, client: str, text: str) -> None:
        if (client, text) in self._said or self._by_client[client] >= CLIENT_LIMIT:
            return
        if len(self._said) < LIMIT:
            self._said.add((client, text))
            self._by_client[client] += 1
            log.warning("NATS: %(refusal)s", {"event": "nats.client_refused", "refusal": text})


def _client(quoted: list[str]) -> str:
    """Return a client's label from `v2.16.0:python3:mybot` and `$G/user:bot`, if they are there."""
    user = next((each.rpartition(":")[2] for each in quoted if not each.startswith("v")), "")
    told = next((each for each in quoted if each.startswith("v")), "")
    _, language, name = (*told.split(":", 2), "", "")[:3]
    label = f'The client "{_shown(name)}"' if name else "A client without a name"
    details = ", ".join(filter(None, (_shown(language), user and f"user {_shown(user)}")))
    return f"{label} ({details})" if details else label


def _kind(subject: str) -> str:
    """Return a subject, or the kind of it: each reply subject is a new one."""
    return '"_INBOX.>"' if subject.startswith("_INBOX.") else f'"{_shown(subject)}"'


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:SHOWN_LIMIT])
