"""Servers of NATS that form a cluster."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.nats_servers import Server

ROUTES = re.compile(r"Listening for route connections on (\S+)")


def clustered(folder: Path, routes: list[str]) -> Server:
    folder.mkdir()
    return Server(
        folder,
        f'server_name: {folder.name}\ncluster {{ name: c, host: "127.0.0.1", port: -1,'
        f" routes: {routes} }}\n"
        'lame_duck_duration: "30s"\nlame_duck_grace_period: "1s"',
    )
