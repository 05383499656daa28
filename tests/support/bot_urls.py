"""Where a test's bot finds the address of NATS, with its login."""

from __future__ import annotations

import re
from pathlib import Path

from engine.app import App


def bot_url(folder: Path) -> str:
    """Return what the service in this folder wrote for bots."""
    return (folder / "data" / "nats" / "url").read_text().strip()


def url_of(app: App) -> str:
    """Return the address for bots; without a login if the server is not the embedded one."""
    return app.url if app.bot_url_file is None else app.bot_url_file.read_text().strip()


def ready_url(line: str) -> str:
    """Return the address for bots of a service that has said that it is ready."""
    found = re.search(r"NATS (\S+),(?: its login for bots in ([^,]+),)?", line)
    assert found, line
    return Path(found[2]).read_text().strip() if found[2] else found[1]


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def login_of(url: str) -> dict[str, str]:
    """Return the login in an address as a client of the protocol sends it."""
    user, _, password = url.partition("://")[2].rpartition("@")[0].partition(":")
    return {"user": user, "pass": password}
