"""The address of NATS, if a program names none: that of the service that runs in this folder."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

CONFIGURATION = Path("rosey-llm.toml")
STORE = "data/nats"


class CannotConnect(ConnectionError):
    """NATS cannot be reached or used; the text says why and what to do, without any login.

    - `reason`: the error behind it; None if there is no address
    """

    def __init__(self, message: str, reason: BaseException | None = None) -> None:
        super().__init__(message)
        self.reason = reason


def read_address(given: str | Path | None) -> str:
    """Return the address: as given, from the given file, or from the one that `run` wrote here.

    Raise CannotConnect if there is none.
    """
    if isinstance(given, str):
        return given
    file = given if given is not None else _store() / "url"
    try:
        address = file.read_text().strip()
    except OSError as exc:
        raise CannotConnect(
            f"Cannot read the address of NATS from {file}: {exc.strerror}. Start the service"
            " in this folder (rosey-llm run), or name the address: Client('nats://user:password@host')."
        ) from exc
    if not address:
        raise CannotConnect(f"There is no address of NATS in {file}. Start the service again.")
    return address


def addresses(url: str) -> list[str]:
    """Return the servers of an address: one, or those of a cluster with commas."""
    return [each.strip() for each in url.split(",")]


def without_login(url: str) -> str:
    """Return the address without its user and password, so that it may be shown."""
    shown = []
    for each in addresses(url):
        parts = urlsplit(each)
        shown.append(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))
    return ", ".join(shown)


def inbox_prefix(user: str) -> str:
    """Return how the reply subjects of this login begin.

    The server may let a login read only its own replies (docs/security.md).
    """
    return f"_INBOX.{user}" if re.fullmatch(r"[\w-]+", user) else "_INBOX"


def _store() -> Path:
    """Return `[nats] store_dir` of the configuration in this folder."""
    try:
        tables = tomllib.loads(CONFIGURATION.read_text())
    except FileNotFoundError:
        return Path(STORE)
    except (OSError, ValueError) as exc:
        raise CannotConnect(f"Cannot read {CONFIGURATION}: {exc}. Correct it.") from exc
    nats = tables.get("nats", {})
    if nats.get("url", "embedded") != "embedded":
        raise CannotConnect(
            f"{CONFIGURATION} has a NATS server of your own in [nats] url. Name its address, with"
            " the login of this bot: Client('nats://user:password@host')."
        )
    return Path(nats.get("store_dir", STORE))
