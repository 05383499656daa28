"""The file `url` beside the embedded server's files: its address, with a login for bots.

Only the service's user can read it. The login is kept from start to start, so that a bot which
runs on finds the service again. What a crash leaves:

- before the first write: no file; the next start makes a login, which no bot has seen
- between the write of `url.new` and its renaming: the file of before, whose login the server has
  taken over; or, after a change of the port, none that works, until the next start writes it
- afterwards: the file, with an address at which nothing listens until the next start
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import urlsplit

from engine.traffic.embedded.logins import BOT

NAME = "url"


def path_in(store_dir: Path) -> Path:
    """Return the path of the file."""
    return store_dir / NAME


def kept_password(store_dir: Path, port: int) -> str | None:
    """Return the password to go on with on this port; None if a new one is to be made.

    None for another port, too: what listens on the one of before may have been told the password.
    None if others could read the file, or if there is none, or another than this module writes.
    """
    try:
        with open(os.open(path_in(store_dir), os.O_RDONLY | os.O_NOFOLLOW)) as file:
            found = os.fstat(file.fileno())
            parts = urlsplit(file.read().strip())
            known = parts.username == BOT and parts.port == port
    except (OSError, ValueError):
        return None
    is_ours = found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077
    return parts.password or None if known and is_ours else None


def write(store_dir: Path, url: str) -> None:
    """Put the address into the file, all of it or nothing. Raises OSError."""
    part = path_in(store_dir).with_suffix(".new")
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(url + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path_in(store_dir))
