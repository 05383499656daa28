"""Asks a person whether to use a NATS server that answers where the embedded one would listen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from engine.config.settings import NatsSettings, Settings
from engine.interfaces.terminal.line_input import read_line
from engine.traffic.embedded import store_lock
from engine.traffic.embedded.port import HOST, Occupant, occupant_of, two_lines

YES, NO = ("", "y", "yes"), ("n", "no")


def server_in_the_way(nats: NatsSettings) -> Occupant | None:
    """Return the NATS server on the port that the embedded one is to have; None without one.

    None also if the embedded server runs already, or if the server there is that of another engine.
    """
    if nats.url != "embedded":
        return None
    with suppress(OSError):  # the start says why
        if store_lock.is_taken(Path(nats.store_dir)):
            return None
    occupant = asyncio.run(occupant_of(nats.port))
    return occupant if occupant.kind == "nats" else None


def settings_to_use(settings: Settings, server: Occupant, say: Callable[[str], None]) -> Settings:
    """Ask whether to use the server, say how to keep the answer, and return the settings."""
    nats = settings.nats
    address = f"nats://{HOST}:{nats.port}"
    beside = "The embedded server takes the next free port; [nats] port = 0 keeps that."
    has_login = nats.user or nats.token or nats.credentials
    if server.needs_login and not has_login:
        say(
            f"A NATS server answers at {address}, but asks for a login. To use it, set [nats] url,"
            f" user and password. {beside}"
        )
        return settings
    while True:
        answer = read_line(f"A NATS server answers at {address}. Use it? [Y/n] ")
        said = "no" if answer is None else answer.strip().lower()
        if said in YES:
            say(f"To keep that, write this into rosey-llm.toml:\n\n{two_lines(nats.port)}\n")
            return replace(settings, nats=replace(nats, url=address))
        if said in NO:
            say(beside)
            return settings
        say("Please answer yes or no.")
